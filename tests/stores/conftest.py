"""Helpers of the store's tests: a database without threads, and a story of commits to check."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventpost.core.interfaces import Clock, Commit, CommitFailed, Committed, Taken
from eventpost.stores.executor import InlineExecutor
from eventpost.stores.sqlite import SqliteSettings, SqliteStore
from eventpost.stores.sqlite.database import Database
from eventpost.testing.disk import Disk
from eventpost.testing.driver import Driver, PumpClock
from eventpost.testing.samples import append, with_topic

NewDriver = Callable[..., Driver]
NewDisk = Callable[[int], Disk]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[NewDriver]:
    """Opens a store without threads in `tmp_path / "data"`; the one before is closed first."""
    opened: list[Driver] = []

    def new(settings: SqliteSettings | None = None, *, vfs: str | None = None) -> Driver:
        if opened:
            opened[-1].store.close()
        clock = PumpClock()
        store = inline_store(tmp_path / "data", clock, settings, vfs=vfs)
        opened.append(Driver(store, clock))
        return opened[-1]

    yield new
    for driver in opened:
        driver.store.close()


@pytest.fixture
def new_disk(tmp_path: Path) -> Iterator[NewDisk]:
    """Makes disks by seed; a test closes what it opened on them."""
    disks: list[Disk] = []

    def new(seed: int) -> Disk:
        disks.append(Disk(tmp_path / f"disk-{len(disks)}", seed))
        return disks[-1]

    yield new
    for disk in disks:
        disk.close()


def inline_store(
    directory: Path, clock: Clock, settings: SqliteSettings | None = None, *, vfs: str | None = None
) -> SqliteStore:
    return SqliteStore(directory, clock, settings, executor=InlineExecutor(clock), vfs=vfs)


class Publisher:
    """Appends numbered events to topic 1 of one database after the other.

    What was answered with Committed must be there for ever: `acknowledged` events, numbered from 0.
    """

    def __init__(self) -> None:
        self.acknowledged = 0

    def check(self, database: Database) -> int:
        """How many acknowledged events are missing. What is there must be whole and in order."""
        found = ids(database)
        assert found == [f"event-{index}" for index in range(len(found))]
        lost = max(0, self.acknowledged - len(found))
        self.acknowledged = len(found)
        return lost

    def begin(self, database: Database) -> Committed | CommitFailed:
        """The topic, when it is not there yet."""
        if database.recovered.topics:
            return Committed([])
        return database.commit(with_topic())

    def publish(
        self, database: Database, count: int, *, is_early: bool = False
    ) -> Committed | CommitFailed:
        """One commit of `count` events. `is_early`: acknowledged before it is done, wrongly."""
        numbers = range(self.acknowledged, self.acknowledged + count)
        if is_early:
            self.acknowledged += count
        batch = append(*[f"event-{number}" for number in numbers])
        answer = database.commit(Commit(appends=[batch]))
        if isinstance(answer, Committed) and not is_early:
            self.acknowledged += count
        return answer


class Puller(Publisher):
    """The same from a queue: the messages' ids are committed with the events that they became.

    `is_apart`: in a commit of their own before, wrongly.
    """

    QUEUE = 5

    def __init__(self, *, is_apart: bool = False) -> None:
        super().__init__()
        self.is_apart = is_apart
        self.apart = 0
        """Ids that were there without their event, or events without their id."""

    def check(self, database: Database) -> int:
        lost = super().check(database)
        taken = database.reader().connection.execute(
            "SELECT id FROM taken WHERE queue = ?", (self.QUEUE,)
        )
        self.apart += len({one for (one,) in taken} ^ set(ids(database)))
        return lost

    def publish(
        self, database: Database, count: int, *, is_early: bool = False
    ) -> Committed | CommitFailed:
        first = self.acknowledged
        names = [f"event-{number}" for number in range(first, first + count)]
        taken = [Taken(self.QUEUE, names, 1)]
        if self.is_apart:
            early = database.commit(Commit(taken=taken))
            if isinstance(early, CommitFailed):
                return early
            taken = []
        answer = database.commit(Commit(appends=[append(*names)], taken=taken))
        if isinstance(answer, Committed):
            self.acknowledged += count
        return answer


def ids(database: Database) -> list[str]:
    """The ids of all events of topic 1, as read from the disk."""
    reader = database.reader()
    segments = reader.read(1, 0, 0, 1 << 40)
    wires = [wire for segment in segments for wire in segment.wires]
    assert [segment.first for segment in segments[1:]] == [segment.end for segment in segments[:-1]]
    return [wire.decode().split('"')[3] for wire in wires]
