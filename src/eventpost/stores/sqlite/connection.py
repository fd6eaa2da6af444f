"""Connections to the database file, and what its errors mean to a user."""

import errno
from pathlib import Path
from typing import Any

import apsw

from eventpost.core.errors import StoreError
from eventpost.diagnosis import codes
from eventpost.stores.sqlite.settings import KIB, SqliteSettings

PAGE_BYTES = 8_192
"""Of a new file; an older one keeps its own. Half as many pages as with 4 KiB are written twice, to
the log and to the file: the writer's CPU per event fell by a fifth to a quarter for batches. 16 KiB
gained no more and cost memory."""


def writer(path: Path, settings: SqliteSettings, vfs: str | None) -> apsw.Connection:
    """The one connection that writes. Changes nothing yet, not even by closing it: a file of a
    newer version is left as it is found."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(settings.busy_timeout_ms)
    connection.pragma("cache_size", -(settings.cache_bytes // KIB))
    connection.pragma("temp_store", "memory")
    return connection


def prepare_writes(connection: apsw.Connection, settings: SqliteSettings) -> None:
    """Write-ahead logging with a sync per commit. The log is copied into the database by
    `Database.copy_log`, not within a commit, whose publishers would wait for it. `auto_vacuum`
    stays off: what trims free is taken again by the next events, and a page map costs each."""
    connection.pragma("page_size", PAGE_BYTES)
    if connection.pragma("journal_mode", "wal") != "wal":
        raise StoreError(
            codes.STORE_FAILED,
            f"The file system of {connection.filename} allows no write-ahead log.",
            fix="Keep the data directory on a local file system.",
        )
    connection.pragma("synchronous", settings.synchronous)
    connection.pragma("wal_autocheckpoint", 0)
    connection.pragma("journal_size_limit", settings.wal_bytes_max)


def copier(path: Path, settings: SqliteSettings, vfs: str | None) -> apsw.Connection:
    """A connection that only copies the write-ahead log into the database."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.pragma("synchronous", settings.synchronous)
    connection.pragma("wal_autocheckpoint", 0)
    return connection


def reader(path: Path, settings: SqliteSettings, vfs: str | None) -> apsw.Connection:
    """A connection that never writes. Each statement is a transaction of its own."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(settings.busy_timeout_ms)
    connection.pragma("cache_size", -(settings.read_cache_bytes // KIB))
    connection.pragma("temp_store", "memory")
    connection.pragma("query_only", 1)
    return connection


def rows(
    connection: apsw.Connection, query: str, bindings: "apsw.Bindings | None" = None
) -> list[tuple[Any, ...]]:
    """All rows of a query that has few; its transaction has ended."""
    return connection.execute(query, bindings).fetchall()


def value(connection: apsw.Connection, query: str, bindings: "apsw.Bindings | None" = None) -> Any:
    """The one value of a query that has one."""
    return rows(connection, query, bindings)[0][0]


def is_full(error: Exception) -> bool:
    """Whether the disk, or the quota, has no room left."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, apsw.FullError)


def reason(error: Exception) -> str:
    """SQLite's words with its result code by name."""
    if not isinstance(error, apsw.Error):
        return f"{type(error).__name__}: {error}"
    code = getattr(error, "extendedresult", 0) or getattr(error, "result", 0)
    names = apsw.mapping_extended_result_codes, apsw.mapping_result_codes
    name = next((names_of[code] for names_of in names if code in names_of), str(code))
    return f"{error} ({name})"


def unusable(path: Path, error: Exception) -> StoreError:
    """The error of opening `path` as one that says what to do."""
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return StoreError(
            codes.STORE_UNREADABLE,
            f"{path} is not a database that can be read: {reason(error)}.",
            fix="Restore a backup made by `eventpost store backup`, or move the file away to begin"
            " with an empty store.",
        )
    if is_full(error):
        return StoreError(
            codes.DISK_FULL, f"There is no room left on the disk of {path}.", fix="Free some space."
        )
    if isinstance(error, OSError | apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError):
        return StoreError(
            codes.DATA_DIRECTORY_NOT_WRITABLE,
            f"{path} cannot be written: {reason(error)}.",
            fix="Let the user who runs eventpost own the data directory, or name another one with"
            " --data.",
        )
    return StoreError(codes.STORE_FAILED, f"{path} cannot be opened: {reason(error)}.")
