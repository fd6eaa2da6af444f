"""What the engine and the store say of one subscription, held against its account."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from eventpost.core.interfaces import DeadLetter, DeadLetterQuery, LadderRow
from eventpost.testing.simulation.ledger import Account, BrokenPromiseError, TopicLog

if TYPE_CHECKING:
    from eventpost.grid.lane import Lane
    from eventpost.testing.simulation.process import Process

EVERYTHING = 1 << 40
FOR_EVER_MS = 1 << 50
SHOWN = 10
"""Positions that a broken promise names."""


def require(condition: object, what: str) -> None:
    """Raises BrokenPromiseError unless `condition` holds."""
    if not condition:
        raise BrokenPromiseError(what)


def recovering(lane: "Lane", log: TopicLog) -> Iterator[int]:
    """Positions that are still to be taken up again after a start."""
    recovery = lane.recovery
    if recovery is None:
        return
    for position in range(lane.cursor, recovery.end):
        is_match = lane.compiled.matches(log.entries[position].event)
        if recovery.is_outstanding(position, is_match):
            yield position


def ladder_rows(process: "Process", lane: "Lane") -> list[LadderRow]:
    """All rows of a lane in the store, those of older generations included."""
    store = process.store
    due = process.ask(store.due, 0, FOR_EVER_MS, EVERYTHING, kind=list)
    parked = process.ask(store.parked, lane.subscription.id, 0, EVERYTHING, kind=list)
    return [row for row in due if row.subscription_id == lane.subscription.id] + parked


def letters_of(process: "Process", subscription_id: int) -> list[DeadLetter]:
    query = DeadLetterQuery(subscription_id=subscription_id, is_replayed=None, limit=1_000_000)
    return process.ask(process.store.dead_letters, query, kind=list)


def check_accounted(
    process: "Process", lane: "Lane", account: Account, log: TopicLog, in_hand: set[int]
) -> None:
    """Acknowledged and lost: none."""
    dead = {letter.position for letter in letters_of(process, lane.subscription.id)}
    taken = {position for position, times in account.taken.items() if times}
    wanted = account.wanted(log, lane.taken)
    to_come = account.to_come(log, lane.taken)
    missing = wanted - taken - dead - in_hand - account.purged - account.given_up - to_come
    require(
        not missing,
        f"{lane.subscription.name}: lost {sorted(missing)[:SHOWN]} ({len(missing)})",
    )


def check_matched(lane: "Lane", account: Account, log: TopicLog) -> None:
    matched = lane.total().matched
    expected = account.wanted_count(log, lane.taken)
    require(
        matched == expected,
        f"{lane.subscription.name}: {matched} matched up to {lane.taken}, should be {expected}",
    )
