"""One database file: opened, brought up to date, committed to. Synchronous, and without a thread.

`commit`, `copy_log` and each `Reader` are for one thread at a time; they may run beside each other.
All of them may be the same thread.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from eventpost.core.errors import StoreError
from eventpost.core.interfaces import (
    Append,
    Commit,
    CommitFailed,
    Committed,
    PutTopic,
    Recovered,
    RemoveSource,
    RemoveSubscription,
    RemoveTopic,
)
from eventpost.core.subscriptions import Topic
from eventpost.stores.sqlite import (
    attempts,
    blocks,
    catalogue,
    connection,
    deadletters,
    ladder,
    recovery,
    schema,
    taken,
    wal,
)
from eventpost.stores.sqlite.backup import Backup
from eventpost.stores.sqlite.copier import LogCopier
from eventpost.stores.sqlite.events import Log
from eventpost.stores.sqlite.index import Partition, SegmentIndex
from eventpost.stores.sqlite.reader import Reader
from eventpost.stores.sqlite.settings import SqliteSettings
from eventpost.stores.sqlite.sweeper import Sweeper
from eventpost.stores.sqlite.traces import TraceIndex
from eventpost.stores.sqlite.trimmer import Swept

PUT_BLOCK = "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?)"
REMOVALS = (RemoveTopic, RemoveSubscription, RemoveSource)
CHECKPOINT_LATE = 4
"""A commit copies the log itself, or waits for who is at it, when it is so many times too long."""


@dataclass(slots=True)
class _Added:
    """What a commit appended, on its way from the table to the indices."""

    firsts: list[int]
    partitions: list[Partition]
    rows: list[blocks.BlockRow] = field(default_factory=list)
    pieces: list[blocks.Piece] = field(default_factory=list)
    is_traced: bool = False


class Database:
    """Open from construction to `close`. Raises StoreError when it cannot be.

    After a commit that failed the connection is closed, and every later commit fails at once: a
    sync that failed is never tried again, only another `Database` reads what is on the disk.
    """

    def __init__(self, path: Path, settings: SqliteSettings, vfs: str | None = None) -> None:
        self.path = path
        self._settings = settings
        self._vfs = vfs
        self._failure: CommitFailed | None = None
        self._readers: list[Reader] = []
        self._index = SegmentIndex(settings.chunk_segments, settings.unindexed_blocks_max)
        self._traces = TraceIndex(settings.trace_events, settings.unindexed_blocks_max)
        self._sweeper = Sweeper(self._index, settings)
        self._topics: dict[int, Topic] = {}
        self._last_block = 0
        self._log_pages = 0
        self._copier = LogCopier(path, settings, vfs)
        self._copying = threading.RLock()
        self._copy_error: apsw.Error | None = None
        try:
            self._connection = connection.writer(path, settings, vfs)
        except (apsw.Error, OSError) as error:
            raise connection.unusable(path, error) from error
        try:
            self.recovered = self._open()
        except (apsw.Error, OSError) as error:
            self._connection.close(force=True)
            raise connection.unusable(path, error) from error
        except StoreError:
            self._connection.close(force=True)
            raise

    # --- opening --------------------------------------------------------------------------------

    def _open(self) -> Recovered:
        steps = schema.migrations()
        version = schema.check(self._connection, newest=steps[-1][0])
        wal.rewrite(self.path, self._vfs)
        wal.check(self._connection, self.path, self._vfs)
        connection.prepare_writes(self._connection, self._settings)
        schema.migrate(self._connection, version, steps)
        wal.empty(self._connection)
        self._connection.set_wal_hook(self._logged)
        marks = recovery.load_marks(self._connection, self._settings.unindexed_blocks_max)
        self._topics.update((topic.id, topic) for topic in catalogue.topics(self._connection))
        self._last_block = recovery.load_indices(
            self._connection, self._index, self._traces, self._topics, marks
        )
        self._sweeper.load(self._connection, marks)
        self._count_blocks()
        return recovery.recover(self._connection, self._index, self._topics, marks)

    # --- committing -----------------------------------------------------------------------------

    def commit(self, commit: Commit) -> Committed | CommitFailed:
        """One transaction, durable when this returns Committed. Raises nothing."""
        if self._failure is not None:
            return self._failure
        if self._copy_error is not None:
            return self._fail(self._copy_error)
        try:
            return self._commit(commit)
        except Exception as error:  # noqa: BLE001  a bug in here must answer the waiting publishers
            return self._fail(error)

    def _commit(self, commit: Commit) -> Committed:
        is_sweep = self._is_sweep(commit)
        if commit.is_empty() and not is_sweep:
            return Committed([])
        execute = self._connection.execute
        added: _Added | None = None
        swept = None
        execute("BEGIN IMMEDIATE")
        if commit.catalogue:
            self._change_catalogue(commit)
        if commit.appends:
            added = self._append(commit.appends)
        if commit.outcome_id:
            execute(catalogue.PUT_OUTCOME, (commit.outcome_id, commit.outcome))
        if commit.states:
            catalogue.put_states(self._connection, commit.states)
        self._put_rows(commit)
        if is_sweep:
            swept = self._sweep(commit)
        execute("COMMIT")
        if self._log_pages >= self._settings.wal_pages * CHECKPOINT_LATE:
            self._copy_rest()
        if added is not None:
            self._publish(commit.appends, added)
        if swept is not None:
            self._forget(swept)
        return Committed([] if added is None else added.firsts, self._sweeper.has_leftovers)

    def _is_sweep(self, commit: Commit) -> bool:
        """Slices are for commits that give something up, and for empty ones: publishing waits for
        nobody's removal."""
        gives_up = (
            commit.trims
            or commit.outcomes_below
            or commit.attempts_before_ms
            or commit.taken_before_ms
            or any(isinstance(entry, REMOVALS) for entry in commit.catalogue)
        )
        return bool(gives_up) or (self._sweeper.has_leftovers and commit.is_empty())

    def _change_catalogue(self, commit: Commit) -> None:
        for entry in commit.catalogue:
            catalogue.change(self._connection, entry)
            match entry:
                case PutTopic(topic):
                    self._topics[topic.id] = topic
                case RemoveTopic(topic_id):
                    self._topics.pop(topic_id, None)
                case _:
                    pass

    def _append(self, appends: Sequence[Append]) -> "_Added":
        unknown = {append.topic_id for append in appends} - self._topics.keys()
        if unknown:
            raise ValueError(f"there is no topic {unknown} to append to")
        partitions = self._index.reserve(appends)
        added = _Added([partition.open.end for partition in partitions], partitions)
        next_id = self._last_block + 1
        added.rows, added.pieces = blocks.pack(
            appends, added.firsts, next_id, self._settings.block_bytes
        )
        if added.rows:
            self._put_blocks(added, range(next_id, next_id + len(added.rows)))
        return added

    def _put_blocks(self, added: "_Added", ids: range) -> None:
        assert len(ids) < self._settings.unindexed_blocks_max
        if len(ids) == 1:
            self._connection.execute(PUT_BLOCK, added.rows[0])
        else:
            self._connection.executemany(PUT_BLOCK, added.rows)
        self._index.stage(self._connection, ids[-1])
        added.is_traced = self._traces.stage(self._connection, len(ids))
        self._last_block = ids[-1]

    def _publish(self, appends: Sequence[Append], added: "_Added") -> None:
        """Let readers see what was appended."""
        if added.rows:
            self._index.publish(appends, added.partitions, added.pieces)
            self._count_blocks()
            self._traces.publish(added.rows, appends, added.is_traced)

    def _put_rows(self, commit: Commit) -> None:
        if commit.ladder_remove:
            ladder.remove(self._connection, commit.ladder_remove)
        if commit.ladder_put:
            ladder.put(self._connection, commit.ladder_put)
        if commit.dead_put:
            deadletters.put(self._connection, commit.dead_put)
        if commit.dead_states:
            deadletters.change(self._connection, commit.dead_states)
        if commit.dead_remove:
            deadletters.remove(self._connection, commit.dead_remove)
        if commit.attempts:
            attempts.put(self._connection, commit.attempts)
        if commit.taken:
            taken.put(self._connection, commit.taken)
        if commit.taken_remove:
            taken.remove(self._connection, commit.taken_remove)

    def _sweep(self, commit: Commit) -> Swept:
        if commit.catalogue:
            self._sweeper.removed(self._connection)
        if commit.outcomes_below:
            self._sweeper.outcomes_below(self._connection, commit.outcomes_below)
        if commit.trims:
            self._sweeper.trim(self._connection, commit.trims)
        if commit.attempts_before_ms:
            self._sweeper.attempts_before(commit.attempts_before_ms)
        if commit.taken_before_ms:
            self._sweeper.taken_before(commit.taken_before_ms)
        # The newest blocks may be removed, and their ids must not come again.
        self._connection.execute(catalogue.RAISE_MARK, (catalogue.LAST_BLOCK, self._last_block))
        swept = self._sweeper.sweep(self._connection)
        removed = (catalogue.BLOCKS_REMOVED, self._sweeper.blocks_removed)
        self._connection.execute(catalogue.RAISE_MARK, removed)
        return swept

    def _forget(self, swept: Swept) -> None:
        self._index.advance(swept.firsts)
        for key in swept.forgotten:
            self._index.forget(key)
        self._count_blocks()

    def _count_blocks(self) -> None:
        self._index.block_count = self._last_block - self._sweeper.blocks_removed

    def _fail(self, error: Exception) -> CommitFailed:
        self._failure = CommitFailed(connection.reason(error), connection.is_full(error))
        self._connection.close(force=True)
        return self._failure

    # --- the write-ahead log --------------------------------------------------------------------

    def _logged(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        """SQLite tells the length of the log after each commit."""
        self._log_pages = pages
        return apsw.SQLITE_OK

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether `copy_log` and `checkpoint` should follow. From any thread."""
        return self._failure is None and self._log_pages >= self._settings.wal_pages

    def copy_log(self) -> int:
        """Copy the log into the database, beside commits. Returns how many of its pages are copied.
        Raises nothing: what goes wrong fails the next commit, for a sync is never tried again."""
        with self._copying:
            if self._failure is not None:
                return 0
            try:
                return self._copier.copy()
            except apsw.Error as error:
                self._copy_error = error
                return 0

    def checkpoint(self, copied: int) -> None:
        """Copy what was committed while `copied` pages were, so that the log may begin anew. On the
        writer's thread, between commits. Raises nothing, as `copy_log`."""
        if self._failure is not None:
            return
        if self._copy_error is not None:
            self._fail(self._copy_error)
            return
        try:
            if self._log_pages > copied:
                self._copy_rest()
            self._log_pages = 0
        except apsw.Error as error:
            self._fail(error)

    def _copy_rest(self) -> None:
        """Raises apsw.Error. Another program that copies just now does it for us."""
        with self._copying, suppress(apsw.BusyError):
            self._connection.wal_checkpoint()

    # --- the rest -------------------------------------------------------------------------------

    def reader(self) -> Reader:
        """A reader with a connection of its own. Raises StoreError."""
        try:
            read_only = connection.reader(self.path, self._settings, self._vfs)
        except (apsw.Error, OSError) as error:
            raise connection.unusable(self.path, error) from error
        reader = Reader(Log(read_only, self._index, self._traces, self._topics), self.path)
        self._readers.append(reader)
        return reader

    def backup(self, target: Path) -> Backup:
        """A copy to be made in steps between commits. On the writer's thread. Raises StoreError."""
        return Backup(self._connection, target)

    def interrupt(self) -> None:
        """From any thread: end reads that are under way."""
        for reader in self._readers:
            reader.interrupt()

    def close(self) -> None:
        """Let go of the file; nothing may be under way. Idempotent."""
        for reader in self._readers:
            reader.close()
        self._copier.close()
        if self._failure is None:
            self._failure = CommitFailed("The store is closed.")
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            self._connection.close(force=True)
