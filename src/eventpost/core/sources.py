"""Connections and sources as values: where messages are pulled from, and with whose settings.

What a kind of connection, or a queue's options, may hold is checked by the kind itself
(`queues.kinds`); everything else by `core.source_bounds`. Neither value ever holds a secret, only
references to one (`env:NAME`, `file:PATH`).
"""

from enum import StrEnum

import msgspec


class MessageFormat(StrEnum):
    """How an event stands in a message of a queue."""

    EVENT = "event"  # the event itself, Event Grid's or a CloudEvent
    RAW = "raw"  # its data alone
    ROADRUNNER = "roadrunner"
    DRAMATIQ = "dramatiq"


class Connection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Named settings of a broker or an account, shared by sources and subscriptions."""

    name: str
    kind: str
    """`aws`, `azure-storage`, `kafka`, `rabbitmq`, or what an installed package provides."""
    created_ms: int
    settings: dict[str, object] = {}
    """By the names of the kind's own settings, as they were written."""


class InputMapping(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a raw message becomes an event with, by the names of Event Grid's input mapping.

    Keys are of `MAPPED`. A field is a path into the message: `data.station`, `attributes.kind`; its
    default is taken where there is nothing at that path.
    """

    fields: dict[str, str] = {}
    defaults: dict[str, str] = {}


MAPPED = ("id", "eventtype", "subject", "eventtime", "dataversion")
DEFAULTED = ("eventtype", "subject", "dataversion")
MAPPING_ROOTS = ("data", "attributes", "system")


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A queue from which messages are pulled into a topic. Names are unique over all topics."""

    id: int
    topic_id: int
    name: str
    created_ms: int
    kind: str
    """The queue system: `storagequeue`, `sqs`, `rabbitmq`, `kafka`, or what a package provides."""
    queue: str
    connection: str | None = None
    """None: the kind's defaults, which find out by themselves who we are."""
    options: dict[str, object] = {}
    """The queue system's own (`queues.kinds`)."""
    format: MessageFormat = MessageFormat.EVENT
    mapping: InputMapping = InputMapping()
    """For raw messages."""
    is_paused: bool = False
    lease_s: float = 60.0
    """How long a received message is ours before its lease must be extended."""
    prefetch: int = 100
    """Messages that are received and not settled yet."""
    receives_max: int = 10
    """A message that comes more often than this, and was never taken, is poison."""
