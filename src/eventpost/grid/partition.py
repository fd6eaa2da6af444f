"""One partition of a topic: its lanes, how far it was routed, and the router itself."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eventpost.core.events import Event
from eventpost.core.interfaces import Append, StateRow
from eventpost.core.matcher import Matcher
from eventpost.core.subscriptions import Topic
from eventpost.grid.catchup import CatchUp
from eventpost.grid.checkpoint import PartitionRecord, PartitionState, encode

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.lane import Lane


class Partition:
    """All calls on the grid's thread.

    `next` is the position after the last committed event, `routed` the first one not yet offered to
    the live lanes. They differ only while events committed before a restart are being read back.
    """

    __slots__ = (
        "catchup",
        "engine",
        "index",
        "is_dirty",
        "is_moved",
        "is_recovering",
        "is_removed",
        "lagging",
        "lanes",
        "matcher",
        "next",
        "routed",
        "schema",
        "topic",
        "topic_id",
        "unmatched",
        "unmatched_delta",
        "waiting",
    )

    def __init__(self, engine: "Engine", topic: Topic, index: int) -> None:
        self.engine = engine
        self.topic = topic
        self.topic_id = topic.id
        self.index = index
        self.schema = topic.input_schema
        self.next = 0
        self.routed = 0
        self.unmatched = 0
        self.unmatched_delta = 0
        self.waiting: Append | None = None
        """What the open commit group appends to this partition; the journal's."""
        self.is_moved = False
        self.is_dirty = False
        self.is_removed = False
        self.is_recovering = False
        self.lanes: dict[int, Lane] = {}
        self.lagging: dict[Lane, None] = {}
        """In the order in which they began to lag, so that a run can be repeated exactly."""
        self.matcher: Matcher[Lane] = Matcher()
        self.catchup = CatchUp(engine, self)

    def add(self, lane: "Lane") -> None:
        self.lanes[lane.subscription.id] = lane
        self.matcher.add(lane, lane.subscription.filter, self.schema)
        if not lane.is_live:
            self.lagging[lane] = None

    def remove(self, lane: "Lane") -> None:
        del self.lanes[lane.subscription.id]
        self.matcher.remove(lane)
        self.lagging.pop(lane, None)

    def committed(self, first: int, events: list[Event], published_ms: int) -> None:
        """Events are durable at `first`: route them, unless older ones are still being read."""
        self.next = first + len(events)
        if not self.is_recovering:
            self.route(first, events, published_ms)

    def route(self, first: int, events: list[Event], published_ms: int) -> None:
        """Ask the matcher once per event and hand each match to its live lane."""
        match = self.matcher.match
        woken: dict[Lane, None] = {}
        start = 0
        wanting = match(events[0]) if events else ()
        for index in range(1, len(events)):
            lanes = match(events[index])
            if lanes is not wanting:  # the matcher gives events alike the same list
                self._offer(wanting, events[start:index], first + start, published_ms, woken)
                start, wanting = index, lanes
        self._offer(
            wanting, events[start:] if start else events, first + start, published_ms, woken
        )
        self.routed = first + len(events)
        self.engine.journal.moved(self)
        for lane in woken:
            lane.pump()

    def _offer(
        self,
        lanes: "Sequence[Lane]",
        events: list[Event],
        first: int,
        published_ms: int,
        woken: "dict[Lane, None]",
    ) -> None:
        """Events that the same lanes want."""
        if not lanes:
            self.unmatched_delta += len(events)
            return
        size = len(events[0].wire) if len(events) == 1 else sum([len(one.wire) for one in events])
        for lane in lanes:
            if lane.is_live:
                lane.offer_all(events, size, first, published_ms)
                woken[lane] = None

    def record(self) -> PartitionRecord:
        """What changed since the last commit; called once per commit."""
        delta, self.unmatched_delta = self.unmatched_delta, 0
        self.unmatched += delta
        self.is_moved = False
        return PartitionRecord(self.topic_id, self.index, self.routed, delta)

    def state_row(self, as_of: int) -> StateRow | None:
        if self.is_removed:
            return None
        state = encode(PartitionState(as_of, self.routed, self.unmatched))
        return StateRow(kind="partition", owner_id=self.topic_id, partition=self.index, state=state)

    @property
    def needed(self) -> int:
        """The lowest position whose event a lane still needs, the ladder's rows aside."""
        lowest = self.routed
        for lane in self.lanes.values():
            lowest = min(lowest, lane.checkpoint)
        return lowest
