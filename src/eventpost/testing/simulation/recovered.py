"""What must hold whenever a process has recovered: nothing that was acknowledged is missing."""

from collections import Counter
from typing import TYPE_CHECKING

from eventpost.core.interfaces import LadderRow, Recovered
from eventpost.formats import wire
from eventpost.testing.simulation.books import (
    EVERYTHING,
    SHOWN,
    check_accounted,
    check_matched,
    ladder_rows,
    recovering,
    require,
)
from eventpost.testing.simulation.ledger import Account

if TYPE_CHECKING:
    from eventpost.testing.simulation.process import Process
    from eventpost.testing.simulation.world import World


def check_recovered(world: "World", process: "Process", recovered: Recovered) -> None:
    """Nothing that was acknowledged is missing, in the log, the catalogue, the lanes, the books."""
    _check_topics(world, recovered)
    for topic_id in recovered.next_positions:
        _read_log(world, process, topic_id[0], recovered.next_positions[topic_id])
    lost = [
        entry.event.id
        for entry in world.ledger.by_id.values()
        if entry.is_acknowledged
        and entry.position is None
        and not world.ledger.logs[entry.topic_id].is_removal_asked
    ]
    require(not lost, f"acknowledged and lost: {lost[:SHOWN]} ({len(lost)})")
    _check_subscriptions(world, process, recovered)
    for subscription_id, account in world.ledger.accounts.items():
        if not account.is_removed:
            _check_lane(world, process, subscription_id, account)


def _check_topics(world: "World", recovered: Recovered) -> None:
    found = {topic.id: topic for topic in recovered.topics}
    for topic_id, log in list(world.ledger.logs.items()):
        if topic_id in found:
            require(not log.is_removed, f"topic {topic_id} is back after its removal")
            log.is_durable = True
            log.is_removal_asked = False
        else:
            require(
                log.is_removal_asked or not log.is_durable, f"topic {topic_id} was acknowledged"
            )
            log.is_removed = log.is_removal_asked = True
    subscribed = {subscription.topic_id for subscription in recovered.subscriptions}
    for topic in recovered.topics:
        if topic.domain_id:
            require(topic.domain_id in found, f"{topic.name} outlived its domain")
            require(topic.id in subscribed, f"{topic.name} outlived its last subscription")


def _read_log(world: "World", process: "Process", topic_id: int, end: int) -> None:
    """Everything that was seen before is where it was; learn of what came after."""
    log = world.ledger.logs[topic_id]
    require(
        end >= len(log.entries),
        f"topic {topic_id} ends at {end}; {len(log.entries)} events had been committed",
    )
    segments = process.ask(process.store.read, topic_id, 0, 0, EVERYTHING, kind=list)
    position = segments[0].first if segments else end
    for segment in segments:
        require(segment.first == position, f"topic {topic_id} has no position {position}")
        for kept in segment.wires:
            event = wire.parse(log.topic.input_schema, kept, None)
            world.ledger.seen(topic_id, position, event)
            position += 1
    require(position == end, f"topic {topic_id} can be read up to {position}, not {end}")


def _check_subscriptions(world: "World", process: "Process", recovered: Recovered) -> None:
    """Each is as it was declared last, or as it was before a change that nobody answered."""
    found = {each.id: each for each in recovered.subscriptions}
    for subscription_id, account in world.ledger.accounts.items():
        name = account.now.subscription.name
        subscription = found.get(subscription_id)
        if subscription is None:
            is_excused = account.is_removal_asked or not account.is_durable
            require(is_excused, f"{name} was acknowledged and is gone")
            account.is_removed = True
            continue
        require(not account.is_removed, f"{name} is back after its removal")
        account.is_durable = True
        account.is_removal_asked = False
        lane = process.engine.lane(subscription_id, 0)
        require(lane is not None, f"{name} has no lane")
        assert lane is not None
        require(
            account.found(subscription, lane.generation, lane.taken),
            f"{name}: generation {lane.generation} of {subscription} was replaced, or never was",
        )


def _check_lane(world: "World", process: "Process", subscription_id: int, account: Account) -> None:
    """Every matched event is settled, on the ladder, or outstanding: exactly as the books say."""
    lane = process.engine.lane(subscription_id, 0)
    assert lane is not None
    log = world.ledger.log_of(account)
    name = lane.subscription.name
    outstanding = set(recovering(lane, log))
    rows = [row for row in ladder_rows(process, lane) if row.generation == lane.generation]
    require(
        lane.ladder_count == len(rows), f"{name}: {lane.ladder_count} rows known, {len(rows)} there"
    )
    doubled = [key for key, count in Counter(map(_delivery, rows)).items() if count > 1]
    require(not doubled, f"{name}: on the ladder twice: {doubled[:SHOWN]}")
    both = outstanding & {row.position for row in rows if not row.dead_letter_id}
    require(not both, f"{name}: outstanding and on the ladder: {sorted(both)[:SHOWN]}")
    pending = lane.total().pending
    require(
        pending == len(outstanding) + len(rows),
        f"{name}: {pending} pending in the books, {len(outstanding)} outstanding and "
        f"{len(rows)} on the ladder",
    )
    check_matched(lane, account, log)
    in_hand = outstanding | {row.position for row in rows}
    check_accounted(process, lane, account, log, in_hand)


def _delivery(row: LadderRow) -> tuple[int, int]:
    return (row.position, row.dead_letter_id)
