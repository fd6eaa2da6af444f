"""Subscriptions and topics are changed, held, moved and deleted while events flow."""

import pytest

from eventpost.core.errors import InvalidRequest, NotFound
from eventpost.testing import HANG, Grid, Receiver, VirtualClock
from eventpost.testing.receiver import NewReceiver

NOTICES = "eventpost.deadletters"


def test_a_pause_loses_nothing(grid: Grid, receiver: Receiver) -> None:
    """While a subscription is paused nothing is sent; afterwards everything is, once."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    before = grid.publish("songs", count=2)
    grid.settle()

    grid.client.pause_subscription("handler")
    held = grid.publish("songs", count=3)
    grid.settle()
    assert len(receiver.requests) == 2
    books = grid.books()
    assert (books.is_paused, books.lag, books.pending) == (True, 3, 0)

    grid.client.resume_subscription("handler")
    grid.settle()
    assert receiver.ids == before + held
    assert grid.books().delivered == 5


def test_a_pause_holds_retries_too(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """A retry that falls due during a pause waits for its end."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(500)
    grid.publish("songs")
    grid.settle()
    grid.client.pause_subscription("handler")

    clock.advance(60)
    assert len(receiver.requests) == 1
    grid.client.resume_subscription("handler")

    grid.settle()
    assert len(receiver.requests) == 2
    assert grid.books().delivered == 1


def test_an_attempt_in_flight_ends_during_a_pause(grid: Grid, receiver: Receiver) -> None:
    """What was sent before the pause counts when it is answered."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(HANG)
    grid.publish("songs")
    receiver.wait_for_held(1)

    grid.client.pause_subscription("handler")
    receiver.release()

    grid.settle()
    assert grid.books().delivered == 1


def test_a_pause_lasts_over_a_restart(grid: Grid, receiver: Receiver) -> None:
    """A paused subscription is paused after a restart, and goes on where it was."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.client.pause_subscription("handler")
    ids = grid.publish("songs", count=3)

    grid.restart()
    grid.settle()
    assert receiver.requests == []
    grid.client.resume_subscription("handler")

    grid.settle()
    assert receiver.ids == ids


@pytest.mark.parametrize("position", [0, 2, 5])
def test_rewind_offers_again(grid: Grid, receiver: Receiver, position: int) -> None:
    """After a rewind every event from the position on comes again, and none before it."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    ids = grid.publish("songs", count=5)
    grid.settle()
    del receiver.requests[:]

    assert grid.client.rewind_subscription("handler", position) == position

    grid.settle()
    assert receiver.ids == ids[position:]
    books = grid.books()
    assert books.matched == books.delivered == 5 + len(ids[position:])


def test_rewind_to_a_time(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """A rewind to an age takes the events published since."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.publish("songs", count=2)
    clock.advance(60)
    late = grid.publish("songs", count=2)
    clock.advance(60)
    grid.settle()
    del receiver.requests[:]

    assert grid.client.rewind_subscription("handler", "61s") == 2

    grid.settle()
    assert receiver.ids == late


