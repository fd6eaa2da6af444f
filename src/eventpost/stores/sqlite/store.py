"""The SQLite store as the grid sees it: hands work to an executor and answers through callbacks."""

from collections.abc import Callable
from functools import partial
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
from eventpost.stores.executor import Executor, ThreadExecutor
from eventpost.stores.sqlite.blocks import DamagedError
from eventpost.stores.sqlite.connection import reason
from eventpost.stores.sqlite.database import Database
from eventpost.stores.sqlite.directory import DataDirectory
from eventpost.stores.sqlite.events import DamagedSegmentError, EventKey
from eventpost.stores.sqlite.reader import Reader
from eventpost.stores.sqlite.settings import SqliteSettings

T = TypeVar("T")
_LOST = CommitFailed("The store is not open.")


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
        self._vfs = vfs
        self._database: Database | None = None
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
        if self._database is not None:
            self._executor.close()
        self._threads = None
        self._let_go()
        self._directory.close()

    def _let_go(self) -> None:
        """End what is under way and close the files; the executor stays."""
        if self._database is not None:
            self._database.interrupt()
            if self._given_executor is not None or self._threads is not None:
                self._executor.settle()
            self._database.close()
        self._database = self._reader = self._scanner = None

    @property
    def _executor(self) -> Executor:
        executor = self._given_executor or self._threads
        assert executor is not None, "open() first"
        return executor

    # --- commits --------------------------------------------------------------------------------

    def commit(self, commit: Commit, done: Callable[[Committed | CommitFailed], None]) -> None:
        database = self._database
        work = partial(database.commit, commit) if database is not None else partial(_same, _LOST)
        self._executor.write(work, done)

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


def _same(answer: T) -> T:
    return answer


def _ask(reader: Reader | None, question: Callable[..., T], *arguments: object) -> T | ReadFailed:
    """The answer, or why there is none: no exception crosses a callback."""
    if reader is None:
        return ReadFailed("The store is not open.")
    try:
        return question(reader, *arguments)
    except DamagedSegmentError as error:
        return ReadFailed(str(error), Damage(*error.key, error.entry.first, error.entry.end))
    except (apsw.Error, DamagedError, OSError) as error:
        return ReadFailed(reason(error))
