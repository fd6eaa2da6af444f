"""Messages of queues, as the formats read and write them. What a queue system is, is not asked.

Layer: formats. Each format has a module with `decode(message, target)`, the events that a message
becomes on a topic, and `encode(delivery, origin)`, the message that an event becomes; `messaging`
finds it by its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from eventpost.core.events import Event, Schema
from eventpost.core.sources import InputMapping
from eventpost.formats import bodies, publish, times
from eventpost.formats.custom import CustomInput

TRACE_NAMES = ("traceparent", "tracestate")
"""The attributes, in any case, that carry the trace of an event."""


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A received message. `sent_ms` is UTC, 0 when its queue does not say."""

    body: bytes
    attributes: Mapping[str, str | bytes] = {}
    system_attributes: Mapping[str, str] = {}
    content_type: str = ""
    message_id: str = ""
    sent_ms: int = 0

    def text(self, name: str) -> str:
        """An attribute in any case, as text; "" when there is none."""
        folded = name.lower()
        for known, value in self.attributes.items():
            if known.lower() == folded:
                return value if isinstance(value, str) else value.decode("utf-8", "replace")
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What incoming messages are for: a topic, and what their source says of them.

    `new_id` makes an event's id for a message that has none, `now_ms` is UTC.
    """

    schema: Schema
    topic_resource: str
    queue: str
    mapping: InputMapping
    new_id: Callable[[], str]
    now_ms: Callable[[], int]
    custom: CustomInput | None = None
    """How whole objects become events, where the topic's schema is a custom one."""


@dataclass(slots=True, kw_only=True)
class Outgoing:
    """A message to send. `delay_s` is what the event asks for, whatever its queue can do."""

    body: bytes
    attributes: dict[str, str | bytes | int | float] = field(default_factory=dict)
    content_type: str = ""
    delay_s: float = 0.0
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What outgoing messages come from: a topic and one of its subscriptions."""

    input_schema: Schema
    output_schema: Schema
    topic_resource: str
    queue: str
    now_ms: Callable[[], int]


def traced(message: Incoming, events: list[Event]) -> list[Event]:
    """The events of a message, with the message's trace."""
    if not message.attributes:
        return events
    parent, state = (message.text(name) for name in TRACE_NAMES)
    if parent:
        headers = {b"traceparent": parent.encode(), b"tracestate": state.encode()}
        found = publish.trace(headers)
        for event in events:
            event.trace = found
    return events


def time_text(ms: int) -> str:
    """A time that a message names, as Event Grid writes it. Raises InvalidEvent out of range."""
    try:
        return times.seven_digits(ms)
    except (ValueError, OverflowError, OSError):
        raise bodies.invalid(f"The time {ms} (in milliseconds) is out of range.") from None


def trace_attributes(trace: tuple[str, str] | None) -> dict[str, str | bytes | int | float]:
    if trace is None:
        return {}
    return {name: value for name, value in zip(TRACE_NAMES, trace, strict=True) if value}
