"""The grid is stopped, killed, loses its power or its disk, and goes on where it was."""

import random
import threading
from collections import Counter
from typing import Any

import httpx
import pytest

from eventpost.testing import HANG, Grid, Receiver, VirtualClock
from eventpost.testing.receiver import NewReceiver, Reaction

REACTIONS: list[Reaction] = [200, 200, 200, 500, 400, HANG]
END = {
    "stop": Grid.restart,
    "kill": Grid.crash,
    "power cut": Grid.cut_power,
}
HASTY_S = 0.1
HASTY = pytest.mark.grid(drain_s=HASTY_S)
"""A stop does not wait long for what hangs."""


@pytest.mark.parametrize("end", END)
@HASTY
def test_what_was_in_flight_goes_out_again_at_once(
    grid: Grid, receiver: Receiver, end: str
) -> None:
    """An attempt that was not answered before the end is made again with the start, without any
    wait, and as the same attempt."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(HANG, HANG)
    ids = grid.publish("songs", count=2)
    receiver.wait_for_held(2)

    END[end](grid)

    receiver.wait_for(4)
    grid.settle()
    assert Counter(receiver.ids) == Counter(ids * 2)
    assert {request.attempt for request in receiver.requests} == {0}
    books = grid.books()
    assert (books.matched, books.delivered, books.pending) == (2, 2, 0)


@pytest.mark.parametrize("end", END)
def test_what_was_settled_is_not_sent_again(grid: Grid, receiver: Receiver, end: str) -> None:
    """A delivery whose outcome is on disk is over, and the books go on."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(200, 200, 400)
    grid.publish("songs", count=3)
    grid.settle()

    END[end](grid)

    grid.settle()
    assert len(receiver.requests) == 3
    books = grid.books()
    assert (books.matched, books.delivered, books.dead_letters) == (3, 2, 1)
    [fresh] = grid.publish("songs")
    grid.settle()
    assert receiver.ids[3:] == [fresh]


@pytest.mark.parametrize("end", END)
@HASTY
def test_holes_in_what_was_settled(grid: Grid, receiver: Receiver, end: str) -> None:
    """Deliveries settled behind one that hangs are not sent again with it."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.choose = lambda request: HANG if request.event["subject"] == "hang" else 200
    grid.publish("songs", {"subject": "hang"})
    grid.publish("songs", count=3)
    grid.publish("songs", {"subject": "hang"})
    grid.publish("songs", count=3)
    grid.settle()
    receiver.choose = None

    END[end](grid)

    grid.settle()
    again = receiver.requests[8:]
    assert [request.event["subject"] for request in again] == ["hang", "hang"]
    assert grid.books().delivered == 8


@pytest.mark.parametrize("end", END)
def test_the_ladder_goes_on(grid: Grid, receiver: Receiver, clock: VirtualClock, end: str) -> None:
    """A retry falls due when it would have, with its attempts counted."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(500, 500)
    grid.publish("songs")
    clock.advance(12)

    END[end](grid)

    clock.advance(17.9)
    assert len(receiver.requests) == 2
    clock.advance(20)
    assert [request.attempt for request in receiver.requests] == [0, 1, 2]
    assert grid.books().delivered == 1


@pytest.mark.parametrize("end", END)
def test_parked_retries_come_back(
    grid: Grid, receiver: Receiver, clock: VirtualClock, end: str
) -> None:
    """Retries that fell due during a pause survive, and are sent at its end."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(500, 500, 500)
    grid.publish("songs", count=3)
    grid.settle()
    grid.client.pause_subscription("handler")
    clock.advance(60)

    END[end](grid)
    grid.client.resume_subscription("handler")

    grid.settle()
    assert len(receiver.requests) == 6
    assert grid.books().delivered == 3


@pytest.mark.parametrize("end", END)
@HASTY
def test_what_a_pause_held_comes_back(
    grid: Grid, receiver: Receiver, clock: VirtualClock, end: str
) -> None:
    """What was in flight when a subscription was paused is kept over the end, also when it is
    changed before it is resumed."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, filter={"subjectBeginsWith": "a"})
    receiver.script(HANG)
    [event_id] = grid.publish("songs", {"subject": "a"})
    receiver.wait_for_held(1)
    grid.client.pause_subscription("handler")

    END[end](grid)
    changing = threading.Thread(target=_change_and_resume, args=[grid])
    changing.start()
    clock.advance(1)
    changing.join(60)

    assert not changing.is_alive()
    grid.settle()
    assert receiver.ids == [event_id, event_id]
    [fresh] = grid.publish("songs", {"subject": "b"})
    receiver.wait_for(3)
    assert receiver.ids[2:] == [fresh]


