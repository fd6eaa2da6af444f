"""The trimmer: removes the events that partitions have given up, some blocks per commit.

A block that holds segments of several partitions goes when all of them are given up. Once half of
its bytes are, it is written again without them, so that a topic whose events must be kept does not
keep those of others: at most twice the bytes needed are held, and each byte is copied seldom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import apsw

from eventpost.core.interfaces import Trim
from eventpost.stores.sqlite import traces
from eventpost.stores.sqlite.blocks import Block, DamagedError, Head, Key, without
from eventpost.stores.sqlite.connection import rows
from eventpost.stores.sqlite.events import BLOCK
from eventpost.stores.sqlite.index import (
    CHUNK_AFTER,
    CHUNK_AT,
    EVERYTHING,
    Chunk,
    Entry,
    Partition,
    SegmentIndex,
)

HEAD = "SELECT segment_count, event_count, head, length(body) FROM block WHERE id = ?"
REMOVE_BLOCK = "DELETE FROM block WHERE id = ?"
REPLACE_BLOCK = "INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?, ?, ?, ?)"
PUT_RETENTION = "INSERT OR REPLACE INTO retention VALUES (?, ?, ?, ?, ?)"
RETENTIONS = "SELECT topic_id, partition, floor, first, next FROM retention"
REMOVE_RETENTION = "DELETE FROM retention WHERE topic_id = ? AND partition = ?"
# A chunk that ends there begins before it: the first bound keeps it from looking at all others.
REMOVE_CHUNKS = """
    DELETE FROM segment_index WHERE topic_id = ?1 AND partition = ?2 AND first < ?3 AND end <= ?3
"""
_REWRITE_COST = 4
"""Bytes that a byte of a block counts which is written again: measured against removing it."""
_SEGMENTS_PER_ROW = 8
"""Segments of a block that count as one row more."""
_ROWS_PER_PARTITION = 4
"""What a partition counts, however little it has to remove: it costs some statements."""


@dataclass
class Budget:
    """What a slice may still remove."""

    rows: int
    bytes: int

    @property
    def is_spent(self) -> bool:
        return self.rows <= 0 or self.bytes <= 0


@dataclass
class Swept:
    """What a slice removed, to be told to the index once it is committed."""

    firsts: dict[Key, int] = field(default_factory=dict)
    forgotten: list[Key] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)


class Trimmer:
    """The writer's alone."""

    def __init__(self, index: SegmentIndex) -> None:
        self._index = index
        self._trimming: set[Key] = set()

    @property
    def has_leftovers(self) -> bool:
        return bool(self._trimming)

    def is_busy_with(self, topic_id: int) -> bool:
        return any(key[0] == topic_id for key in self._trimming)

    def load(self) -> None:
        """Take up what an earlier process left. The index holds its partitions already."""
        partitions = self._index.partitions.items()
        self._trimming = {key for key, partition in partitions if partition.first < partition.floor}

    def give_up(self, topic_ids: set[int]) -> None:
        """All events of these topics."""
        for key, partition in self._index.partitions.items():
            if key[0] in topic_ids:
                partition.floor = EVERYTHING
                self._trimming.add(key)

    def trim(self, connection: apsw.Connection, trims: Sequence[Trim]) -> None:
        """Inside a commit: from now on nothing below is shown."""
        for trim in trims:
            key = (trim.topic_id, trim.partition)
            partition = self._index.partitions.get(key)
            if partition is None:
                continue
            below = min(trim.below, partition.open.end)
            if below > partition.floor:
                partition.floor = below
                _put_retention(connection, partition, partition.first)
                self._trimming.add(key)

    def sweep(self, connection: apsw.Connection, budget: Budget, swept: Swept) -> None:
        """Inside a commit: remove a slice, partition by partition. A block that others still need
        is met again with the last of them."""
        for key in sorted(self._trimming):
            if budget.is_spent:
                break
            self._sweep_partition(connection, self._index.partitions[key], budget, swept)
            budget.rows -= _ROWS_PER_PARTITION
        traces.remove_empty(connection, swept.blocks)

    def _sweep_partition(
        self, connection: apsw.Connection, partition: Partition, budget: Budget, swept: Swept
    ) -> None:
        first = partition.first
        for entry in self._entries(connection, partition):
            if entry.end > partition.floor:
                self._trimming.discard(partition.key)
                break
            if budget.is_spent:
                break
            self._sweep_block(connection, entry.block_id, budget, swept)
            first = entry.end
        else:
            self._trimming.discard(partition.key)
        connection.execute(REMOVE_CHUNKS, (*partition.key, first))
        if partition.floor == EVERYTHING and first >= partition.open.end:
            connection.execute(REMOVE_RETENTION, partition.key)
            swept.forgotten.append(partition.key)
        else:
            _put_retention(connection, partition, first)
            swept.firsts[partition.key] = first

    def _entries(self, connection: apsw.Connection, partition: Partition) -> Iterator[Entry]:
        """The segments of a partition that were not yet removed, also those no longer shown."""
        position = partition.first
        while position < partition.open.end:
            chunk = _chunk(connection, partition, position)
            for entry in chunk.entries(position):
                if entry.end > position:
                    yield entry
            position = chunk.end

    def _sweep_block(
        self, connection: apsw.Connection, block_id: int, budget: Budget, swept: Swept
    ) -> None:
        """Remove the block, or what is given up of it, or leave it as it is."""
        budget.rows -= 1
        found = rows(connection, HEAD, (block_id,))
        if not found:
            return
        segment_count, event_count, packed, size = found[0]
        budget.rows -= segment_count // _SEGMENTS_PER_ROW
        try:
            gone, kept_bytes = self._split(Head(block_id, segment_count, event_count, packed))
            if len(gone) == segment_count:
                connection.execute(REMOVE_BLOCK, (block_id,))
                swept.blocks.append(block_id)
                budget.bytes -= size
            elif kept_bytes * 2 <= size:
                block = Block(rows(connection, BLOCK, (block_id,))[0])
                connection.execute(REPLACE_BLOCK, without(block, gone))
                budget.bytes -= size * _REWRITE_COST
        except DamagedError:
            return  # what else it may hold is not for trimming to decide; verify names it

    def _split(self, head: Head) -> tuple[set[Key], int]:
        """The partitions given up in this block, and how many bytes of events are not."""
        lengths = head.lengths()
        kept_bytes = start = 0
        gone: set[Key] = set()
        for topic_id, partition, first, count, _ in head.segments():
            if self._is_given_up((topic_id, partition), first + count):
                gone.add((topic_id, partition))
            else:
                kept_bytes += sum(lengths[start : start + count])
            start += count
        return gone, kept_bytes

    def _is_given_up(self, key: Key, end: int) -> bool:
        partition = self._index.partitions.get(key)
        return partition is None or end <= partition.floor


def _chunk(connection: apsw.Connection, partition: Partition, position: int) -> Chunk:
    if not (partition.open.numbers and position >= partition.open.first):
        for query in (CHUNK_AT, CHUNK_AFTER):
            for entries, end in rows(connection, query, (*partition.key, position)):
                if end > position:
                    return Chunk(entries, end)
    return partition.open


def _put_retention(connection: apsw.Connection, partition: Partition, first: int) -> None:
    end = partition.open.end
    connection.execute(PUT_RETENTION, (*partition.key, min(partition.floor, end), first, end))
