"""The ledger's file: SQLite with a log that is synced at each commit, shared by processes.

Layer: queues. apsw and not the standard library's sqlite3, because this file has several writers:
SQLite before 3.51.3 can lose a commit when one of them resets the log while another copies it
(https://www.sqlite.org/wal.html#walresetbug), and the standard library has whatever the system has.
"""

import errno
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from eventpost.diagnosis import codes
from eventpost.queues.ledger_rows import Entry, LedgerError, LedgerLimits, Risk

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
APPLICATION_ID = 0x45504C47  # "EPLG"
VERSION = 1
BUSY_PAUSE_S_MAX = 0.001
_FULL = (errno.ENOSPC, errno.EDQUOT)

_SCHEMA = """
CREATE TABLE queue (
    queue_id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE
);
CREATE TABLE finished (
    queue_id INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    finished_s INTEGER NOT NULL,
    is_settled INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (queue_id, message_id)
) WITHOUT ROWID;
CREATE INDEX finished_by_age ON finished (is_settled, finished_s);
"""
_FINISH = """
INSERT INTO finished (queue_id, message_id, finished_s) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET finished_s = excluded.finished_s, is_settled = 0
"""
_SETTLE = "UPDATE finished SET is_settled = 1 WHERE queue_id = ? AND message_id = ?"
_KNOWN = """
SELECT message_id FROM finished
WHERE queue_id = (SELECT queue_id FROM queue WHERE identity = ?)
AND message_id IN (SELECT value FROM json_each(?))
"""
# Both use the index by age, oldest first.
_TRIM_OLD = """
DELETE FROM finished WHERE (queue_id, message_id) IN (
    SELECT queue_id, message_id FROM finished
    WHERE is_settled = ? AND finished_s < ? ORDER BY finished_s LIMIT ?
)
"""
_TRIM_MOST = """
DELETE FROM finished WHERE (queue_id, message_id) IN (
    SELECT queue_id, message_id FROM finished
    WHERE is_settled = ? ORDER BY finished_s LIMIT ?
)
"""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file on a local disk, which all processes of one machine share."""

    path: Path
    vfs: str | None = None

    @property
    def name(self) -> str:
        return str(self.path)

    def open(self, limits: LedgerLimits) -> "LedgerFile":
        return LedgerFile(self.path, busy_s=limits.busy_s, vfs=self.vfs)


class LedgerFile:
    """One process's connections to the file. One caller at a time writes, one at a time reads.

    A failed commit is never tried again: after it nobody knows what the disk holds, so the caller
    throws this object away and opens another.
    """

    def __init__(self, path: Path, *, busy_s: float, vfs: str | None = None) -> None:
        self._path = path
        self._vfs = vfs
        self._busy_s = busy_s
        self._busy_until_s = 0.0
        self._queue_ids: dict[str, int] = {}
        try:
            _create(path, vfs)
            self._writer = self._open()
            self._prepare()
            self._reader = self._open()
        except (apsw.Error, OSError) as error:
            raise unusable(path, error) from error

    def write(self, finished: Sequence[Entry], settled: Sequence[Entry], now_s: float) -> None:
        """Durable when this returns. Raises LedgerError."""
        try:
            with self._transaction():
                self._writer.executemany(
                    _FINISH, [(self._queue_id(q), one, int(now_s)) for q, one in finished]
                )
                self._writer.executemany(_SETTLE, [(self._queue_id(q), one) for q, one in settled])
        except (apsw.Error, OSError) as error:
            raise unusable(self._path, error) from error

    def known(self, queue: str, ids: Sequence[str]) -> set[str]:
        """Which of the ids are finished. Raises LedgerError."""
        try:
            rows = self._reader.execute(_KNOWN, (queue, json.dumps(list(ids))))
            return {row[0] for row in rows}
        except (apsw.Error, OSError) as error:
            raise unusable(self._path, error) from error

    def trim(
        self, *, settled_before_s: float, before_s: float, rows_max: int, count_max: int
    ) -> tuple[int, int]:
        """Forget what is too old or too much, at most about `count_max` rows of each kind; those
        that were settled first. How many rows are left, and how many of them that were forgotten
        had not been settled and were not too old. Raises LedgerError."""
        try:
            with self._transaction():
                self._writer.execute(_TRIM_OLD, (1, settled_before_s, count_max))
                self._writer.execute(_TRIM_OLD, (0, before_s, count_max))
                count = self._count()
                for is_settled in (1, 0):
                    over = min(count_max, count - rows_max)
                    changed = 0
                    if over > 0:
                        self._writer.execute(_TRIM_MOST, (is_settled, over))
                        changed = self._writer.changes()
                    count -= changed
                return count, changed
        except (apsw.Error, OSError) as error:
            raise unusable(self._path, error) from error

    def count(self) -> int:
        """Rows in the file. Raises LedgerError."""
        try:
            return self._count()
        except (apsw.Error, OSError) as error:
            raise unusable(self._path, error) from error

    def risks(self) -> Sequence[Risk]:
        return ()

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _count(self) -> int:
        return _number(self._writer, "SELECT count(*) FROM finished")

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._writer)

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(
            str(self._path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs
        )
        connection.set_busy_handler(self._is_worth_waiting)
        return connection

    def _is_worth_waiting(self, try_count: int) -> bool:
        """Whether to try a lock again. SQLite's own pauses grow to 100 ms: too long to meet a gap
        between the commits of a busy process."""
        if try_count == 0:
            self._busy_until_s = time.monotonic() + self._busy_s
        if time.monotonic() >= self._busy_until_s:
            return False
        time.sleep(random.uniform(0.0, BUSY_PAUSE_S_MAX))
        return True

    def _prepare(self) -> None:
        """Make an empty file a ledger, or see that it is one. Nothing is locked for the latter."""
        if self._version() == 0:
            with self._transaction():
                if self._version() == 0:
                    self._writer.execute(_SCHEMA)
                    self._writer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    self._writer.execute(f"PRAGMA user_version = {VERSION}")
        self._begin_log()

    def _version(self) -> int:
        """0 for an empty file. Raises LedgerError for what is no ledger of this version."""
        if not _number(self._writer, "SELECT count(*) FROM sqlite_schema"):
            return 0
        if _number(self._writer, "PRAGMA application_id") != APPLICATION_ID:
            raise LedgerError(
                codes.LEDGER_UNREADABLE,
                f"{self._path} is a database, but not a ledger of eventpost.",
                fix="Name another file for the ledger.",
            )
        version = _number(self._writer, "PRAGMA user_version")
        if version > VERSION:
            raise LedgerError(
                codes.LEDGER_UNREADABLE,
                f"{self._path} was written by a newer version of eventpost.",
                fix="Install that version, or name another file for the ledger.",
            )
        return version

    def _begin_log(self) -> None:
        """SQLite does not ask the busy handler when the mode of the log changes."""
        self._busy_until_s = time.monotonic() + self._busy_s
        while True:
            try:
                mode = self._writer.pragma("journal_mode", "wal")
                break
            except apsw.BusyError:
                if not self._is_worth_waiting(1):
                    raise
        if mode != "wal":
            raise LedgerError(
                codes.LEDGER_NOT_WRITABLE,
                f"The file system of {self._path} allows no write-ahead log.",
                fix="Keep the ledger on a local file system.",
            )
        self._writer.pragma("synchronous", "FULL")

    def _queue_id(self, identity: str) -> int:
        found = self._queue_ids.get(identity)
        if found is None:
            self._writer.execute("INSERT OR IGNORE INTO queue (identity) VALUES (?)", (identity,))
            found = _number(self._writer, "SELECT queue_id FROM queue WHERE identity = ?", identity)
            self._queue_ids[identity] = found
        return found


class _Transaction:
    """Holds the file's one write lock from the beginning, so that nothing has to be tried again."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _number(connection: apsw.Connection, query: str, *bindings: str) -> int:
    """The one number that a query gives."""
    value = connection.execute(query, bindings).fetchall()[0][0]
    assert isinstance(value, int)
    return value


