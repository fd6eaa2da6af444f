"""Blocks: how the events of one commit are packed into rows, and how they are read back.

A block is a row: up to `block_bytes` of one commit's events, of one partition or of many. What it
holds of one partition is a segment: consecutive events, at most one segment per partition. A commit
that touches a thousand topics so costs a few rows instead of a thousand (measured in
docs/decisions/0002-sqlite-store.md).

    head    = segment_count x (topic id, partition, first, count, published ms), then
              event_count x length, then event_count x fingerprint of the event's id, then
              a checksum of the head alone, for a start reads heads without their bodies
    traces  = msgpack of one [traceparent, tracestate] or null per event; NULL when none has one
    body    = the wires, one after the other
    checksum over the id, head, traces and body

Pure: no database, no clock.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import msgspec

from eventpost.core.events import Event
from eventpost.core.interfaces import Append, Segment

Key = tuple[int, int]
"""(topic id, partition)"""

BlockRow = tuple[int, int, int, int, bytes, bytes | None, bytes]
"""id, segment_count, event_count, checksum, head, traces, body"""

SEGMENT = Struct("<IIqIq")
_ID = Struct("<q")
_CHECKSUM_BYTES = 4
_TRACES = msgspec.msgpack.Decoder(list[tuple[str, str] | None])
_encode = msgspec.msgpack.Encoder().encode
_pack_segment = SEGMENT.pack


class Placed(NamedTuple):
    """One segment and the block that holds it."""

    topic_id: int
    partition: int
    first: int
    event_count: int
    published_ms: int
    block_id: int

    @property
    def end(self) -> int:
        return self.first + self.event_count


class DamagedError(Exception):
    """What was read is not what was written; the text says what it is."""


def fingerprint(event_id: str) -> int:
    return crc32(event_id.encode())


Piece = tuple[int, int, int, int]
"""What became of one append, or of a part of a large one: the append's index, the first position,
the number of events, and the block. A plain tuple: a commit may make thousands."""


def pack(
    appends: Sequence[Append], firsts: Sequence[int], next_id: int, bytes_max: int
) -> tuple[list[BlockRow], list[Piece]]:
    """The rows for `appends`, whose first positions are `firsts`, and what they hold in order."""
    packer = _Packer(next_id, bytes_max)
    packer.add_all(appends, firsts)
    packer.flush()
    return packer.rows, packer.pieces


class _Packer:
    """Fills one block after the other.

    A commit may be a thousand appends of one event each, to a thousand topics: they go through one
    loop, without a call for each.
    """

    def __init__(self, next_id: int, bytes_max: int) -> None:
        self.rows: list[BlockRow] = []
        self.pieces: list[Piece] = []
        self._id = next_id
        self._bytes_max = bytes_max
        self._room = bytes_max
        self._events: list[Event] = []
        self._directory: list[bytes] = []

    def add_all(self, appends: Sequence[Append], firsts: Sequence[int]) -> None:
        pieces, directory, kept = self.pieces, self._directory, self._events
        room = self._room
        for index, append in enumerate(appends):
            events = append.events
            first, count = firsts[index], len(events)
            size = len(events[0].wire) if count == 1 else sum([len(event.wire) for event in events])
            if count == 0:
                continue
            if size <= room:
                room -= size
                kept += events
                pieces.append((index, first, count, self._id))
                directory.append(
                    _pack_segment(
                        append.topic_id, append.partition, first, count, append.published_ms
                    )
                )
            else:
                self._room = room
                self._add_parts(index, append, first)
                directory, kept, room = self._directory, self._events, self._room

    def _add_parts(self, index: int, append: Append, first: int) -> None:
        """Fill blocks with it; the rest of it begins another one."""
        ends = list(accumulate([len(event.wire) for event in append.events]))
        start = placed = 0
        while start < len(ends):
            end = bisect_right(ends, placed + self._room)
            if end == start and not self._events:
                end = start + 1  # one event larger than a block has a block of its own
            if end > start:
                part = replace(append, events=append.events[start:end])
                self._place(index, part, first + start, ends[end - 1] - placed)
                start, placed = end, ends[end - 1]
            if start < len(ends):
                self.flush()

    def _place(self, index: int, part: Append, first: int, size: int) -> None:
        events = part.events
        count = len(events)
        self._room -= size
        self._events += events
        self.pieces.append((index, first, count, self._id))
        self._directory.append(
            _pack_segment(part.topic_id, part.partition, first, count, part.published_ms)
        )

    def flush(self) -> None:
        if self._events:
            self.rows.append(_pack_block(self._id, self._directory, self._events))
            self._id += 1
            self._events = []
            self._directory = []
        self._room = self._bytes_max


def _pack_block(block_id: int, directory: list[bytes], events: list[Event]) -> BlockRow:
    wires = [event.wire for event in events]
    lengths = array("I", [len(wire) for wire in wires])
    fingerprints = array("I", [crc32(event.id.encode()) for event in events])
    traces = [event.trace for event in events]
    return seal(
        block_id,
        len(directory),
        len(events),
        b"".join((*directory, lengths.tobytes(), fingerprints.tobytes())),
        _encode(traces) if any(traces) else None,
        b"".join(wires),
    )


def seal(
    block_id: int,
    segment_count: int,
    event_count: int,
    head: bytes,
    traces: bytes | None,
    body: bytes,
) -> BlockRow:
    """The row with its checksums; `head` is what comes before its own."""
    of_head = crc32(head, crc32(_ID.pack(block_id)))
    checksum = crc32(body, crc32(traces or b"", of_head))
    head += of_head.to_bytes(_CHECKSUM_BYTES, "little")
    return (block_id, segment_count, event_count, checksum, head, traces, body)


class Head:
    """What a block holds, without its events. Raises DamagedError when the head is not what was
    written."""

    __slots__ = ("block_id", "checksum", "event_count", "head", "segment_count")

    def __init__(self, block_id: int, segment_count: int, event_count: int, head: bytes) -> None:
        checksum = crc32(head[:-_CHECKSUM_BYTES], crc32(_ID.pack(block_id)))
        size = segment_count * SEGMENT.size + event_count * 8 + _CHECKSUM_BYTES
        if len(head) != size or head[-_CHECKSUM_BYTES:] != checksum.to_bytes(
            _CHECKSUM_BYTES, "little"
        ):
            raise DamagedError(f"block {block_id}")
        self.checksum = checksum
        self.block_id = block_id
        self.segment_count = segment_count
        self.event_count = event_count
        self.head = head

    def segments(self) -> Iterator[tuple[int, int, int, int, int]]:
        """(topic id, partition, first, count, published_ms) of each, in order."""
        return SEGMENT.iter_unpack(self.head[: self.segment_count * SEGMENT.size])

    def placed(self) -> Iterator[Placed]:
        for segment in self.segments():
            yield Placed(*segment, self.block_id)

    def place(self, event_index: int) -> tuple[int, int, int, int]:
        """(topic id, partition, position, published_ms) of one of its events."""
        start = 0
        for topic_id, partition, first, count, published_ms in self.segments():
            if event_index < start + count:
                return topic_id, partition, first + event_index - start, published_ms
            start += count
        raise IndexError(event_index)

    def lengths(self) -> "array[int]":
        start = self.segment_count * SEGMENT.size
        return array("I", self.head[start : start + self.event_count * 4])

    def fingerprints(self) -> bytes:
        """4 bytes per event."""
        start = self.segment_count * SEGMENT.size + self.event_count * 4
        return self.head[start:-_CHECKSUM_BYTES]


class Block(Head):
    """A whole block whose checksum was found right; raises DamagedError otherwise."""

    __slots__ = ("body", "traces")

    def __init__(self, row: BlockRow) -> None:
        block_id, segment_count, event_count, checksum, head, traces, body = row
        super().__init__(block_id, segment_count, event_count, head)
        if crc32(body, crc32(traces or b"", self.checksum)) != checksum:
            raise DamagedError(f"block {block_id}")
        self.traces = traces
        self.body = body

    def segment(self, topic_id: int, partition: int) -> Segment | None:
        """The segment of a partition; None when it was removed."""
        event_index = 0
        for found_topic, found_partition, first, count, published_ms in self.segments():
            if found_topic == topic_id and found_partition == partition:
                wires = self.wires(event_index, count)
                traces = self._traces(event_index, count)
                return Segment(topic_id, partition, first, published_ms, wires, traces)
            event_index += count
        return None

    def wires(self, event_index: int, count: int) -> list[bytes]:
        lengths = self.lengths()
        start = sum(lengths[:event_index])
        body = self.body
        return [
            body[end - length : end]
            for length, end in zip(
                lengths[event_index : event_index + count],
                list(accumulate(lengths[event_index : event_index + count], initial=start))[1:],
                strict=True,
            )
        ]

    def _traces(self, event_index: int, count: int) -> list[tuple[str, str] | None] | None:
        if self.traces is None:
            return None
        traces = _TRACES.decode(self.traces)[event_index : event_index + count]
        return traces if any(traces) else None


def without(block: Block, keys: set[Key]) -> BlockRow:
    """The block again, without the segments of `keys`."""
    lengths, fingerprints = block.lengths(), array("I", block.fingerprints())
    traces = None if block.traces is None else _TRACES.decode(block.traces)
    directory: list[bytes] = []
    kept: list[int] = []
    event_index = 0
    for segment in block.segments():
        end = event_index + segment[3]
        if (segment[0], segment[1]) not in keys:
            directory.append(_pack_segment(*segment))
            kept += range(event_index, end)
        event_index = end
    wires = block.wires(0, block.event_count)
    kept_traces = None if traces is None else [traces[index] for index in kept]
    head = (
        *directory,
        array("I", [lengths[index] for index in kept]).tobytes(),
        array("I", [fingerprints[index] for index in kept]).tobytes(),
    )
    return seal(
        block.block_id,
        len(directory),
        len(kept),
        b"".join(head),
        _encode(kept_traces) if kept_traces is not None and any(kept_traces) else None,
        b"".join([wires[index] for index in kept]),
    )
