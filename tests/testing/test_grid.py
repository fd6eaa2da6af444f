"""The grid for tests, where the tests of the product do not use it by themselves."""

import json

import pytest

from eventpost.core.errors import InvalidEvent, Overloaded
from eventpost.testing import HANG, Grid, Receiver, VirtualClock
from eventpost.testing import grid as grid_module


def test_time_stands_still(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """Nothing that has to wait happens before the clock is advanced."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    before_ms = clock.now_ms()
    receiver.script(500)

    grid.publish("songs")
    grid.settle()
    grid.settle()

    assert clock.now_ms() == before_ms
    assert [request.at_ms for request in receiver.requests] == [before_ms]


def test_the_clock_moves_as_far_as_it_is_told(grid: Grid, clock: VirtualClock) -> None:
    """Advancing by parts or at once comes to the same time, whatever falls due on the way."""
    before_ms = clock.now_ms()

    clock.advance(0.25)
    clock.advance(3_600)
    clock.advance(0)

    assert clock.now_ms() == before_ms + 3_600_250


def test_an_unfinished_handler_is_told(
    grid: Grid, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grid that does not come to rest is told with what it waits for."""
    monkeypatch.setattr(grid_module, "REST_S_MAX", 0.05)
    grid.topic("songs")
    grid.subscribe("songs", receiver.url)  # by its URL: the grid does not know that it is a test's
    receiver.script(HANG)
    grid.publish("songs")
    receiver.wait_for_held(1)

    with pytest.raises(TimeoutError, match="'requests': 1"):
        grid.settle()

    receiver.release()
    monkeypatch.undo()


def test_events_are_filled_in(grid: Grid, receiver: Receiver) -> None:
    """An event needs to name only what the test is about; ids are unique."""
    grid.topic("songs")
    grid.topic("news", input_schema="cloudeventschemav1_0")
    for topic in ("songs", "news"):
        grid.subscribe(topic, receiver)

    ids = grid.publish("songs", count=3) + grid.publish("news", {"id": "n", "type": "t"})

    grid.settle()
    assert len(set(ids)) == 4
    assert set(receiver.ids) == set(ids)


def test_refusals_are_raised(grid: Grid) -> None:
    """What the server refuses is raised as an error of the product."""
    grid.topic("songs")

    with pytest.raises(InvalidEvent):
        grid.publish("songs", {"subject": None})
    with grid.refusing(), pytest.raises(Overloaded):
        grid.publish("songs")

    assert grid.publish("songs")


def test_any_body_can_be_posted(grid: Grid) -> None:
    """Bytes, text and JSON values are posted as they are, with the topic's key or another one."""
    grid.topic("songs")

    assert grid.post("songs", b"\xff").status_code == 400
    assert grid.post("songs", "{").status_code == 400
    assert grid.post("songs", []).status_code in (200, 400)
    assert grid.post("songs", [], {"aeg-sas-key": "AAAA"}).status_code == 401


@pytest.mark.grid(lane_events_max=3)
@pytest.mark.grid(tail_bytes_max=5)
def test_bounds_are_set_by_marks(grid: Grid) -> None:
    """Marks set bounds of the engine, several of them together."""
    limits = grid.call(lambda: grid.app.grid.limits)

    assert (limits.lane_events_max, limits.tail_bytes_max) == (3, 5)


def test_a_grid_starts_again(grid: Grid) -> None:
    """A stopped grid says so, and goes on where it was."""
    grid.topic("songs")
    grid.stop()
    assert not grid.is_running

    grid.start()

    assert "songs" in [topic.name for topic in grid.client.list_topics()]
    assert json.loads(grid.get("/healthz").content)["status"] == "ok"
