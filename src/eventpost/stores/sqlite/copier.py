"""The write-ahead log copied into the database beside the writer.

A commit waits for no page of an earlier one: what takes long, the writes to the database and their
sync, happens over a connection of its own, while the log goes on to grow. SQLite holds commits and
a checkpoint apart by locks of its own; a checkpoint reads no more of the log than was synced when
it began (https://www.sqlite.org/wal.html#concurrency). Up to 3.51.2 the two together could damage
a database (https://www.sqlite.org/wal.html#walresetbug), so the dependency asks for a later one.
"""

from pathlib import Path

import apsw

from eventpost.stores.sqlite import connection
from eventpost.stores.sqlite.settings import SqliteSettings


class LogCopier:
    """For one thread at a time, beside the writer and readers. Opens when it first copies."""

    def __init__(self, path: Path, settings: SqliteSettings, vfs: str | None) -> None:
        self._path = path
        self._settings = settings
        self._vfs = vfs
        self._connection: apsw.Connection | None = None

    def copy(self) -> int:
        """How many pages of the log are in the database and synced; 0 while another program copies.
        Raises apsw.Error."""
        if self._connection is None:
            self._connection = connection.copier(self._path, self._settings, self._vfs)
        try:
            _, copied = self._connection.wal_checkpoint()
        except apsw.BusyError:
            return 0
        return copied

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._connection is not None:
            self._connection.close(force=True)
            self._connection = None
