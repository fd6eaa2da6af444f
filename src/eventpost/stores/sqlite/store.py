"""The SQLite store as the grid sees it: hands work to an executor and answers through callbacks."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import apsw

from eventpost.core.errors import StoreError
from eventpost.core.interfaces import (
    AttemptRecord,
    Clock,
    Commit,
    CommitFailed,
    Committed,
    Damage,
    DeadLetter,
    DeadLetterQuery,
    Found,
    LadderRow,
    ReadFailed,
    Recovered,
    Segment,
    Usage,
)
from eventpost.stores.executor import Executor, InlineExecutor, ThreadExecutor
from eventpost.stores.sqlite.backup import Backup
from eventpost.stores.sqlite.blocks import DamagedError
from eventpost.stores.sqlite.connection import reason
from eventpost.stores.sqlite.database import Database
from eventpost.stores.sqlite.directory import DataDirectory
from eventpost.stores.sqlite.events import DamagedSegmentError, EventKey
from eventpost.stores.sqlite.reader import Reader
from eventpost.stores.sqlite.settings import SqliteSettings
from eventpost.stores.sqlite.verify import Progress, verify

T = TypeVar("T")
VERIFY_STEPS = 64
"""Blocks that verifying reads in one turn: up to 8 MiB."""
_LOST = CommitFailed("The store is not open.")
_CLOSED = ReadFailed("The store is not open.")


class SqliteStore:
    """A `core.interfaces.Store` in one data directory.

    All calls on the grid's thread, but `open` and `close`, which block and may be made from another
    one while nothing else is called. `open` may be called again after a commit failed: what is on
    the disk is read anew. Without `executor` the store has threads of its own from `open` to
    `close`. `vfs` names a registered apsw VFS, for tests with a disk that fails.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        settings: SqliteSettings | None = None,
        *,
        executor: Executor | None = None,
        vfs: str | None = None,
    ) -> None:
        self._directory = DataDirectory(directory)
        self._clock = clock
        self._settings = settings or SqliteSettings()
        self._given_executor = executor
        self._threads: ThreadExecutor | None = None
        self._closed = InlineExecutor(clock)
        """Answers, when it is not open, that it is not."""
        self._vfs = vfs
        self._database: Database | None = None
        self._is_copying = False
        self._reader: Reader | None = None
        self._scanner: Reader | None = None

    def open(self) -> Recovered:
        """See `Store.open`."""
        self._let_go()
        self._directory.open()
        try:
            database = Database(self._directory.database, self._settings, self._vfs)
            self._database = database
            self._reader, self._scanner = database.reader(), database.reader()
        except StoreError:
            self._let_go()
            self._directory.close()
            raise
        if self._given_executor is None and self._threads is None:
            self._threads = ThreadExecutor(self._clock)
        return database.recovered

    def close(self) -> None:
        """See `Store.close`. The callbacks of what was handed over may come after it returns."""
        self._executor.close()
        self._threads = None
        self._let_go()
        self._directory.close()

    def _let_go(self) -> None:
        """End what is under way and close the files; the executor stays."""
        if self._database is not None:
            self._database.interrupt()
            self._executor.settle()
            self._database.close()
        self._database = self._reader = self._scanner = None

    @property
    def _executor(self) -> Executor:
        return self._given_executor or self._threads or self._closed

    # --- commits --------------------------------------------------------------------------------

    def commit(self, commit: Commit, done: Callable[[Committed | CommitFailed], None]) -> None:
        database = self._database
        if database is None:
            self._executor.write(partial(_same, _LOST), done)
            return

        def committed(answer: Committed | CommitFailed) -> None:
            if database.is_checkpoint_due and not self._is_copying:
                self._copy_log(database)
            done(answer)

        self._executor.write(partial(database.commit, commit), committed)

    def _copy_log(self, database: Database) -> None:
        """Most of the log beside the commits, the rest between two of them."""
        self._is_copying = True

        def copied(pages: int) -> None:
            self._executor.write(partial(database.checkpoint, pages), ended)

        def ended(_nothing: None) -> None:
            self._is_copying = False

        self._executor.copy(database.copy_log, copied)

    # --- quick reads ----------------------------------------------------------------------------

    def read(
        self,
        topic_id: int,
        partition: int,
        position: int,
        bytes_max: int,
        done: Callable[[list[Segment] | ReadFailed], None],
    ) -> None:
        arguments = (topic_id, partition, position, bytes_max)
        self._executor.read(partial(_ask, self._reader, Reader.read, *arguments), done)

    def events(
        self,
        keys: list[EventKey],
        done: Callable[[dict[EventKey, Segment] | ReadFailed], None],
    ) -> None:
        self._executor.read(partial(_ask, self._reader, Reader.events, keys), done)

    def due(
        self,
        from_ms: int,
        until_ms: int,
        limit: int,
        done: Callable[[list[LadderRow] | ReadFailed], None],
    ) -> None:
        self._executor.read(partial(_ask, self._reader, Reader.due, from_ms, until_ms, limit), done)

    def parked(
        self,
        subscription_id: int,
        partition: int,
        limit: int,
        done: Callable[[list[LadderRow] | ReadFailed], None],
    ) -> None:
        arguments = (subscription_id, partition, limit)
        self._executor.read(partial(_ask, self._reader, Reader.parked, *arguments), done)

    def locked(
        self,
        subscription_id: int,
        partition: int,
        locks: list[int],
        done: Callable[[list[LadderRow] | ReadFailed], None],
    ) -> None:
        arguments = (subscription_id, partition, locks)
        self._executor.read(partial(_ask, self._reader, Reader.locked, *arguments), done)

    def attempts(
        self,
        topic_id: int,
        partition: int,
        position: int,
        done: Callable[[list[AttemptRecord] | ReadFailed], None],
    ) -> None:
        arguments = (topic_id, partition, position)
        self._executor.read(partial(_ask, self._reader, Reader.attempts, *arguments), done)

    def position_at(
        self,
        topic_id: int,
        partition: int,
        at_ms: int,
        done: Callable[[int | ReadFailed], None],
    ) -> None:
        arguments = (topic_id, partition, at_ms)
        self._executor.read(partial(_ask, self._reader, Reader.position_at, *arguments), done)

    def taken(
        self, queue: int, ids: list[str], done: Callable[[set[str] | ReadFailed], None]
    ) -> None:
        self._executor.read(partial(_ask, self._reader, Reader.taken, queue, ids), done)

    # --- reads that may take long ---------------------------------------------------------------

    def ladder_floor(self, done: Callable[[dict[tuple[int, int], int] | ReadFailed], None]) -> None:
        self._executor.scan(partial(_ask, self._scanner, Reader.ladder_floor), done)

    def ladder_of(
        self,
        topic_id: int,
        partition: int,
        position: int,
        done: Callable[[list[LadderRow] | ReadFailed], None],
    ) -> None:
        arguments = (topic_id, partition, position)
        self._executor.scan(partial(_ask, self._scanner, Reader.ladder_of, *arguments), done)

    def dead_letters(
        self, query: DeadLetterQuery, done: Callable[[list[DeadLetter] | ReadFailed], None]
    ) -> None:
        self._executor.scan(partial(_ask, self._scanner, Reader.dead_letters, query), done)

    def count_dead_letters(
        self, query: DeadLetterQuery, done: Callable[[int | ReadFailed], None]
    ) -> None:
        self._executor.scan(partial(_ask, self._scanner, Reader.count_dead_letters, query), done)

    def find(
        self,
        event_id: str,
        topic_id: int | None,
        since_ms: int,
        limit: int,
        done: Callable[[list[Found] | ReadFailed], None],
    ) -> None:
        arguments = (event_id, topic_id, since_ms, limit)
        self._executor.scan(partial(_ask, self._scanner, Reader.find, *arguments), done)

    def usage(self, done: Callable[[Usage | ReadFailed], None]) -> None:
        self._executor.scan(partial(_ask, self._scanner, Reader.usage), done)

    # --- the whole of it ------------------------------------------------------------------------

    def verify(
        self,
        done: Callable[[list[str] | ReadFailed], None],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Read everything beside the traffic and tell the damage. `on_progress(done, total)` is
        called now and then, on the grid's thread."""
        if self._scanner is None:
            self._clock.call_soon(done, _CLOSED)
            return
        steps = verify(self._scanner.log)
        damage: list[str] = []

        def seen(answer: list[Progress] | ReadFailed) -> None:
            if isinstance(answer, ReadFailed):
                done(answer)
                return
            damage.extend(text for progress in answer for text in progress.damage)
            if on_progress is not None:
                on_progress(answer[-1].done, answer[-1].total)
            if answer[-1].done == answer[-1].total:
                done(damage)
            else:
                self._executor.scan(partial(_steps, steps), seen)

        self._executor.scan(partial(_steps, steps), seen)

    def backup(self, path: str, done: Callable[[int | ReadFailed], None]) -> None:
        """Copy the database to a file that does not exist yet; answers with its bytes. Commits go
        on between the steps."""
        if self._database is None:
            self._clock.call_soon(done, _CLOSED)
            return

        def step(backup: Backup) -> bool | ReadFailed:
            return _tell(backup.step)

        def begun(backup: Backup | ReadFailed) -> None:
            if isinstance(backup, ReadFailed):
                done(backup)
            else:
                self._executor.write(partial(step, backup), partial(stepped, backup))

        def stepped(backup: Backup, is_done: bool | ReadFailed) -> None:
            if isinstance(is_done, ReadFailed):
                done(is_done)
            elif is_done:
                self._executor.scan(partial(_tell, backup.finish), done)
            else:
                begun(backup)

        begin = partial(_tell, partial(self._database.backup, Path(path)))
        self._executor.write(begin, begun)


def _steps(steps: Iterator[Progress]) -> list[Progress] | ReadFailed:
    """Some steps at a time, so that other reads get their turn in between."""
    try:
        return list(islice(steps, VERIFY_STEPS))
    except apsw.Error as error:
        return ReadFailed(reason(error))


def _tell(work: Callable[[], T]) -> T | ReadFailed:
    try:
        return work()
    except StoreError as error:
        return ReadFailed(str(error))


def _same(answer: T) -> T:
    return answer


def _ask(reader: Reader | None, question: Callable[..., T], *arguments: object) -> T | ReadFailed:
    """The answer, or why there is none: no exception crosses a callback."""
    if reader is None:
        return _CLOSED
    try:
        return question(reader, *arguments)
    except DamagedSegmentError as error:
        return ReadFailed(str(error), Damage(*error.key, error.entry.first, error.entry.end))
    except (apsw.Error, DamagedError, OSError) as error:
        return ReadFailed(reason(error))
    except Exception as error:  # noqa: BLE001  a bug in here must answer who waits, and end no thread
        return ReadFailed(f"{type(error).__name__}: {error}")