def _change_and_resume(grid: Grid) -> None:
    grid.client.update_subscription("handler", {"filter": {"subjectBeginsWith": "b"}})
    grid.client.resume_subscription("handler")


@pytest.mark.parametrize("end", END)
@pytest.mark.grid(lane_events_max=8, drain_s=HASTY_S)
def test_a_backlog_is_worked_off(grid: Grid, receiver: Receiver, end: str) -> None:
    """What a lane had not even read when the end came is delivered, at most what it held twice."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=2)
    receiver.always = HANG
    ids = [grid.publish("songs")[0] for _ in range(30)]
    grid.settle()
    receiver.always = 200

    END[end](grid)

    grid.settle()
    assert set(receiver.ids) == set(ids)
    assert len(receiver.ids) <= 30 + 2
    assert grid.books().delivered == 30


@pytest.mark.parametrize("end", END)
def test_the_catalogue_lasts(grid: Grid, receiver: Receiver, end: str) -> None:
    """Topics with their keys and subscriptions with all they declare are there again."""
    grid.topic("songs")
    grid.topic("news", input_schema="cloudeventschemav1_0")
    keys = grid.client.list_keys("songs")
    declared: dict[str, Any] = {
        "filter": {
            "subjectBeginsWith": "a",
            "advancedFilters": [{"key": "data.n", "operatorType": "NumberIn", "values": [1, 2]}],
        },
        "retry": {"schedule": ["1s", "2s"], "eventTtl": "90s"},
        "delivery_attribute_mappings": [
            {"name": "X-Secret", "type": "static", "value": "s", "isSecret": True}
        ],
    }
    before = grid.subscribe("songs", receiver, **declared)
    topics = [topic.name for topic in grid.client.list_topics()]

    END[end](grid)

    assert [topic.name for topic in grid.client.list_topics()] == topics
    assert grid.client.list_keys("songs") == keys
    assert grid.client.list_subscriptions() == [before]
    grid.publish("songs", {"subject": "a", "data": {"n": 1}})
    [request] = receiver.wait_for(1)
    assert request.headers["x-secret"] == "s"


@pytest.mark.slow
def test_many_crashes_in_a_row(grid: Grid, new_receiver: NewReceiver, clock: VirtualClock) -> None:
    """Crash after crash, with handlers that fail at random: every event arrives or is a dead
    letter, and nothing more than what was in flight at a crash arrives twice."""
    chance = random.Random(7)
    handlers = [new_receiver() for _ in range(3)]
    grid.topic("songs")
    for index, handler in enumerate(handlers):
        handler.choose = lambda _: chance.choice(REACTIONS)
        grid.subscribe("songs", handler, name=f"handler{index}", concurrency=4)
    ids = []

    for _ in range(8):
        ids += grid.publish("songs", count=20)
        clock.advance(chance.choice([0, 1, 12]))
        chance.choice(list(END.values()))(grid)
        grid.check_books()
    for handler in handlers:
        handler.choose = None
    clock.advance(3_600)

    for index, handler in enumerate(handlers):
        books = grid.books(f"handler{index}")
        assert books.pending == 0
        assert books.matched == len(ids)
        dead = {letter.event_id for letter in grid.dead_letters(subscription=f"handler{index}")}
        assert set(handler.ids) == set(ids)
        assert books.delivered + len(dead) == len(ids)


@pytest.mark.grid(snapshot_commits=3, snapshot_lanes=1)
def test_snapshots_change_nothing(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """States written anew all the time, a slice at a time, restore the same."""
    grid.topic("songs")
    for index in range(5):
        grid.subscribe("songs", receiver, name=f"handler{index}")
    receiver.script(*([500] * 7))
    for _ in range(20):
        grid.publish("songs", count=2)
        grid.settle()
    before = [grid.books(f"handler{index}") for index in range(5)]

    grid.crash()

    grid.settle()
    after = [grid.books(f"handler{index}") for index in range(5)]
    fields = ("matched", "delivered", "pending", "ladder", "lag")
    for old, new in zip(before, after, strict=True):
        assert [getattr(old, name) for name in fields] == [getattr(new, name) for name in fields]
    clock.advance(60)
    assert sum(grid.books(f"handler{index}").delivered for index in range(5)) == 200


# --- the store fails ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["fail_next_commit", "fill_disk"])
def test_a_commit_that_fails_is_no_success(grid: Grid, receiver: Receiver, fault: str) -> None:
    """Publishing answers 503 with Retry-After when the commit fails, and the store is opened anew
    by itself. What a failed sync left on the disk may be delivered after all; on a full disk
    nothing is left."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    body = [{"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}]
    getattr(grid, fault)()

    refused = grid.post("songs", body)

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json()["error"]["code"] == "ServiceUnavailable"
    assert grid.post("songs", body).status_code == 503, "until it is open again"
    grid.settle()
    [kept] = grid.publish("songs")
    grid.settle()
    assert receiver.ids in ([kept], ["1", kept][fault == "fill_disk" :])
    assert grid.get("/readyz").status_code == 200


