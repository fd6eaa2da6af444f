"""Objects of a custom input schema: what they hold beside the data is found by the topic's mapping.

Rules: https://learn.microsoft.com/azure/event-grid/input-mappings. An event is kept in the Event
Grid schema with the published object, byte for byte, as its `data`; so it can be delivered in that
schema, as a CloudEvent, or as the object it was.
"""

from collections.abc import Callable

import msgspec

from eventpost.core.events import Event
from eventpost.core.sources import InputMapping
from eventpost.formats import bodies, delivery, eventgrid, times
from eventpost.formats.domains import DomainInput

SCHEMA_NAME = "CustomEvent"
DEFAULT_TYPE = "Eventpost.CustomEvent"
"""Of an event whose topic maps no type and has no default for it."""

_WIRE_NAMES = {"eventtype": "eventType", "subject": "subject"}


class CustomInput:
    """The publish rules of one topic of a custom schema. `new_id` and `now_ms` fill in what an
    object does not say."""

    __slots__ = ("_mapping", "_new_id", "_now_ms", "_paths")

    def __init__(
        self, mapping: InputMapping, new_id: Callable[[], str], now_ms: Callable[[], int]
    ) -> None:
        self._mapping = mapping
        self._paths = {name: path.split(".") for name, path in mapping.fields.items()}
        self._new_id = new_id
        self._now_ms = now_ms

    def decode(
        self, body: bytes, topic_resource: str, domain: DomainInput | None = None
    ) -> list[Event]:
        """The events of a publish request, all or none: an array of objects, or one object. Of a
        `domain`, the mapping says where each names its topic.

        Raises InvalidEvent for the first thing that is wrong: no JSON, no object, nothing where the
        mapping says that type or subject stand and no default, a time that is none.
        """
        body = bodies.trimmed(body)
        bodies.check_json(body)
        elements = bodies.elements(SCHEMA_NAME, body)
        if domain is not None:
            return [
                self._event(element, domain.resource(self._at(element, "topic"), SCHEMA_NAME))
                for element in elements
            ]
        return [self._event(element, topic_resource) for element in elements]

    def _event(self, element: bytes, topic_resource: str) -> Event:
        return eventgrid.envelope(
            topic_resource,
            event_id=self._at(element, "id") or self._new_id(),
            event_type=self._required(element, "eventtype") or DEFAULT_TYPE,
            subject=self._required(element, "subject"),
            event_time=self._time(element),
            data=msgspec.Raw(element),
            data_version=self._at(element, "dataversion"),
        )

    def _required(self, element: bytes, name: str) -> str:
        found = self._at(element, name)
        if not found and name in self._paths:
            raise bodies.invalid(
                f"This resource is configured for '{SCHEMA_NAME}' schema and requires "
                f"'{_WIRE_NAMES[name]}' to be set: the input mapping takes it from "
                f"'{bodies.excerpt(self._mapping.fields[name])}', where the event has no text, "
                "and there is no default."
            )
        return found

    def _at(self, element: bytes, name: str) -> str:
        path = self._paths.get(name)
        found = delivery.text_at(element, path) if path else None
        return found or self._mapping.defaults.get(name, "")

    def _time(self, element: bytes) -> str:
        text = self._at(element, "eventtime")
        if not text:
            return times.seven_digits(self._now_ms())
        if not times.is_time(text):
            what = f"a time in ISO 8601, not '{bodies.excerpt(text)}'"
            raise bodies.wrong(SCHEMA_NAME, self._mapping.fields["eventtime"], what)
        return text
