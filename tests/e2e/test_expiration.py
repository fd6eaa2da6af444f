"""Labels of event subscriptions, and their end by themselves."""

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.testing import Grid, Receiver

SOON = "2026-01-01T00:10:00Z"
LATER = "2026-01-01T02:10:00+02:00"


def names(grid: Grid) -> list[str]:
    return [each.name for each in grid.client.list_subscriptions()]


def test_a_subscription_ends_by_itself(grid: Grid, receiver: Receiver) -> None:
    """At its time it is deleted: not before, its endpoint is told, and no event goes out after."""
    grid.topic("songs")
    view = grid.subscribe("songs", receiver, expiration_time_utc=SOON)
    assert view.expiration_time_utc == "2026-01-01T00:10:00.000Z"

    grid.clock.advance(599)
    grid.publish("songs")
    grid.settle()
    assert names(grid) == ["handler"]
    grid.clock.advance(2)
    grid.settle()

    assert names(grid) == []
    (farewell,) = receiver.farewells
    assert farewell.headers["aeg-event-type"] == "SubscriptionDeletion"
    grid.publish("songs")
    grid.settle()
    assert len(receiver.requests) == 1


def test_it_ends_after_a_restart(grid: Grid, receiver: Receiver) -> None:
    """Time runs while nothing does: what expired meanwhile is deleted at the start."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, expiration_time_utc=SOON)
    grid.subscribe("songs", receiver, name="other", expiration_time_utc=LATER)
    grid.stop()
    grid.clock.advance(601)

    grid.start()
    grid.settle()
    grid.clock.advance(0)
    grid.settle()

    assert names(grid) == []


def test_the_end_can_be_moved_and_taken_away(grid: Grid, receiver: Receiver) -> None:
    """The time that was declared last counts."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, expiration_time_utc=SOON)
    grid.subscribe("songs", receiver, name="other", expiration_time_utc=SOON)
    grid.client.update_subscription("handler", {"expirationTimeUtc": "2026-01-01T01:00:00Z"})
    kept = grid.client.update_subscription("other", {"expirationTimeUtc": None})

    grid.clock.advance(700)
    assert set(names(grid)) == {"handler", "other"}
    grid.clock.advance(3_000)
    grid.settle()

    assert names(grid) == ["other"]
    assert kept.expiration_time_utc is None


@pytest.mark.parametrize("text", ["2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z", "soon"])
def test_ends_that_cannot_be(grid: Grid, receiver: Receiver, text: str) -> None:
    """An end that is over, or no time, is refused; nothing is kept."""
    grid.topic("songs")

    with pytest.raises(InvalidRequest):
        grid.subscribe("songs", receiver, expiration_time_utc=text)

    assert names(grid) == []


def test_labels(grid: Grid, receiver: Receiver) -> None:
    """Labels are kept and shown, and can be replaced."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, labels=["blues", "team a"])
    grid.restart()

    assert grid.client.show_subscription("handler").labels == ["blues", "team a"]
    assert grid.client.update_subscription("handler", {"labels": ["rock"]}).labels == ["rock"]


@pytest.mark.parametrize(
    ("labels", "is_taken"),
    [
        (["x"] * 50, True),
        (["x"] * 51, False),
        (["x" * 256], True),
        (["x" * 257], False),
        ([""], False),
    ],
)
def test_the_bounds_of_labels(
    grid: Grid, receiver: Receiver, labels: list[str], is_taken: bool
) -> None:
    """Fifty labels of 256 characters are taken, and none that is empty."""
    grid.topic("songs")
    if is_taken:
        assert grid.subscribe("songs", receiver, labels=labels).labels == labels
        return
    with pytest.raises(InvalidRequest) as refused:
        grid.subscribe("songs", receiver, labels=labels)
    assert refused.value.code == "InvalidLabels"
