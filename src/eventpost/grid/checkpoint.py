"""What is remembered of a lane, as packed records, and how it is put together after a restart.

Each commit carries one outcome blob with a record per lane and partition that changed. A lane that
is caught up and has nothing outstanding is not mentioned: it follows its partition. Now and then a
lane's whole state is written as a row (`StateRow`); blobs before it are then needed no more.
"""

from dataclasses import dataclass, field

import msgspec

from eventpost.core.books import Dropped, Tally


class LockRecord(msgspec.Struct, array_like=True, gc=False):
    """A lock on events that a consumer pulled. `positions` are [start, end) pairs, flat."""

    id: int
    expires_ms: int
    positions: list[int]


class LaneRecord(msgspec.Struct, array_like=True, gc=False):
    """One lane's change in one commit. Positions in `settled` are [start, end) pairs, flat."""

    subscription_id: int
    partition: int
    generation: int
    is_live: bool
    cursor: int
    """The next position to take; of a live lane the partition's routed position counts instead."""
    checkpoint: int
    """Every position below it is settled."""
    offered_ms: int
    settled: list[int]
    tally: list[object]
    locks: "list[LockRecord]" = []
    """Taken since the last record. What became of them is told by `settled`."""


class PartitionRecord(msgspec.Struct, array_like=True, gc=False):
    topic_id: int
    partition: int
    routed: int
    """Every position below it was offered to the live lanes."""
    unmatched: int
    """Events that no filter matched, since the last record."""


class Outcomes(msgspec.Struct, array_like=True):
    partitions: list[PartitionRecord]
    lanes: list[LaneRecord]


class LaneState(msgspec.Struct, array_like=True):
    """A lane as a whole, as of outcome blob `as_of`.

    Below `cursor` exactly the positions in `unsettled` are outstanding, whatever the filter says.
    """

    as_of: int
    generation: int
    is_live: bool
    cursor: int
    offered_ms: int
    unsettled: list[int]
    tally: list[object]
    start: int = 0
    """Where the subscription began; events before it were never offered to it."""
    locks: list[LockRecord] = []
    """Those that are held; an event that is not outstanding has left its lock."""


class PartitionState(msgspec.Struct, array_like=True):
    as_of: int
    routed: int
    unmatched: int


encode = msgspec.msgpack.Encoder().encode
decode_outcomes = msgspec.msgpack.Decoder(Outcomes).decode
decode_lane_state = msgspec.msgpack.Decoder(LaneState).decode
decode_partition_state = msgspec.msgpack.Decoder(PartitionState).decode


def ranges(positions: list[int], from_position: int) -> list[int]:
    """Sorted positions at or above `from_position` as flat [start, end) pairs."""
    positions.sort()
    flat: list[int] = []
    for position in positions:
        if position < from_position:
            continue
        if flat and flat[-1] == position:
            flat[-1] = position + 1
        else:
            flat += (position, position + 1)
    return flat


def unpack_tally(packed: list[object]) -> Tally:
    return msgspec.convert(
        dict(
            zip(
                ("matched", "replayed", "delivered", "dead_lettered", "dropped"),
                packed,
                strict=True,
            )
        ),
        Tally,
    )


@dataclass(slots=True)
class Recovery:
    """Which positions of [checkpoint, end) are outstanding after a restart.

    Below `base` those in `unsettled`; from there on those that the filter matches; never those in
    `settled`.
    """

    end: int
    base: int
    unsettled: set[int]
    settled: set[int]
    lost: list[tuple[int, int, Dropped]] = field(default_factory=list)
    """Stretches of it that could not be read, and why."""

    def is_outstanding(self, position: int, is_match: bool) -> bool:
        if position in self.settled:
            return False
        return position in self.unsettled if position < self.base else is_match


@dataclass(slots=True)
class RestoredLane:
    """A lane's state put together from its row and the blobs after it."""

    as_of: int = 0
    generation: int = 0
    is_live: bool = True
    cursor: int = 0
    checkpoint: int = 0
    offered_ms: int = 0
    base: int = 0
    start: int = 0
    unsettled: set[int] = field(default_factory=set)
    settled: list[tuple[int, int]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    locks: dict[int, LockRecord] = field(default_factory=dict)
    """By id."""
    is_behind: bool = False
    """Its row is older than the last blob that tells of it."""

    @classmethod
    def from_state(cls, state: LaneState) -> "RestoredLane":
        return cls(
            as_of=state.as_of,
            generation=state.generation,
            is_live=state.is_live,
            cursor=state.cursor,
            checkpoint=min(state.unsettled, default=state.cursor),
            offered_ms=state.offered_ms,
            base=state.cursor,
            start=state.start,
            unsettled=set(state.unsettled),
            tally=unpack_tally(state.tally),
            locks={lock.id: lock for lock in state.locks},
        )

    def apply(self, record: LaneRecord) -> None:
        self.is_behind = True
        if record.generation != self.generation:
            # A rewind: what was outstanding or settled before it no longer counts.
            self.generation = record.generation
            self.base = 0
            self.unsettled.clear()
            self.settled.clear()
            self.locks.clear()
        self.is_live = record.is_live
        self.cursor = record.cursor
        self.checkpoint = record.checkpoint
        self.offered_ms = record.offered_ms
        flat = record.settled
        self.settled += zip(flat[::2], flat[1::2], strict=True)
        self.settled = [pair for pair in self.settled if pair[1] > self.checkpoint]
        self.tally.add(unpack_tally(record.tally))
        self.locks.update((lock.id, lock) for lock in record.locks)

    def recovery(self, routed: int) -> Recovery | None:
        """None when nothing was outstanding; what passed a live lane since it was last told of did
        not concern it."""
        if self.checkpoint >= self.cursor:
            return None
        end = routed if self.is_live else self.cursor
        settled: set[int] = set()
        for start, stop in self.settled:
            settled.update(range(max(start, self.checkpoint), stop))
        return Recovery(end, self.base, self.unsettled, settled)


@dataclass(slots=True)
class RestoredPartition:
    as_of: int = 0
    routed: int = 0
    unmatched: int = 0
    is_behind: bool = False
    """See `RestoredLane`."""


@dataclass(slots=True)
class Restored:
    """All lanes by (subscription id, partition) and partitions by (topic id, partition)."""

    lanes: dict[tuple[int, int], RestoredLane]
    partitions: dict[tuple[int, int], RestoredPartition]


def restore(
    lane_states: list[tuple[int, int, bytes]],
    partition_states: list[tuple[int, int, bytes]],
    outcomes: list[tuple[int, bytes]],
) -> Restored:
    """Put the last states and the blobs after them together. Pure; may be called again."""
    lanes = {
        (owner, partition): RestoredLane.from_state(decode_lane_state(state))
        for owner, partition, state in lane_states
    }
    partitions = {}
    for owner, partition, state in partition_states:
        row = decode_partition_state(state)
        partitions[owner, partition] = RestoredPartition(row.as_of, row.routed, row.unmatched)
    for outcome_id, blob in outcomes:
        outcome = decode_outcomes(blob)
        for change in outcome.partitions:
            key = (change.topic_id, change.partition)
            restored = partitions.setdefault(key, RestoredPartition())
            if outcome_id > restored.as_of:
                restored.routed = change.routed
                restored.unmatched += change.unmatched
                restored.is_behind = True
        for record in outcome.lanes:
            lane = lanes.get((record.subscription_id, record.partition))
            if lane is not None and outcome_id > lane.as_of:
                lane.apply(record)
    return Restored(lanes, partitions)
