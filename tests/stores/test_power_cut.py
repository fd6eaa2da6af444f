"""What was acknowledged outlives a power cut; and the test that says so can fail."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import apsw
import pytest

from eventpost.core.errors import StoreError
from eventpost.core.interfaces import CommitFailed
from eventpost.stores.sqlite import SqliteSettings, connection
from eventpost.stores.sqlite.database import Database
from eventpost.stores.sqlite.verify import verify
from eventpost.testing.disk import Disk
from tests.stores.conftest import NewDisk, Publisher, Puller

SMALL_LOG = SqliteSettings(wal_pages=30)
"""Checkpoints happen every few commits."""
NORMAL = SqliteSettings(wal_pages=30, synchronous="NORMAL")
ROUNDS = 6
SEEDS = range(1, 9)


def lose_power(
    disk: Disk,
    directory: Path,
    seed: int,
    settings: SqliteSettings,
    *,
    is_early: bool = False,
    publisher: Publisher | None = None,
) -> int:
    """Publish, cut the power somewhere, look what is missing, again and again; how many are.

    The log is copied now and then, with commits while it is. A file that is refused as damaged
    counts as one loss: that was noticed, but it is a loss.
    """
    whim = random.Random(seed)
    publisher = publisher or Publisher()
    lost = 0
    for _ in range(ROUNDS):
        try:
            database = Database(directory / "eventpost.db", settings, disk.name)
        except StoreError:
            return lost + 1
        lost += publisher.check(database)
        damage = [text for progress in verify(database.reader().log) for text in progress.damage]
        assert damage == []
        set_cut(disk, whim)
        answer = publisher.begin(database)
        while not isinstance(answer, CommitFailed):
            count = whim.randrange(1, 30)
            answer = publisher.publish(database, count, is_early=is_early)
            if database.is_checkpoint_due and whim.random() < 0.5:
                copy_the_log(database, disk, whim, partial(publisher.publish, database, count))
        database.close()
    return lost


def copy_the_log(
    database: Database, disk: Disk, whim: random.Random, publish: Callable[[], object]
) -> None:
    """As a store does: beside commits, some of which come between any two writes or syncs of it."""

    def beside() -> None:
        disk.on_write = disk.on_sync = nothing
        if whim.random() < 0.1:
            publish()
        disk.on_write = disk.on_sync = beside

    disk.on_write = disk.on_sync = beside
    copied = database.copy_log()
    disk.on_write = disk.on_sync = nothing
    database.checkpoint(copied)


def nothing() -> None:
    return


def set_cut(disk: Disk, whim: random.Random) -> None:
    if whim.random() < 0.5:
        disk.cut_at_sync = disk.syncs + whim.randrange(1, 40)
    else:
        disk.cut_at_write = disk.writes + whim.randrange(1, 300)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost(tmp_path: Path, new_disk: NewDisk, seed: int) -> None:
    """A power cut at any write or sync, tearing what was not synced, loses nothing acknowledged."""
    disk = new_disk(seed)

    assert lose_power(disk, tmp_path, seed, SMALL_LOG) == 0
    assert disk.cuts == ROUNDS


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_taken_and_what_it_became_are_kept_together(
    tmp_path: Path, new_disk: NewDisk, seed: int
) -> None:
    """After a power cut at any write or sync there is no message's id without its events, and there
    are no events without their message's id."""
    disk = new_disk(seed)
    puller = Puller()

    assert lose_power(disk, tmp_path, seed, SMALL_LOG, publisher=puller) == 0
    assert puller.apart == 0
    assert disk.cuts == ROUNDS


@pytest.mark.slow
def test_ids_without_their_events_are_found(tmp_path: Path, new_disk: NewDisk) -> None:
    """Committing ids before their events leaves ids without events in the same cuts."""
    apart = 0
    for seed in SEEDS:
        puller = Puller(is_apart=True)
        lose_power(new_disk(seed), tmp_path, seed, SMALL_LOG, publisher=puller)
        apart += puller.apart

    assert apart > 0


@pytest.mark.slow
def test_the_cuts_tear_and_drop_writes(tmp_path: Path, new_disk: NewDisk) -> None:
    """The harness does what it is for: over the seeds, writes are torn and dropped."""
    disk = new_disk(1)

    lose_power(disk, tmp_path, 1, SMALL_LOG)

    assert disk.torn > 0
    assert disk.dropped > 0


@pytest.mark.slow
def test_loss_is_found_without_a_sync_per_commit(tmp_path: Path, new_disk: NewDisk) -> None:
    """With synchronous=NORMAL the same cuts lose acknowledged events."""
    lost = [lose_power(new_disk(seed), tmp_path, seed, NORMAL) for seed in SEEDS]

    assert sum(lost) > 0


@pytest.mark.slow
def test_loss_is_found_when_the_copy_is_not_synced(
    tmp_path: Path, new_disk: NewDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is copied without a sync of the database loses acknowledged events in them."""
    synced = connection.copier

    def careless(path: Path, settings: SqliteSettings, vfs: str | None) -> apsw.Connection:
        copier = synced(path, settings, vfs)
        copier.pragma("synchronous", "OFF")
        return copier

    monkeypatch.setattr(connection, "copier", careless)
    lost = [lose_power(new_disk(seed), tmp_path, seed, SMALL_LOG) for seed in SEEDS]

    assert sum(lost) > 0


@pytest.mark.slow
def test_loss_is_found_when_answered_before_the_commit(tmp_path: Path, new_disk: NewDisk) -> None:
    """Acknowledging before the commit is done loses events in the same cuts."""
    lost = [lose_power(new_disk(seed), tmp_path, seed, SMALL_LOG, is_early=True) for seed in SEEDS]

    assert sum(lost) > 0


def test_a_killed_process_loses_nothing_on_any_disk(tmp_path: Path, new_disk: NewDisk) -> None:
    """Killing the process alone loses nothing even with NORMAL, which is why the power is cut."""
    disk = new_disk(1)
    publisher = Publisher()
    database = Database(tmp_path / "eventpost.db", NORMAL, disk.name)
    publisher.begin(database)
    for _ in range(5):
        publisher.publish(database, 3)
    disk.kill()
    database.close()

    database = Database(tmp_path / "eventpost.db", NORMAL, disk.name)

    assert publisher.check(database) == 0
    assert publisher.acknowledged == 15
    database.close()
