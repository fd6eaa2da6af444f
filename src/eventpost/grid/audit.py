"""Holds the books of an engine against what its lanes and its ladder have in hand."""

from typing import TYPE_CHECKING

from eventpost.core.books import Tally

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.lane import Lane


def unbalanced(engine: "Engine") -> list[str]:
    """Every subscription whose books do not balance, told. On the grid's thread, at any time."""
    lanes = [lane for each in engine.subscriptions for lane in engine.lanes_of(each)]
    # What a lane held before a restart and has not read back yet is pending, and nowhere.
    told = [text for lane in lanes if lane.recovery is None for text in _of_lane(lane)]
    held = sum(len(lane.outstanding) for lane in lanes)
    if not engine.is_stopped and engine.deliveries_held != held:
        told.append(f"the lanes hold {held} deliveries, counted are {engine.deliveries_held}")
    return told


def _of_lane(lane: "Lane") -> list[str]:
    name = lane.subscription.name
    told = []
    total: Tally = lane.total()
    has = len(lane.outstanding) + lane.ladder_count
    if total.pending != has:
        told.append(
            f"{name}: pending is {total.pending}, but the lane holds {len(lane.outstanding)} and "
            f"the ladder {lane.ladder_count}; {total}"
        )
    numbers = [total.matched, total.replayed, total.delivered, total.pending]
    numbers += [*total.dead_lettered.values(), *total.dropped.values()]
    if min(numbers) < 0:
        told.append(f"{name}: a count is negative; {total}")
    size = sum(len(delivery.event.wire) for delivery in lane.outstanding.values())
    if size != lane.held_bytes:
        told.append(f"{name}: it holds {size} bytes, counted are {lane.held_bytes}")
    if len(lane.rows) > lane.ladder_count:
        told.append(f"{name}: {len(lane.rows)} rows in hand of {lane.ladder_count} on the ladder")
    return told
