"""A source while the store fails: nothing is lost, and nothing is taken twice."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from eventpost.app import compose
from eventpost.stores.sqlite.store import SqliteStore
from eventpost.testing.disk import Disk
from tests.server.running import until
from tests.sources.station import SOURCE, Station, station

pytestmark = [pytest.mark.usefixtures("pigeon"), pytest.mark.slow]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk", seed=1)
    yield made
    made.close()


@pytest.fixture
def letters(tmp_path: Path, disk: Disk) -> Iterator[Station]:
    """With its source, on a disk that fails when it is told to."""
    build = partial(compose.build, new_store=partial(SqliteStore, vfs=disk.name))
    with station(tmp_path, build=build) as made:
        made.declare()
        until(lambda: made.shown()["state"] == "running")
        yield made


def failures(letters: Station) -> int:
    return letters.server.app.supervisor.failures


@pytest.mark.parametrize("syncs", [1, 2, 3, 5])
def test_a_commit_that_fails(letters: Station, disk: Disk, syncs: int) -> None:
    """When a sync fails nobody knows what of the commit is on disk: once the store is open again it
    is asked, and each message is taken once."""
    numbers = [str(number) for number in range(100)]
    disk.fail_sync_at = disk.syncs + syncs

    letters.send(*numbers)

    until(lambda: letters.server.call(failures, letters) == 1)
    until(lambda: letters.left == 0)
    assert letters.published() == Counter(numbers)


def test_a_full_disk(letters: Station, disk: Disk) -> None:
    """When the disk is full, messages stay in their queue until there is room."""
    numbers = [str(number) for number in range(100)]
    disk.full_at_write = disk.writes + 3

    letters.send(*numbers)

    until(lambda: letters.server.call(failures, letters) >= 1)
    until(lambda: letters.left == 0)
    assert letters.published() == Counter(numbers)
    assert letters.admin.get(f"/sources/{SOURCE}").json()["state"] == "running"
