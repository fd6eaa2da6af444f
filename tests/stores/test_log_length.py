"""The write-ahead log stays short, and publishers do not wait for it to be copied."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from eventpost.core.interfaces import Commit
from eventpost.stores.executor import InlineExecutor
from eventpost.stores.sqlite import SqliteSettings, connection
from eventpost.stores.sqlite.database import CHECKPOINT_LATE, Database
from eventpost.stores.sqlite.store import SqliteStore
from eventpost.testing.driver import Driver, PumpClock
from eventpost.testing.samples import append, with_topic
from tests.stores.conftest import NewDriver, ids

T = TypeVar("T")

PAGES = 20
PAGE_BYTES = connection.PAGE_BYTES + 24
SETTINGS = SqliteSettings(wal_pages=PAGES)
PAGES_OF_A_COMMIT = 8


def log_pages(database: Path) -> int:
    return Path(f"{database}-wal").stat().st_size // PAGE_BYTES


@pytest.mark.parametrize(("commits", "is_due"), [(PAGES - 1, False), (PAGES, True)])
def test_a_checkpoint_is_due_at_the_bound(tmp_path: Path, commits: int, is_due: bool) -> None:
    """The log is copied from `wal_pages` pages on, not before."""
    database = Database(tmp_path / "eventpost.db", SETTINGS)
    database._logged(database._connection, "main", commits)

    assert database.is_checkpoint_due is is_due
    database.close()


def test_the_log_is_copied_after_the_answer(tmp_path: Path, open_store: NewDriver) -> None:
    """Driven as a store, the log begins anew again and again, however much is published."""
    driver = open_store(SETTINGS)
    driver.commit(with_topic())
    for index in range(200):
        driver.commit(Commit(appends=[append(f"event-{index}")]))

    assert log_pages(tmp_path / "data" / "eventpost.db") <= PAGES + PAGES_OF_A_COMMIT


class SlowCopier(InlineExecutor):
    """Does all at once but the copy, which waits for `release`."""

    def __init__(self, clock: PumpClock) -> None:
        super().__init__(clock)
        self.held: list[Callable[[], object]] = []

    def copy(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self.held.append(lambda: done(work()))

    def release(self) -> None:
        self.held.pop()()


def test_commits_go_on_while_the_log_is_copied(tmp_path: Path) -> None:
    """A copy that takes long holds up no commit and is begun once; after it the log begins anew,
    and all is there."""
    clock = PumpClock()
    executor = SlowCopier(clock)
    driver = Driver(SqliteStore(tmp_path / "data", clock, SETTINGS, executor=executor), clock)
    driver.commit(with_topic())
    path = tmp_path / "data" / "eventpost.db"
    for index in range(PAGES):
        driver.commit(Commit(appends=[append(f"event-{index}")]))

    assert len(executor.held) == 1
    longest = log_pages(path)
    assert longest > PAGES
    executor.release()
    clock.pump()
    for index in range(PAGES, PAGES + 3):
        driver.commit(Commit(appends=[append(f"event-{index}")]))

    assert log_pages(path) == longest
    assert executor.held == []
    driver.store.close()
    database = Database(path, SETTINGS)
    assert ids(database) == [f"event-{index}" for index in range(PAGES + 3)]
    database.close()


COPYING = """
import fcntl, pathlib, sys
with pathlib.Path(sys.argv[1] + "-shm").open("r+b") as shared:
    fcntl.lockf(shared, fcntl.LOCK_EX, 1, 121)
    print("held", flush=True)
    sys.stdin.read()
"""
"""Holds the lock of who copies the log: byte 121 (https://www.sqlite.org/walformat.html)."""


def test_another_program_that_copies_is_no_failure(tmp_path: Path) -> None:
    """While a program that looks into the file copies the log, commits go on, and a later copy of
    our own does what is left."""
    database = Database(tmp_path / "eventpost.db", SETTINGS)
    database.commit(with_topic())
    with subprocess.Popen(
        [sys.executable, "-c", COPYING, str(database.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        for index in range(CHECKPOINT_LATE * PAGES):
            database.commit(Commit(appends=[append(f"event-{index}")]))
        assert database.copy_log() == 0
        database.checkpoint(0)
        other.communicate()

    database.commit(Commit(appends=[append("last")]))
    assert database.copy_log() > CHECKPOINT_LATE * PAGES
    assert ids(database)[-1] == "last"
    database.close()


def test_a_commit_copies_the_log_when_nobody_does(tmp_path: Path) -> None:
    """Driven without a store around it, the log is bounded all the same."""
    database = Database(tmp_path / "eventpost.db", SETTINGS)
    database.commit(with_topic())
    for index in range(200):
        database.commit(Commit(appends=[append(f"event-{index}")]))

    pages = log_pages(tmp_path / "eventpost.db")
    assert PAGES < pages <= CHECKPOINT_LATE * PAGES + PAGES_OF_A_COMMIT
    database.close()
