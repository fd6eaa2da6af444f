"""The publish endpoint in front of the real grid: what is kept, what is not, and what is told."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost.config.settings import Settings
from eventpost.core.errors import HandshakeFailed
from eventpost.http.client_limits import ClientLimits
from eventpost.http.server.limits import HttpLimits
from eventpost.testing import Answer, Grid, Receiver, VirtualClock
from eventpost.testing.steps import GridClock

EVENT = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}
REQUEST_BYTES_MAX = 1_536_000
EVENT_BYTES_MAX = 1_049_600


def event_of(size: int) -> bytes:
    """An event of exactly so many bytes."""
    empty = json.dumps({**EVENT, "data": ""}).encode()
    return empty[:-2] + b"x" * (size - len(empty)) + b'"}'


def test_a_success_has_no_body(grid: Grid) -> None:
    """A publish is answered with exactly 200, without a body, with Event Grid's headers."""
    grid.topic("songs")

    answer = grid.post("songs", [EVENT])

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["api-supported-versions"] == "2018-01-01"
    assert answer.headers["x-ms-request-id"]


def test_all_or_nothing(grid: Grid, receiver: Receiver) -> None:
    """One invalid event refuses its whole request."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    answer = grid.post("songs", [EVENT, {"id": "2"}])

    assert answer.status_code == 400
    grid.settle()
    assert receiver.requests == []
    [topic] = [each for each in grid.client.show_report().topics if each.topic == "songs"]
    assert (topic.published, topic.rejected) == (0, 1)


@pytest.mark.parametrize(
    ("size", "status"),
    [(EVENT_BYTES_MAX - 1, 200), (EVENT_BYTES_MAX, 200), (EVENT_BYTES_MAX + 1, 413)],
)
def test_an_event_has_its_bound(grid: Grid, receiver: Receiver, size: int, status: int) -> None:
    """An event up to the bound is taken and delivered whole."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    answer = grid.post("songs", b"[" + event_of(size) + b"]")

    assert answer.status_code == status
    grid.settle()
    assert [len(each.event["data"]) > size - 200 for each in receiver.requests] == (
        [True] if status == 200 else []
    )


