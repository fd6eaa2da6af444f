"""Ladder rows that were taken off but may still come back from a read that began before.

A read runs beside the commits: its answer may show a row whose removal was committed meanwhile.
Such rows are remembered until every read that began before their removal was durable has answered.
"""

from collections import Counter, deque
from typing import TypeVar

from eventpost.core.interfaces import LadderRow

T = TypeVar("T")
RowKey = tuple[int, int, int, int, int, int, bool]


def row_key(row: LadderRow) -> RowKey:
    return (
        row.due_ms,
        row.subscription_id,
        row.partition,
        row.position,
        row.generation,
        row.dead_letter_id,
        row.is_parked,
    )


class Departed:
    """All calls on the grid's thread."""

    def __init__(self) -> None:
        self._keys: set[RowKey] = set()
        self._committed: deque[tuple[int, list[RowKey]]] = deque()
        self._reads: set[int] = set()
        self._last_read = 0
        self._due: Counter[int] = Counter()
        self._parked: Counter[tuple[int, int]] = Counter()

    def __contains__(self, row: LadderRow) -> bool:
        return row_key(row) in self._keys

    def add(self, row: LadderRow) -> RowKey:
        key = row_key(row)
        if key not in self._keys:
            self._keys.add(key)
            self._count(key, 1)
        return key

    def due_count(self, due_ms: int) -> int:
        """How many of the rows due at that time a read may show in vain."""
        return self._due[due_ms]

    def parked_count(self, subscription_id: int, partition: int) -> int:
        """How many parked rows of a lane a read may show in vain."""
        return self._parked[subscription_id, partition]

    def _count(self, key: RowKey, change: int) -> None:
        due_ms, subscription_id, partition, *_, is_parked = key
        if is_parked:
            _add(self._parked, (subscription_id, partition), change)
        else:
            _add(self._due, due_ms, change)

    def committed(self, keys: list[RowKey]) -> None:
        """Their removal is durable: reads that begin from now on do not show them."""
        if keys:
            self._committed.append((self._last_read, keys))
            self._forget()

    def read_started(self) -> int:
        self._last_read += 1
        self._reads.add(self._last_read)
        return self._last_read

    def read_finished(self, read: int) -> None:
        """The answer of a read was dealt with."""
        self._reads.discard(read)
        self._forget()

    def _forget(self) -> None:
        oldest = min(self._reads, default=self._last_read + 1)
        while self._committed and self._committed[0][0] < oldest:
            for key in self._committed.popleft()[1]:
                if key in self._keys:
                    self._keys.remove(key)
                    self._count(key, -1)


def _add(counter: Counter[T], key: T, change: int) -> None:
    counter[key] += change
    if not counter[key]:
        del counter[key]
