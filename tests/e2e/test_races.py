"""Changes that meet: a handshake under way, a commit under way, what is deleted meanwhile."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from eventpost.core.errors import EventpostError, NotFound
from eventpost.testing import HANG, Grid, Receiver, VirtualClock
from eventpost.testing.receiver import NewReceiver


class Meanwhile:
    """A call that runs in a thread of its own."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._error: EventpostError | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except EventpostError as error:
            self._error = error

    def result(self) -> EventpostError | None:
        """Wait for its end; the error that it raised."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self._error


@contextmanager
def hanging_handshake(receiver: Receiver, work: Callable[[], object]) -> Iterator[Meanwhile]:
    """What happens while an endpoint thinks about its consent, which it gives in the end."""
    receiver.consent = HANG
    meanwhile = Meanwhile(work)
    receiver.wait_for_held(1)
    try:
        yield meanwhile
    finally:
        receiver.consent = True
        receiver.release(receiver.consent_to(receiver.handshakes[-1]))


def update(grid: Grid, changes: dict[str, Any]) -> Callable[[], object]:
    return lambda: grid.client_of_its_own().update_subscription("handler", changes)


def test_a_pause_during_a_change_of_endpoint_holds(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver
) -> None:
    """A subscription that is paused while its new endpoint is asked stays paused."""
    other = new_receiver()
    grid.watch(other)
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    with hanging_handshake(other, update(grid, {"endpoint": other.url})) as updating:
        grid.client.pause_subscription("handler")

    assert updating.result() is None
    assert grid.books().is_paused
    grid.publish("songs")
    grid.settle()
    assert (receiver.requests, other.requests) == ([], [])


def test_a_deletion_during_a_change_of_endpoint(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver
) -> None:
    """A subscription that is deleted while its new endpoint is asked is gone."""
    other = new_receiver()
    grid.watch(other)
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    with hanging_handshake(other, update(grid, {"endpoint": other.url})) as updating:
        grid.client.delete_subscription("handler")

    assert isinstance(updating.result(), NotFound)
    assert grid.client.list_subscriptions() == []
    grid.publish("songs")
    grid.settle()


def test_a_topic_that_goes_during_a_handshake(grid: Grid, receiver: Receiver) -> None:
    """A topic that is deleted while an endpoint is asked takes the new subscription with it."""
    grid.topic("songs")
    grid.watch(receiver)
    declared = {"topic": "songs", "name": "handler", "endpoint": receiver.url}

    def create() -> object:
        return grid.client_of_its_own().create_subscription(declared)

    with hanging_handshake(receiver, create) as creating:
        grid.client.delete_topic("songs")

    assert isinstance(creating.result(), NotFound)
    assert grid.client.list_subscriptions() == []
    grid.topic("songs")
    grid.subscribe("songs", receiver)


def test_a_name_is_taken_while_its_endpoint_is_asked(grid: Grid, receiver: Receiver) -> None:
    """Two creations of one name at once: the second one is refused."""
    grid.topic("songs")
    grid.watch(receiver)
    declared = {"topic": "songs", "name": "handler", "endpoint": receiver.url}

    def create() -> object:
        return grid.client_of_its_own().create_subscription(declared)

    with hanging_handshake(receiver, create) as creating:
        second = Meanwhile(create).result()

    assert second is not None
    assert second.code == "SubscriptionExists"
    assert creating.result() is None
    assert len(grid.client.list_subscriptions()) == 1


def test_a_pending_endpoint_survives_a_restart(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver
) -> None:
    """A new endpoint that waits to be confirmed waits over a restart; its URL still works."""
    other = new_receiver()
    other.consent = None
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.client.update_subscription("handler", {"endpoint": other.url})
    path = other.validation_url.partition("/validate")[2]

    grid.crash()

    grid.publish("songs")
    receiver.wait_for(1)
    assert grid.get(f"/validate{path}").status_code == 200
    grid.publish("songs")
    other.wait_for(1)


@pytest.mark.parametrize("status", [500, 400])
def test_a_failure_and_a_deletion_in_one_commit(
    grid: Grid, receiver: Receiver, clock: VirtualClock, status: int
) -> None:
    """A row or a dead letter that is committed together with the deletion of its subscription goes
    with it."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(HANG)
    grid.publish("songs")
    receiver.wait_for_held(1)
    grid.settle()

    with grid.holding_commits() as held:
        publishing = Meanwhile(lambda: grid.client_of_its_own().create_topic("news"))
        held.wait()
        receiver.release(status)
        grid.wait_until(lambda engine: engine.lanes_of(1)[0].in_flight == 0)
        deleting = Meanwhile(lambda: grid.client_of_its_own().delete_subscription("handler"))
        grid.wait_until(lambda engine: 1 not in engine.subscriptions)
    assert (publishing.result(), deleting.result()) == (None, None)

    clock.advance(60)
    usage = grid.client.show_usage()
    assert (usage.ladder_count, usage.dead_letter_count) == (0, 0)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [200, 400, 500])
