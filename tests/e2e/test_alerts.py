"""Alerts on the topic `eventpost.health`, from a failing handler to a webhook that is told."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventpost.config.settings import AlertSettings, ServerSettings, Settings
from eventpost.core.errors import Overloaded
from eventpost.testing.clock import VirtualClock
from eventpost.testing.grid import Grid
from eventpost.testing.receiver import Receiver
from eventpost.testing.steps import GridClock
from tests.services.certificates import Authority

HEALTH = "eventpost.health"


@pytest.fixture
def onlooker() -> Iterator[Receiver]:
    """A webhook that is told of the server's health."""
    receiver = Receiver(path="/health")
    yield receiver
    receiver.close()


def look(grid: Grid) -> None:
    """Look for what is wrong, and let what is told arrive."""
    grid._background.run(grid.app.alerts.look())
    grid.settle()


def told(onlooker: Receiver) -> list[tuple[str, str]]:
    return [
        (each.event["eventType"].removeprefix("Eventpost.Alert"), each.event["data"]["alert"])
        for each in onlooker.requests
    ]


def watched(grid: Grid, onlooker: Receiver) -> None:
    grid.topic("songs")
    grid.subscribe(HEALTH, onlooker, name="onlooker")


def test_a_refusal_is_told_and_cleared(
    grid: Grid, receiver: Receiver, onlooker: Receiver, clock: VirtualClock
) -> None:
    """A handler that refuses us is told once, with cause and fix, and once more when it is well."""
    watched(grid, onlooker)
    grid.subscribe("songs", receiver, retry={"finalStatuses": []})
    receiver.script(403)
    look(grid)
    grid.publish("songs", {"subject": "genre/blues"})
    grid.settle()

    look(grid)
    look(grid)
    started = onlooker.requests[0].event
    clock.advance(60)
    grid.settle()
    look(grid)

    assert told(onlooker) == [("Started", "authorization"), ("Cleared", "authorization")]
    assert started["subject"] == "/topics/songs/subscriptions/handler/authorization"
    assert started["data"]["finding"] == "EP2403"
    assert started["data"]["fix"]
    assert onlooker.requests[1].event["data"]["since"] == started["data"]["since"]


def test_an_alert_that_holds_is_told_again(
    grid: Grid, receiver: Receiver, onlooker: Receiver, clock: VirtualClock
) -> None:
    """What holds for an hour is told again, and not at each look."""
    watched(grid, onlooker)
    grid.subscribe("songs", receiver, retry={"finalStatuses": []})
    receiver.always = 403
    grid.publish("songs", {"subject": "genre/blues"})
    grid.settle()
    for _ in range(3):
        look(grid)
        clock.advance(1_800)
        grid.settle()

    look(grid)

    states = [state for state, kind in told(onlooker) if kind == "authorization"]
    assert states == ["Started", "Still"]


def test_dead_letters_are_told(grid: Grid, receiver: Receiver, onlooker: Receiver) -> None:
    """Dead letters that fell since the look before are told with their number."""
    watched(grid, onlooker)
    grid.subscribe("songs", receiver)
    receiver.always = 400
    look(grid)
    grid.publish("songs", *({"subject": f"genre/{index}"} for index in range(3)))
    grid.settle()

    look(grid)
    look(grid)

    assert told(onlooker) == [("Started", "dead-letters"), ("Cleared", "dead-letters")]
    assert onlooker.requests[0].event["data"]["value"] == 3


def test_dead_letters_that_could_not_be_told(
    grid: Grid, receiver: Receiver, onlooker: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead letters whose alert the store did not take are told at the next look."""
    watched(grid, onlooker)
    grid.subscribe("songs", receiver)
    receiver.always = 400
    look(grid)
    grid.publish("songs", {"subject": "genre/blues"})
    grid.settle()

    with monkeypatch.context() as full:
        full.setattr(grid.app.grid, "publish", _refusing)
        look(grid)
    before = told(onlooker)
    look(grid)
    look(grid)

    assert before == []
    assert told(onlooker) == [("Started", "dead-letters"), ("Cleared", "dead-letters")]
    assert onlooker.requests[0].event["data"]["value"] == 1


def _refusing(_topic: int, _events: object, done: Callable[[Overloaded], None]) -> None:
    """What the grid says of a commit that failed: none can be made to fail at one look alone."""
    done(Overloaded("EP3003", "The store failed.", retry_after_s=1))


def test_health_of_the_health_topic_feeds_nothing(
    grid: Grid, receiver: Receiver, onlooker: Receiver
) -> None:
    """An onlooker that refuses its alerts causes none."""
    watched(grid, onlooker)
    grid.subscribe("songs", receiver)
    receiver.always = onlooker.always = 403
    grid.publish("songs", {"subject": "genre/blues"})
    grid.settle()

    for _ in range(5):
        look(grid)

    alerts = {each.event["data"]["name"] for each in onlooker.requests}
    assert alerts == {"handler"}


def test_metrics_and_the_list_of_topics(grid: Grid, receiver: Receiver) -> None:
    """An alert that holds is a metric, and the topic is there for everybody from the start."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, retry={"finalStatuses": []})
    receiver.always = 403
    grid.publish("songs", {"subject": "genre/blues"})
    grid.settle()

    look(grid)

    metrics = grid._background.run(grid.app.metrics()).decode()
    labels = 'alert="authorization",name="handler",of="subscription",topic="songs"'
    assert f"eventpost_alert_active{{{labels}}} 1.0" in metrics
    assert 'eventpost_alerts_started_total{alert="authorization"} 1.0' in metrics
    assert HEALTH in [each.name for each in grid.client.list_topics()]


def settings(**alerts: Any) -> Settings:
    return msgspec.structs.replace(Settings(), alerts=AlertSettings(**alerts))


@pytest.mark.slow
def test_within_one_interval(
    tmp_path: Path, clock: GridClock, receiver: Receiver, onlooker: Receiver
) -> None:
    """From the failure to the alert it takes one interval, by itself."""
    grid = Grid(tmp_path, clock, settings(interval_s=0.2))
    try:
        watched(grid, onlooker)
        grid.subscribe("songs", receiver, retry={"finalStatuses": []})
        receiver.always = 403
        grid.publish("songs", {"subject": "genre/blues"})
        grid.settle()

        until(lambda: ("Started", "authorization") in told(onlooker))
    finally:
        grid.close()


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_no_alerts(tmp_path: Path, clock: GridClock) -> None:
    """An interval of 0 turns them off: nobody looks."""
    grid = Grid(tmp_path, clock, settings(interval_s=0))
    try:
        assert grid.call(lambda: grid.app.alerts._task) is None
    finally:
        grid.close()


def test_a_certificate_that_ends_soon(
    tmp_path: Path, onlooker: Receiver, authority: Authority
) -> None:
    """The listener's certificate is told two weeks before its end."""
    from eventpost.app.alerts import _end_ms

    ends = datetime.now(UTC) + timedelta(days=13)
    file = authority.issue(file_name="soon.pem", not_after=ends)

    found = _end_ms(str(file))

    assert found is not None
    assert abs(found / 1_000 - ends.timestamp()) < 2
    assert _end_ms(str(tmp_path / "none.pem")) is None
    assert ServerSettings(tls_cert=str(file)).tls_cert
