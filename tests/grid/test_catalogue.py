"""Changes of topics and subscriptions, while events come and go."""

import msgspec
import pytest

from eventpost.core.outcomes import DELIVERED
from eventpost.core.subscriptions import Filter, ProvisioningState, RetryPolicy
from eventpost.grid import catalogue
from tests.grid.conftest import NewRig
from tests.grid.rig import Rig, failed

A = Filter(included_event_types=("A",))
B = Filter(included_event_types=("B",))


def mixed(rig: Rig, count: int) -> tuple[list[str], list[str]]:
    """Events of types A and B in turns."""
    ids = [(rig.offer(1, event_type="A")[0], rig.offer(1, event_type="B")[0]) for _ in range(count)]
    rig.settle()
    return [a for a, _ in ids], [b for _, b in ids]


def test_a_changed_filter_of_a_live_lane(rig: Rig) -> None:
    """It holds from the change on; what was taken before goes on as it is."""
    rig.subscribe(wanted=A, concurrency=1)
    before, _ = mixed(rig, 3)

    rig.change(filter=B)
    _, after = mixed(rig, 3)
    rig.handler().always(DELIVERED)

    assert rig.handler().ids == before + after


def test_a_changed_filter_of_a_lane_that_lags(new_rig: NewRig) -> None:
    """It holds for everything that was not read yet."""
    rig = new_rig(lane_events_max=2, tail_bytes_max=1)
    rig.topic()
    rig.subscribe(wanted=A, concurrency=1)
    before, after = mixed(rig, 5)

    rig.change(filter=B)
    rig.handler().always(DELIVERED)

    assert rig.handler().ids == before[:2] + after[2:]


def test_a_changed_filter_outlives_a_restart(rig: Rig) -> None:
    """What was taken with the old filter is restored by what was taken, not by the new filter."""
    rig.subscribe(wanted=A, concurrency=1)
    before, _ = mixed(rig, 3)
    rig.change(filter=B)

    rig.restart()
    rig.handler().react = lambda _: DELIVERED
    rig.advance(0.1)
    rig.handler().always(DELIVERED)
    _, after = mixed(rig, 1)

    assert rig.handler().ids == before + after
    assert rig.books().matched == 4


def test_a_changed_policy_holds_for_what_waits(rig: Rig) -> None:
    """The next decision about a delivery follows the policy of that moment."""
    rig.subscribe(retry=RetryPolicy(schedule=(1_000,)))
    rig.publish(1)

    rig.change(retry=RetryPolicy(schedule=(50_000,)))
    rig.handler().answer(failed())
    rig.advance(49.0)

    assert len(rig.handler().attempts) == 1
    rig.advance(7.0)
    assert len(rig.handler().attempts) == 2


def test_a_changed_window_holds_at_once(rig: Rig) -> None:
    """More slots are used at once, fewer as attempts end."""
    rig.subscribe(concurrency=1)
    rig.publish(10)
    endpoint = rig.subscription().endpoint

    rig.change(endpoint=msgspec.structs.replace(endpoint, concurrency=4))
    assert len(rig.handler().open) + rig.lane().in_flight == 7  # three at the new destination
    rig.change(endpoint=msgspec.structs.replace(endpoint, concurrency=2))

    assert rig.lane().in_flight == 4


def test_an_old_destination_is_closed_once_its_attempts_are_over(rig: Rig) -> None:
    """A changed endpoint gets a destination of its own; answers of the old one still count."""
    rig.subscribe()
    rig.publish(1)
    old = rig.handler()
    endpoint = rig.subscription().endpoint
    rig.change(endpoint=msgspec.structs.replace(endpoint, address="other"))
    rig.advance(endpoint.response_timeout_s)
    closed = [old.is_closed]

    old.answer(DELIVERED)
    rig.advance(catalogue.OLD_DESTINATION_S)
    closed.append(old.is_closed)

    assert closed == [False, True]
    assert not rig.handler().is_closed
    assert rig.books().delivered == 1


def test_a_stop_closes_old_destinations_too(rig: Rig) -> None:
    """An engine that stops lets go of destinations that were replaced a moment ago, once."""
    rig.subscribe()
    old = rig.handler()
    endpoint = rig.subscription().endpoint
    rig.change(endpoint=msgspec.structs.replace(endpoint, address="other"))
    closed = [old.is_closed]

    rig.engine.stop()

    closed.append(old.is_closed)
    old.is_closed = False
    rig.advance(endpoint.response_timeout_s + catalogue.OLD_DESTINATION_S)
    closed.append(old.is_closed)
    assert closed == [False, True, False]


