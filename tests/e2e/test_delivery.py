"""From a publish to a webhook."""

from eventpost.testing import Grid, Receiver


def test_delivers(grid: Grid, receiver: Receiver) -> None:
    """What is published is delivered."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    ids = grid.publish("songs", count=3)

    receiver.wait_for(3)
    grid.settle()
    assert sorted(receiver.ids) == sorted(ids)
    assert grid.books().delivered == 3