@pytest.mark.slow
def test_an_outcome_that_was_not_kept(grid: Grid, receiver: Receiver) -> None:
    """A delivery whose outcome could not be committed is made again after the store is back."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(HANG)
    [event_id] = grid.publish("songs")
    receiver.wait_for_held(1)
    grid.settle()

    grid.fill_disk()
    receiver.release()

    receiver.wait_for(2)
    grid.settle()
    assert receiver.ids == [event_id, event_id]
    books = grid.books()
    assert (books.matched, books.delivered) == (1, 1)


def test_readiness_tells_of_a_broken_store(grid: Grid) -> None:
    """While the store is not usable the server is not ready, and says why."""
    grid.topic("songs")
    grid.fail_next_commit()

    grid.post("songs", [{"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01"}])

    assert grid.get("/readyz").status_code == 503
    health = grid.client.show_health()
    assert [check.name for check in health.checks if not check.ok] == ["store"]
    assert grid.get("/healthz").status_code == 503


@pytest.mark.slow
def test_what_is_kept_after_a_failed_sync_is_safe(grid: Grid, receiver: Receiver) -> None:
    """An event that is acknowledged after a sync failed survives a power cut, although the system
    has lost what it could not sync."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.fail_next_commit()
    assert _publish_status(grid) == 503
    grid.settle()
    receiver.always = HANG
    [kept] = grid.publish("songs")
    receiver.wait_for_held(1)
    receiver.always = 200

    grid.cut_power()

    grid.settle()
    assert receiver.ids.count(kept) == 2
    assert grid.books().pending == 0


def test_a_full_store_refuses_and_recovers(grid: Grid, receiver: Receiver) -> None:
    """At its byte limit the store takes no events, and still delivers what it holds."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(HANG)
    grid.publish("songs")
    receiver.wait_for_held(1)

    with grid.refusing():
        assert grid.post("songs", [{}]).status_code in (400, 503)
        assert _publish_status(grid) == 503
        receiver.release()
        grid.settle()
        assert grid.books().delivered == 1

    assert _publish_status(grid) == 200


def _publish_status(grid: Grid) -> int:
    event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}
    return grid.post("songs", [event]).status_code


def test_an_answer_waits_for_the_disk(grid: Grid, receiver: Receiver) -> None:
    """No publish is answered and nothing is delivered before the sync that makes it durable."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    answers: list[httpx.Response] = []
    event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}

    with grid.holding_commits() as held:
        thread = threading.Thread(target=lambda: answers.append(grid.post("songs", [event])))
        thread.start()
        held.wait()
        assert answers == []
        assert receiver.requests == []

    thread.join()
    assert answers[0].status_code == 200
    receiver.wait_for(1)
