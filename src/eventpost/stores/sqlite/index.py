"""The index of segments: which block holds a position, without a write per commit.

A partition's newest segments are known in memory only; when enough of them are together they become
one row of `segment_index`, a chunk. A topic that publishes rarely would keep its segments out of
the table for long, so a segment is written with the commit at which its block is no longer among
the newest `unindexed_blocks_max`. At start, reading the heads of that many blocks completes the
index.

The writer changes it after its commits; readers on other threads look into it. What is in memory
is always committed; what left memory was committed to the table before.
"""

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apsw

from eventpost.stores.sqlite.blocks import Key, Placed
from eventpost.stores.sqlite.connection import rows

PUT_CHUNK = "INSERT OR REPLACE INTO segment_index VALUES (?, ?, ?, ?, ?)"
CHUNK_AT = """
    SELECT entries, end FROM segment_index
    WHERE topic_id = ? AND partition = ? AND first <= ? ORDER BY first DESC LIMIT 1
"""
CHUNK_AFTER = """
    SELECT entries, end FROM segment_index
    WHERE topic_id = ? AND partition = ? AND first > ? ORDER BY first LIMIT 1
"""
NEXT_PARTITION = """
    SELECT topic_id, partition FROM segment_index
    WHERE (topic_id, partition) > (?, ?) ORDER BY topic_id, partition LIMIT 1
"""


EVERYTHING = 2**62
"""The floor of a partition whose topic is gone."""

_ChunkRow = tuple[int, int, int, int, bytes]


class Entry(NamedTuple):
    """One segment: positions `first` up to `end`, and its block."""

    first: int
    end: int
    block_id: int


class Chunk:
    """Segments of one partition, one after the other.

    `published[i]` is the latest time of publishing up to segment `i`, so that it never falls even
    when a clock was set back.
    """

    __slots__ = ("blocks", "end", "firsts", "published")

    def __init__(self, entries: bytes = b"", end: int = 0) -> None:
        third = len(entries) // 3
        self.firsts = array("q", entries[:third])
        self.blocks = array("q", entries[third : 2 * third])
        self.published = array("q", entries[2 * third :])
        self.end = end

    def packed(self) -> bytes:
        return self.firsts.tobytes() + self.blocks.tobytes() + self.published.tobytes()

    def copy(self) -> "Chunk":
        return Chunk(self.packed(), self.end)

    def entries(self, position: int) -> Iterator[Entry]:
        """From the segment that holds `position`, or the first, on."""
        firsts, blocks = self.firsts, self.blocks
        for index in range(max(0, bisect_right(firsts, position) - 1), len(firsts)):
            end = firsts[index + 1] if index + 1 < len(firsts) else self.end
            yield Entry(firsts[index], end, blocks[index])

    def position_at(self, at_ms: int) -> int:
        """The first position published at or after `at_ms`, `end` if none."""
        index = bisect_left(self.published, at_ms)
        return self.firsts[index] if index < len(self.firsts) else self.end


class Partition:
    """What is known of one partition. `open` holds the newest segments; its `end` is the next
    position. `first` is the oldest segment not yet removed; below `floor` nobody needs anything."""

    __slots__ = ("first", "floor", "open", "published_ms")

    def __init__(self) -> None:
        self.open = Chunk()
        self.first = 0
        self.floor = 0
        self.published_ms = 0

    def add(self, first: int, count: int, published_ms: int, block_id: int) -> None:
        chunk = self.open
        self.published_ms = max(self.published_ms, published_ms)
        chunk.firsts.append(first)
        chunk.blocks.append(block_id)
        chunk.published.append(self.published_ms)
        chunk.end = first + count


