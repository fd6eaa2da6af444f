"""The sweeper: removes what trims and removals left behind, a slice per commit.

Deleting 256 MB at once holds the writer for 81 ms; so a commit removes at most `slice_bytes_max` of
events or `slice_rows_max` rows, and the rest stays as leftovers, which outlive a restart. What is
left is invisible to readers from the commit that gave it up.

A block that holds segments of several partitions goes when all of them are given up. Once half of
its bytes are, it is written again without them, so that a topic whose events must be kept does not
keep those of others: at most twice the bytes needed are held, and each byte is copied seldom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import apsw

from eventpost.core.interfaces import Trim
from eventpost.stores.sqlite import attempts, catalogue, deadletters, ladder, traces
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
from eventpost.stores.sqlite.settings import SqliteSettings

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
END_REMOVAL = "DELETE FROM removal WHERE kind = ? AND owner_id = ?"
OLD_OUTCOMES = "SELECT id, length(body) FROM outcome WHERE id < ? ORDER BY id LIMIT ?"
REMOVE_OUTCOMES = "DELETE FROM outcome WHERE id <= ?"
_SEGMENTS_PER_BLOCK = 8
"""How many segments are looked up for each block that may be removed: neighbours share blocks."""


@dataclass
class _Budget:
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


class Sweeper:
    """The writer's alone. State changed by a slice is not taken back: a failed commit is final."""

    def __init__(self, index: SegmentIndex, settings: SqliteSettings) -> None:
        self._index = index
        self._settings = settings
        self._trimming: set[Key] = set()
        self._topics: set[int] = set()
        self._subscriptions: set[int] = set()
        self._ladder_at: tuple[int, ...] | None = None
        self._ladder_of: frozenset[int] = frozenset()
        self._outcomes_below = 0
        self._attempts_before_ms = 0
        self.blocks_removed = 0
        """Since the file was made. Counting what is left would read all of it."""

    @property
    def has_leftovers(self) -> bool:
        return bool(
            self._trimming
            or self._topics
            or self._subscriptions
            or self._outcomes_below
            or self._attempts_before_ms
        )

    # --- what is given up -----------------------------------------------------------------------

    def load(self, connection: apsw.Connection, marks: dict[str, int]) -> None:
        """Take up what an earlier process left. The index holds its partitions already."""
        for kind, owner_id in connection.execute(catalogue.REMOVALS):
            (self._topics if kind == "topic" else self._subscriptions).add(owner_id)
        self.blocks_removed = marks.get(catalogue.BLOCKS_REMOVED, 0)
        below = marks.get(catalogue.OUTCOMES_BELOW, 0)
        if rows(connection, OLD_OUTCOMES, (below, 1)):
            self._outcomes_below = below
        partitions = self._index.partitions.items()
        self._trimming = {key for key, partition in partitions if partition.first < partition.floor}
        self._give_up_topics()

    def removed(self, connection: apsw.Connection) -> None:
        """Inside a commit that removed topics or subscriptions."""
        for kind, owner_id in connection.execute(catalogue.REMOVALS):
            (self._topics if kind == "topic" else self._subscriptions).add(owner_id)
        self._give_up_topics()

    def _give_up_topics(self) -> None:
        for key, partition in self._index.partitions.items():
            if key[0] in self._topics:
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
                _put_retention(connection, key, partition, partition.first)
                self._trimming.add(key)

    def outcomes_below(self, connection: apsw.Connection, below: int) -> None:
        """Inside a commit: earlier outcomes are not needed."""
        connection.execute(catalogue.RAISE_MARK, (catalogue.OUTCOMES_BELOW, below))
        self._outcomes_below = max(self._outcomes_below, below)

    def attempts_before(self, before_ms: int) -> None:
        """Not kept over a restart: the grid asks again."""
        self._attempts_before_ms = max(self._attempts_before_ms, before_ms)

    # --- a slice --------------------------------------------------------------------------------

    def sweep(self, connection: apsw.Connection) -> Swept:
        """Inside a commit: remove one slice."""
        budget = _Budget(self._settings.slice_rows_max, self._settings.slice_bytes_max)
        swept = Swept()
        if self._outcomes_below:
            self._sweep_outcomes(connection, budget)
        if self._attempts_before_ms:
            more = attempts.remove_before(connection, self._attempts_before_ms, budget.rows)
            self._attempts_before_ms = self._attempts_before_ms if more else 0
        if self._subscriptions:
            self._sweep_subscriptions(connection, budget)
        if self._trimming and not budget.is_spent:
            self._sweep_events(connection, budget, swept)
        if self._topics and not budget.is_spent:
            self._end_topics(connection)
        return swept

    def _sweep_outcomes(self, connection: apsw.Connection, budget: _Budget) -> None:
        last_id = 0
        for outcome_id, size in rows(connection, OLD_OUTCOMES, (self._outcomes_below, budget.rows)):
            last_id = outcome_id
            budget.rows -= 1
            budget.bytes -= size
            if budget.is_spent:
                break
        else:
            self._outcomes_below = 0
        if last_id:
            connection.execute(REMOVE_OUTCOMES, (last_id,))

    def _sweep_subscriptions(self, connection: apsw.Connection, budget: _Budget) -> None:
        for subscription_id in self._subscriptions:
            for remove_of in (deadletters.remove_of, ladder.remove_parked_of):
                if not budget.is_spent:
                    budget.rows -= remove_of(connection, subscription_id, budget.rows)
        if not budget.is_spent:
            self._sweep_ladder(connection, budget)

    def _sweep_ladder(self, connection: apsw.Connection, budget: _Budget) -> None:
        """One pass over the ladder for all subscriptions that were gone when it began."""
        if self._ladder_at is None:
            self._ladder_at = ladder.START
            self._ladder_of = frozenset(self._subscriptions)
        self._ladder_at = ladder.remove_after(
            connection, self._ladder_at, self._ladder_of, budget.rows
        )
        if self._ladder_at is not None:
            budget.rows = 0
            return
        ended = [("subscription", subscription_id) for subscription_id in self._ladder_of]
        connection.executemany(END_REMOVAL, ended)
        self._subscriptions -= self._ladder_of

    def _end_topics(self, connection: apsw.Connection) -> None:
        busy = {key[0] for key in self._trimming}
        ended = self._topics - busy
        connection.executemany(END_REMOVAL, [("topic", topic_id) for topic_id in ended])
        self._topics -= ended

    # --- events ---------------------------------------------------------------------------------

    def _sweep_events(self, connection: apsw.Connection, budget: _Budget, swept: Swept) -> None:
        given_up, complete = self._given_up(connection, budget.rows)
        last_id = 0
        block_ids = sorted({entry.block_id for entries in given_up.values() for entry in entries})
        for block_id in block_ids:
            if budget.is_spent:
                break
            last_id = block_id
            budget.rows -= 1
            budget.bytes -= self._sweep_block(connection, block_id)
        if last_id:
            traces.remove_empty(connection, block_ids[0], last_id)
        for key, entries in given_up.items():
            self._advance(connection, key, entries, last_id, swept)
            if key in complete and (not entries or entries[-1].block_id <= last_id):
                self._trimming.discard(key)

    def _given_up(
        self, connection: apsw.Connection, rows_max: int
    ) -> tuple[dict[Key, list[Entry]], set[Key]]:
        """Segments to remove, by partition, as many as a slice may need; and the partitions of
        which these are all."""
        found: dict[Key, list[Entry]] = {}
        complete: set[Key] = set()
        count = 0
        for key in sorted(self._trimming):
            entries = found[key] = []
            for entry in self._entries(connection, key):
                if entry.end > self._index.partitions[key].floor:
                    complete.add(key)
                    break
                if len(entries) == rows_max:
                    break
                entries.append(entry)
            else:
                complete.add(key)
            count += len(entries)
            if count >= rows_max * _SEGMENTS_PER_BLOCK:
                break
        return found, complete

    def _entries(self, connection: apsw.Connection, key: Key) -> Iterator[Entry]:
        """The segments of a partition that were not yet removed, also those no longer shown."""
        partition = self._index.partitions[key]
        position = partition.first
        while position < partition.open.end:
            chunk = self._chunk(connection, key, partition, position)
            for entry in chunk.entries(position):
                if entry.end > position:
                    yield entry
            position = chunk.end

    def _chunk(
        self, connection: apsw.Connection, key: Key, partition: Partition, position: int
    ) -> Chunk:
        if not (partition.open.numbers and position >= partition.open.first):
            for query in (CHUNK_AT, CHUNK_AFTER):
                for entries, end in rows(connection, query, (*key, position)):
                    if end > position:
                        return Chunk(entries, end)
        return partition.open

    def _sweep_block(self, connection: apsw.Connection, block_id: int) -> int:
        """Remove the block, or what is given up of it; how many bytes were handled."""
        found = rows(connection, HEAD, (block_id,))
        if not found:
            return 0
        segment_count, event_count, packed, size = found[0]
        try:
            gone, kept_bytes = self._split(Head(block_id, segment_count, event_count, packed))
            if len(gone) == segment_count:
                connection.execute(REMOVE_BLOCK, (block_id,))
                self.blocks_removed += 1
            elif kept_bytes * 2 <= size:
                block = Block(rows(connection, BLOCK, (block_id,))[0])
                connection.execute(REPLACE_BLOCK, without(block, gone))
            else:
                return 0
        except DamagedError:
            return 0  # what else it may hold is not for trimming to decide; verify names it
        return int(size)

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

    def _advance(
        self,
        connection: apsw.Connection,
        key: Key,
        entries: list[Entry],
        last_id: int,
        swept: Swept,
    ) -> None:
        partition = self._index.partitions[key]
        first = partition.first
        for entry in entries:
            if entry.block_id > last_id:
                break
            first = entry.end
        connection.execute(REMOVE_CHUNKS, (*key, first))
        if partition.floor == EVERYTHING and first >= partition.open.end:
            connection.execute(REMOVE_RETENTION, key)
            swept.forgotten.append(key)
        else:
            _put_retention(connection, key, partition, first)
            swept.firsts[key] = first


def _put_retention(connection: apsw.Connection, key: Key, partition: Partition, first: int) -> None:
    row = (*key, min(partition.floor, partition.open.end), first, partition.open.end)
    connection.execute(PUT_RETENTION, row)
