"""What a restart, or several, leaves of lanes and partitions."""

import msgspec
import pytest

from eventpost.core.outcomes import DELIVERED
from eventpost.core.subscriptions import Filter
from eventpost.grid import catalogue
from tests.grid.conftest import NewRig
from tests.grid.rig import Rig


def test_an_idle_lane_outlives_two_restarts(new_rig: NewRig) -> None:
    """A lane and a topic that nothing happens to between two restarts are where they were, though
    the outcomes of the first run were swept in the second."""
    rig = new_rig()
    rig.topic()
    rig.topic("busy")
    rig.subscribe("quiet")
    rig.subscribe("loud", topic="busy")
    rig.handler("quiet").always(DELIVERED)
    rig.handler("loud").always(DELIVERED)
    rig.publish(5)

    rig.limits = msgspec.structs.replace(rig.limits, snapshot_commits=3)
    rig.restart()
    for _ in range(20):
        rig.publish(1, topic="busy")
    assert rig.engine.journal.outcome_id > 6
    rig.restart()
    rig.settle()

    assert rig.handler("quiet").ids == []
    assert rig.books("quiet").delivered == 5
    assert rig.books("loud").delivered == 20
    assert rig.lane("quiet").partition.routed == 5


def test_a_paused_subscription_with_deliveries_can_be_resumed_after_a_restart(rig: Rig) -> None:
    """What waited when it was paused goes out once it is resumed, also after a restart."""
    rig.subscribe(concurrency=1)
    ids = rig.publish(3)
    rig.change(is_paused=True)

    rig.restart()
    rig.settle()
    assert rig.handler().ids == []
    rig.handler().always(DELIVERED)
    rig.change(is_paused=False)

    assert rig.handler().ids == ids
    assert rig.books().delivered == 3


def test_a_quiet_lane_reads_nothing_back(rig: Rig) -> None:
    """A lane with nothing outstanding reads none of the events that passed it."""
    rig.subscribe(wanted=Filter(included_event_types=("Rare",)))
    rig.handler().always(DELIVERED)
    rig.publish(event_type="Rare")
    rig.publish(100)

    rig.restart()
    rig.settle()

    assert rig.store.reads == []
    assert rig.lane().is_live


@pytest.mark.parametrize("is_published_first", [True, False])
def test_deleting_a_topic_while_events_come(rig: Rig, is_published_first: bool) -> None:
    """A topic that is deleted while events of it wait for their commit takes them along, and does
    no harm to what else is in the commit."""

    rig.topic("other")
    topic = rig.topics["songs"]
    if is_published_first:
        rig.offer(2)
    other = rig.offer(1, topic="other")
    rig.ask(lambda done: catalogue.remove_topic(rig.engine, topic.id, done))

    assert rig.failures == []
    assert rig.answers[other[0]] is None


def test_a_change_of_what_a_crash_took_back_waits(rig: Rig) -> None:
    """A filter that changes while a lane is still being restored leaves alone what it had taken
    before, and holds for everything after."""
    rig.subscribe(concurrency=1)
    taken = rig.publish(3, event_type="A")
    rig.restart()
    durable: list[bool] = []

    changed = msgspec.structs.replace(
        rig.subscription(), filter=Filter(included_event_types=("B",))
    )
    catalogue.change_subscription(rig.engine, changed, durable.append)
    rig.offer(1, event_type="A")
    rig.advance(1.0)
    rig.publish(1, event_type="A")
    wanted = rig.publish(1, event_type="B")

    rig.handler().always(DELIVERED)
    assert durable == [True]
    assert rig.handler().ids[:3] == taken
    assert rig.handler().ids[-1:] == wanted
    assert len(rig.handler().ids) == 5  # one of type A was read before the change took hold


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_change_that_waits_for_a_lane_that_goes_is_not_kept(rig: Rig, is_stopped: bool) -> None:
    """A change that waits for a restored lane is answered also when the lane, or the engine, is
    gone by then."""
    rig.subscribe()
    rig.publish(1)
    rig.restart()
    durable: list[bool] = []
    subscription = rig.subscription()
    changed = msgspec.structs.replace(subscription, filter=Filter(included_event_types=("B",)))

    catalogue.change_subscription(rig.engine, changed, durable.append)
    if is_stopped:
        rig.engine.stop()
    else:
        catalogue.remove_subscription(rig.engine, subscription.id, lambda _: None)
    rig.advance(1.0)

    assert durable == [False]


@pytest.mark.parametrize("count", [3, 4, 5])
def test_a_full_lane_is_restored_to_the_end(new_rig: NewRig, count: int) -> None:
    """A paused lane that held as much as it may is restored as a whole, and can be changed."""
    rig = new_rig(lane_events_max=4)
    rig.topic()
    rig.subscribe(concurrency=1, wanted=Filter(included_event_types=("A",)))
    ids = rig.publish(count, event_type="A")
    rig.publish(3, event_type="B")
    ids += rig.publish(2, event_type="A")
    rig.change(is_paused=True)

    rig.restart()
    rig.settle()
    rig.handler().always(DELIVERED)
    rig.change(is_paused=False)

    assert rig.handler().ids == ids
    assert rig.books().delivered == count + 2
