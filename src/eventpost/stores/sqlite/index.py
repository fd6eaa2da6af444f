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

from eventpost.core.interfaces import Append
from eventpost.stores.sqlite.blocks import Key, Piece, Placed
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

    `numbers` holds three for each: the first position, the block, and the latest time of publishing
    up to there, so that it never falls even when a clock was set back.
    """

    __slots__ = ("end", "numbers")

    def __init__(self, packed: bytes = b"", end: int = 0) -> None:
        self.numbers = array("q", packed)
        self.end = end

    @property
    def first(self) -> int:
        return self.numbers[0]

    @property
    def published_ms(self) -> int:
        """The latest time of publishing of all."""
        return self.numbers[-1]

    @property
    def segment_count(self) -> int:
        return len(self.numbers) // 3

    def copy(self) -> "Chunk":
        chunk = Chunk(b"", self.end)
        chunk.numbers = self.numbers[:]
        return chunk

    def entries(self, position: int) -> Iterator[Entry]:
        """From the segment that holds `position`, or the first, on."""
        firsts, blocks = self.numbers[0::3], self.numbers[1::3]
        for index in range(max(0, bisect_right(firsts, position) - 1), len(firsts)):
            end = firsts[index + 1] if index + 1 < len(firsts) else self.end
            yield Entry(firsts[index], end, blocks[index])

    def position_at(self, at_ms: int) -> int:
        """The first position published at or after `at_ms`, `end` if none."""
        index = bisect_left(self.numbers[2::3], at_ms)
        return self.numbers[3 * index] if index < self.segment_count else self.end


class Partition:
    """What is known of one partition.

    `open` holds the newest segments; its `end` is the next position. `first` is the oldest
    segment not yet removed; below `floor` nobody needs anything.
    """

    __slots__ = ("first", "floor", "is_indexed", "key", "open", "published_ms")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.open = Chunk()
        self.first = 0
        self.floor = 0
        self.published_ms = 0
        self.is_indexed = True


class SegmentIndex:
    """All partitions. Lock order: `lock` is held for memory only, never across a statement."""

    def __init__(self, chunk_segments: int, unindexed_blocks_max: int) -> None:
        self.lock = threading.Lock()
        self.partitions: dict[Key, Partition] = {}
        self.block_count = 0
        """How many blocks there are, kept current by the writer."""
        self._chunk_numbers = 3 * chunk_segments
        self._unindexed_blocks_max = unindexed_blocks_max
        self._unindexed: dict[Partition, int] = {}
        """By partition the oldest block with a segment not in the table, oldest first."""
        self._full: set[Partition] = set()
        """Partitions whose open chunk is to be written with the next commit."""

    # --- the writer's part ----------------------------------------------------------------------

    def next_position(self, key: Key) -> int:
        partition = self.partitions.get(key)
        return 0 if partition is None else partition.open.end

    def reserve(self, appends: Sequence[Append]) -> list[Partition]:
        """The partition of each append; its `open.end` is the first position to give."""
        known = self.partitions
        found = []
        for append in appends:
            key = (append.topic_id, append.partition)
            found.append(known.get(key) or self._new(key))
        return found

    def _new(self, key: Key) -> Partition:
        with self.lock:
            return self.partitions.setdefault(key, Partition(key))

    def stage(self, connection: apsw.Connection, last_block_id: int) -> None:
        """Inside the commit that stores blocks up to this one: write the chunks that are full, and
        those that hold a segment for too long already."""
        chunks = [_row(partition) for partition in self._full]
        chunks += self._old_chunks(last_block_id)
        if chunks:
            connection.executemany(PUT_CHUNK, chunks)

    def _old_chunks(self, last_block_id: int) -> Iterator[_ChunkRow]:
        while self._unindexed:
            partition, oldest = next(iter(self._unindexed.items()))
            if oldest > last_block_id - self._unindexed_blocks_max:
                break
            del self._unindexed[partition]
            partition.is_indexed = True
            yield _row(partition)

    def publish(
        self, appends: Sequence[Append], partitions: Sequence[Partition], pieces: Sequence[Piece]
    ) -> None:
        """After that commit: let readers see its segments."""
        with self.lock:
            for partition in self._full:
                partition.open = Chunk(b"", partition.open.end)
                partition.is_indexed = True
                self._unindexed.pop(partition, None)
            self._full.clear()
            for append_index, first, count, block_id in pieces:
                published_ms = appends[append_index].published_ms
                self._add(partitions[append_index], first, count, published_ms, block_id)

    def _add(
        self, partition: Partition, first: int, count: int, published_ms: int, block_id: int
    ) -> None:
        if published_ms > partition.published_ms:
            partition.published_ms = published_ms
        chunk = partition.open
        numbers = chunk.numbers
        numbers.extend((first, block_id, partition.published_ms))
        chunk.end = first + count
        if partition.is_indexed:
            partition.is_indexed = False
            self._unindexed[partition] = block_id
        if len(numbers) >= self._chunk_numbers:
            self._full.add(partition)

    def advance(self, firsts: dict[Key, int]) -> None:
        """After a commit that removed segments: the oldest ones still there."""
        with self.lock:
            for key, first in firsts.items():
                self.partitions[key].first = first

    def forget(self, key: Key) -> None:
        with self.lock:
            partition = self.partitions.pop(key)
        self._unindexed.pop(partition, None)
        self._full.discard(partition)

    # --- at start -------------------------------------------------------------------------------

    def load(self, connection: apsw.Connection) -> None:
        """Take up the newest chunk of each partition from the table."""
        key = (-1, -1)
        while found := rows(connection, NEXT_PARTITION, key):
            key = (found[0][0], found[0][1])
            entries, end = rows(connection, CHUNK_AT, (*key, EVERYTHING))[0]
            partition = self.partitions.setdefault(key, Partition(key))
            partition.open = Chunk(entries, end)
            partition.published_ms = partition.open.published_ms

    def complete(self, segments: Iterable[Placed]) -> None:
        """Add what the newest blocks hold, in the order of the blocks, as far as it is missing."""
        for segment in segments:
            key = (segment.topic_id, segment.partition)
            partition = self.partitions.setdefault(key, Partition(key))
            if segment.first >= partition.open.end and segment.end > partition.first:
                self._add(partition, *segment[2:])

    def retain(self, key: Key, floor: int, first: int) -> None:
        """What was trimmed of a partition."""
        partition = self.partitions.setdefault(key, Partition(key))
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
            if partition.open.numbers and position >= partition.open.first:
                return partition.open.copy()
            # Copied now: a chunk that is closed while the table is asked must not be passed over.
            newest = partition.open.copy()
        for query in (CHUNK_AT, CHUNK_AFTER):
            for entries, end in rows(connection, query, (*key, position)):
                if end > position:
                    return Chunk(entries, end)
        return newest if newest.numbers else None


def _row(partition: Partition) -> _ChunkRow:
    chunk = partition.open
    return (*partition.key, chunk.first, chunk.end, chunk.numbers.tobytes())
