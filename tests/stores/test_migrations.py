"""The file's version: brought forward when older, left alone when newer or not ours."""

from pathlib import Path

import apsw
import pytest

from eventpost.core.errors import StoreError
from eventpost.diagnosis import codes
from eventpost.stores.sqlite import SqliteSettings, schema
from eventpost.stores.sqlite.database import Database
from eventpost.testing.samples import topic, with_topic

SETTINGS = SqliteSettings()


def contents(directory: Path) -> dict[str, bytes]:
    """What is in the directory; a log without content, and its lock table, are nothing."""
    files = {file.name: file.read_bytes() for file in directory.iterdir()}
    return {name: content for name, content in files.items() if content and "-shm" not in name}


def test_migrations_are_numbered_without_gaps() -> None:
    """Versions are 1, 2, 3 ...: each file once."""
    versions = [version for version, _ in schema.migrations()]

    assert versions == list(range(1, len(versions) + 1))


def test_a_new_file_gets_all_migrations(tmp_path: Path) -> None:
    """A new file carries the newest version and the program's mark."""
    database = Database(tmp_path / "eventpost.db", SETTINGS)
    database.close()

    connection = apsw.Connection(str(tmp_path / "eventpost.db"))
    assert connection.pragma("user_version") == schema.migrations()[-1][0]
    assert connection.pragma("application_id") == schema.APPLICATION_ID
    assert connection.pragma("journal_mode") == "wal"
    connection.close()


def test_an_older_file_is_brought_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an older version stored is there after the missing migrations were carried out."""
    path = tmp_path / "eventpost.db"
    database = Database(path, SETTINGS)
    database.commit(with_topic())
    database.close()
    steps = schema.migrations()
    newer = (steps[-1][0] + 1, "CREATE TABLE added (id INTEGER PRIMARY KEY)")
    monkeypatch.setattr(schema, "migrations", lambda: [*steps, newer])

    database = Database(path, SETTINGS)

    assert database.recovered.topics == [topic(1)]
    database.close()
    connection = apsw.Connection(str(path))
    assert connection.pragma("user_version") == newer[0]
    assert connection.execute("SELECT count(*) FROM added").fetchall() == [(0,)]
    connection.close()


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration is done whole or not at all: the older version can still open the file."""
    path = tmp_path / "eventpost.db"
    Database(path, SETTINGS).close()
    steps = schema.migrations()
    broken = (steps[-1][0] + 1, "CREATE TABLE added (id INTEGER PRIMARY KEY); CREATE nonsense;")
    monkeypatch.setattr(schema, "migrations", lambda: [*steps, broken])
    with pytest.raises(StoreError):
        Database(path, SETTINGS)
    monkeypatch.undo()

    database = Database(path, SETTINGS)

    assert database.commit(with_topic())
    database.close()
    connection = apsw.Connection(str(path))
    assert connection.table_exists("main", "added") is False
    connection.close()


@pytest.mark.parametrize("is_in_log", [False, True])
def test_a_newer_file_is_refused_unchanged(tmp_path: Path, is_in_log: bool) -> None:
    """A file of a newer version is refused, and no byte of it or of its log changes."""
    path = tmp_path / "eventpost.db"
    Database(path, SETTINGS).close()
    connection = apsw.Connection(str(path))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(is_in_log))
    connection.pragma("user_version", schema.migrations()[-1][0] + 1)
    connection.close()
    before = contents(tmp_path)
    assert bool(before.get("eventpost.db-wal")) is is_in_log

    with pytest.raises(StoreError) as raised:
        Database(path, SETTINGS)

    assert raised.value.code == codes.DATA_DIRECTORY_NEWER
    assert raised.value.fix
    assert contents(tmp_path) == before


def test_another_programs_database_is_refused_unchanged(tmp_path: Path) -> None:
    """A SQLite file that is not eventpost's is refused and left as it was."""
    connection = apsw.Connection(str(tmp_path / "eventpost.db"))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = contents(tmp_path)

    with pytest.raises(StoreError, match="another program"):
        Database(tmp_path / "eventpost.db", SETTINGS)

    assert contents(tmp_path) == before


@pytest.mark.parametrize("content", [b"this is not a database" * 100, b"SQLite format 3\0" * 512])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that SQLite cannot read is refused with what to do, and left as it was."""
    path = tmp_path / "eventpost.db"
    path.write_bytes(content)

    with pytest.raises(StoreError) as raised:
        Database(path, SETTINGS)

    assert raised.value.code == codes.STORE_UNREADABLE
    assert "backup" in raised.value.fix
    assert path.read_bytes() == content
