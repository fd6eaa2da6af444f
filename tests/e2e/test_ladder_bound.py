"""The ladder of one subscription is bounded: beyond the bound its cursor lags."""

import pytest

from eventpost.testing import Grid, Receiver, VirtualClock

ROWS_MAX = 5
EVENTS = 20


@pytest.mark.grid(ladder_rows_max=ROWS_MAX, breaker_failures=1_000)
def test_a_full_ladder_makes_the_cursor_lag(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """No more rows than the bound while a handler fails; all of it arrives once it recovers."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=1)
    receiver.always = 503
    for _ in range(EVENTS):
        grid.publish("songs")
        grid.settle()

    assert grid.books().ladder == ROWS_MAX
    assert grid.books().lag > 0

    receiver.always = 200
    while grid.books().delivered < EVENTS:
        clock.advance(60)
        grid.settle()
    assert grid.books().pending == 0