class SegmentIndex:
    """All partitions. Lock order: `lock` is held for memory only, never across a statement."""

    def __init__(self, chunk_segments: int, unindexed_blocks_max: int) -> None:
        self.lock = threading.Lock()
        self.partitions: dict[Key, Partition] = {}
        self._chunk_segments = chunk_segments
        self._unindexed_blocks_max = unindexed_blocks_max
        self._unindexed: dict[Key, int] = {}
        """By partition the oldest block with a segment not in the table, oldest first."""

    # --- the writer's part ----------------------------------------------------------------------

    def next_position(self, key: Key) -> int:
        partition = self.partitions.get(key)
        return 0 if partition is None else partition.open.end

    def stage(self, connection: apsw.Connection, placed: Sequence[Placed]) -> set[Key]:
        """Inside the commit that stores `placed`: write the chunks that are full or too old.

        Returns the partitions whose open chunk is to start anew in `publish`.
        """
        chunks = self._old_chunks(placed[-1].block_id)
        full: set[Key] = set()
        for segment in placed:
            key = segment[:2]
            partition = self.partitions.get(key)
            if partition is not None and len(partition.open.firsts) >= self._chunk_segments:
                full.add(key)
                chunks[key] = _row(key, partition.open)
                self._unindexed.pop(key, None)
            self._unindexed.setdefault(key, segment.block_id)
        if chunks:
            connection.executemany(PUT_CHUNK, chunks.values())
        return full

    def _old_chunks(self, last_block_id: int) -> dict[Key, _ChunkRow]:
        chunks: dict[Key, _ChunkRow] = {}
        while self._unindexed:
            key, oldest = next(iter(self._unindexed.items()))
            if oldest > last_block_id - self._unindexed_blocks_max:
                break
            del self._unindexed[key]
            chunks[key] = _row(key, self.partitions[key].open)
        return chunks

    def advance(self, firsts: dict[Key, int]) -> None:
        """After a commit that removed segments: the oldest ones still there."""
        with self.lock:
            for key, first in firsts.items():
                self.partitions[key].first = first

    def publish(self, placed: Sequence[Placed], full: set[Key]) -> None:
        """After that commit: let readers see it."""
        with self.lock:
            for key in full:
                self.partitions[key].open = Chunk(b"", self.partitions[key].open.end)
            for topic_id, partition_number, first, count, published_ms, block_id in placed:
                key = (topic_id, partition_number)
                partition = self.partitions.get(key)
                if partition is None:
                    partition = self.partitions[key] = Partition()
                partition.add(first, count, published_ms, block_id)

    def forget(self, key: Key) -> None:
        with self.lock:
            self.partitions.pop(key, None)
        self._unindexed.pop(key, None)

    # --- at start -------------------------------------------------------------------------------

    def load(self, connection: apsw.Connection) -> None:
        """Take up the newest chunk of each partition from the table."""
        key = (-1, -1)
        while found := rows(connection, NEXT_PARTITION, key):
            key = (found[0][0], found[0][1])
            entries, end = rows(connection, CHUNK_AT, (*key, EVERYTHING))[0]
            partition = self.partitions.setdefault(key, Partition())
            partition.open = Chunk(entries, end)
            partition.published_ms = partition.open.published[-1]

    def complete(self, segments: Iterable[Placed]) -> None:
        """Add what the newest blocks hold, in the order of the blocks, as far as it is missing."""
        for topic_id, partition_number, first, count, published_ms, block_id in segments:
            key = (topic_id, partition_number)
            partition = self.partitions.setdefault(key, Partition())
            if first >= partition.open.end and first + count > partition.first:
                partition.add(first, count, published_ms, block_id)
                self._unindexed.setdefault(key, block_id)

    def retain(self, key: Key, floor: int, first: int) -> None:
        """What was trimmed of a partition."""
        partition = self.partitions.setdefault(key, Partition())
        partition.floor = floor
        partition.first = first

    def raise_ends(self, ends: dict[Key, int]) -> None:
        """The next positions of partitions whose newest segments are gone."""
        for key, end in ends.items():
            chunk = self.partitions[key].open
            chunk.end = max(chunk.end, end)

    # --- readers --------------------------------------------------------------------------------

    def kept(self) -> dict[Key, tuple[int, int]]:
        """(oldest position not yet removed, next position) by partition."""
        with self.lock:
            known = list(self.partitions.items())
        return {
            key: (partition.first, partition.open.end)
            for key, partition in known
            if partition.floor != EVERYTHING
        }

    def floor(self, key: Key) -> int:
        """Below this position nothing is shown any more."""
        partition = self.partitions.get(key)
        return 0 if partition is None else max(partition.first, partition.floor)

    def chunk(self, connection: apsw.Connection, key: Key, position: int) -> Chunk | None:
        """A chunk whose `entries(position)` begin with the segment that holds `position`, or the
        next one kept. None: there is nothing from `position` on."""
        with self.lock:
            partition = self.partitions.get(key)
            if partition is None or position >= partition.open.end:
                return None
            position = max(position, partition.first, partition.floor)
            if position >= partition.open.end:
                return None
            if partition.open.firsts and position >= partition.open.firsts[0]:
                return partition.open.copy()
            # Copied now: a chunk that is closed while the table is asked must not be passed over.
            newest = partition.open.copy()
        for query in (CHUNK_AT, CHUNK_AFTER):
            for entries, end in rows(connection, query, (*key, position)):
                if end > position:
                    return Chunk(entries, end)
        return newest if newest.firsts else None


def _row(key: Key, chunk: Chunk) -> _ChunkRow:
    return (*key, chunk.firsts[0], chunk.end, chunk.packed())
