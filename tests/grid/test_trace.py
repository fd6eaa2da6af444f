"""The story of one event says where each of its deliveries is."""

import msgspec
import pytest

from eventpost.core.interfaces import ReadFailed
from eventpost.core.outcomes import DELIVERED
from eventpost.core.subscriptions import Filter, RetryPolicy
from eventpost.grid import catalogue
from eventpost.grid.settling import Action
from eventpost.grid.trace import DeliveryStory, Story, Where, tell
from tests.grid.conftest import NewRig
from tests.grid.pulling import LOCK_S, receive, settle, subscribe
from tests.grid.rig import Rig, failed

AT_ONCE = RetryPolicy(schedule=(1_000,), max_delivery_attempts=2)


def story(rig: Rig, event_id: str) -> Story:
    (found,) = rig.read(lambda done: rig.store.find(event_id, None, 0, 10, done))
    told = rig.read(lambda done: tell(rig.engine, found, done))
    assert isinstance(told, Story)
    return told


def delivery(rig: Rig, event_id: str, name: str = "handler") -> DeliveryStory:
    (found,) = (each for each in story(rig, event_id).deliveries if each.subscription == name)
    return found


@pytest.fixture
def rig(new_rig: NewRig) -> Rig:
    made = new_rig(lane_events_max=4)
    made.topic()
    made.notices()
    return made


def test_the_event(rig: Rig) -> None:
    """A story names the event, its topic and its place."""
    rig.subscribe("first")
    rig.subscribe("second")
    rig.publish(1)
    (event_id,) = rig.publish(1)

    told = story(rig, event_id)

    assert (told.topic, told.partition, told.position) == ("songs", 0, 1)
    assert (told.event_id, told.event_type, told.subject) == (event_id, "T", "s")
    assert [each.subscription for each in told.deliveries] == ["first", "second"]


def test_unmatched(rig: Rig) -> None:
    """The clauses that said no are told."""
    rig.subscribe(wanted=Filter(included_event_types=("Other",)))
    (event_id,) = rig.publish(1)

    told = delivery(rig, event_id)

    assert told.where is Where.UNMATCHED
    assert [clause.is_met for clause in told.clauses if not clause.is_met]


def test_before_the_start(rig: Rig) -> None:
    """An event from before the subscription was never offered to it."""
    (event_id,) = rig.publish(1)
    rig.subscribe()

    assert delivery(rig, event_id).where is Where.BEFORE_START
    rig.rewind(0)
    assert delivery(rig, event_id).where is Where.SENDING


def test_unread(rig: Rig) -> None:
    """An event that a lane has not come to."""
    rig.subscribe(concurrency=1)
    ids = rig.publish(6)

    assert delivery(rig, ids[3]).where is Where.SENDING
    assert delivery(rig, ids[5]).where is Where.UNREAD


@pytest.mark.parametrize("is_row", [False, True])
def test_what_a_consumer_holds(rig: Rig, is_row: bool) -> None:
    """Until when a consumer holds it, and what it held in vain before."""
    subscribe(rig)
    (event_id,) = rig.publish(1)
    assert delivery(rig, event_id).where is Where.SENDING
    held = receive(rig)
    if is_row:
        settle(rig, Action.RENEW, held.keys)

    told = delivery(rig, event_id)

    until_ms = rig.clock.now_ms() + int(LOCK_S * 1_000)
    assert (told.where, told.attempts) == (Where.LOCKED, [])
    assert until_ms <= told.next_ms <= until_ms + 1
    settle(rig, Action.RELEASE, held.keys, delay_s=600)
    told = delivery(rig, event_id)
    assert (told.where, len(told.attempts)) == (Where.LADDER, 1)


def test_what_was_taken_before_a_filter_changed(rig: Rig) -> None:
    """It is being sent, whatever the filter says by now."""
    rig.subscribe(concurrency=1)
    ids = rig.publish(2)
    rig.change(filter=Filter(included_event_types=("Other",)))

    assert delivery(rig, ids[1]).where is Where.SENDING


def test_delivered(rig: Rig) -> None:
    """Also when failures came before, which are told with the success."""
    rig.subscribe(retry=AT_ONCE)
    rig.handler().react = lambda _: failed(503)
    (event_id,) = rig.publish(1)
    assert delivery(rig, event_id).where is Where.LADDER
    rig.handler().react = lambda _: DELIVERED
    rig.advance(2.0)

    told = delivery(rig, event_id)

    assert told.where is Where.DELIVERED
    assert [(each.attempt, each.finding) for each in told.attempts] == [(1, "EP-503"), (2, "")]


