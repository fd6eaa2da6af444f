"""A disk whose power can be cut: what was not synced is dropped or torn, as a real one may do.

`kill -9` does not test durability: the system keeps what a killed process has written. Here each
file exists twice, as programs see it and as it is on the platter. A write reaches the platter with
the next sync of its file, or by the whim of the seed when the power goes.

    disk = Disk(directory, seed=1)
    store = SqliteStore(directory / "data", clock, vfs=disk.name)
    disk.cut_at_sync = disk.syncs + 3
    ...                                   # the third sync from here fails with the power
    store = SqliteStore(...)              # reads what was left

A file appears and disappears at once and durably; SQLite relies on no more than that for a log that
is empty when it appears.
"""

import random
import shutil
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import apsw

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""
_names = count(1)


class Disk:
    """A SQLite file system by the name `name`, for any threads.

    Faults are set by the number of the sync or write at which they happen, counted from 1 over all
    files: `cut_at_sync`, `cut_at_write`, `fail_sync_at` (EIO), `full_at_write` (no room). `on_sync`
    and `on_write` are called before each, and may themselves write over another connection.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.name = f"eventpost-disk-{next(_names)}"
        self.syncs = 0
        self.writes = 0
        self.cuts = 0
        self.torn = 0
        self.dropped = 0
        self.cut_at_sync: int | None = None
        self.cut_at_write: int | None = None
        self.fail_sync_at: int | None = None
        self.full_at_write: int | None = None
        self.on_sync: Callable[[], None] = lambda: None
        self.on_write: Callable[[], None] = lambda: None
        self.lock = threading.RLock()
        """Held while a write or sync is carried out, by whichever file."""
        self._directory = directory
        self._random = random.Random(seed)
        self._generation = 0
        self._files: dict[str, _File] = {}
        self._platter = directory / "platter"
        self._platter.mkdir(parents=True)
        self._current.mkdir()
        self._vfs = _FileSystem(self)

    @property
    def generation(self) -> int:
        """Files opened before the last cut belong to an older one, and are dead."""
        return self._generation

    @property
    def _current(self) -> Path:
        return self._directory / f"boot-{self._generation}"

    def path(self, name: str) -> Path:
        """Where the file called `name` really is, as programs see it."""
        return self._current / Path(name).name

    def platter(self, name: str) -> Path:
        """What of it is on the platter."""
        return self._platter / Path(name).name

    def cut_power(self) -> None:
        """Lose what was not synced, or parts of it. Open files are dead; others can be opened."""
        self.cuts += 1
        for file in self._files.values():
            file.lose(self._random, self)
        self._boot_from(self._platter)

    def kill(self) -> None:
        """End the process that has the files open, and nothing else: all that it wrote is there."""
        files = {name: file.pending for name, file in self._files.items()}
        self._boot_from(self._current)
        for name, pending in files.items():
            self.file(name).pending = pending

    def _boot_from(self, source: Path) -> None:
        before = self._current
        self._generation += 1
        self._files = {}
        self._current.mkdir()
        for file in source.iterdir():
            if not file.name.endswith("-shm"):
                shutil.copyfile(file, self._current / file.name)
        shutil.rmtree(before)  # dead files stay readable to those that have them open
        self.disarm()

    def disarm(self) -> None:
        """Fail at nothing that was set before."""
        self.cut_at_sync = self.cut_at_write = self.fail_sync_at = self.full_at_write = None

    def file(self, name: str) -> "_File":
        """The state of one file, for those that have it open."""
        key = Path(name).name
        if key not in self._files:
            self._files[key] = _File(self.platter(name))
        return self._files[key]

    def delete(self, name: str) -> None:
        self._files.pop(Path(name).name, None)
        self.path(name).unlink(missing_ok=True)
        self.platter(name).unlink(missing_ok=True)

    def before_write(self) -> None:
        """Count, and fail where that was asked for."""
        self.writes += 1
        if self.writes == self.full_at_write:
            raise apsw.exception_for(apsw.SQLITE_FULL)
        if self.writes == self.cut_at_write:
            self.cut_power()
            raise apsw.exception_for(apsw.SQLITE_IOERR_WRITE)

    def before_sync(self, file: "_File") -> None:
        self.syncs += 1
        if self.syncs == self.cut_at_sync:
            self.cut_power()
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        if self.syncs == self.fail_sync_at:
            # The system forgets that these pages were dirty: they are seen, and never written.
            file.pending = []
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)

    def close(self) -> None:
        """Take the file system out of SQLite; all its files must be closed."""
        self._vfs.unregister()


class _File:
    """What was written to one file since its last sync, oldest first.

    Each entry is (offset, bytes) for a write or (size, None) for a truncation.
    """

    def __init__(self, platter: Path) -> None:
        self.platter = platter
        self.pending: list[tuple[int, bytes | None]] = []
        platter.touch()

    def sync(self) -> None:
        self._apply(self.pending)
        self.pending = []

    def lose(self, whim: random.Random, disk: Disk) -> None:
        """The power goes: each write is kept, dropped, or torn between its sectors."""
        kept: list[tuple[int, bytes | None]] = []
        for offset, written in self.pending:
            fate = whim.random()
            if fate < 0.4:
                kept.append((offset, written))
            elif fate < 0.7 and written is not None and len(written) > SECTOR_BYTES:
                kept += _sectors(offset, written, whim)
                disk.torn += 1
            else:
                disk.dropped += 1
        self._apply(kept)

    def _apply(self, writes: list[tuple[int, bytes | None]]) -> None:
        with self.platter.open("r+b") as file:
            for offset, written in writes:
                if written is None:
                    file.truncate(offset)
                else:
                    file.seek(offset)
                    file.write(written)


def _sectors(offset: int, written: bytes, whim: random.Random) -> list[tuple[int, bytes | None]]:
    """Some of the sectors of a write."""
    first = SECTOR_BYTES - offset % SECTOR_BYTES
    starts = [0, *range(first, len(written), SECTOR_BYTES)]
    ends = [*starts[1:], len(written)]
    return [
        (offset + start, written[start:end])
        for start, end in zip(starts, ends, strict=True)
        if whim.random() < 0.5
    ]


class _FileSystem(apsw.VFS):
    """Maps the names that SQLite uses to where the files are since the last cut."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(  # noqa: N802  apsw's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        if name is None:
            return apsw.VFSFile("", None, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _OpenFile(self._disk, path, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  apsw's name
        self._disk.delete(filename)

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802  apsw's name
        return self._disk.path(pathname).exists()

    def excepthook(self, *_error: object) -> bool:
        """Faults that SQLite has no caller for, such as when a dead file is closed."""
        return True


class _OpenFile(apsw.VFSFile):
    """One file as one connection has it open. Reads, locks and shared memory are the system's."""

    def __init__(self, disk: Disk, name: str, flags: list[int]) -> None:
        super().__init__("", str(disk.path(name)), flags)
        self._disk = disk
        self._generation = disk.generation
        self._file = disk.file(name)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  apsw's name
        self._disk.on_write()
        with self._disk.lock:
            self._check_power()
            self._disk.before_write()
            super().xWrite(data, offset)
            self._file.pending.append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  apsw's name
        with self._disk.lock:
            self._check_power()
            super().xTruncate(newsize)
            self._file.pending.append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802  apsw's name
        self._disk.on_sync()
        with self._disk.lock:
            self._check_power()
            self._disk.before_sync(self._file)
            self._file.sync()

    def _check_power(self) -> None:
        if self._generation != self._disk.generation:
            raise apsw.exception_for(apsw.SQLITE_IOERR)

    def excepthook(self, *_error: object) -> bool:
        """See the file system's."""
        return True
