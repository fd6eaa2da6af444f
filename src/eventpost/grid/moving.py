"""Where a lane goes on other than by delivering: paused, rewound, or past what cannot be had.

All calls on the grid's thread. Each keeps the books: what is given up is counted with its reason.
"""

from collections import deque
from typing import TYPE_CHECKING

from eventpost.core.books import Dropped

if TYPE_CHECKING:
    from eventpost.grid.lane import Lane


def give_up(lane: "Lane", below: int) -> None:
    """The store has no room for events before `below`: what waits in hand is dropped, what was
    not read yet is read to be counted, what is under way may end. May be called again."""
    first = lane.checkpoint
    waiting = [delivery for delivery in lane.fresh if delivery.position < below]
    lane.fresh = deque(delivery for delivery in lane.fresh if delivery.position >= below)
    for delivery in waiting:
        lane.drop(delivery, Dropped.RETENTION)
    if lane.is_live:
        is_told = bool(waiting)
    else:
        is_told = bool(waiting) or lane.cursor < below > lane.given_up
        lane.given_up = max(lane.given_up, below)
        lane.partition.catchup.wake(lane)
    if is_told:
        lane.engine.events_lost(lane, first, below, len(waiting))


def lose(lane: "Lane", to: int, reason: Dropped) -> None:
    """The log before `to` cannot be read: go on there. What was taken before a restart is
    counted as dropped; what was never read was never counted as matched."""
    first, lane.cursor = lane.cursor, to
    lane.engine.journal.touch(lane)
    if lane.recovery is None:
        lane.engine.events_lost(lane, first, to, 0)
        return
    lane.recovery.lost.append((first, to, reason))
    if to >= lane.recovery.end:
        end_recovery(lane)


def end_recovery(lane: "Lane") -> None:
    """Everything that it held before a restart is back in hand, but what was lost on the way:
    how many these were is known now."""
    recovery, lane.recovery = lane.recovery, None
    if recovery is None or not recovery.lost:
        return
    first, _, reason = recovery.lost[0]
    count = max(0, lane.total().pending - lane.ladder_count - len(lane.outstanding))
    lane.count_dropped(reason, count)
    lane.engine.events_lost(lane, first, recovery.lost[-1][1], count)


def pause(lane: "Lane", *, is_paused: bool) -> None:
    """Stop or go on sending; attempts in flight end as they may."""
    lane.is_paused = is_paused
    if is_paused and lane.is_live:
        lane.lag(lane.partition.routed)
    if not is_paused:
        lane.has_parked = lane.has_parked or lane.ladder_count > 0
        lane.rate_at_ms = lane.engine.clock.now_ms()
        lane.pump()


def rewind(lane: "Lane", position: int) -> None:
    """Go on from `position`; what is outstanding is given up, counted as superseded,
    or as skipped when the way leads forward.

    What was in flight may still arrive. Rows on the ladder die by the generation.
    """
    is_forward = position >= lane.taken
    reason = Dropped.SKIPPED if is_forward else Dropped.SUPERSEDED
    lane.count_dropped(reason, lane.total().pending)
    for delivery in list(lane.rows.values()):
        lane.release_row(delivery)
        assert delivery.row is not None
        lane.engine.dead_letters.put_back(delivery.row)
    lane.rows.clear()
    lane.retries.clear()
    lane.fresh.clear()
    lane.forget_locks()
    lane.engine.deliveries_held -= len(lane.outstanding)
    lane.outstanding.clear()
    lane.held_bytes = 0
    lane.settled.clear()
    lane.has_parked = lane.has_parked or lane.ladder_count > 0
    lane.ladder_count = 0
    lane.recovery = None
    lane.given_up = 0
    lane.generation += 1
    lane.start_position = min(lane.start_position, position)
    lane.offered_ms = lane.engine.clock.now_ms()
    lane.lag(min(position, lane.partition.routed))
    lane.pump()
