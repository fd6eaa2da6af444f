"""What holds a subscription up though no attempt failed is told as a finding, and goes with it."""

from pathlib import Path

import pytest

from eventpost.config.settings import Settings, StoreSettings
from eventpost.testing import Grid, Receiver, VirtualClock
from eventpost.testing.receiver import RESET
from eventpost.testing.steps import GridClock
from tests.server.running import EVENT

WINDOW_S = 600


def findings(grid: Grid) -> list[str]:
    found = grid.client.show_subscription("handler").findings
    assert all(each.title and each.cause and each.fix for each in found)
    return [each.finding for each in found]


def test_nothing_is_told_while_all_is_well(grid: Grid, receiver: Receiver) -> None:
    """A subscription that delivers has no finding."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.publish("songs", count=3)
    grid.settle()

    assert findings(grid) == []


def test_a_paused_subscription(grid: Grid, receiver: Receiver) -> None:
    """A pause is told while it lasts."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    grid.client.pause_subscription("handler")
    assert findings(grid) == ["EP2803"]
    grid.client.resume_subscription("handler")

    assert findings(grid) == []


@pytest.mark.grid(breaker_failures=3)
def test_an_open_breaker(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """An endpoint whose connections break is held back, and that is told until it answers."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)
    receiver.always = RESET
    grid.publish("songs", count=5)
    grid.settle()
    assert findings(grid) == ["EP2802"]

    receiver.always = 200
    clock.advance(3_600)
    grid.settle()

    assert findings(grid) == []


def test_a_validation_that_came_too_late(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """A subscription whose URL nobody opened says so, and not before its window is over."""
    grid.topic("songs")
    receiver.consent = None
    grid.subscribe("songs", receiver)
    clock.advance(WINDOW_S - 1)
    assert findings(grid) == []

    clock.advance(1)

    assert findings(grid) == ["EP2605"]


def test_events_that_were_given_up(tmp_path: Path, receiver: Receiver, clock: GridClock) -> None:
    """What the store gave up before it was delivered is told to whoever asks."""
    limits = {"retention_interval_s": 1.0}
    small = Settings(store=StoreSettings(bytes_max=1_000_000))
    grid = Grid(tmp_path, clock, small, limits=limits)
    try:
        before, after = give_up(grid, receiver, clock)
    finally:
        grid.close()

    assert before == ["EP2803"]
    assert after == ["EP2803", "EP3008"]


def give_up(grid: Grid, receiver: Receiver, clock: GridClock) -> tuple[list[str], list[str]]:
    """What is told before events are given up for want of room, and what after it."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.client.pause_subscription("handler")
    event = {**EVENT, "data": "x" * 20_000}
    answers = (grid.post("songs", [event] * 10).status_code for _ in range(200))
    assert 503 in answers, "it was never full"
    before = findings(grid)
    clock.advance(30)
    grid.settle()
    return before, findings(grid)