def _create(path: Path, vfs: str | None) -> None:
    """Make the folder and the file, private to their user, durably."""
    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    if vfs is not None:
        apsw.Connection(
            str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs=vfs
        ).close()
        return
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def unusable(path: Path, error: Exception) -> LedgerError:
    """What SQLite or the system says, as an error that says what to do."""
    said = f"{error} ({type(error).__name__})"
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return LedgerError(
            codes.LEDGER_UNREADABLE,
            f"{path} cannot be read as a ledger: {said}.",
            fix="Move it away: a new one is begun, which knows nothing of what was finished.",
        )
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return LedgerError(
            codes.LEDGER_BUSY,
            f"{path} was locked by another process for too long.",
            fix=f"Find out which one, and why it holds it: lsof {path}",
        )
    if isinstance(error, apsw.FullError) or getattr(error, "errno", 0) in _FULL:
        return LedgerError(
            codes.LEDGER_FAILED,
            f"There is no room left on the disk of {path}.",
            fix="Free some space.",
        )
    is_refused = apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError | OSError
    if isinstance(error, is_refused) and getattr(error, "errno", 0) != errno.EIO:
        return LedgerError(
            codes.LEDGER_NOT_WRITABLE,
            f"{path} cannot be written: {said}.",
            fix="Let the user who runs this own the folder, or name another file for the ledger.",
        )
    return LedgerError(
        codes.LEDGER_FAILED,
        f"{path} failed: {said}.",
        fix="Look at what the system says of that disk: dmesg",
    )
