"""A sync that fails and a disk that is full: the commit fails, and nothing is believed after it."""

from pathlib import Path

import pytest

from eventpost.core.interfaces import Commit, CommitFailed
from eventpost.stores.sqlite import SqliteSettings, wal
from eventpost.stores.sqlite.database import Database
from eventpost.testing.disk import Disk
from eventpost.testing.samples import append
from tests.stores.conftest import NewDisk, Publisher

SETTINGS = SqliteSettings()


def open_on(disk: Disk, directory: Path) -> Database:
    return Database(directory / "eventpost.db", SETTINGS, disk.name)


def fail_a_sync(disk: Disk, directory: Path) -> Publisher:
    """Publish, fail the sync of a commit, reopen, publish on, cut the power."""
    publisher = Publisher()
    database = open_on(disk, directory)
    publisher.begin(database)
    publisher.publish(database, 3)
    disk.fail_sync_at = disk.syncs + 1
    assert isinstance(publisher.publish(database, 5), CommitFailed)
    database.close()

    database = open_on(disk, directory)
    publisher.check(database)
    publisher.publish(database, 7)
    disk.cut_power()
    database.close()
    return publisher


def test_a_failed_sync_fails_its_commit(tmp_path: Path, new_disk: NewDisk) -> None:
    """EIO at the commit's sync: CommitFailed, not full, with SQLite's own words."""
    disk = new_disk(1)
    publisher = Publisher()
    database = open_on(disk, tmp_path)
    publisher.begin(database)
    disk.fail_sync_at = disk.syncs + 1

    answer = publisher.publish(database, 1)

    assert isinstance(answer, CommitFailed)
    assert "IOERR" in answer.reason
    assert not answer.is_full
    database.close()


def test_a_failed_sync_is_never_tried_again(tmp_path: Path, new_disk: NewDisk) -> None:
    """After a failed sync neither later commits nor closing write or sync anything."""
    disk = new_disk(1)
    publisher = Publisher()
    database = open_on(disk, tmp_path)
    publisher.begin(database)
    disk.fail_sync_at = disk.syncs + 1
    publisher.publish(database, 1)
    writes, syncs = disk.writes, disk.syncs

    assert isinstance(publisher.publish(database, 1), CommitFailed)
    assert isinstance(database.commit(Commit()), CommitFailed)
    database.close()

    assert (disk.writes, disk.syncs) == (writes, syncs)


@pytest.mark.parametrize("seed", range(5))
def test_events_after_a_failed_sync_outlive_a_power_cut(
    tmp_path: Path, new_disk: NewDisk, seed: int
) -> None:
    """What is acknowledged after reopening stays, though the system lost what it failed to sync."""
    disk = new_disk(seed)
    publisher = fail_a_sync(disk, tmp_path)

    database = open_on(disk, tmp_path)

    assert publisher.check(database) == 0
    database.close()


@pytest.mark.parametrize("is_rest", [False, True], ids=["beside", "rest"])
def test_a_failed_checkpoint_fails_the_next_commit(
    tmp_path: Path, new_disk: NewDisk, is_rest: bool
) -> None:
    """A sync that fails while the log is copied, beside commits or between two of them, closes the
    store; nothing acknowledged is lost."""
    disk = new_disk(1)
    publisher = Publisher()
    database = Database(tmp_path / "eventpost.db", SqliteSettings(wal_pages=1), disk.name)
    publisher.begin(database)
    assert not isinstance(publisher.publish(database, 3), CommitFailed)
    assert database.is_checkpoint_due
    if not is_rest:
        disk.fail_sync_at = disk.syncs + 1
    copied = database.copy_log()
    if is_rest:
        assert copied > 0
        assert not isinstance(publisher.publish(database, 2), CommitFailed)
        disk.fail_sync_at = disk.syncs + 1
        database.checkpoint(0)

    assert isinstance(publisher.publish(database, 5), CommitFailed)
    database.close()
    disk.cut_power()
    database = open_on(disk, tmp_path)
    assert publisher.check(database) == 0
    assert publisher.acknowledged == (5 if is_rest else 3)
    database.close()


def test_that_loss_is_found_when_the_log_is_believed(
    tmp_path: Path, new_disk: NewDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without writing the log again at start, and emptying it, the same cuts lose events."""
    monkeypatch.setattr(wal, "rewrite", lambda *_: None)
    monkeypatch.setattr(wal, "empty", lambda *_: None)
    lost = 0
    for seed in range(5):
        disk = new_disk(seed)
        directory = tmp_path / str(seed)
        directory.mkdir()
        publisher = fail_a_sync(disk, directory)
        database = open_on(disk, directory)
        lost += publisher.check(database)
        database.close()

    assert lost > 0


@pytest.mark.parametrize("write", [1, 2, 5])
def test_a_full_disk_is_told_apart(tmp_path: Path, new_disk: NewDisk, write: int) -> None:
    """No room at any write of a commit: CommitFailed with `is_full`, and all before is there."""
    disk = new_disk(1)
    publisher = Publisher()
    database = open_on(disk, tmp_path)
    publisher.begin(database)
    publisher.publish(database, 3)
    disk.full_at_write = disk.writes + write
    batch = append(*[f"event-{index}" for index in range(3, 200)])

    answer = database.commit(Commit(appends=[batch]))

    assert isinstance(answer, CommitFailed)
    assert answer.is_full
    database.close()
    database = open_on(disk, tmp_path)
    assert publisher.check(database) == 0
    assert publisher.acknowledged == 3
    assert not isinstance(publisher.publish(database, 2), CommitFailed)
    database.close()