def test_on_the_ladder(rig: Rig) -> None:
    """With the time of the next attempt."""
    rig.subscribe(retry=AT_ONCE)
    rig.handler().react = lambda _: failed(503)
    (event_id,) = rig.publish(1)

    told = delivery(rig, event_id)

    assert told.where is Where.LADDER
    assert 1_000 <= told.next_ms - rig.clock.now_ms() <= 1_100


def test_parked(rig: Rig) -> None:
    """A retry that could not run when it fell due is still on the ladder."""
    rig.subscribe(retry=AT_ONCE)
    rig.handler().react = lambda _: failed(503)
    (event_id,) = rig.publish(1)
    rig.change(is_paused=True)
    rig.advance(5.0)

    assert delivery(rig, event_id).where is Where.LADDER


def test_dead_and_replaying(rig: Rig) -> None:
    """A dead letter with its reason, and on its way back."""
    rig.subscribe(retry=AT_ONCE)
    rig.handler().react = lambda _: failed(400)
    (event_id,) = rig.publish(1)

    told = delivery(rig, event_id)
    assert told.where is Where.DEAD
    assert told.reason == "UndeliverableDueToHttpBadRequest"
    assert told.finding == "EP-400"

    rig.handler().react = lambda _: None
    rig.ask(lambda done: rig.engine.dead_letters.replay(rig.letters(), done))
    assert delivery(rig, event_id).where is Where.REPLAYING
    rig.handler().answer(DELIVERED)
    assert delivery(rig, event_id).where is Where.DELIVERED


def test_after_a_rewind(rig: Rig) -> None:
    """Rows of before the rewind do not count."""
    rig.subscribe(retry=AT_ONCE)
    rig.handler().react = lambda _: failed(503)
    (event_id,) = rig.publish(1)
    rig.handler().react = lambda _: None

    rig.rewind(0)

    assert delivery(rig, event_id).where is Where.SENDING


def test_while_a_lane_is_being_restored(rig: Rig) -> None:
    """What was outstanding is unread until it is back; what was delivered stays delivered."""
    rig.subscribe()
    ids = rig.publish(3)
    attempt = rig.handler().attempts[1]
    attempt.is_answered = True
    attempt.done(attempt.deliveries, DELIVERED)
    rig.settle()
    rig.restart(hold=("read",))
    rig.settle()
    held = rig.executor.held.pop("read")

    found = [delivery(rig, each).where for each in ids]
    for done, answer in held:
        rig.clock.call_soon(done, answer)
    rig.settle()
    later = [delivery(rig, each).where for each in ids]

    assert found == [Where.UNREAD, Where.DELIVERED, Where.UNREAD]
    assert later == [Where.SENDING, Where.DELIVERED, Where.SENDING]


def test_ids_are_not_unique(rig: Rig) -> None:
    """Each event of an id has its own story."""
    event = rig.event()
    number = rig.topics["songs"].id
    for _ in range(2):
        copy = msgspec.convert(msgspec.to_builtins(event), type(event))
        rig.engine.publish(number, [copy], lambda _: None)
        rig.settle()

    found = rig.read(lambda done: rig.store.find(event.id, None, 0, 10, done))

    assert sorted(each.position for each in found) == [0, 1]


def test_a_topic_that_is_gone(rig: Rig) -> None:
    """Its events have no story any more."""
    (event_id,) = rig.publish(1)
    (found,) = rig.read(lambda done: rig.store.find(event_id, None, 0, 10, done))
    number = rig.topics["songs"].id
    rig.ask(lambda done: catalogue.remove_topic(rig.engine, number, done))

    told = rig.read(lambda done: tell(rig.engine, found, done))

    assert isinstance(told, ReadFailed)


@pytest.mark.parametrize("reads", [0, 1, 2])
def test_a_store_that_does_not_answer(rig: Rig, reads: int) -> None:
    """A story that cannot be told whole is not told."""
    rig.subscribe()
    (event_id,) = rig.publish(1)
    (found,) = rig.read(lambda done: rig.store.find(event_id, None, 0, 10, done))
    busy = ReadFailed("busy")
    rig.executor.faults = {
        "scan": [[busy], [], []][reads],
        "read": [[], [busy], []][reads],
    }
    if reads == 2:
        rig.executor.hold("read")
        answers: list[object] = []
        tell(rig.engine, found, answers.append)
        rig.settle()
        rig.executor.faults["scan"] = [busy]
        rig.executor.release("read")
        assert answers == [busy]
        return

    assert rig.read(lambda done: tell(rig.engine, found, done)) is busy
