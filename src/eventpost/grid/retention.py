"""Which events may go: old ones that nobody needs, and earlier when the store fills up.

When everything kept is needed and it is too much, the oldest events are given up all the same, and
whoever waits for them counts that as dropped.
"""

from math import ceil
from typing import TYPE_CHECKING

from eventpost.core.interfaces import ReadFailed, Timer, Trim, Usage
from eventpost.grid import moving

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.partition import Partition

FULL_AGAIN = 0.95
"""Part of `store_bytes_max` below which publishing is taken up again after it was full."""
LOOK_AGAIN = 0.05
"""Part of `store_bytes_max` by which the store may have grown, at least, before an early look."""
ROOM_S = 1.0
"""After a full store has let go of something it is looked again so soon whether it has room."""
GIVEN_UP = 0.1
"""Part of the fullest partition's events that is given up at once."""

Positions = dict[tuple[int, int], int]
"""By (topic id, partition)."""


class Retention:
    """Looks now and then, and early when much was published since; trims in the store's slices.
    All calls on the grid's thread."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._given_up: Positions = {}
        self._timer: Timer | None = None
        """None while a look is under way."""
        self._grown = 0
        """Bytes published since the last look began."""
        self.usage: Usage | None = None

    def start(self) -> None:
        self._look()

    def grew(self, size: int) -> None:
        """So many bytes were published. Looking at times alone would notice a full disk too late:
        a small one is filled between two looks."""
        self._grown += size
        # A full store is looked at in its time: what comes to be durable now was accepted before.
        if self.usage is None or self._timer is None or self._engine.is_full:
            return
        bytes_max = self._engine.limits.store_bytes_max
        room = bytes_max - self.usage.bytes_used
        if self._grown >= max(room / 2, bytes_max * LOOK_AGAIN):
            self._timer.cancel()
            self._look()

    def _again(self, delay_s: float) -> None:
        if not self._engine.is_stopped:
            self._timer = self._engine.clock.call_later(delay_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._engine.is_stopped:
            self._grown = 0
            self._engine.store.usage(self._measured)

    def _measured(self, usage: Usage | ReadFailed) -> None:
        if isinstance(usage, ReadFailed) or self._engine.is_stopped:
            self._again(self._engine.limits.retention_interval_s)
            return
        self.usage = usage
        was_full = self._engine.is_full
        bytes_max = self._engine.limits.store_bytes_max
        if usage.bytes_used >= bytes_max:
            self._engine.is_full = True
        elif usage.bytes_used < bytes_max * FULL_AGAIN:
            self._engine.is_full = False
        # What lanes need is taken before the ladder's floor is: what moves to the ladder in between
        # was needed by a lane.
        needed = self._needed()
        self._engine.store.ladder_floor(lambda floor: self._trim(usage, needed, floor, was_full))

    def _needed(self) -> Positions:
        """The lowest positions that lanes need, and rows that are not on the ladder yet."""
        needed = {key: partition.needed for key, partition in self._engine.partitions.items()}
        for row in self._engine.journal.rows_under_way():
            key = (row.topic_id, row.partition)
            if not row.dead_letter_id and key in needed:
                needed[key] = min(needed[key], row.position)
        return needed

    # --- what nobody needs ------------------------------------------------------------------------

    def _trim(
        self, usage: Usage, needed: Positions, floor: Positions | ReadFailed, was_full: bool
    ) -> None:
        limits = self._engine.limits
        if isinstance(floor, ReadFailed) or self._engine.is_stopped:
            self._again(limits.retention_interval_s)
            return
        now_ms = self._engine.clock.now_ms()
        self._engine.journal.open.attempts_before_ms = max(0, now_ms - limits.attempts_kept_ms)
        self._engine.journal.open.taken_before_ms = max(0, now_ms - limits.taken_kept_ms)
        interval_s = limits.retention_interval_s
        is_pressed = usage.bytes_used > limits.store_bytes_max * limits.store_bytes_trim
        is_any = False
        for key, partition in list(self._engine.partitions.items()):
            # Rows that wait for what was given up are dropped when they fall due.
            held = max(floor.get(key, partition.next), self._given_up.get(key, 0))
            below = min(needed.get(key, 0), held)
            if below <= usage.first_positions.get(key, below):
                continue
            is_any = True
            if is_pressed:
                self._drop(partition, below)
            else:
                self._age(partition, below, now_ms - limits.retention_ms)
        is_full = self._engine.is_full
        self._again(min(ROOM_S, interval_s) if is_full and is_any else interval_s)
        # For one interval publishing is refused and deliveries may make the room.
        if is_full and was_full and not is_any:
            self._give_up(usage)

    def _age(self, partition: "Partition", below: int, before_ms: int) -> None:
        def found(position: int | ReadFailed) -> None:
            if not isinstance(position, ReadFailed) and not self._engine.is_stopped:
                self._drop(partition, min(below, position))

        self._engine.store.position_at(partition.topic_id, partition.index, before_ms, found)

    def _drop(self, partition: "Partition", below: int) -> None:
        journal = self._engine.journal
        # A lane may have been moved back, or made, since the needs were taken.
        below = min(below, partition.needed)
        for lane in partition.lagging:
            journal.touch(lane)  # or a restart would look for what it passed over without a note
        journal.open.trims.append(Trim(partition.topic_id, partition.index, below))
        journal.settled(0)

    # --- what is needed, and too much -------------------------------------------------------------

    def _give_up(self, usage: Usage) -> None:
        """Give up the oldest events of the partition that keeps most. They go with a later look,
        once the lanes have counted what they lose."""
        if usage.event_count <= usage.dead_letter_count:
            return  # dead letters fill the store: dropping deliveries would not make the room
        kept = {
            key: partition.next - usage.first_positions[key]
            for key, partition in self._engine.partitions.items()
            if key in usage.first_positions
        }
        if not kept:
            return
        fullest = max(kept, key=lambda key: kept[key])
        partition = self._engine.partitions[fullest]
        below = usage.first_positions[fullest] + ceil(kept[fullest] * GIVEN_UP)
        self._given_up[fullest] = below
        for lane in list(partition.lanes.values()):
            moving.give_up(lane, below)
