"""Ladder rows that were taken off but may still come back from a read that began before.

A read runs beside the commits: its answer may show a row whose removal was committed meanwhile.
Such rows are remembered until every read that began before their removal was durable has answered.
"""

from collections import deque

from eventpost.core.interfaces import LadderRow

RowKey = tuple[int, int, int, int, int, bool]


def row_key(row: LadderRow) -> RowKey:
    return (
        row.due_ms,
        row.subscription_id,
        row.partition,
        row.position,
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

    def __contains__(self, row: LadderRow) -> bool:
        return row_key(row) in self._keys

    def add(self, row: LadderRow) -> RowKey:
        key = row_key(row)
        self._keys.add(key)
        return key

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
            self._keys.difference_update(self._committed.popleft()[1])
