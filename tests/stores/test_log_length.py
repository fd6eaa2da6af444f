"""The write-ahead log stays short, and publishers do not wait for it to be copied."""

from pathlib import Path

import pytest

from eventpost.core.interfaces import Commit
from eventpost.stores.sqlite import SqliteSettings, connection
from eventpost.stores.sqlite.database import CHECKPOINT_LATE, Database
from eventpost.testing.samples import append, with_topic
from tests.stores.conftest import NewDriver

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


def test_a_commit_copies_the_log_when_nobody_does(tmp_path: Path) -> None:
    """Driven without a store around it, the log is bounded all the same."""
    database = Database(tmp_path / "eventpost.db", SETTINGS)
    database.commit(with_topic())
    for index in range(200):
        database.commit(Commit(appends=[append(f"event-{index}")]))

    pages = log_pages(tmp_path / "eventpost.db")
    assert PAGES < pages <= CHECKPOINT_LATE * PAGES + PAGES_OF_A_COMMIT
    database.close()
