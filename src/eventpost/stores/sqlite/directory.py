"""The data directory: private to its user, and used by one process at a time."""

import fcntl
import os
from pathlib import Path

from eventpost.core.errors import StoreError
from eventpost.diagnosis import codes
from eventpost.stores.sqlite.connection import unusable

DATABASE = "eventpost.db"
LOCK = "eventpost.lock"
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600


class DataDirectory:
    """Holds the lock from `open` to `close`. The lock goes with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / DATABASE
        self._descriptor = -1
        # A lock is shared with forked children, who would hold it after this process has ended.
        os.register_at_fork(after_in_child=self._let_go)

    def open(self) -> None:
        """Create what is missing and take the lock. Raises StoreError. May be called again."""
        if self._descriptor >= 0:
            return
        try:
            self.path.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            descriptor = os.open(
                self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE
            )
        except OSError as error:
            raise unusable(self.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise StoreError(
                codes.DATA_DIRECTORY_IN_USE,
                f"{self.path} is in use by another process (pid {holder or 'unknown'}).",
                fix="Stop that process, or give this one a directory of its own with --data.",
            ) from error
        self._descriptor = descriptor
        self._write_pid_and_database()

    def _write_pid_and_database(self) -> None:
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
            # SQLite gives its other files the mode of this one.
            os.close(os.open(self.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE))
        except OSError as error:
            self.close()
            raise unusable(self.database, error) from error

    def close(self) -> None:
        """Release the lock, also for a child forked a moment ago. Idempotent."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._let_go()

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
