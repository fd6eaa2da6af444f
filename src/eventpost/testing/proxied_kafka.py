"""Kafka's protocol as a proxy sees it: where each request ends, what it asks for, and a refusal.

Layer: testing. For librdkafka's clients on a listener without TLS: a refusal is written in the
versions that these speak (Produce 9 to 12, Fetch 13 to 16, OffsetCommit 8 and 9).
https://kafka.apache.org/protocol
"""

import asyncio
import struct
from collections.abc import Callable

from eventpost.testing.proxied_http import KAFKA, Asked

FRAME_BYTES_MAX = 64 * 1024 * 1024
PRODUCE, FETCH, METADATA, OFFSET_COMMIT, FIND_COORDINATOR = 0, 1, 3, 8, 10
NAMES = {
    PRODUCE: "Produce",
    FETCH: "Fetch",
    2: "ListOffsets",
    METADATA: "Metadata",
    OFFSET_COMMIT: "OffsetCommit",
    9: "OffsetFetch",
    FIND_COORDINATOR: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    18: "ApiVersions",
    22: "InitProducerId",
    60: "DescribeCluster",
}
"""By the key of a request."""
_TELL_ADDRESSES = (METADATA, FIND_COORDINATOR, 60)
_SPOKEN = {PRODUCE: range(9, 13), FETCH: range(13, 17), OFFSET_COMMIT: range(8, 10)}


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next message of a connection with its length before it, or None at its end."""
    try:
        head = await reader.readexactly(4)
    except asyncio.IncompleteReadError:
        return None
    length = int.from_bytes(head)
    if length > FRAME_BYTES_MAX:
        raise ConnectionAbortedError(f"a message of {length} bytes is none of Kafka's")
    return head + await reader.readexactly(length)


def asked_of(frame: bytes) -> Asked:
    """A request, by the name of what it asks for."""
    key = int.from_bytes(frame[4:6])
    return Asked(KAFKA, NAMES.get(key, str(key)), {}, frame[4:], frame)


def led_here(asked: Asked, answer: bytes, there: tuple[str, int], here: tuple[str, int]) -> bytes:
    """The answer with the broker's address replaced by the proxy's, both of the same length."""
    if int.from_bytes(asked.raw[4:6]) not in _TELL_ADDRESSES:
        return answer
    return answer.replace(_address(*there), _address(*here))


def kafka_refusal(error: int) -> Callable[[Asked], bytes]:
    """An answer that refuses everything that a request asks for with this code of the protocol's,
    29 for a topic and 30 for a group that is not allowed."""

    def answer(asked: Asked) -> bytes:
        key, version, number = struct.unpack(">hhi", asked.body[:8])
        if version not in _SPOKEN.get(key, ()):
            raise ValueError(f"a refusal of {asked.target} {version} cannot be written")
        reading = _Reading(asked.body, 8)
        reading.skip(max(0, reading.number(2)))  # the client's name
        reading.tags()
        body = _REFUSALS[key](reading, version, error)
        content = struct.pack(">i", number) + b"\0" + body
        return struct.pack(">i", len(content)) + content

    return answer


class _Reading:
    """The fields of a message of a flexible version, one after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def skip(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.skip(size), signed=True)

    def varint(self) -> int:
        found = shift = 0
        while True:
            byte = self.number(1) & 0xFF
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
            shift += 7

    def text(self) -> bytes:
        """A string or bytes, compact, perhaps null."""
        return self.skip(max(0, self.varint() - 1))

    def tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self.skip(self.varint())

    def each(self, read: Callable[[], bytes]) -> list[bytes]:
        """A compact array, of what `read` makes of each entry."""
        return [read() for _ in range(max(0, self.varint() - 1))]


def _produce(reading: _Reading, _version: int, error: int) -> bytes:
    reading.text()  # a transaction's id
    reading.skip(6)

    def partition() -> bytes:
        index = reading.skip(4)
        reading.text()
        reading.tags()
        return index + struct.pack(">hqqq", error, -1, -1, -1) + _varint(1) + b"\0\0"

    def topic() -> bytes:
        return _named(reading, partition)

    return _array(reading.each(topic)) + struct.pack(">i", 0) + b"\0"


def _offset_commit(reading: _Reading, _version: int, error: int) -> bytes:
    reading.text()  # the group
    reading.skip(4)
    reading.text()
    reading.text()

    def partition() -> bytes:
        index = reading.skip(4)
        reading.skip(12)
        reading.text()
        reading.tags()
        return index + struct.pack(">h", error) + b"\0"

    def topic() -> bytes:
        return _named(reading, partition)

    return struct.pack(">i", 0) + _array(reading.each(topic)) + b"\0"


def _fetch(reading: _Reading, version: int, error: int) -> bytes:
    reading.skip(4 if version < 15 else 0)  # the replica
    reading.skip(13)
    reading.skip(8)  # the session

    def partition() -> bytes:
        index = reading.skip(4)
        reading.skip(28)
        reading.tags()
        told = struct.pack(">hqqq", error, -1, -1, -1)
        return index + told + _varint(1) + struct.pack(">i", -1) + _varint(1) + b"\0"

    def topic() -> bytes:
        identity = reading.skip(16)
        partitions = reading.each(partition)
        reading.tags()
        return identity + _array(partitions) + b"\0"

    return struct.pack(">ihi", 0, 0, 0) + _array(reading.each(topic)) + b"\0"


_REFUSALS = {PRODUCE: _produce, FETCH: _fetch, OFFSET_COMMIT: _offset_commit}


def _named(reading: _Reading, partition: Callable[[], bytes]) -> bytes:
    name = reading.text()
    partitions = reading.each(partition)
    reading.tags()
    return _varint(len(name) + 1) + name + _array(partitions) + b"\0"


def _array(entries: list[bytes]) -> bytes:
    return _varint(len(entries) + 1) + b"".join(entries)


def _varint(number: int) -> bytes:
    found = b""
    while number >= 0x80:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def _address(host: str, port: int) -> bytes:
    return host.encode() + struct.pack(">i", port)
