"""What must hold at any time: the books of every lane agree with what it holds."""

from typing import TYPE_CHECKING

from eventpost.testing.simulation.books import check_matched, recovering, require

if TYPE_CHECKING:
    from eventpost.testing.simulation.process import Process
    from eventpost.testing.simulation.world import World


def check_running(world: "World", process: "Process") -> None:
    """The books of every lane agree with what it holds."""
    engine = process.engine
    held = 0
    for subscription_id, account in world.ledger.accounts.items():
        lane = engine.lane(subscription_id, 0)
        if lane is None:
            continue
        log = world.ledger.log_of(account)
        name = lane.subscription.name
        pending = lane.total().pending
        to_come = sum(1 for _ in recovering(lane, log))
        in_hand = len(lane.outstanding) + lane.ladder_count + to_come
        require(
            pending == in_hand,
            f"{name}: {pending} pending in the books, {len(lane.outstanding)} outstanding, "
            f"{lane.ladder_count} on the ladder, {to_come} to be taken up again",
        )
        size = sum(len(delivery.event.wire) for delivery in lane.outstanding.values())
        require(lane.held_bytes == size, f"{name}: {lane.held_bytes} bytes held, really {size}")
        check_matched(lane, account, log)
        held += len(lane.outstanding)
    require(engine.deliveries_held == held, f"{engine.deliveries_held} held, really {held}")
