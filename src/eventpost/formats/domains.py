"""What a domain asks of the events published to it: each names a topic of the domain.

It stands in `topic` (Event Grid's schema), in `source` (CloudEvents), or where the input mapping of
a custom schema says, and is a name or a whole resource id. Which topics exist is not asked: an
event of a topic that nobody made reaches who subscribes to the whole domain.
Rules: https://learn.microsoft.com/azure/event-grid/event-domains, and what the service answers.
"""

import re
from collections.abc import Iterable

from eventpost.core import domains
from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Event, Schema
from eventpost.core.limits import LIMITS, Limits, is_name
from eventpost.core.subscriptions import Topic
from eventpost.formats import bodies
from eventpost.formats.topics import DEFAULT_PREFIX, resource_of

_RESOURCE = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.EventGrid/domains/(?P<domain>[^/]+)"
    r"/topics/(?P<topic>[^/]+)",
    re.IGNORECASE,
)


class DomainInput:
    """The publish rules of one domain. `domain` is the topic that it is."""

    __slots__ = ("_domain", "_folded", "_limits", "_own")

    def __init__(
        self, domain: Topic, prefix: str = DEFAULT_PREFIX, limits: Limits = LIMITS
    ) -> None:
        self._domain = domain.name
        self._folded = domain.name.casefold()
        self._own = f"{resource_of(domain, prefix)}/topics/"
        self._limits = limits

    def resource(self, named: str, schema_name: str, field: str = "topic") -> str:
        """The resource id of the topic that an event names. Raises InvalidEvent."""
        if not named:
            raise bodies.missing(schema_name, field)
        return self._own + self._name(named)

    def check_sources(self, events: Iterable[Event]) -> None:
        """CloudEvents name their topic in `source`, which stays as it is. Raises InvalidEvent."""
        for event in events:
            self._name(domains.named_by(event.wire, Schema.CLOUD_EVENTS))

    def _name(self, named: str) -> str:
        name = named
        if named.startswith(self._own):
            name = named[len(self._own) :]
        elif named.startswith("/"):
            found = _RESOURCE.fullmatch(named)
            if found is None or found["domain"].casefold() != self._folded:
                raise self._refused(named)
            name = found["topic"]
        if not is_name(name, self._limits):
            raise self._refused(named)
        return name

    def _refused(self, named: str) -> InvalidEvent:
        """In Event Grid's words."""
        return bodies.invalid(
            "Required property 'topic' needs to either be a full resource id or should be just the "
            f"name of the domain topic. Found: {bodies.excerpt(named)}. The domain is "
            f"'{self._domain}'; a name has {self._limits.name_chars_min} to "
            f"{self._limits.name_chars_max} letters, digits and '-'."
        )
