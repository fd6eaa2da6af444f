"""Connections and sources as values: where messages are pulled from, and with whose settings.

What a kind of connection, or a queue's options, may hold is checked by the kind itself
(`queues.kinds`); everything else by `core.source_bounds`. Neither value ever holds a secret, only
references to one (`env:NAME`, `file:PATH`).
"""

from enum import StrEnum
from hashlib import blake2b

import msgspec

from eventpost.core.outcomes import Evidence


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
    """`aws`, `azure-storage`, `entra`, `kafka`, `rabbitmq`, or what an installed package
    provides."""
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


NO_MAPPING = InputMapping()
EVERYTHING_MAPPED = ("id", "topic", "eventtype", "subject", "eventtime", "dataversion")
"""Of a custom input schema."""
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


class Original(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a queue said of a message beside its body, kept with the dead letter that it became."""

    message_id: str = ""
    attributes: dict[str, str] = {}
    binary_attributes: dict[str, bytes] = {}
    system_attributes: dict[str, str] = {}
    content_type: str = ""
    group: str = ""
    sent_ms: int = 0
    receive_count: int = 0


class Poison(msgspec.Struct, frozen=True, kw_only=True):
    """A message of which no event can be made, and why."""

    body: bytes
    original: Original
    finding: str
    evidence: Evidence


class SourceState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    FAILING = "failing"  # its queue cannot be opened, or gives nothing
    HOLDING = "holding"  # the store takes nothing, so that what was received waits


class SourceFailure(msgspec.Struct, frozen=True, kw_only=True):
    """What does not work, and since when it was last seen not to."""

    operation: str
    """`open`, or an operation of its queue (`receive`, `settle`, `extend`, `release`)."""
    at_ms: int
    finding: str
    evidence: Evidence


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One source as metrics, the API and the command line show it. Counts are since its start in
    this process."""

    source: str
    topic: str
    state: SourceState = SourceState.STARTING
    failures: tuple[SourceFailure, ...] = ()
    """What does not work now, the most telling first."""
    warning: str = ""
    """What works, and not as it was meant; "" for nothing."""
    received: int = 0
    """Deliveries, repeated ones included."""
    taken: int = 0
    """Messages that became events, durably."""
    events: int = 0
    poison: int = 0
    """Messages that became dead letters."""
    redelivered: int = 0
    """Messages that came again although they had been taken, and were only settled."""
    settled: int = 0
    released: int = 0
    lost: int = 0
    """Deliveries whose lease somebody else has got."""
    failed_calls: int = 0
    held: int = 0
    """Messages received and not taken yet."""
    unsettled: int = 0
    """Messages taken that their queue still has."""
    oldest_unsettled_s: float = 0.0
    dead_letters: int = 0
    is_paused: bool = False

    @property
    def is_failing(self) -> bool:
        return self.state in (SourceState.FAILING, SourceState.HOLDING)


def queue_key(identity: str) -> int:
    """A number for a queue, the same whoever asks, under which the store keeps its messages' ids.

    64 bits: among a million queues two share one with a chance of one in 37 million.
    """
    digest = blake2b(identity.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
