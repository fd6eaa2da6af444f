"""A consistent copy of the database while it serves.

The copy is made by the connection that writes, some pages at a time between its commits. SQLite
then writes what a commit changes into the copy as well. The other ways hold or repeat something: a
copy through another connection starts again at every commit, and a copy from one read transaction
(`VACUUM INTO`) keeps the write-ahead log from starting again until it ends.
"""

import os
from pathlib import Path

import apsw

from eventpost.core.errors import StoreError
from eventpost.diagnosis import codes
from eventpost.stores.sqlite.connection import reason

PAGES_PER_STEP = 256
"""1 MiB: about a millisecond of the writer's time."""
_FILE_MODE = 0o600


class Backup:
    """`step` between commits, on the writer's thread, until it returns True; then `finish`, on any.

    Until `finish` has returned there is no file under the name asked for. Raises StoreError.
    """

    def __init__(self, source: apsw.Connection, target: Path) -> None:
        self._target = target
        self._partial = target.with_name(f"{target.name}.partial")
        if target.exists():
            raise StoreError(
                codes.DATA_DIRECTORY_NOT_WRITABLE,
                f"{target} exists already.",
                fix="Name a file that does not exist.",
            )
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            os.close(os.open(self._partial, flags, _FILE_MODE))
            self._copy = apsw.Connection(str(self._partial))
            # The copy is synced once, as a whole, away from the writer's thread.
            self._copy.pragma("journal_mode", "off")
            self._copy.pragma("synchronous", "off")
            self._backup = self._copy.backup("main", source, "main")
        except (apsw.Error, OSError) as error:
            raise self._failed(error) from error

    def step(self) -> bool:
        """Copy some pages; whether that was the last of them."""
        try:
            if not self._backup.step(PAGES_PER_STEP):
                return False
            self._backup.finish()
            self._copy.close()
        except (apsw.Error, OSError) as error:
            self.abandon()
            raise self._failed(error) from error
        return True

    def finish(self) -> int:
        """Make the copy durable under its name; its size in bytes."""
        try:
            _sync(self._partial)
            self._partial.rename(self._target)
            _sync(self._target.parent)
            return self._target.stat().st_size
        except OSError as error:
            raise self._failed(error) from error

    def abandon(self) -> None:
        """Let go and leave no file behind. On the writer's thread."""
        self._backup.close(force=True)
        self._copy.close(force=True)
        self._partial.unlink(missing_ok=True)

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(
            codes.DATA_DIRECTORY_NOT_WRITABLE,
            f"The backup to {self._target} could not be made: {reason(error)}.",
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
