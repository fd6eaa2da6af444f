"""Engines on stores of their own, closed when the test ends."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.grid.rig import LIMITS, Rig

NewRig = Callable[..., Rig]


@pytest.fixture
def new_rig(tmp_path: Path) -> Iterator[NewRig]:
    """Makes an engine; keywords are its bounds, by name. At the end the books must balance."""
    made: list[Rig] = []

    def new(*, vfs: str | None = None, **limits: Any) -> Rig:
        directory = tmp_path / f"data-{len(made)}"
        bounds = msgspec.structs.replace(LIMITS, **limits)
        made.append(Rig(directory, bounds, vfs=vfs))
        return made[-1]

    yield new
    for rig in made:
        if not rig.engine.is_stopped:
            rig.check()
        rig.close()


@pytest.fixture
def rig(new_rig: NewRig) -> Rig:
    """An engine with the topic `songs`."""
    made = new_rig()
    made.topic()
    return made