def test_rewind_gives_up_what_is_outstanding(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """A rewind counts what was in flight and on the ladder as superseded, and sends it anew; what
    was in flight does not count when it is answered after all."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(500, HANG)
    ids = grid.publish("songs", count=2)
    receiver.wait_for_held(1)

    grid.client.rewind_subscription("handler", 0)
    receiver.release()
    grid.settle()
    clock.advance(60)

    books = grid.books()
    assert books.dropped == {"Superseded": 2}
    assert (books.matched, books.delivered, books.pending, books.ladder) == (4, 2, 0, 0)
    assert sorted(receiver.ids) == sorted(ids * 2)


def test_rewind_forward_skips(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """A move forward passes over what is outstanding, counted as skipped."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(500)
    grid.publish("songs")
    grid.settle()
    grid.client.pause_subscription("handler")
    grid.publish("songs", count=3)

    grid.client.rewind_subscription("handler", "now")
    grid.client.resume_subscription("handler")
    [fresh] = grid.publish("songs")
    clock.advance(60)

    assert receiver.ids[1:] == [fresh]
    assert grid.books().dropped == {"Skipped": 1}


def test_rewind_puts_replays_back(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """A dead letter whose replay a rewind gives up waits again, and can be replayed again."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(400, 500)
    grid.publish("songs")
    grid.settle()
    list(grid.client.replay())
    grid.settle()
    assert grid.books().ladder == 1

    grid.client.rewind_subscription("handler", 1)
    clock.advance(60)

    assert len(grid.dead_letters()) == 1
    assert grid.books().dead_letters == 1
    assert len(receiver.requests) == 2
    list(grid.client.replay())
    grid.settle()
    assert len(receiver.requests) == 3


def test_rewind_beyond_the_end(grid: Grid, receiver: Receiver) -> None:
    """There is no position beyond the end of the topic."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.publish("songs")

    with pytest.raises(InvalidRequest):
        grid.client.rewind_subscription("handler", 2)


def test_a_filter_applies_from_the_cursor_on(grid: Grid, receiver: Receiver) -> None:
    """A changed filter holds for what has not been read yet; what was taken before is sent."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, filter={"subjectBeginsWith": "a"}, concurrency=1)
    receiver.script(HANG)
    grid.publish("songs", {"id": "sent", "subject": "a"}, {"id": "taken", "subject": "a"})
    receiver.wait_for_held(1)

    changed = {"filter": {"subjectBeginsWith": "b"}}
    grid.client.update_subscription("handler", changed)
    grid.publish("songs", {"id": "old", "subject": "a"}, {"id": "new", "subject": "b"})
    receiver.release()

    grid.settle()
    assert receiver.ids == ["sent", "taken", "new"]
    assert grid.books().matched == 3


def test_a_filter_applies_to_what_waits_unread(grid: Grid, receiver: Receiver) -> None:
    """What was published during a pause is held against the filter at its end."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, filter={"subjectBeginsWith": "a"})
    grid.client.pause_subscription("handler")
    grid.publish("songs", {"id": "old", "subject": "a"}, {"id": "new", "subject": "b"})

    grid.client.update_subscription("handler", {"filter": {"subjectBeginsWith": "b"}})
    grid.client.resume_subscription("handler")

    grid.settle()
    assert receiver.ids == ["new"]


def test_a_changed_policy_applies_to_what_failed_before(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """A delivery on the ladder follows the policy that holds when it is tried."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.always = 500
    grid.publish("songs")
    grid.settle()

    grid.client.update_subscription("handler", {"retry": {"maxDeliveryAttempts": 2}})
    clock.advance(11)

    [letter] = grid.dead_letters()
    assert letter.delivery_attempts == 2


@pytest.mark.parametrize("start", ["earliest", "now", "61s", "2026-01-01T00:01:00Z"])
def test_where_a_subscription_starts(
    grid: Grid, receiver: Receiver, clock: VirtualClock, start: str
) -> None:
    """A new subscription starts with the first event kept, with the next one, or at a time."""
    grid.topic("songs")
    ids = grid.publish("songs", {"id": "first"})
    clock.advance(60)
    ids += grid.publish("songs", {"id": "second"})
    clock.advance(60)

    grid.subscribe("songs", receiver, start=start)
    ids += grid.publish("songs", {"id": "third"})

    grid.settle()
    skipped = {"earliest": 0, "now": 2}.get(start, 1)
    assert receiver.ids == ids[skipped:]


def test_a_start_in_the_past_begins_the_time_to_live(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """Time to live runs from when an event is offered, not from when it was published."""
    grid.topic("songs")
    grid.publish("songs")
    clock.advance(3_600)

    grid.subscribe("songs", receiver, start="earliest", retry={"eventTtl": "10s"})

    grid.settle()
    assert grid.books().delivered == 1


def test_deletion_ends_deliveries(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver, clock: VirtualClock
) -> None:
    """After its deletion nothing is sent for a subscription: no retry, no dead letter, no notice;
    other subscriptions go on, and the name is free."""
    watcher = new_receiver()
    grid.topic("songs")
    grid.subscribe("songs", receiver, name="doomed")
    grid.subscribe(NOTICES, watcher, name="watcher")
    receiver.script(500, 500)
    grid.publish("songs", count=2)
    grid.settle()

    grid.client.delete_subscription("doomed")
    clock.advance(3_600)

    assert len(receiver.requests) == 2
    assert watcher.requests == []
    with pytest.raises(NotFound):
        grid.books("doomed")
    assert grid.client.show_usage().ladder_count == 0
    grid.subscribe("songs", receiver, name="doomed")
    assert grid.books("doomed").matched == 0


@pytest.mark.parametrize("deleted", ["subscription", "topic"])
def test_a_deletion_tells_what_it_drops(
    grid: Grid, receiver: Receiver, caplog: pytest.LogCaptureFixture, deleted: str
) -> None:
    """How many deliveries were pending, in flight or on the ladder, is told where they go."""
    caplog.set_level("INFO", "eventpost")
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(500, HANG)
    grid.publish("songs", count=2)
    receiver.wait_for_held(1)

    if deleted == "topic":
        grid.client.delete_topic("songs")
    else:
        grid.client.delete_subscription("handler")

    [record] = [each for each in caplog.records if each.message == f"{deleted}.deleted"]
    assert vars(record)["fields"]["dropped_count"] == 2


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_attempt_in_flight_outlives_its_subscription(
    grid: Grid,
    receiver: Receiver,
    new_receiver: NewReceiver,
    clock: VirtualClock,
    status: int,
) -> None:
    """What comes of an attempt after its subscription was deleted changes nothing."""
    watcher = new_receiver()
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.subscribe(NOTICES, watcher, name="watcher")
    receiver.script(HANG)
    grid.publish("songs")
    receiver.wait_for_held(1)

    grid.client.delete_subscription("handler")
    receiver.release(status)
    clock.advance(60)

    usage = grid.client.show_usage()
    assert (usage.ladder_count, usage.dead_letter_count) == (0, 0)
    assert watcher.requests == []
    assert len(receiver.requests) == 1


def test_a_deleted_topic_is_gone(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """With a topic go its subscriptions and what they had to send; publishing answers 404. A new
    topic of that name begins empty."""
    grid.topic("songs")
    old_key = grid.key("songs")
    grid.subscribe("songs", receiver)
    receiver.script(500)
    grid.publish("songs")
    grid.settle()

    grid.client.delete_topic("songs")

    clock.advance(60)
    assert len(receiver.requests) == 1
    assert grid.client.list_subscriptions() == []
    grid.topic("songs")
    assert grid.post("songs", [], {"aeg-sas-key": old_key}).status_code == 401
    grid.subscribe("songs", receiver, start="earliest")
    grid.settle()
    assert len(receiver.requests) == 1


def test_a_deletion_lasts_over_a_crash(grid: Grid, receiver: Receiver) -> None:
    """What was deleted does not come back."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.client.delete_subscription("handler")

    grid.crash()

    grid.publish("songs")
    grid.settle()
    assert receiver.requests == []


def test_keys_are_exchanged_without_downtime(grid: Grid) -> None:
    """While one key is made anew the other one opens the topic; the old one does not any more."""
    grid.topic("songs")
    keys = grid.client.list_keys("songs")

    def status(key: str) -> int:
        return grid.post("songs", [], {"aeg-sas-key": key}).status_code

    changed = grid.client.regenerate_key("songs", "key1")

    assert changed.key2 == keys.key2
    assert changed.key1 != keys.key1
    refused = status("")
    assert status(keys.key1) == 401
    assert status(changed.key1) == status(keys.key2) != 401
    assert refused == 400
    grid.crash()
    assert (status(keys.key1), status(changed.key1) == 401) == (401, False)
