"""Reading the log: ranges, single events, events by id, positions by time.

Each block is read in a statement, and so a transaction, of its own: a long one would keep the
write-ahead log from starting again (400 MB were seen).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import pack

import apsw
import msgspec

from eventpost.core.events import Schema
from eventpost.core.interfaces import Found, Segment
from eventpost.core.subscriptions import Topic
from eventpost.stores.sqlite.blocks import Block, DamagedError, Key, fingerprint
from eventpost.stores.sqlite.connection import rows
from eventpost.stores.sqlite.index import Chunk, Entry, SegmentIndex
from eventpost.stores.sqlite.traces import TraceIndex, hits

BLOCK = "SELECT * FROM block WHERE id = ?"

EventKey = tuple[int, int, int]
"""(topic id, partition, position)"""


class DamagedSegmentError(Exception):
    """Positions `first` up to `end` of a partition cannot be read; those behind can."""

    def __init__(self, key: Key, entry: Entry, cause: Exception) -> None:
        super().__init__(
            f"Events {entry.first} to {entry.end - 1} of topic {key[0]}, partition {key[1]} are"
            f" damaged: {cause} does not hold what was written."
        )
        self.key = key
        self.entry = entry


def read_block(connection: apsw.Connection, block_id: int) -> Block | None:
    """None when it was removed. Raises DamagedError."""
    found = rows(connection, BLOCK, (block_id,))
    return Block(found[0]) if found else None


@dataclass
class Log:
    """The log as one connection reads it. Not for two threads at once."""

    connection: apsw.Connection
    index: SegmentIndex
    traces: TraceIndex
    topics: dict[int, Topic]
    """Those there are, kept current by the writer."""

    def read(self, topic_id: int, partition: int, position: int, bytes_max: int) -> list[Segment]:
        """Raises DamagedSegmentError when the first segment is; a later one ends the answer."""
        found: list[Segment] = []
        size = 0
        try:
            for segment in self._segments((topic_id, partition), position):
                found.append(segment)
                size += sum(map(len, segment.wires))
                if size >= bytes_max:
                    break
        except DamagedSegmentError:
            if not found:
                raise
        return found

    def _segments(self, key: Key, position: int) -> Iterator[Segment]:
        position = max(position, self.index.floor(key))
        while (chunk := self.index.chunk(self.connection, key, position)) is not None:
            for entry in chunk.entries(position):
                segment = self._segment(key, entry)
                if segment is not None and segment.end > position:
                    yield segment
                    position = segment.end
                self._check_seen(key, entry, position)
                position = max(position, entry.end)

    def _segment(self, key: Key, entry: Entry) -> Segment | None:
        """None when it is not there."""
        block = self._block(key, entry)
        return None if block is None else block.segment(*key)

    def _check_seen(self, key: Key, entry: Entry, position: int) -> None:
        """Positions of `entry` from `position` on are not there: rightly so only when they were
        given up meanwhile."""
        if key in self.index.partitions and max(position, self.index.floor(key)) < entry.end:
            missing = Entry(max(position, entry.first), entry.end, entry.block_id)
            cause = DamagedError(f"block {entry.block_id}")
            raise DamagedSegmentError(key, missing, cause)

    def _block(self, key: Key, entry: Entry) -> Block | None:
        try:
            return read_block(self.connection, entry.block_id)
        except (DamagedError, apsw.CorruptError) as error:
            raise DamagedSegmentError(key, entry, error) from error

    def events(self, keys: list[EventKey]) -> dict[EventKey, Segment]:
        """Each block is read once, however many of its events are asked for."""
        by_block: dict[int, list[tuple[EventKey, Entry]]] = {}
        chunk: Chunk | None = None
        chunk_key: Key | None = None
        for event_key in sorted(keys):
            key, position = event_key[:2], event_key[2]
            if position < self.index.floor(key):
                continue
            if chunk is None or key != chunk_key or position >= chunk.end:
                chunk, chunk_key = self.index.chunk(self.connection, key, position), key
            entry = None if chunk is None else next(chunk.entries(position))
            if entry is not None and entry.first <= position < entry.end:
                by_block.setdefault(entry.block_id, []).append((event_key, entry))
        found: dict[EventKey, Segment] = {}
        for wanted in by_block.values():
            found |= self._events_of_block(wanted)
        return found

    def _events_of_block(self, wanted: list[tuple[EventKey, Entry]]) -> dict[EventKey, Segment]:
        block = self._block(wanted[0][0][:2], wanted[0][1])
        segments: dict[Key, Segment | None] = {}
        found: dict[EventKey, Segment] = {}
        for event_key, entry in wanted:
            key, position = event_key[:2], event_key[2]
            if key not in segments:
                segments[key] = None if block is None else block.segment(*key)
            segment = segments[key]
            if segment is not None and segment.first <= position < segment.end:
                found[event_key] = _single(segment, position)
            else:
                self._check_seen(key, Entry(position, position + 1, entry.block_id), position)
        return found

    def find(self, event_id: str, topic_id: int | None, since_ms: int, limit: int) -> list[Found]:
        """DamagedError blocks are passed over: `verify` names them."""
        found: list[Found] = []
        for block_id in self.traces.candidates(self.connection, fingerprint(event_id), since_ms):
            found += [
                hit
                for hit in self._found(block_id, event_id)
                if hit.published_ms >= since_ms and topic_id in (None, hit.topic_id)
            ]
            if len(found) >= limit:
                break
        return found[:limit]

    def _found(self, block_id: int, event_id: str) -> list[Found]:
        """What one block holds under this id, newest first."""
        try:
            block = read_block(self.connection, block_id)
        except (DamagedError, apsw.CorruptError):
            return []
        if block is None:
            return []
        indices = hits(block.fingerprints(), pack("=I", fingerprint(event_id)))
        found = [self._hit(block, event_index, event_id) for event_index in indices]
        return [hit for hit in reversed(found) if hit is not None]

    def _hit(self, block: Block, event_index: int, event_id: str) -> Found | None:
        """Fingerprints collide: None unless the event says the same."""
        topic_id, partition, position, published_ms = block.place(event_index)
        wire = block.wires(event_index, 1)[0]
        if not self._is_shown(topic_id, partition, position):
            return None
        if not self._has_id(topic_id, wire, event_id):
            return None
        return Found(topic_id, partition, position, published_ms, wire)

    def _is_shown(self, topic_id: int, partition: int, position: int) -> bool:
        known = self.index.partitions.get((topic_id, partition))
        return topic_id in self.topics and known is not None and position >= known.floor

    def _has_id(self, topic_id: int, wire: bytes, event_id: str) -> bool:
        """In a custom schema the id may stand anywhere: there the fingerprint is believed."""
        topic = self.topics.get(topic_id)
        if topic is None or topic.input_schema is Schema.CUSTOM:
            return True
        try:
            return _WIRE.decode(wire).id == event_id
        except msgspec.MsgspecError:
            return False

    def position_at(self, topic_id: int, partition: int, at_ms: int) -> int:
        """Times never fall along the index, so the first chunk that reaches `at_ms` is found by
        halving."""
        key = (topic_id, partition)
        start = floor = self.index.floor(key)
        end = next_position = self.index.next_position(key)
        reached: Chunk | None = None
        while start < end:
            middle = (start + end) // 2
            chunk = self.index.chunk(self.connection, key, middle)
            if chunk is None or chunk.published_ms >= at_ms:
                reached = chunk or reached
                end = middle if chunk is None else min(middle, chunk.first)
            else:
                start = chunk.end
        return next_position if reached is None else max(reached.position_at(at_ms), floor)


class _Wire(msgspec.Struct):
    id: str


_WIRE = msgspec.json.Decoder(_Wire)


def _single(segment: Segment, position: int) -> Segment:
    index = position - segment.first
    return Segment(
        segment.topic_id,
        segment.partition,
        position,
        segment.published_ms,
        [segment.wires[index]],
        None
        if segment.traces is None or segment.traces[index] is None
        else [segment.traces[index]],
    )