def test_what_comes_back_as_the_engine_stops(
    grid: Grid, receiver: Receiver, clock: VirtualClock, status: int
) -> None:
    """An outcome that is not committed when the engine stops is as if it never came: the event is
    sent again after the start, and is nowhere else."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(HANG)
    grid.publish("songs")
    receiver.wait_for_held(1)
    grid.settle()

    with grid.holding_commits() as held:
        creating = Meanwhile(lambda: grid.client_of_its_own().create_topic("news"))
        held.wait()
        receiver.release(status)
        grid.wait_until(lambda engine: engine.lanes_of(1)[0].in_flight == 0)
        grid.call(grid.app.grid.stop)
    creating.result()
    grid.restart()

    receiver.wait_for(2)
    grid.settle()
    grid.check_books()
    books = grid.books()
    assert (books.matched, books.delivered, books.ladder, books.dead_letters) == (1, 1, 0, 0)


def test_a_publish_and_a_deletion_in_one_commit(grid: Grid) -> None:
    """Events that are committed together with the deletion of their topic go with it."""
    grid.topic("songs")
    with grid.holding_commits() as held:
        first = Meanwhile(lambda: grid.client_of_its_own().create_topic("news"))
        held.wait()
        event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}
        publishing = Meanwhile(lambda: grid.client_of_its_own().publish_events("songs", event))
        grid.wait_until(lambda engine: engine.journal.open.appends)
        deleting = Meanwhile(lambda: grid.client_of_its_own().delete_topic("songs"))
        grid.wait_until(lambda engine: len(engine.topics) == 3)
    assert (first.result(), publishing.result(), deleting.result()) == (None, None, None)

    grid.settle()
    assert grid.client.show_usage().event_count == 0
    grid.crash()
    grid.topic("songs")
    assert grid.client.show_usage().event_count == 0


@pytest.mark.parametrize(("waiting", "is_kept"), [(4, True), (5, True), (6, False)])
@pytest.mark.grid(group_events_max=5)
def test_what_waits_for_a_commit_is_bounded(grid: Grid, waiting: int, is_kept: bool) -> None:
    """While a commit is under way so many events may wait for the next one; further ones get 503
    at once, and later publishes succeed."""
    grid.topic("songs")
    event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}

    def publish(count: int) -> Meanwhile:
        return Meanwhile(lambda: grid.client_of_its_own().publish_events("songs", [event] * count))

    with grid.holding_commits() as held:
        first = publish(1)
        held.wait()
        second = publish(waiting)
        if is_kept:
            grid.wait_until(lambda engine: engine.journal.open.appends)
        else:
            refused = second.result()
            assert refused is not None
            assert (refused.status, refused.code) == (503, "EP3004")

    assert first.result() is None
    if is_kept:
        assert second.result() is None
    assert publish(5).result() is None
