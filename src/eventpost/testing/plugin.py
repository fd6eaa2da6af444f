"""The pytest plug-in: `grid`, `receiver`, `clock`, `recording_publisher`, by the entry point.

Nothing is imported before a test asks for it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from eventpost.testing.grid import Grid
    from eventpost.testing.receiver import Receiver
    from eventpost.testing.recording_publisher import RecordingPublisher
    from eventpost.testing.steps import GridClock


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "grid(**limits): bounds of the engine for the fixture `grid`, by name"
    )


@pytest.fixture
def clock() -> "GridClock":
    """The grid's clock: it stands still until `clock.advance(seconds)`."""
    from eventpost.testing.steps import GridClock

    return GridClock()


@pytest.fixture
def grid(tmp_path: Path, clock: "GridClock", request: pytest.FixtureRequest) -> "Iterator[Grid]":
    """A grid of its own for each test; its books must balance when the test has ended."""
    from eventpost.testing.grid import Grid

    limits: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("grid"))):
        limits |= mark.kwargs
    grid = Grid(tmp_path / "grid", clock, limits=limits)
    try:
        yield grid
        if grid.is_running:
            grid.check_books()
            grid.check_kept()
    finally:
        grid.close()


@pytest.fixture
def new_receiver(clock: "GridClock") -> "Iterator[Callable[[], Receiver]]":
    """Makes receivers, as many as a test needs."""
    from eventpost.testing.receiver import Receiver

    made: list[Receiver] = []

    def new() -> Receiver:
        made.append(Receiver(clock))
        return made[-1]

    yield new
    for receiver in made:
        receiver.close()


@pytest.fixture
def receiver(new_receiver: "Callable[[], Receiver]") -> "Receiver":
    """A webhook that consents, answers 200 and remembers what came."""
    return new_receiver()


@pytest.fixture
def recording_publisher() -> "RecordingPublisher":
    """In the place of a `KafkaPublisher`: it sends nothing and remembers all."""
    from eventpost.testing.recording_publisher import RecordingPublisher

    return RecordingPublisher()