@pytest.mark.parametrize(
    ("size", "status"),
    [(REQUEST_BYTES_MAX - 1, 200), (REQUEST_BYTES_MAX, 200), (REQUEST_BYTES_MAX + 1, 413)],
)
def test_a_request_has_its_bound(grid: Grid, size: int, status: int) -> None:
    """A request up to the bound is taken."""
    grid.topic("songs")
    half = event_of(size // 2 - 10)

    answer = grid.post("songs", b"[" + half + b"," + event_of(size - len(half) - 3) + b"]")

    assert answer.status_code == status


@pytest.mark.parametrize(("count", "status"), [(4_999, 200), (5_000, 200), (5_001, 413)])
def test_a_batch_has_its_bound(grid: Grid, count: int, status: int) -> None:
    """So many events may come in one request."""
    grid.topic("songs")

    assert grid.post("songs", [{**EVENT, "id": "1"}] * count).status_code == status


@pytest.mark.slow
def test_both_addresses_of_a_topic(grid: Grid, receiver: Receiver) -> None:
    """A topic is published to with and without `/topics` in front."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    headers = {"aeg-sas-key": grid.key("songs")}

    for path in ("/topics/songs/api/events", "/songs/api/events", "/topics/SONGS/api/events"):
        answer = httpx.post(
            grid.url + path, json=[EVENT], headers=headers, trust_env=False, timeout=60
        )
        assert answer.status_code == 200

    receiver.wait_for(3)


def test_an_unknown_topic(grid: Grid) -> None:
    """There is no topic of that name: 404, in Event Grid's form."""
    answer = httpx.post(
        f"{grid.url}/topics/none/api/events", json=[EVENT], trust_env=False, timeout=60
    )

    assert answer.status_code == 404
    assert answer.json()["error"]["code"]


def test_an_event_can_be_followed(grid: Grid, receiver: Receiver) -> None:
    """What was published shows in the tail as it comes, and its story says what became of it."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, name="blues", filter={"subjectBeginsWith": "genre/blues"})
    grid.subscribe("songs", receiver, name="jazz", filter={"subjectBeginsWith": "genre/jazz"})
    tail = grid.client_of_its_own().tail_topic("songs")
    grid.publish("songs", {"id": "before"})

    first = _publish_until(grid, tail)
    [event_id] = grid.publish("songs", {"subject": "genre/blues"})
    followed = json.loads(bytes(_until(tail, event_id).event))

    assert first
    assert followed["subject"] == "genre/blues"
    grid.settle()
    [story] = grid.client.trace_event(event_id)
    assert {each.subscription: each.where for each in story.deliveries} == {
        "blues": "delivered",
        "jazz": "unmatched",
    }


def _publish_until(grid: Grid, tail: Any) -> Any:
    """The first event of a tail; it begins with what comes after it was asked for."""
    import threading

    found: list[Any] = []
    reading = threading.Thread(target=lambda: found.append(next(tail)))
    reading.start()
    while reading.is_alive():
        grid.publish("songs")
        reading.join(0.01)
    return found[0]


def _until(tail: Any, event_id: str) -> Any:
    return next(each for each in tail if json.loads(bytes(each.event))["id"] == event_id)


def test_a_filter_explains_itself(grid: Grid, receiver: Receiver) -> None:
    """An event held against a filter: which clause says no, and what it found."""
    grid.topic("songs")
    grid.subscribe(
        "songs",
        receiver,
        filter={
            "subjectBeginsWith": "genre/",
            "advancedFilters": [{"key": "data.n", "operatorType": "NumberIn", "values": [1]}],
        },
    )

    view = grid.client.test_subscription("handler", {**EVENT, "data": {"n": 2}})

    assert not view.is_match
    assert [clause.is_met for clause in view.clauses] == [False, False]
    assert view.clauses[1].found == "2"
    grid.settle()
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://10.0.0.1/hook", "https://[fd00::1]/hook"]
)
def test_private_addresses_are_not_delivered_to(grid: Grid, url: str) -> None:
    """An endpoint on a private, link-local or metadata address is refused before connecting."""
    grid.topic("songs")

    with pytest.raises(HandshakeFailed) as refused:
        grid.subscribe("songs", url)

    assert refused.value.code.startswith("EP")


def test_a_missing_secret_costs_no_attempt(
    grid: Grid, receiver: Receiver, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a signing secret cannot be found nothing is sent and no attempt is counted; once it is
    there deliveries go on."""
    monkeypatch.setenv("SONGS_SECRET", "whsec_" + "A" * 32)
    grid.topic("songs")
    grid.subscribe("songs", receiver, signing_secrets=["env:SONGS_SECRET"])
    monkeypatch.delenv("SONGS_SECRET")
    grid.restart()
    grid.publish("songs")
    clock.advance(100)
    assert receiver.requests == []

    monkeypatch.setenv("SONGS_SECRET", "whsec_" + "A" * 32)
    clock.advance(20)

    [request] = receiver.requests
    assert request.attempt == 0
    assert grid.books().delivered == 1


def test_the_listeners_bounds_are_settings(tmp_path: Path, clock: GridClock) -> None:
    """What the configuration says about HTTP holds for the listener."""
    settings = Settings(http=HttpLimits(body_bytes_max=1_000))
    grid = Grid(tmp_path, clock, settings)
    try:
        grid.topic("songs")
        assert grid.post("songs", b"[" + event_of(1_000) + b"]").status_code == 413
        assert grid.post("songs", b"[" + event_of(900) + b"]").status_code == 200
    finally:
        grid.close()


def test_the_clients_bounds_are_settings(
    tmp_path: Path, clock: GridClock, receiver: Receiver
) -> None:
    """What the configuration says about deliveries holds for them."""
    settings = Settings(client=ClientLimits(answer_head_bytes_max=500))
    receiver.script(Answer(200, headers={"X-Long": "x" * 600}))
    grid = Grid(tmp_path, clock, settings)
    try:
        grid.topic("songs")
        grid.subscribe("songs", receiver)
        grid.publish("songs")
        grid.settle()
        assert grid.books().attempts_failed == 1
    finally:
        grid.close()
