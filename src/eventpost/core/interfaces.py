"""The borders of the grid, written as contracts: clock, destination, store.

Everything asynchronous answers through a callback that runs on the grid's thread (the event loop's
thread in the server, the simulation's in tests) and is never called before the call that started it
has returned. No exception crosses a callback.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import msgspec

from eventpost.core.errors import Overloaded
from eventpost.core.events import Delivery, Event
from eventpost.core.outcomes import Evidence, Failed, Outcome
from eventpost.core.retry import Reason
from eventpost.core.sources import Connection, Original, Poison, Source, SourceReport
from eventpost.core.subscriptions import Subscription, Topic

# --- time ---------------------------------------------------------------------------------------


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time and turns. All calls on the grid's thread, but for `call_soon_threadsafe`."""

    def now_ms(self) -> int:
        """UTC in milliseconds, steady: a step of the system's clock is seen at the next start only,
        so that it expires nothing while the process lives."""
        ...

    def call_later(
        self, delay_s: float, callback: Callable[..., object], *args: object
    ) -> Timer: ...

    def call_soon(self, callback: Callable[..., object], *args: object) -> object: ...

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: object) -> object: ...


# --- destinations -------------------------------------------------------------------------------

DeliveryDone = Callable[[Sequence[Delivery], "Outcome | Sequence[Outcome]"], None]


class Destination(Protocol):
    """Where one subscription delivers. One object per subscription, made by the kind's factory."""

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        """Start one attempt for all `deliveries` (at least one, at most the subscription's batch).

        `done(deliveries, outcome)` is called exactly once, later, with one outcome for the whole
        batch or one per delivery in order. Returns at once and raises nothing: whatever goes wrong
        is an outcome with evidence. The caller keeps the number of attempts in flight at or below
        the subscription's concurrency. An attempt ends within the response timeout plus the bounds
        of connecting.
        """
        ...

    def close(self) -> None:
        """Let go of connections. Attempts in flight end with an outcome or are never answered."""
        ...


@runtime_checkable
class Holding(Protocol):
    """A destination that lets deliveries wait for company."""

    def hasten(self) -> None:
        """The grid is about to stop: send what waits, and let nothing wait any more."""
        ...


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """A blob as its storage account tells of it when it has taken it."""

    container: str
    name: str
    etag: str
    request_id: str
    client_request_id: str


