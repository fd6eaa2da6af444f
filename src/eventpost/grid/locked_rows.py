"""Settling of locks that are rows of the ladder: asked of the store, one request after the other.

Nothing is kept in memory for them, so that a million locks cost none. Every request waits for the
commit of what came before; what it finds then is what is on disk, but for rows that the ladder took
off meanwhile because they fell due.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from eventpost.core.events import Event
from eventpost.core.interfaces import DeadLetter, DeadLetterQuery, LadderRow, ReadFailed, Segment
from eventpost.formats import wire
from eventpost.grid.settling import Action, Key, Result, Settling

if TYPE_CHECKING:
    from eventpost.grid.pull import PullLane

Rows = dict[int, LadderRow]
"""By the index of their key."""
Events = dict[tuple[int, int], Event]
"""By position and dead letter id."""


class LockedRows:
    """Of one lane. All calls on the grid's thread."""

    def __init__(self, lane: "PullLane") -> None:
        self._lane = lane
        self._waiting: deque[Settling] = deque()

    def ask(self, settling: Settling) -> None:
        """Settle the `others` of a request; answers it."""
        self._waiting.append(settling)
        if len(self._waiting) == 1:
            self._begin()

    def _begin(self) -> None:
        self._lane.engine.journal.wait(self._look)

    def _look(self, is_durable: bool) -> None:
        lane, settling = self._lane, self._waiting[0]
        if not is_durable or lane.is_removed:
            self._refuse_all()
            return
        locks = sorted({settling.keys[index].lock for index in settling.others})
        read = lane.engine.journal.departed.read_started()
        lane.engine.store.locked(
            lane.subscription.id,
            lane.partition.index,
            locks,
            partial(self._found, settling, read),
        )

    def _found(self, settling: Settling, read: int, rows: list[LadderRow] | ReadFailed) -> None:
        lane = self._lane
        departed = lane.engine.journal.departed
        if lane.is_removed:
            self._refuse_all()
        elif isinstance(rows, ReadFailed):
            lane.engine.read_failed(rows)
            self._fail(settling, settling.others)
            self._answer(settling)
        else:
            self._settle(settling, self._held(settling, rows))
        departed.read_finished(read)

    def _held(self, settling: Settling, rows: list[LadderRow]) -> Rows:
        """Those of the rows that are held still, by the request's keys, each once."""
        engine = self._lane.engine
        now_ms = engine.clock.now_ms()
        by_key = {
            Key(row.lock, row.position, row.dead_letter_id): row
            for row in rows
            if row.generation == self._lane.generation
            and row.due_ms > now_ms
            and row not in engine.journal.departed
        }
        held = {}
        for index in settling.others:
            row = by_key.pop(settling.keys[index], None)
            if row is not None:
                held[index] = row
        return held

    def _settle(self, settling: Settling, held: Rows) -> None:
        lane = self._lane
        now_ms = lane.engine.clock.now_ms()
        if settling.action is Action.REJECT and held:
            for row in held.values():
                lane.engine.ladder.claim(lane, row)  # it must not fall due while its event is read
            read_events(lane, list(held.values()), partial(self._reject, settling, held))
            return
        for index, row in held.items():
            settling.results[index] = Result.DONE
            match settling.action:
                case Action.ACKNOWLEDGE:
                    lane.acknowledge_row(row)
                case Action.RELEASE:
                    is_spent = row.attempts >= lane.count_max
                    due_ms = now_ms if is_spent else now_ms + settling.delay_ms
                    lane.release_row_lock(row, due_ms)
                case _:
                    lane.renew_row_lock(row, now_ms + lane.lock_ms)
        self._answer(settling)

    def _reject(self, settling: Settling, held: Rows, events: Events | ReadFailed) -> None:
        lane = self._lane
        if lane.is_removed:
            self._refuse_all()
            return
        if isinstance(events, ReadFailed):
            lane.engine.read_failed(events)
            events = {}
        for index, row in held.items():
            event = events.get((row.position, row.dead_letter_id))
            is_held = row.generation == lane.generation  # else a rewind superseded it meanwhile
            if is_held and event is not None:
                settling.results[index] = Result.DONE
                lane.reject_row(row, event)
                continue
            lane.engine.ladder.release(row)
            lane.engine.ladder.committed([row])  # it may have fallen due
            if is_held:
                self._fail(settling, [index])
        self._answer(settling)

    def _fail(self, settling: Settling, indices: list[int]) -> None:
        for index in indices:
            settling.results[index] = Result.FAILED

    def _answer(self, settling: Settling) -> None:
        """With the commit that holds what was done; then the next one."""
        lane = self._lane
        self._waiting.popleft()
        lane.engine.journal.wait(partial(lane.settled_durably, settling))
        lane.pump()
        if self._waiting:
            self._begin()

    def _refuse_all(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for settling in waiting:
            self._lane.settled_durably(settling, is_durable=False)


def read_events(
    lane: "PullLane", rows: list[LadderRow], done: Callable[[Events | ReadFailed], None]
) -> None:
    """The events of rows; those that the store has no more are missing."""
    engine = lane.engine
    found: Events = {}

    def of_log(segments: dict[tuple[int, int, int], Segment] | ReadFailed) -> None:
        if isinstance(segments, ReadFailed):
            done(segments)
            return
        for (_, _, position), segment in segments.items():
            index = position - segment.first
            trace = segment.traces[index] if segment.traces else None
            found[position, 0] = wire.parse(lane.partition.schema, segment.wires[index], trace)
        ids = [row.dead_letter_id for row in rows if row.dead_letter_id]
        if not ids:
            done(found)
            return
        query = DeadLetterQuery(ids=ids, is_replayed=None, limit=len(ids))
        engine.store.dead_letters(query, of_letters)

    def of_letters(letters: list[DeadLetter] | ReadFailed) -> None:
        if isinstance(letters, ReadFailed):
            done(letters)
            return
        for each in letters:
            event = Event(each.event_id, each.event_type, each.subject, each.wire, each.trace)
            found[each.position, each.id] = event
        done(found)

    keys = sorted(
        {(row.topic_id, row.partition, row.position) for row in rows if not row.dead_letter_id}
    )
    engine.store.events(keys, of_log)
