"""What an event is once it has been accepted: the bytes to keep and what routing asks about."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from eventpost.core.interfaces import LadderRow


class Schema(StrEnum):
    """The schemas of Event Grid, by the names that `az eventgrid` uses."""

    EVENT_GRID = "eventgridschema"
    CLOUD_EVENTS = "cloudeventschemav1_0"
    CUSTOM = "customeventschema"


class Event(msgspec.Struct, gc=False, eq=False):
    """One accepted event. Equal to itself only.

    `wire` is one JSON object in the topic's schema, complete with what the grid stamps (`topic`,
    `metadataVersion`), `data` byte for byte as it was published. It is what is stored and, when the
    delivery schema is the topic's own, what is sent. An event of a custom schema is kept in Event
    Grid's, the published object being its `data`.
    `subject` is "" when a CloudEvent has none.
    `trace` is the publish request's (traceparent, tracestate), either may be "", or None.
    """

    id: str
    type: str
    subject: str
    wire: bytes
    trace: tuple[str, str] | None = None


class Delivery(msgspec.Struct, gc=False, eq=False):
    """One event on its way to one event subscription.

    `offered_ms` is when its time to live began: the later of publish and being offered here.
    `attempts` counts the attempts already made, so the first one carries 0 (`aeg-delivery-count`).
    `row` is its row on the ladder, None for one that never was there.

    Not known to the garbage collector: neither it nor the event ever holds what could hold it.
    """

    event: Event
    position: int
    published_ms: int
    offered_ms: int
    attempts: int = 0
    row: LadderRow | None = None
