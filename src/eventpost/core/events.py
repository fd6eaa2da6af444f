"""What an event is once it has been accepted: the bytes to keep and what routing asks about."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventpost.core.interfaces import LadderRow


class Schema(StrEnum):
    """The schemas of Event Grid, by the names that `az eventgrid` uses."""

    EVENT_GRID = "eventgridschema"
    CLOUD_EVENTS = "cloudeventschemav1_0"
    CUSTOM = "customeventschema"


class Event:
    """One accepted event.

    `wire` is one JSON object in the topic's schema, complete with what the grid stamps (`topic`,
    `metadataVersion`), `data` byte for byte as it was published. It is what is stored and, when the
    delivery schema is the topic's own, what is sent.
    `subject` is "" when a CloudEvent has none.
    `trace` is the publish request's (traceparent, tracestate), either may be "", or None.
    """

    __slots__ = ("id", "subject", "trace", "type", "wire")

    def __init__(
        self,
        event_id: str,
        event_type: str,
        subject: str,
        wire: bytes,
        trace: tuple[str, str] | None = None,
    ) -> None:
        self.id = event_id
        self.type = event_type
        self.subject = subject
        self.wire = wire
        self.trace = trace

    def __repr__(self) -> str:
        return f"Event(id={self.id!r}, type={self.type!r}, subject={self.subject!r})"


class Delivery:
    """One event on its way to one event subscription.

    `attempts` counts the attempts already made, so the first one carries 0 (`aeg-delivery-count`).
    `offered_ms` is when its time to live began: the later of publish and being offered here.
    `row` is its row on the ladder, None for one that never was there.
    """

    __slots__ = ("attempts", "event", "offered_ms", "position", "published_ms", "row")

    def __init__(self, event: Event, position: int, published_ms: int, offered_ms: int) -> None:
        self.event = event
        self.position = position
        self.published_ms = published_ms
        self.offered_ms = offered_ms
        self.attempts = 0
        self.row: LadderRow | None = None

    def __repr__(self) -> str:
        return f"Delivery(position={self.position}, attempts={self.attempts}, event={self.event!r})"
