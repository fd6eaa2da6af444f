"""Engines on stores of their own, closed when the test ends."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventpost.stores.sqlite import SqliteSettings
from eventpost.testing.disk import Disk
from tests.grid.rig import LIMITS, STORE, Rig

NewRig = Callable[..., Rig]


@pytest.fixture
def new_rig(tmp_path: Path, faulty: Disk) -> Iterator[NewRig]:
    """Makes an engine; keywords are its bounds, by name. At the end the books must balance."""
    made: list[Rig] = []

    def new(*, vfs: str | None = None, **limits: Any) -> Rig:
        directory = tmp_path / f"data-{len(made)}"
        bounds = msgspec.structs.replace(LIMITS, **limits)
        # What a sync is worth matters only where the disk fails.
        settings = STORE if vfs is None else SqliteSettings()
        made.append(Rig(directory, bounds, settings, vfs=vfs))
        return made[-1]

    yield new
    for rig in made:
        if not rig.engine.is_stopped:
            rig.check()
        rig.close()


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Disk]:
    """A disk whose syncs and writes fail when the test says so, for the `vfs` of an engine."""
    disk = Disk(tmp_path / "disk", seed=1)
    yield disk
    disk.close()


@pytest.fixture
def rig(new_rig: NewRig) -> Rig:
    """An engine with the topic `songs`."""
    made = new_rig()
    made.topic()
    return made
