"""Events as a program gets them: delivery bodies are read here, whatever their schema.

Layer: receive. Bodies: docs/event-formats.md.
"""

import binascii
import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Schema
from eventpost.formats import bodies, cloudevents

T = TypeVar("T")
CLOUD_EVENT_TYPES = (cloudevents.STRUCTURED_TYPE, cloudevents.BATCH_TYPE)
_CLOUD_EVENT_NAMES = frozenset(
    {
        *("specversion", "id", "source", "type", "subject", "time", "datacontenttype"),
        *("dataschema", "data", "data_base64"),
    }
)
_Members = dict[str, msgspec.Raw]
_decode_members = msgspec.json.Decoder(_Members).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_decode_simple: Callable[[msgspec.Raw], str | int | float | bool] = msgspec.json.Decoder(
    str | int | float | bool
).decode
_decode = msgspec.json.Decoder().decode


class _Validation(msgspec.Struct):
    """`data` of a validation event."""

    validationCode: str = ""  # noqa: N815 - Event Grid's name


@dataclass(frozen=True)
class ReceivedEvent:
    """One event. What its schema does not have is "" or None.

    `source` is the `topic` of an event in the Event Grid schema. `data_json` is the data as it
    came, b"" when there is none; `data` is decoded on first use. Of a custom input schema the whole
    object is the data, and everything else is empty.
    """

    schema: Schema
    wire: bytes = field(repr=False)
    data_json: bytes = field(repr=False)
    id: str = ""
    type: str = ""
    source: str = ""
    subject: str = ""
    time: datetime | None = None
    data_version: str = ""
    data_schema: str = ""
    data_content_type: str = ""
    extensions: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    is_binary: bool = False
    """Whether the data are bytes (`data_base64`)."""

    @cached_property
    def data(self) -> Any:
        """The data: whatever JSON holds, bytes when they came as such, None without any."""
        if not self.data_json:
            return None
        value = _decode(self.data_json)
        return binascii.a2b_base64(value) if self.is_binary else value

    def data_as(self, kind: builtins.type[T]) -> T:
        """The data as `kind`: a dataclass, a TypedDict, a msgspec Struct. Raises ValueError."""
        if self.is_binary:
            raise ValueError(f"the data of event {self.id!r} are bytes, not JSON")
        return msgspec.json.decode(self.data_json or b"null", type=kind)


def read(headers: Mapping[str, str], body: bytes, *, is_custom: bool) -> tuple[ReceivedEvent, ...]:
    """The events of a delivery. Header names are in lower case. Raises InvalidEvent (400)."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in CLOUD_EVENT_TYPES or "ce-id" in headers:
        raw = {name.encode("latin-1"): _bytes(value) for name, value in headers.items()}
        return tuple(_cloud_event(event.wire) for event in cloudevents.decode(body, raw))
    body = bodies.trimmed(body)
    bodies.check_json(body)
    one = _custom if is_custom else _event_grid
    return tuple(one(element) for element in bodies.elements("delivered", body))


def validation_code(body: bytes) -> str:
    """The code of a validation event, to be echoed. Raises InvalidEvent when there is none."""
    (event, *_) = read({}, body, is_custom=False)
    try:
        code = event.data_as(_Validation).validationCode
    except ValueError:  # of another shape, or with a number that is out of range
        code = ""
    if not code:
        raise bodies.invalid("The validation event has no data.validationCode.")
    return code


def _bytes(value: str) -> bytes:
    return value.encode("latin-1", "replace")


def _event_grid(element: bytes) -> ReceivedEvent:
    members = _decode_members(element)
    return ReceivedEvent(
        schema=Schema.EVENT_GRID,
        wire=bytes(element),
        data_json=_data(members.get("data")),
        id=_required(members, "id"),
        type=_required(members, "eventType"),
        source=_text(members, "topic"),
        subject=_text(members, "subject"),
        time=_time(_text(members, "eventTime")),
        data_version=_text(members, "dataVersion"),
    )


def _cloud_event(wire: bytes) -> ReceivedEvent:
    members = _decode_members(wire)
    is_binary = "data_base64" in members
    return ReceivedEvent(
        schema=Schema.CLOUD_EVENTS,
        wire=bytes(wire),
        data_json=_data(members.get("data_base64" if is_binary else "data")),
        is_binary=is_binary,
        id=_required(members, "id"),
        type=_required(members, "type"),
        source=_required(members, "source"),
        subject=_text(members, "subject"),
        time=_time(_text(members, "time")),
        data_schema=_text(members, "dataschema"),
        data_content_type=_text(members, "datacontenttype"),
        extensions={
            name: _simple(name, value)
            for name, value in members.items()
            if name not in _CLOUD_EVENT_NAMES
        },
    )


def _custom(element: bytes) -> ReceivedEvent:
    return ReceivedEvent(schema=Schema.CUSTOM, wire=bytes(element), data_json=bytes(element))


def _data(value: msgspec.Raw | None) -> bytes:
    return b"" if value is None else bytes(value)


def _required(members: _Members, name: str) -> str:
    text = _text(members, name)
    if not text:
        raise _missing(name)
    return text


def _text(members: _Members, name: str) -> str:
    try:
        return _decode_text(members.get(name, msgspec.Raw(b"null"))) or ""
    except ValueError:
        raise bodies.wrong("delivered", name, "a string") from None


def _simple(name: str, value: msgspec.Raw) -> str | int | float | bool:
    try:
        return _decode_simple(value)
    except ValueError:
        raise bodies.wrong("delivered", name, "text, a boolean or a number in range") from None


def _missing(name: str) -> InvalidEvent:
    return bodies.invalid(
        f"An event has no '{name}'. "
        "A receiver of a custom input schema says so with is_custom=True."
    )


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise bodies.invalid(f"The time '{bodies.excerpt(text)}' cannot be read.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