class FileWritten(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is durable. `blob` where it is one of a storage account."""

    url: str
    blob: Blob | None = None


class DeadLetterPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where dead letters are exported to: `folder:PATH`, `azureblob://ACCOUNT/CONTAINER` or
    `s3://BUCKET/PREFIX`, and the name of the connection that leads there."""

    address: str
    connection: str | None = None


class DeadLetterFiles(Protocol):
    """Writes dead letters to where they are exported to."""

    def write(
        self,
        place: DeadLetterPlace,
        path: str,
        body: bytes,
        done: Callable[[FileWritten | Failed], None],
    ) -> None:
        """Write one file at `path` in `place`, whole or not at all.

        `done(FileWritten)` is called once it is durable, `done(Failed)` when it could not be
        written. Writing the same path again replaces the file.
        """
        ...


# --- sources ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Taken:
    """Messages of one queue by their ids. `queue` is `core.sources.queue_key` of its identity."""

    queue: int
    ids: list[str]
    taken_ms: int = 0


class Intake(Protocol):
    """Where a source hands over what it received. All calls on the grid's thread."""

    def take(
        self,
        source: Source,
        events: list[Event],
        poison: list[Poison],
        taken: Taken,
        done: Callable[[Overloaded | None], None],
    ) -> None:
        """Keep what messages became, and their ids, in one transaction. `done(None)` once it is
        durable, `done(Overloaded)` when nobody knows whether it is: `taken` tells, once the store
        is open again. Raises Overloaded at once when nothing was kept."""
        ...

    def taken(
        self, queue: int, ids: list[str], done: "Callable[[set[str] | ReadFailed], None]"
    ) -> None:
        """Those of `ids` that were taken from the queue."""
        ...

    def forget(self, taken: Taken) -> None:
        """The queue has confirmed that these messages are gone."""
        ...


class Puller(Protocol):
    """A source that runs: it pulls, hands over, and settles once that is durable. One object per
    source, made by the kind's factory. All calls on the grid's thread, but for `end_close`."""

    def start(self) -> None:
        """Begin, and go on whatever fails. Raises nothing; returns at once."""
        ...

    def pause(self, *, is_paused: bool) -> None:
        """Receive no more, or again. What was received is still handed over and settled."""
        ...

    def begin_close(self) -> None:
        """Receive no more; give back what is not handed over yet. Returns at once."""
        ...

    def end_close(self, drain_s: float) -> None:
        """After `begin_close`, on another thread: wait up to `drain_s` until what was handed over
        is durable and settled, then let go of the queue. What is left comes again, and is known."""
        ...

    def report(self) -> SourceReport: ...


# --- store: values ------------------------------------------------------------------------------


@dataclass(slots=True)
class Append:
    """Events to append to one partition of a topic; they get consecutive positions."""

    topic_id: int
    partition: int
    published_ms: int
    events: list[Event]


@dataclass(slots=True)
class Segment:
    """Consecutive events as read back; `wires[i]` and `traces[i]` are of position `first + i`."""

    topic_id: int
    partition: int
    first: int
    published_ms: int
    wires: list[bytes]
    traces: list[tuple[str, str] | None] | None
    """None when no event of the segment has a trace."""

    @property
    def end(self) -> int:
        return self.first + len(self.wires)


class LadderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that failed, or that held its cursor back too long.

    Rows are identified by (due_ms, subscription_id, partition, position, dead_letter_id) and
    `is_parked`.
    Parked rows could not run when they fell due; they are read per subscription, not by due time.
    """

    due_ms: int
    subscription_id: int
    partition: int
    position: int
    topic_id: int
    generation: int
    """The lane's; a row of an older generation was superseded by a rewind and is dead."""
    attempts: int
    published_ms: int
    offered_ms: int
    dead_letter_id: int = 0
    """Not 0: a replay; the event's bytes are the dead letter's, not the segment's."""
    is_parked: bool = False
    evidence: Evidence | None = None
    last_attempt_ms: int = 0
    lock: int = 0
    """Not 0: a consumer holds the event by this lock until it falls due."""


class DeadLetterState(msgspec.Struct, frozen=True, kw_only=True):
    """What changes on a dead letter after it fell."""

    id: int
    replayed_ms: int | None = None
    """When it was put back on the ladder; 0 puts it back among the dead."""
    export_due_ms: int | None = None
    """When to try its export (again); 0 when it is written or none is wanted."""
    exported_to: str | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery given up, with the event's own bytes; or a source's message of which no event
    could be made, with the message's own bytes, which may be anything."""

    id: int
    """Given by the grid: time-ordered, unique."""
    topic_id: int
    subscription_id: int
    """0 for a source's message."""
    source_id: int = 0
    """Not 0: of a source. Then there is no event: its id is the message's, its type ""."""
    original: Original | None = None
    """Of a source's message."""
    partition: int
    position: int
    """-1 for a source's message."""
    event_id: str
    event_type: str
    subject: str
    wire: bytes
    trace: tuple[str, str] | None = None
    published_ms: int
    dead_ms: int
    last_attempt_ms: int
    """0 when it was never attempted."""
    attempts: int
    reason: Reason
    outcome: str
    """Event Grid's `lastDeliveryOutcome`."""
    finding: str
    evidence: Evidence | None = None
    replayed_ms: int = 0
    export_due_ms: int = 0
    exported_to: str = ""


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that failed, or that succeeded after failures, for the attempt log."""

    topic_id: int
    subscription_id: int
    partition: int
    position: int
    attempt: int
    """1 for the first."""
    at_ms: int
    finding: str
    """"" for a success."""
    evidence: Evidence | None = None
    next_ms: int = 0
    """When it is tried again; 0 when it is not."""


class PutTopic(msgspec.Struct, frozen=True, tag=True):
    topic: Topic


class RemoveTopic(msgspec.Struct, frozen=True, tag=True):
    """Removes the topic, its events, its sources, and all of its subscriptions and their rows (in
    slices)."""

    topic_id: int


class PutSubscription(msgspec.Struct, frozen=True, tag=True):
    subscription: Subscription


class RemoveSubscription(msgspec.Struct, frozen=True, tag=True):
    """Removes the subscription, its lanes' states, its ladder rows and dead letters (in slices)."""

    subscription_id: int


class PutConnection(msgspec.Struct, frozen=True, tag=True):
    """Adds the connection, or replaces the one of that name."""

    connection: Connection


class RemoveConnection(msgspec.Struct, frozen=True, tag=True):
    name: str


class PutSource(msgspec.Struct, frozen=True, tag=True):
    source: Source


class RemoveSource(msgspec.Struct, frozen=True, tag=True):
    """Removes the source and its dead letters (in slices). What was taken stays taken."""

    source_id: int


class PutSetting(msgspec.Struct, frozen=True, tag=True):
    """A small named value of the installation (a secret for tokens, an id)."""

    name: str
    value: bytes


CatalogueChange = (
    PutTopic
    | RemoveTopic
    | PutSubscription
    | RemoveSubscription
    | PutConnection
    | RemoveConnection
    | PutSource
    | RemoveSource
    | PutSetting
)


class StateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of a lane (owner = subscription id) or of a partition (owner = topic id), opaque
    to the store, replaced as a whole."""

    kind: Literal["lane", "partition"]
    owner_id: int
    partition: int
    state: bytes


@dataclass(slots=True)
class Trim:
    """Events below `below` of a partition are needed by nobody any more."""

    topic_id: int
    partition: int
    below: int


@dataclass(slots=True)
class Commit:
    """What one transaction makes durable: all of it or nothing, in the order of the fields."""

    catalogue: list[CatalogueChange] = field(default_factory=list)
    appends: list[Append] = field(default_factory=list)
    """At most one per partition of a topic."""
    outcome_id: int = 0
    """Given by the grid, increasing by one; 0 when there is no outcome blob."""
    outcome: bytes = b""
    states: list[StateRow] = field(default_factory=list)
    outcomes_below: int = 0
    """Outcome blobs with a smaller id are no longer needed; 0 keeps all."""
    ladder_remove: list[LadderRow] = field(default_factory=list)
    ladder_put: list[LadderRow] = field(default_factory=list)
    dead_put: list[DeadLetter] = field(default_factory=list)
    dead_states: list[DeadLetterState] = field(default_factory=list)
    dead_remove: list[int] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    trims: list[Trim] = field(default_factory=list)
    attempts_before_ms: int = 0
    """Attempt records older than this may go; 0 keeps all."""
    taken: list[Taken] = field(default_factory=list)
    """Messages that became the events or the dead letters of this commit."""
    taken_remove: list[Taken] = field(default_factory=list)
    """Messages that will not come again. Removed after `taken` was added."""
    taken_before_ms: int = 0
    """Ids taken before this may go; 0 keeps all."""

    @property
    def has_events_alone(self) -> bool:
        """Whether it says nothing of lanes, ladder or catalogue that an outcome blob belongs to."""
        return bool(self.appends) and not self._has_more_than_events

    def is_empty(self) -> bool:
        return not (
            self.appends
            or self.taken
            or self.outcome_id
            or self.states
            or self.outcomes_below
            or self._has_more_than_events
        )

    @property
    def _has_more_than_events(self) -> bool:
        """Beside events, the ids of the messages that they were, and blobs and states of lanes."""
        return bool(
            self.catalogue
            or self.ladder_remove
            or self.ladder_put
            or self.dead_put
            or self.dead_states
            or self.dead_remove
            or self.attempts
            or self.trims
            or self.attempts_before_ms
            or self.taken_remove
            or self.taken_before_ms
        )


@dataclass(slots=True)
class Committed:
    """`firsts[i]` is the position given to the first event of `appends[i]`."""

    firsts: list[int]
    has_leftovers: bool = False
    """Slices of trims or removals remain; an empty commit does the next slice."""


@dataclass(slots=True)
class CommitFailed:
    """Nothing of the commit is to be relied upon. The store is closed; open it anew."""

    reason: str
    is_full: bool = False


@dataclass(slots=True)
class Damage:
    """Positions `first` up to `end` cannot be read; a read from `end` on can be tried."""

    topic_id: int
    partition: int
    first: int
    end: int


@dataclass(slots=True)
class ReadFailed:
    """A read could not be done; damage is named with topic and position."""

    reason: str
    damage: Damage | None = None


@dataclass(slots=True)
class Recovered:
    """Everything that the grid needs to go on from where the last commit left it."""

    topics: list[Topic]
    subscriptions: list[Subscription]
    settings: dict[str, bytes]
    next_positions: dict[tuple[int, int], int]
    """By (topic id, partition)."""
    states: list[StateRow]
    outcomes: list[tuple[int, bytes]]
    """Outcome blobs not yet covered by the states, by increasing id."""
    ladder_counts: dict[tuple[int, int, int], int]
    """Rows, parked ones included, by (subscription id, partition, generation)."""
    dead_letter_counts: dict[int, int]
    """Dead letters that are not replayed, by subscription id."""
    last_outcome_id: int
    topic_id_max: int = 0
    """The highest id that a topic ever had, removed ones included: ids are not given twice."""
    subscription_id_max: int = 0
    dead_letter_id_max: int = 0
    """Of those that are kept: a new id must not replace one, whatever the clock says."""
    connections: list[Connection] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    source_id_max: int = 0
    """The highest id that a source ever had, removed ones included."""
    source_letter_counts: dict[int, int] = field(default_factory=dict)
    """Dead letters of sources that are not replayed, by source id."""


@dataclass(slots=True, kw_only=True)
class DeadLetterQuery:
    """Which dead letters, by increasing id, after `after_id`, at most `limit`."""

    topic_id: int | None = None
    subscription_id: int | None = None
    subscription_ids: list[int] | None = None
    """Those of any of them."""
    source_id: int | None = None
    ids: list[int] | None = None
    event: tuple[int, int, int] | None = None
    """Only those of one event, by (topic id, partition, position)."""
    since_ms: int | None = None
    until_ms: int | None = None
    reason: str | None = None
    finding: str | None = None
    is_replayed: bool | None = False
    exported_to: list[str] | None = None
    """Only those whose copies lie there."""
    export_due_ms: int | None = None
    """Only those whose export is due by then."""
    after_id: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyQuery:
    """Which dead letters of those whose copies lie in a place. Times of the last attempt."""

    topic: str | None = None
    subscription: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    reason: str | None = None
    finding: str | None = None


@dataclass(slots=True)
class Found:
    """A stored event whose id has the fingerprint looked for (ids are not unique)."""

    topic_id: int
    partition: int
    position: int
    published_ms: int
    wire: bytes


@dataclass(slots=True)
class Usage:
    bytes_used: int
    event_count: int
    segment_count: int
    ladder_count: int
    dead_letter_count: int
    first_positions: dict[tuple[int, int], int]
    """Oldest position still kept, by (topic id, partition)."""


# --- store: the interface -----------------------------------------------------------------------

Read = Callable[["object | ReadFailed"], None]


class Store(Protocol):
    """Where topics, events, checkpoints, the ladder and dead letters are kept.

    One grid at a time owns a store. Commits are carried out in the order in which they are handed
    over; several may be under way (a replicated log completes them asynchronously). After one
    CommitFailed every later commit fails too, until the store is opened anew.
    """

    def open(self) -> Recovered:
        """Open or create; blocks. Raises StoreError: in use by another process, made by a newer
        version (left untouched), damaged, not writable."""
        ...

    def commit(self, commit: Commit, done: Callable[[Committed | CommitFailed], None]) -> None:
        """Make `commit` durable. When `done(Committed)` is called it survives a power cut.
        `commit` belongs to the store until then."""
        ...

    def read(
        self,
        topic_id: int,
        partition: int,
        position: int,
        bytes_max: int,
        done: Callable[[list[Segment] | ReadFailed], None],
    ) -> None:
        """Committed segments from the one that holds `position` on (or the next one kept, when it
        was trimmed), in order, at least one if there is any, ending once `bytes_max` is passed."""
        ...

    def events(
        self,
        keys: list[tuple[int, int, int]],
        done: Callable[[dict[tuple[int, int, int], Segment] | ReadFailed], None],
    ) -> None:
        """Single events by (topic id, partition, position); missing keys were trimmed."""
        ...

    def due(
        self,
        from_ms: int,
        until_ms: int,
        limit: int,
        done: Callable[[list[LadderRow] | ReadFailed], None],
    ) -> None:
        """Ladder rows, not parked, with from_ms <= due_ms <= until_ms, by due_ms; then, if fewer
        than `limit` and there is a later one, that one too (it tells when to look again)."""
        ...

    def parked(
        self,
        subscription_id: int,
        partition: int,
        limit: int,
        done: Callable[[list[LadderRow] | ReadFailed], None],
    ) -> None:
        """Parked rows of one lane by due_ms."""
        ...

    def locked(
        self,
        subscription_id: int,
        partition: int,
        locks: list[int],
        done: Callable[[list[LadderRow] | ReadFailed], None],
    ) -> None:
        """Rows of one lane, not parked, that any of `locks` (not 0) holds or held."""
        ...

    def ladder_floor(self, done: Callable[[dict[tuple[int, int], int] | ReadFailed], None]) -> None:
        """The lowest position that any ladder row needs, by (topic id, partition)."""
        ...

    def dead_letters(
        self, query: DeadLetterQuery, done: Callable[[list[DeadLetter] | ReadFailed], None]
    ) -> None: ...

    def count_dead_letters(
        self, query: DeadLetterQuery, done: Callable[[int | ReadFailed], None]
    ) -> None:
        """How many match, `after_id` and `limit` aside."""
        ...

    def attempts(
        self,
        topic_id: int,
        partition: int,
        position: int,
        done: Callable[[list[AttemptRecord] | ReadFailed], None],
    ) -> None:
        """The attempt log of one event, oldest first, at most 1,000 records."""
        ...

    def ladder_of(
        self,
        topic_id: int,
        partition: int,
        position: int,
        done: Callable[[list[LadderRow] | ReadFailed], None],
    ) -> None:
        """All ladder rows of one event."""
        ...

    def taken(
        self, queue: int, ids: list[str], done: Callable[[set[str] | ReadFailed], None]
    ) -> None:
        """Those of `ids` that were taken from the queue and are still remembered."""
        ...

    def find(
        self,
        event_id: str,
        topic_id: int | None,
        since_ms: int,
        limit: int,
        done: Callable[[list[Found] | ReadFailed], None],
    ) -> None:
        """Stored events by id, newest first."""
        ...

    def position_at(
        self,
        topic_id: int,
        partition: int,
        at_ms: int,
        done: Callable[[int | ReadFailed], None],
    ) -> None:
        """The first kept position published at or after `at_ms`; the next position if none."""
        ...

    def usage(self, done: Callable[[Usage | ReadFailed], None]) -> None: ...

    def verify(self, done: Callable[[list[str] | ReadFailed], None]) -> None:
        """Read everything back and say what is wrong with it; [] when nothing is."""
        ...

    def backup(self, path: str, done: Callable[[int | ReadFailed], None]) -> None:
        """Write a consistent copy to `path`, which must not exist; its size in bytes."""
        ...

    def close(self) -> None:
        """Finish what was handed over, then let go. Idempotent."""
        ...
