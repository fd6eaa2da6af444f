"""The trace index: where an event id may be stored, at four bytes per event.

Each block knows the fingerprints (CRC-32) of its events' ids. The trace index gathers them, some
thousands to a row, so that ten million events are forty megabytes to look through. What is newer
than its newest row is held in memory, and read from the blocks at start.
"""

import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from struct import pack
from typing import NamedTuple

import apsw

from eventpost.core.interfaces import Append
from eventpost.stores.sqlite.blocks import BlockRow, Head
from eventpost.stores.sqlite.connection import rows, value

PUT_ROW = "INSERT INTO trace_index VALUES (?, ?, ?, ?, ?)"
LAST_ROW = "SELECT coalesce(max(last_block), 0) FROM trace_index"
ROWS_BEFORE = """
    SELECT last_block, blocks, fingerprints FROM trace_index
    WHERE last_block < ? AND published_ms >= ? ORDER BY last_block DESC LIMIT 32
"""
ROW_OVER = """
    SELECT first_block, last_block FROM trace_index WHERE last_block >= ?
    ORDER BY last_block LIMIT 1
"""
HAS_BLOCKS = "SELECT EXISTS (SELECT 1 FROM block WHERE id BETWEEN ? AND ?)"
REMOVE_ROW = "DELETE FROM trace_index WHERE last_block = ?"

_NEWEST = 2**62


class _Pending(NamedTuple):
    block_id: int
    event_count: int
    published_ms: int
    fingerprints: bytes


class TraceIndex:
    """Written by the writer; looked into by readers on other threads."""

    def __init__(self, events_max: int, blocks_max: int) -> None:
        self._lock = threading.Lock()
        self._events_max = events_max
        self._blocks_max = blocks_max
        self._pending: list[_Pending] = []
        self._event_count = 0

    # --- the writer's part ----------------------------------------------------------------------

    def stage(self, connection: apsw.Connection, new_block_count: int) -> bool:
        """Inside a commit: write a row when enough is gathered. `publish` must be told."""
        pending = self._pending
        is_due = bool(pending) and (
            self._event_count >= self._events_max
            or len(pending) + new_block_count >= self._blocks_max
        )
        if is_due and _has_blocks(connection, pending[0].block_id, pending[-1].block_id):
            connection.execute(PUT_ROW, _row(pending))
        return is_due

    def publish(
        self, blocks: Iterable[BlockRow], appends: Sequence[Append], is_staged: bool
    ) -> None:
        """After the commit."""
        published_ms = max([append.published_ms for append in appends])
        pending = [_of(Head(row[0], row[1], row[2], row[4]), published_ms) for row in blocks]
        with self._lock:
            if is_staged:
                self._pending = []
                self._event_count = 0
            self._pending += pending
            self._event_count += sum([block.event_count for block in pending])

    def complete(self, heads: Iterable[Head]) -> None:
        """At start: gather what is newer than the newest row."""
        for head in heads:
            published_ms = max(segment[4] for segment in head.segments())
            self._pending.append(_of(head, published_ms))
            self._event_count += head.event_count

    # --- readers --------------------------------------------------------------------------------

    def candidates(
        self, connection: apsw.Connection, fingerprint: int, since_ms: int
    ) -> Iterator[int]:
        """Blocks that may hold an id with this fingerprint, newest first."""
        needle = pack("=I", fingerprint)
        with self._lock:
            pending = list(self._pending)
        for block in reversed(pending):
            if block.published_ms >= since_ms and hits(block.fingerprints, needle):
                yield block.block_id
        # A row written since holds what was looked at above.
        before = pending[0].block_id if pending else _NEWEST
        while found := rows(connection, ROWS_BEFORE, (before, since_ms)):
            for before, blocks, fingerprints in found:  # noqa: B007
                yield from _blocks_of(blocks, hits(fingerprints, needle))


def hits(fingerprints: bytes, needle: bytes) -> list[int]:
    """The indices at which `needle` stands, aligned."""
    found = []
    at = fingerprints.find(needle)
    while at >= 0:
        if at % 4 == 0:
            found.append(at // 4)
        at = fingerprints.find(needle, at + 1)
    return found


def remove_empty(connection: apsw.Connection, removed: Iterable[int]) -> None:
    """Inside a commit that removed these blocks: remove rows of which no block is left."""
    seen = 0
    for block_id in sorted(removed):
        if block_id <= seen:
            continue
        for first, seen in rows(connection, ROW_OVER, (block_id,)):
            if first <= block_id and not _has_blocks(connection, first, seen):
                connection.execute(REMOVE_ROW, (seen,))


def _has_blocks(connection: apsw.Connection, first: int, last: int) -> bool:
    return bool(value(connection, HAS_BLOCKS, (first, last)))


def _of(head: Head, published_ms: int) -> _Pending:
    return _Pending(head.block_id, head.event_count, published_ms, head.fingerprints())


def _row(pending: list[_Pending]) -> tuple[int, int, int, bytes, bytes]:
    """`blocks` is (block id, event count) of each block as 64-bit numbers."""
    counts = array("q", [number for block in pending for number in block[:2]])
    return (
        pending[-1].block_id,
        pending[0].block_id,
        max(block.published_ms for block in pending),
        counts.tobytes(),
        b"".join([block.fingerprints for block in pending]),
    )


def _blocks_of(blocks: bytes, event_indices: list[int]) -> Iterator[int]:
    """The blocks that hold these events, newest first, each once."""
    if not event_indices:
        return
    counts = array("q", blocks)
    wanted = set(event_indices)
    end = sum(counts[1::2])
    for index in range(len(counts) - 2, -1, -2):
        start = end - counts[index + 1]
        if any(start <= event_index < end for event_index in wanted):
            yield counts[index]
        end = start
