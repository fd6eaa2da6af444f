"""A grid whose clock begins now: receivers look at the time of signatures."""

import time

import pytest

from eventpost.testing.steps import GridClock


@pytest.fixture
def clock() -> GridClock:
    """Stands still, like any grid's clock in a test, but today."""
    return GridClock(time.time_ns() // 1_000_000)
