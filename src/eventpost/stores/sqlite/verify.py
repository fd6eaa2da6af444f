"""Verifying a database file: everything that its checksums and its own order can tell.

Works beside a server that writes: a step reads one block or one page of rows in a transaction of
its own, so that the write-ahead log is not held; what is trimmed meanwhile is not taken for damage.
"""

from collections.abc import Iterator
from typing import NamedTuple

import apsw

from eventpost.stores.sqlite import deadletters
from eventpost.stores.sqlite.blocks import Block, DamagedError, Key, Placed
from eventpost.stores.sqlite.connection import reason, rows, value
from eventpost.stores.sqlite.events import Log

BLOCK_AFTER = "SELECT * FROM block WHERE id > ? AND id <= ? ORDER BY id LIMIT 1"
LAST_ID = "SELECT coalesce(max(id), 0) FROM block"
CHECK_TABLE = "SELECT quick_check FROM pragma_quick_check(?)"
TABLES = (
    *("topic", "subscription", "setting", "mark", "segment_index", "trace_index", "retention"),
    *("removal", "outcome", "state", "ladder", "parked", "attempt", "dead_letter"),
    *("connection", "source", "taken"),
)
"""All but those whose rows carry checksums."""
_LETTERS_PER_STEP = 200


class Progress(NamedTuple):
    """After each step: how far it is, and the damage found in that step."""

    done: int
    total: int
    damage: list[str]


def verify(log: Log) -> Iterator[Progress]:
    """Read everything once; the last step has `done == total`. Raises apsw.Error when the file
    cannot be read at all."""
    ends = {key: end for key, (_, end) in log.index.kept().items()}
    total = value(log.connection, LAST_ID) + 1
    positions = _Positions(log)
    for block_id, damage in _blocks(log, positions, total - 1):
        yield Progress(block_id, total, damage)
    yield Progress(total - 1, total, positions.missing_at_end(ends))
    for table in TABLES:
        yield Progress(total - 1, total, _check_table(log.connection, table))
    for damage in _dead_letters(log.connection):
        yield Progress(total - 1, total, damage)
    yield Progress(total, total, [])


def _blocks(log: Log, positions: "_Positions", last_id: int) -> Iterator[tuple[int, list[str]]]:
    block_id = 0
    while block_id < last_id:
        try:
            found = rows(log.connection, BLOCK_AFTER, (block_id, last_id))
        except apsw.CorruptError as error:
            # The page that should hold the next rows is broken; what was on it shows as missing.
            block_id += 1
            yield block_id, [f"Near block {block_id}: {reason(error)}."]
            continue
        if not found:
            return
        block_id = found[0][0]
        try:
            segments = list(Block(found[0]).placed())
        except DamagedError as error:
            yield block_id, [f"The checksum of {error} is wrong."]
            continue
        yield block_id, [text for segment in segments for text in positions.see(segment)]


class _Positions:
    """Checks that each partition's positions follow one another, and that the index knows them."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._expected: dict[Key, int] = {}

    def see(self, segment: Placed) -> list[str]:
        key = (segment.topic_id, segment.partition)
        floor = self._log.index.floor(key)
        if segment.end <= floor or key not in self._log.index.partitions:
            return []
        expected = max(self._expected.get(key, floor), floor)
        self._expected[key] = segment.end
        damage = _missing(key, expected, segment.first)
        if expected > segment.first >= floor:
            damage.append(f"{_name(key, segment.first, expected)} are there twice.")
        if not self._is_indexed(key, segment):
            damage.append(f"{_name(key, segment.first, segment.end)} are not in the index.")
        return damage

    def _is_indexed(self, key: Key, segment: Placed) -> bool:
        position = max(segment.first, self._log.index.floor(key))
        chunk = self._log.index.chunk(self._log.connection, key, position)
        if chunk is None:
            return position >= segment.end
        entry = next(chunk.entries(position))
        return entry.block_id == segment.block_id or self._log.index.floor(key) > segment.first

    def missing_at_end(self, ends: dict[Key, int]) -> list[str]:
        damage = []
        for key, end in ends.items():
            floor = self._log.index.floor(key)
            damage += _missing(key, max(self._expected.get(key, floor), floor), end)
        return damage


def _missing(key: Key, expected: int, found: int) -> list[str]:
    return [f"{_name(key, expected, found)} cannot be read."] if found > expected else []


def _name(key: Key, first: int, end: int) -> str:
    return f"Events {first} to {end - 1} of topic {key[0]}, partition {key[1]}"


def _check_table(connection: apsw.Connection, table: str) -> list[str]:
    try:
        found = [text for (text,) in rows(connection, CHECK_TABLE, (table,))]
    except apsw.CorruptError as error:
        found = [reason(error)]
    return [f"Table {table}: {text}." for text in found if text != "ok"]


def _dead_letters(connection: apsw.Connection) -> Iterator[list[str]]:
    after_id: int | None = 0
    while after_id is not None:
        try:
            after_id, damage = deadletters.check(connection, after_id, _LETTERS_PER_STEP)
        except apsw.CorruptError as error:
            yield [f"Dead letters after {after_id}: {reason(error)}."]
            return
        yield damage