def test_held_until_consent(rig: Rig) -> None:
    """A subscription whose endpoint has not consented gets what it was created for, afterwards."""
    rig.subscribe()
    rig.change(provisioning_state=ProvisioningState.AWAITING_MANUAL_ACTION)
    ids = rig.publish(2)
    assert rig.handler().ids == []
    rig.handler().react = lambda _: DELIVERED

    rig.change(provisioning_state=ProvisioningState.SUCCEEDED)

    assert rig.handler().ids == ids


def test_a_removed_subscription_tells_what_was_pending(rig: Rig) -> None:
    """What was held, on the ladder and in flight is counted; unread events are not."""
    rig.subscribe(concurrency=2, retry=RetryPolicy(schedule=(1_000,)))
    rig.publish(5)
    rig.handler().answer(failed(), count=1)
    rig.change(is_paused=True)
    rig.publish(7)
    number = rig.subscription().id
    pending: list[int] = []

    rig.ask(lambda done: pending.append(catalogue.remove_subscription(rig.engine, number, done)))

    assert pending == [5]
    assert rig.engine.deliveries_held == 0


@pytest.mark.parametrize("outcome", [DELIVERED, failed(), failed(400)])
def test_answers_for_a_removed_subscription(rig: Rig, outcome: object) -> None:
    """They change nothing any more."""
    rig.notices()
    rig.subscribe()
    rig.publish(1)
    handler = rig.handler()
    number = rig.subscription().id
    rig.ask(lambda done: catalogue.remove_subscription(rig.engine, number, done))
    rig.store.commits.clear()

    handler.answer(outcome)  # type: ignore[arg-type]
    rig.advance(60.0)

    assert rig.store.commits == []
    assert rig.letters() == []


def test_a_name_is_free_after_a_removal(rig: Rig) -> None:
    """A new subscription of the same name begins with nothing of the old one."""
    rig.subscribe()
    rig.handler().react = lambda _: failed(400)
    rig.publish(2)
    old = rig.subscription().id
    rig.ask(lambda done: catalogue.remove_subscription(rig.engine, old, done))

    rig.subscribe()

    assert rig.subscription().id > old
    assert rig.books().matched == 0
    assert rig.letters() == []
    rig.restart()
    assert rig.books().matched == 0


def test_a_topic_goes_with_everything(rig: Rig) -> None:
    """Its subscriptions, what they had in hand, and its events are gone, also after a restart."""
    rig.notices()
    rig.subscribe(retry=RetryPolicy(schedule=(1_000,)))
    answers = iter([failed(), failed(400)])
    rig.handler().react = lambda _: next(answers, None)
    rig.publish(4)
    handler = rig.handler()
    number = rig.topics["songs"].id

    rig.ask(lambda done: catalogue.remove_topic(rig.engine, number, done))
    rig.restart()
    rig.advance(60.0)

    assert len(handler.attempts) == 4
    assert rig.engine.subscriptions == {}
    usage = rig.read(rig.store.usage)
    assert (usage.ladder_count, usage.dead_letter_count) == (0, 0)
    assert (number, 0) not in usage.first_positions


def test_a_topic_is_made_again(rig: Rig) -> None:
    """A new topic of a name begins at position 0, with an id of its own."""
    rig.publish(3)
    old = rig.topics["songs"].id
    rig.ask(lambda done: catalogue.remove_topic(rig.engine, old, done))

    new = rig.topic()
    rig.subscribe(start=0)

    assert new.id > old
    assert rig.handler().ids == []
    ids = rig.publish(1)
    assert rig.handler().ids == ids


def test_ids_are_never_given_twice(rig: Rig) -> None:
    """Also when what had them was deleted before a restart."""
    rig.subscribe()
    number = rig.subscription().id
    rig.ask(lambda done: catalogue.remove_subscription(rig.engine, number, done))
    topic = rig.topic("short-lived")
    rig.ask(lambda done: catalogue.remove_topic(rig.engine, topic.id, done))

    rig.restart()

    assert rig.engine.new_subscription_id() > number
    assert rig.engine.new_topic_id() > topic.id


def test_settings_last(rig: Rig) -> None:
    """A named value is there after a restart."""
    rig.ask(lambda done: catalogue.put_setting(rig.engine, "secret", b"value", done))

    rig.restart()

    assert rig.engine.settings["secret"] == b"value"
