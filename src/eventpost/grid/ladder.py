"""The ladder: failed deliveries wait here for their next attempt, as rows of the store.

Rows are read by due time from a low-water mark on, a page at a time, with the bytes of their
events. A row that cannot run when it falls due (its lane is paused or full, its breaker open) is
parked: it leaves the due index and is fetched per lane later, so that it holds up nobody.
"""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from eventpost.core.books import Dropped
from eventpost.core.events import Delivery, Event
from eventpost.core.interfaces import (
    Damage,
    DeadLetter,
    DeadLetterQuery,
    LadderRow,
    ReadFailed,
    Segment,
    Timer,
)
from eventpost.formats import wire
from eventpost.grid import failing

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.lane import Lane

Key = tuple[int, int, int, int, int]
"""(subscription id, partition, generation, position, dead letter id): one row in hand at a time."""

POLL_AGAIN_S = 1.0
"""After a read that failed."""
NEVER_MS = 1 << 62


def _key(row: LadderRow) -> Key:
    return (
        row.subscription_id,
        row.partition,
        row.generation,
        row.position,
        row.dead_letter_id,
    )


class Ladder:
    """All calls on the grid's thread."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._claimed: dict[Key, LadderRow] = {}
        self._claimed_due: Counter[int] = Counter()
        """How many of these were due at a time."""
        self._low_water_ms = 0
        self._arrived_ms = NEVER_MS
        """The earliest due time of a row that arrived while due rows are being read."""
        self._wake_at_ms = 0
        self._timer: Timer | None = None
        self._is_polling = False
        self._is_poll_wanted = False
        self._fetching: set[Lane] = set()

    # --- due rows ---------------------------------------------------------------------------------

    def committed(self, rows: list[LadderRow]) -> None:
        """Rows are on disk now: the mark must not be past them, the alarm not after them, and
        their lanes know of those that are parked."""
        parked: dict[Lane, None] = {}
        for row in rows:
            if not row.is_parked:
                self._lower(row.due_ms)
                self._alarm(row.due_ms)
            elif (lane := self._engine.lane(row.subscription_id, row.partition)) is not None:
                parked[lane] = None
        for lane in parked:
            lane.parked_commits += 1
            lane.has_parked = True
            lane.pump()

    def _lower(self, due_ms: int) -> None:
        """The mark, and where the answer under way may put it."""
        self._low_water_ms = min(self._low_water_ms, due_ms)
        self._arrived_ms = min(self._arrived_ms, due_ms)

    def start(self) -> None:
        """Look for due rows now; called once after the start."""
        self._poll()

    def _alarm(self, at_ms: int) -> None:
        if self._timer is not None:
            if at_ms >= self._wake_at_ms:
                return
            self._timer.cancel()
        self._wake_at_ms = at_ms
        delay_s = max(0, at_ms - self._engine.clock.now_ms()) / 1000
        self._timer = self._engine.clock.call_later(delay_s, self._rung)

    def _rung(self) -> None:
        self._timer = None
        self._poll()

    def _poll(self) -> None:
        if self._engine.is_stopped:
            return
        if self._is_polling:
            self._is_poll_wanted = True  # the poll under way may have begun too early to see it
            return
        self._is_polling = True
        self._is_poll_wanted = False
        self._arrived_ms = NEVER_MS
        mark_ms = self._low_water_ms
        departed = self._engine.journal.departed
        known = self._claimed_due[mark_ms] + departed.due_count(mark_ms)
        limit = self._engine.limits.ladder_page + known
        read = departed.read_started()
        until_ms = self._engine.clock.now_ms()
        self._engine.store.due(
            mark_ms, until_ms, limit, lambda rows: self._polled(read, until_ms, limit, rows)
        )

    def _polled(
        self, read: int, until_ms: int, limit: int, rows: list[LadderRow] | ReadFailed
    ) -> None:
        self._is_polling = False
        self._on_polled(until_ms, limit, rows)
        self._engine.journal.departed.read_finished(read)
        if self._is_poll_wanted:
            self._poll()

    def _on_polled(self, until_ms: int, limit: int, rows: list[LadderRow] | ReadFailed) -> None:
        if self._engine.is_stopped:
            return
        if isinstance(rows, ReadFailed):
            self._engine.read_failed(rows)
            self._alarm(self._engine.clock.now_ms() + int(POLL_AGAIN_S * 1000))
            return
        due = [row for row in rows if row.due_ms <= until_ms]
        later = [row for row in rows if row.due_ms > until_ms]
        if due:
            self._low_water_ms = min(due[-1].due_ms, self._arrived_ms)
        runnable = [row for row in due if self._admit(row)]
        if runnable:
            self._load(runnable)
        if later:
            self._alarm(later[0].due_ms)
        elif len(due) >= limit:
            self._alarm(until_ms)

    def _admit(self, row: LadderRow) -> bool:
        """Claim a due row for its lane, or park it, or take it off when it is dead."""
        if _key(row) in self._claimed or row in self._engine.journal.departed:
            return False
        lane = self._engine.lane(row.subscription_id, row.partition)
        if lane is None or row.generation != lane.generation:
            self._forget(row)
            return False
        if lane.retry_room <= 0 and not self._is_expired(lane, row):
            self._park(row)
            return False
        self.claim(lane, row)
        return True

    def _is_expired(self, lane: "Lane", row: LadderRow) -> bool:
        return self._engine.is_expired(lane.subscription.retry, row.offered_ms)

    def _park(self, row: LadderRow) -> None:
        if not row.is_parked:
            journal = self._engine.journal
            journal.remove_row(row)
            journal.put_row(msgspec.structs.replace(row, is_parked=True))

    def claim(self, lane: "Lane", row: LadderRow) -> None:
        """The row is in hand; a poll that meets it passes over it."""
        self._claimed[_key(row)] = row
        self._claimed_due[row.due_ms] += 1
        lane.claimed += 1

    def release(self, row: LadderRow) -> None:
        claimed = self._claimed.pop(_key(row), None)
        if claimed is not None:
            self._claimed_due[claimed.due_ms] -= 1
            if not self._claimed_due[claimed.due_ms]:
                del self._claimed_due[claimed.due_ms]
            lane = self._engine.lane(row.subscription_id, row.partition)
            if lane is not None:
                lane.claimed -= 1

    def drop(self, lane: "Lane") -> None:
        """The lane is removed, and its rows with it."""
        if lane.claimed:
            of_lane = (lane.subscription.id, lane.partition.index)
            for key, row in list(self._claimed.items()):
                if key[:2] == of_lane:
                    self.release(row)

    @property
    def claimed_count(self) -> int:
        """Rows in hand, or about to be."""
        return len(self._claimed)

    # --- parked rows ------------------------------------------------------------------------------

    def fetch_parked(self, lane: "Lane") -> None:
        """Bring parked rows of a lane that has room for retries again."""
        self._fetch(lane, max(1, lane.retry_room))

    def expire_parked(self, lane: "Lane") -> None:
        """While a breaker is open: rows whose time to live ran out become dead letters."""
        self._fetch(lane, self._engine.limits.ladder_page)

    def _fetch(self, lane: "Lane", count: int) -> None:
        """Read `count` parked rows beyond those that are known already."""
        if lane in self._fetching:
            return
        self._fetching.add(lane)
        departed = self._engine.journal.departed
        limit = count + lane.claimed
        limit += departed.parked_count(lane.subscription.id, lane.partition.index)
        read = departed.read_started()
        parked_commits = lane.parked_commits

        def is_all(count: int) -> bool:
            return count < limit and lane.parked_commits == parked_commits

        self._engine.store.parked(
            lane.subscription.id,
            lane.partition.index,
            limit,
            lambda rows: self._fetched(lane, read, rows, is_all),
        )

    def _fetched(
        self,
        lane: "Lane",
        read: int,
        rows: list[LadderRow] | ReadFailed,
        is_all: Callable[[int], bool],
    ) -> None:
        self._fetching.discard(lane)
        self._on_fetched(lane, rows, is_all)
        self._engine.journal.departed.read_finished(read)

    def _on_fetched(
        self, lane: "Lane", rows: list[LadderRow] | ReadFailed, is_all: Callable[[int], bool]
    ) -> None:
        if self._engine.is_stopped or lane.is_removed:
            return
        if isinstance(rows, ReadFailed):
            self._engine.read_failed(rows)
            self._engine.clock.call_later(POLL_AGAIN_S, lane.pump)
            return
        lane.has_parked = not is_all(len(rows))
        room = lane.retry_room
        runnable = []
        for row in rows:
            if _key(row) in self._claimed or row in self._engine.journal.departed:
                continue
            if row.generation != lane.generation:
                self._forget(row)
            elif self._is_expired(lane, row) or room > 0:
                room -= 1
                self.claim(lane, row)
                runnable.append(row)
            else:
                lane.has_parked = True
        if runnable:
            self._load(runnable)
        elif lane.has_parked and lane.retry_room:
            # The read showed rows in vain, and may not have shown others: those that came while it
            # was under way, or lay beyond its limit. When nothing is in hand, nobody else asks.
            self._engine.clock.call_soon(lane.pump)

    # --- their events -----------------------------------------------------------------------------

    def _load(self, rows: list[LadderRow]) -> None:
        """Read the events of claimed rows and hand them to their lanes."""
        kept = [row for row in rows if not row.dead_letter_id]
        replays = [row for row in rows if row.dead_letter_id]
        if kept:
            keys = sorted({(row.topic_id, row.partition, row.position) for row in kept})
            self._engine.store.events(keys, lambda found: self._loaded(kept, found))
        if replays:
            query = DeadLetterQuery(
                ids=[row.dead_letter_id for row in replays], is_replayed=None, limit=len(replays)
            )
            self._engine.store.dead_letters(query, lambda found: self._replayed(replays, found))

    def _loaded(
        self, rows: list[LadderRow], found: dict[tuple[int, int, int], Segment] | ReadFailed
    ) -> None:
        if self._was_lost(rows, found):
            return
        assert not isinstance(found, ReadFailed)
        lanes: dict[Lane, None] = {}
        for row in rows:
            segment = found.get((row.topic_id, row.partition, row.position))
            lane = self._engine.lane(row.subscription_id, row.partition)
            if lane is None or row.generation != lane.generation:
                self._forget(row)
                continue
            if segment is None:
                self._lose(lane, row, Dropped.RETENTION)
                continue
            index = row.position - segment.first
            trace = segment.traces[index] if segment.traces else None
            event = wire.parse(lane.partition.schema, segment.wires[index], trace)
            self._hand_over(lane, row, event)
            lanes[lane] = None
        for lane in lanes:
            lane.pump()

    def _replayed(self, rows: list[LadderRow], found: list[DeadLetter] | ReadFailed) -> None:
        if self._was_lost(rows, found):
            return
        assert not isinstance(found, ReadFailed)
        letters = {letter.id: letter for letter in found}
        lanes: dict[Lane, None] = {}
        for row in rows:
            letter = letters.get(row.dead_letter_id)
            lane = self._engine.lane(row.subscription_id, row.partition)
            if lane is None or row.generation != lane.generation:
                self._forget(row)
            elif letter is None:
                self._lose(lane, row, Dropped.RETENTION)
            else:
                event = Event(
                    letter.event_id, letter.event_type, letter.subject, letter.wire, letter.trace
                )
                self._hand_over(lane, row, event)
                lanes[lane] = None
        for lane in lanes:
            lane.pump()

    def _hand_over(self, lane: "Lane", row: LadderRow, event: Event) -> None:
        delivery = Delivery(event, row.position, row.published_ms, row.offered_ms)
        lane.hold_row(delivery, row)
        if self._is_expired(lane, row):
            lane.retries.pop()
            failing.expire(lane, delivery)

    def _was_lost(self, rows: list[LadderRow], found: object) -> bool:
        """A read that failed: the rows stay on the ladder and are met again."""
        if self._engine.is_stopped:
            return True
        if not isinstance(found, ReadFailed):
            return False
        self._engine.read_failed(found)
        parked: dict[Lane, None] = {}
        for row in rows:
            lane = self._engine.lane(row.subscription_id, row.partition)
            if lane is not None and _is_damaged(row, found.damage):
                self._lose(lane, row, Dropped.DAMAGED)
                continue
            self.release(row)
            self._lower(row.due_ms)
            if lane is not None and row.is_parked:
                lane.has_parked = True
                parked[lane] = None
        for lane in parked:
            self._engine.clock.call_later(POLL_AGAIN_S, lane.pump)
        self._alarm(self._engine.clock.now_ms() + int(POLL_AGAIN_S * 1000))
        return True

    def _forget(self, row: LadderRow) -> None:
        """Take a row off that a rewind or a removal superseded; its drop was counted then."""
        self.release(row)
        self._engine.journal.remove_row(row)
        self._engine.dead_letters.put_back(row)
        self._engine.journal.settled(0)

    def _lose(self, lane: "Lane", row: LadderRow, reason: Dropped) -> None:
        self.release(row)
        self._engine.journal.remove_row(row)
        self._engine.journal.settled(0)
        lane.ladder_count -= 1
        lane.count_dropped(reason, 1)
        self._engine.events_lost(lane, row.position, row.position + 1, 1)


def _is_damaged(row: LadderRow, damage: Damage | None) -> bool:
    """Whether the row's event is among those that cannot be read any more."""
    return (
        damage is not None
        and not row.dead_letter_id
        and (row.topic_id, row.partition) == (damage.topic_id, damage.partition)
        and damage.first <= row.position < damage.end
    )
