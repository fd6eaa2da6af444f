"""A backup is a consistent copy, made while commits go on."""

import stat
from pathlib import Path

import pytest

from eventpost.core.interfaces import Commit, ReadFailed
from eventpost.stores.sqlite import SqliteSettings, SqliteStore, backup
from eventpost.stores.sqlite.database import Database
from eventpost.stores.sqlite.verify import verify
from eventpost.testing.driver import Driver, PumpClock
from eventpost.testing.samples import append, with_topic
from tests.stores.conftest import NewDriver, ids

SETTINGS = SqliteSettings()


def opened_copy(tmp_path: Path, copy: Path) -> Database:
    database = Database(copy, SETTINGS)
    damage = [text for progress in verify(database.reader().log) for text in progress.damage]
    assert damage == []
    return database


def test_a_backup_holds_what_was_committed(tmp_path: Path, open_store: NewDriver) -> None:
    """The copy opens as a store with everything in it; only the owner may read it."""
    driver = open_store()
    driver.commit(with_topic())
    driver.commit(Commit(appends=[append("a", "b")]))

    size = driver.ask(driver.store.backup, str(tmp_path / "copy.db"))

    assert size == (tmp_path / "copy.db").stat().st_size
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    database = opened_copy(tmp_path, tmp_path / "copy.db")
    assert ids(database) == ["a", "b"]
    database.close()


def test_commits_go_on_during_a_backup(
    tmp_path: Path, open_store: NewDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits made between the steps are in the copy, whole, however many steps it takes."""
    monkeypatch.setattr(backup, "PAGES_PER_STEP", 2)
    driver = open_store(SqliteSettings(wal_pages=10))
    driver.commit(with_topic())
    for index in range(50):
        driver.commit(Commit(appends=[append(*[f"event-{index * 5 + i}" for i in range(5)])]))
    answers: list[object] = []
    driver.store.backup(str(tmp_path / "copy.db"), answers.append)
    count = 250
    while not answers:
        driver.commit(Commit(appends=[append(f"event-{count}")]))
        count += 1

    assert isinstance(answers[0], int)
    database = opened_copy(tmp_path, tmp_path / "copy.db")
    found = ids(database)
    assert found == [f"event-{index}" for index in range(len(found))]
    assert len(found) > 255
    database.close()


def test_a_backup_does_not_overwrite(tmp_path: Path, open_store: NewDriver) -> None:
    """A file that exists is left alone; the answer says so."""
    (tmp_path / "copy.db").write_text("mine")
    driver = open_store()

    answer = driver.answer(ReadFailed, driver.store.backup, str(tmp_path / "copy.db"))

    assert "exists already" in answer.reason
    assert (tmp_path / "copy.db").read_text() == "mine"


def test_a_backup_that_cannot_be_written_fails(tmp_path: Path, open_store: NewDriver) -> None:
    """A target in a directory that is not there gives a failure; the store goes on."""
    driver = open_store()

    answer = driver.answer(ReadFailed, driver.store.backup, str(tmp_path / "no" / "copy.db"))

    assert "copy.db" in answer.reason
    driver.commit(with_topic())


def test_a_backup_leaves_nothing_behind_when_it_fails(
    tmp_path: Path, open_store: NewDriver
) -> None:
    """When the store fails between two steps, so does the backup, and no file is left."""
    driver = open_store()
    driver.commit(with_topic())
    for index in range(30):
        driver.commit(Commit(appends=[append(*[f"{index}-{i}" for i in range(5_000)])]))
    answers: list[object] = []
    driver.store.backup(str(tmp_path / "copy.db"), answers.append)
    driver.clock.pump()
    driver.failed(Commit(appends=[append("x", topic_id=99)]))
    while not answers:
        driver.clock.pump()

    assert isinstance(answers[0], ReadFailed)
    assert [file.name for file in tmp_path.iterdir() if "copy" in file.name] == []


@pytest.mark.slow
def test_a_backup_beside_threads(tmp_path: Path) -> None:
    """In threads, as when serving, the copy is consistent while commits go on."""
    clock = PumpClock()
    driver = Driver(SqliteStore(tmp_path / "data", clock), clock)
    driver.commit(with_topic())
    batch = [f"event-{index}" for index in range(2_000)]
    for _ in range(20):
        driver.commit(Commit(appends=[append(*batch)]))
    answers: list[object] = []
    driver.store.backup(str(tmp_path / "copy.db"), answers.append)
    while not answers:
        driver.commit(Commit(appends=[append(*batch)]))
    driver.store.close()

    assert isinstance(answers[0], int)
    database = opened_copy(tmp_path, tmp_path / "copy.db")
    found = ids(database)
    assert found == batch * (len(found) // 2_000)
    assert len(found) > 40_000
    database.close()
