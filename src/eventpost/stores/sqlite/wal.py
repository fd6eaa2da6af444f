"""The write-ahead log before SQLite trusts it: written again, and looked at for lost commits.

Two things SQLite does not do. After a sync that failed, the system may keep the lost pages in its
cache as if they were on the disk; whoever reads them believes in commits that a power cut takes
away, with everything after them. So the log is written once more and synced before it is read.
And a damaged frame makes SQLite drop that frame and all commits after it without a word; commits
that were acknowledged must not vanish so.

Source of the layout: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct

import apsw

from eventpost.core.errors import StoreError
from eventpost.diagnosis import codes

_HEADER = Struct(">IIIIII")
"""Magic, format, page size, checkpoint number, two salts (and a checksum that is not read)."""
_HEADER_BYTES = 32
_FRAME = Struct(">IIII")
"""Page number, size of the database after a commit (0 inside one), two salts (and a checksum)."""
_FRAME_HEADER_BYTES = 24
_STEP_BYTES = 64 * 1024
"""SQLite's file system writes at most 128 KiB at once."""


def rewrite(database: Path, vfs: str | None) -> None:
    """Write the log's bytes over themselves and sync them. Raises apsw.Error."""
    with _log(database, vfs) as (file, size):
        if file is None or size == 0:
            return
        for offset in range(0, size, _STEP_BYTES):
            file.xWrite(file.xRead(min(_STEP_BYTES, size - offset), offset), offset)
        file.xSync(apsw.SQLITE_SYNC_NORMAL)


def check(connection: apsw.Connection, database: Path, vfs: str | None) -> None:
    """Raise StoreError when commits that were synced lie behind a frame that cannot be read.

    `connection` has just read the log and sees what is good of it. Only one commit is ever under
    way, so of what lies behind, one commit may be torn rightly; a second one cannot have been
    written before the first was synced. Each start empties the log, so nothing older lies there.
    """
    good_count, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    lost_count = _commits_behind(database, vfs, max(good_count, 0))
    if lost_count > 1:
        raise StoreError(
            codes.SEGMENT_DAMAGED,
            f"{database}-wal is damaged: behind a part that cannot be read lie {lost_count}"
            " commits.",
            why="SQLite would drop them without a word.",
            fix="Restore a backup. To go on without them, move a copy of the directory away and"
            f' run: sqlite3 {database} "PRAGMA wal_checkpoint(TRUNCATE)"',
        )


def empty(connection: apsw.Connection) -> None:
    """Copy the log into the database and begin it anew, so that the next `check` finds in it only
    what this process wrote."""
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _commits_behind(database: Path, vfs: str | None, good_count: int) -> int:
    with _log(database, vfs) as (file, size):
        if file is None or size < _HEADER_BYTES:
            return 0
        _, _, page_bytes, _, *salts = _HEADER.unpack(file.xRead(_HEADER.size, 0))
        frame_bytes = _FRAME_HEADER_BYTES + page_bytes
        lost_count = 0
        start = _HEADER_BYTES + good_count * frame_bytes
        for offset in range(start, size - frame_bytes + 1, frame_bytes):
            _, database_pages, *frame_salts = _FRAME.unpack(file.xRead(_FRAME.size, offset))
            lost_count += database_pages > 0 and frame_salts == salts
        return lost_count


@contextmanager
def _log(database: Path, vfs: str | None) -> Iterator[tuple[apsw.VFSFile | None, int]]:
    """The log file and its size; None when there is none."""
    flags = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE
    try:
        file = apsw.VFSFile(vfs or "", f"{database}-wal", [flags, 0])
    except apsw.CantOpenError:
        yield None, 0
        return
    try:
        yield file, file.xFileSize()
    finally:
        file.xClose()
