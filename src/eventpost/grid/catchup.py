"""Lanes that lag read the log together: one reader per partition, the lowest position first.

A lane joins when it has room and leaves when it is full; at the end of the log it is handed back to
the router. Stretches that were just committed or just read are taken from memory. After a restart
the same reader brings the router itself up to the end of the log.
"""

from functools import partial
from typing import TYPE_CHECKING

from eventpost.core.books import Dropped
from eventpost.core.events import Event
from eventpost.core.interfaces import ReadFailed, Segment
from eventpost.formats import wire
from eventpost.grid import moving
from eventpost.grid.tail import Stretch

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.lane import Lane
    from eventpost.grid.partition import Partition

ALONE_MAX = 3
"""Up to so many lanes ask their own filters; more share the matcher."""
READ_AGAIN_S = 1.0
POSITIONS_UNNOTED_MAX = 8_192


class CatchUp:
    """All calls on the grid's thread. At most one read of the partition is under way."""

    def __init__(self, engine: "Engine", partition: "Partition") -> None:
        self._engine = engine
        self._partition = partition
        self._ready: dict[Lane, None] = {}
        self._is_turning = False
        self._is_reading = False

    def wake(self, lane: "Lane | None" = None) -> None:
        """The lane has room (None: the router has events to read back)."""
        if lane is not None:
            self._ready[lane] = None
        if not self._is_turning and not self._is_reading:
            self._is_turning = True
            self._engine.clock.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_turning = False
        partition = self._partition
        if partition.is_removed or self._engine.is_stopped:
            return
        if partition.is_recovering:
            self._turn_router()
            return
        lagging = partition.lagging
        self._ready = {lane: None for lane in self._ready if lane in lagging and lane.may_read}
        if not self._ready:
            return
        position = min(lane.cursor for lane in self._ready)
        if position >= partition.routed:
            self._rejoin(partition.routed)
            return
        stretch = self._engine.tail.get(partition.topic_id, partition.index, position)
        if stretch is None:
            self._read(position)
            return
        self._feed(stretch, position)
        if self._ready:
            self.wake()

    def _turn_router(self) -> None:
        partition = self._partition
        if partition.routed >= partition.next:
            partition.is_recovering = False
            for lane in list(partition.lagging):
                if lane.room > 0:
                    self.wake(lane)
            return
        key = (partition.topic_id, partition.index, partition.routed)
        stretch = self._engine.tail.get(*key)
        if stretch is None:
            self._read(partition.routed)
            return
        offset = partition.routed - stretch.first
        partition.route(partition.routed, stretch.events[offset:], stretch.published_ms)
        self.wake()

    # --- reading ----------------------------------------------------------------------------------

    def _read(self, position: int) -> None:
        partition = self._partition
        self._is_reading = True
        self._engine.store.read(
            partition.topic_id,
            partition.index,
            position,
            self._engine.limits.catchup_bytes,
            partial(self._was_read, position, partition.next),
        )

    def _was_read(self, position: int, end: int, result: list[Segment] | ReadFailed) -> None:
        self._is_reading = False
        partition = self._partition
        if partition.is_removed or self._engine.is_stopped:
            return
        if isinstance(result, ReadFailed):
            self._engine.read_failed(result)
            if result.damage is not None:
                self._skip(position, result.damage.end, Dropped.DAMAGED)
                self.wake()
            else:
                self._engine.clock.call_later(READ_AGAIN_S, self.wake)
            return
        if not result or result[0].first > position:
            to = result[0].first if result else end
            self._skip(position, to, Dropped.RETENTION)
        # The first one last: it is what is read next, and what was added longest ago goes first.
        for segment in reversed(result):
            stretch = self.stretch(segment)
            self._engine.tail.add(partition.topic_id, partition.index, stretch)
        self.wake()

    def stretch(self, segment: Segment) -> Stretch:
        """Stored bytes as events again."""
        schema = self._partition.schema
        traces = segment.traces or [None] * len(segment.wires)
        parse = wire.parse
        events = [
            parse(schema, kept, trace) for kept, trace in zip(segment.wires, traces, strict=True)
        ]
        return Stretch(segment.first, segment.published_ms, events, sum(map(len, segment.wires)))

    def _skip(self, position: int, to: int, reason: Dropped) -> None:
        """Events from `position` on are gone or unreadable: whoever has come there goes on behind
        them. Lanes that have not may still read what is before."""
        partition = self._partition
        if partition.is_recovering:
            for lane in partition.lanes.values():
                if lane.is_live:
                    self._engine.events_lost(lane, position, to, 0)
            partition.routed = to
            self._engine.journal.moved(partition)
            return
        for lane in list(partition.lagging):
            if position <= lane.cursor < to:
                moving.lose(lane, to, reason)

    # --- feeding ----------------------------------------------------------------------------------

    def _feed(self, stretch: Stretch, position: int) -> None:
        members = [lane for lane in self._ready if stretch.first <= lane.cursor < stretch.end]
        turn_end = min(stretch.end, position + self._engine.limits.catchup_turn_events)
        alone = [lane for lane in members if lane.recovery is not None]
        shared = [lane for lane in members if lane.recovery is None]
        if len(shared) <= ALONE_MAX:
            alone, shared = members, []
        for lane in alone:
            self._feed_one(lane, stretch, turn_end)
        if shared:
            self._feed_shared(shared, stretch, position, turn_end)
        for lane in members:
            lane.pump()

    def _feed_one(self, lane: "Lane", stretch: Stretch, turn_end: int) -> None:
        if lane.reads_plainly:
            events, first = stretch.events, stretch.first
            self._moved(lane, lane.read_on(events, first, stretch.published_ms, turn_end))
            return
        matches = lane.compiled.matches
        position = lane.cursor
        while position < turn_end:
            event = stretch.events[position - stretch.first]
            if not self._give(lane, event, position, stretch.published_ms, matches(event)):
                break
            position += 1
        self._moved(lane, position)

    def _give(
        self, lane: "Lane", event: Event, position: int, published_ms: int, is_match: bool
    ) -> bool:
        """Hand one event over. False: the lane is full and stays where it is."""
        recovery = lane.recovery
        if recovery is not None:
            if position < recovery.end:
                if recovery.is_outstanding(position, is_match):
                    if not lane.has_room:
                        return False
                    lane.take(event, position, published_ms)
                return True
            moving.end_recovery(lane)
        return not is_match or lane.read(event, position, published_ms)

    def _feed_shared(
        self, lanes: list["Lane"], stretch: Stretch, position: int, turn_end: int
    ) -> None:
        active = dict.fromkeys(lanes)
        match = self._partition.matcher.match
        while position < turn_end and active:
            event = stretch.events[position - stretch.first]
            for lane in match(event):
                if (
                    lane in active
                    and lane.cursor <= position
                    and not lane.read(event, position, stretch.published_ms)
                ):
                    del active[lane]
                    self._moved(lane, position)
            position += 1
        for lane in active:
            self._moved(lane, max(lane.cursor, position))

    def _moved(self, lane: "Lane", position: int) -> None:
        """A thousand lanes that pass over what they do not want cost no record each, but one now
        and then: a restart reads so many events again at most."""
        is_noted = position // POSITIONS_UNNOTED_MAX != lane.cursor // POSITIONS_UNNOTED_MAX
        lane.cursor = position
        if lane.recovery is not None and position >= lane.recovery.end:
            moving.end_recovery(lane)
            is_noted = True
        if is_noted:
            self._engine.journal.touch(lane)
        if position >= self._partition.routed:
            self._rejoin_lane(lane)
        elif not lane.may_read:
            self._ready.pop(lane, None)

    def _rejoin(self, routed: int) -> None:
        for lane in list(self._ready):
            if lane.cursor >= routed:
                self._rejoin_lane(lane)
        if self._ready:
            self.wake()

    def _rejoin_lane(self, lane: "Lane") -> None:
        """The lane has read the whole log: the router serves it again."""
        self._ready.pop(lane, None)
        if lane.is_paused:
            return
        moving.end_recovery(lane)
        lane.is_live = True
        self._partition.lagging.pop(lane, None)
        self._engine.journal.touch(lane)
