"""What may be asked of a store, over one connection that never writes."""

from pathlib import Path

from eventpost.core.interfaces import (
    AttemptRecord,
    DeadLetter,
    DeadLetterQuery,
    Found,
    LadderRow,
    Segment,
    Usage,
)
from eventpost.stores.sqlite import attempts, deadletters, ladder, taken
from eventpost.stores.sqlite.connection import value
from eventpost.stores.sqlite.events import EventKey, Log


class Reader:
    """For one thread at a time. Each call is at least one transaction of its own.

    The answers are those of `core.interfaces.Store`. Raises apsw.Error, DamagedError or
    DamagedSegmentError.
    """

    def __init__(self, log: Log, path: Path) -> None:
        self.log = log
        self.connection = log.connection
        self._path = path

    def read(self, topic_id: int, partition: int, position: int, bytes_max: int) -> list[Segment]:
        return self.log.read(topic_id, partition, position, bytes_max)

    def events(self, keys: list[EventKey]) -> dict[EventKey, Segment]:
        return self.log.events(keys)

    def due(self, from_ms: int, until_ms: int, limit: int) -> list[LadderRow]:
        return ladder.due(self.connection, from_ms, until_ms, limit)

    def parked(self, subscription_id: int, partition: int, limit: int) -> list[LadderRow]:
        return ladder.parked(self.connection, subscription_id, partition, limit)

    def locked(self, subscription_id: int, partition: int, locks: list[int]) -> list[LadderRow]:
        return ladder.locked(self.connection, subscription_id, partition, locks)

    def ladder_floor(self) -> dict[tuple[int, int], int]:
        return ladder.floor(self.connection)

    def ladder_of(self, topic_id: int, partition: int, position: int) -> list[LadderRow]:
        return ladder.of_event(self.connection, topic_id, partition, position)

    def dead_letters(self, query: DeadLetterQuery) -> list[DeadLetter]:
        return deadletters.find(self.connection, query)

    def count_dead_letters(self, query: DeadLetterQuery) -> int:
        return deadletters.count(self.connection, query)

    def attempts(self, topic_id: int, partition: int, position: int) -> list[AttemptRecord]:
        return attempts.of_event(self.connection, topic_id, partition, position)

    def taken(self, queue: int, ids: list[str]) -> set[str]:
        return taken.known(self.connection, queue, ids)

    def find(self, event_id: str, topic_id: int | None, since_ms: int, limit: int) -> list[Found]:
        return self.log.find(event_id, topic_id, since_ms, limit)

    def position_at(self, topic_id: int, partition: int, at_ms: int) -> int:
        return self.log.position_at(topic_id, partition, at_ms)

    def usage(self) -> Usage:
        kept = self.log.index.kept()
        return Usage(
            bytes_used=self._bytes_used(),
            event_count=sum(end - first for first, end in kept.values()),
            segment_count=self.log.index.block_count,
            ladder_count=ladder.count(self.connection),
            dead_letter_count=value(self.connection, deadletters.COUNT),
            first_positions={key: first for key, (first, _) in kept.items()},
        )

    def _bytes_used(self) -> int:
        """What is in use of the file, and the write-ahead log beside it. Free pages are taken by
        the next events, so they count as room."""
        pages = self.connection.pragma("page_count") - self.connection.pragma("freelist_count")
        log = Path(f"{self._path}-wal")
        log_bytes = log.stat().st_size if log.exists() else 0
        return int(pages * self.connection.pragma("page_size") + log_bytes)

    def interrupt(self) -> None:
        """From any thread: the call under way raises apsw.InterruptError."""
        self.connection.interrupt()

    def close(self) -> None:
        self.connection.close(force=True)
