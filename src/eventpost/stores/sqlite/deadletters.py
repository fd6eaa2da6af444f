"""Dead letters: what is asked about them in one table, the events themselves in another."""

from typing import Any
from zlib import crc32

import apsw
import msgspec

from eventpost.core.interfaces import DeadLetter, DeadLetterQuery, DeadLetterState
from eventpost.core.outcomes import Evidence
from eventpost.core.retry import Reason
from eventpost.core.sources import Original
from eventpost.stores.sqlite.blocks import DamagedError
from eventpost.stores.sqlite.connection import rows, value

PUT = "INSERT OR REPLACE INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
PUT_EVENT = "INSERT OR REPLACE INTO dead_letter_event VALUES (?, ?, ?, ?)"
REMOVE = "DELETE FROM dead_letter WHERE id = ?"
REMOVE_EVENT = "DELETE FROM dead_letter_event WHERE id = ?"
# A field that is NULL keeps its value.
CHANGE = """
    UPDATE dead_letter SET replayed_ms = coalesce(?2, replayed_ms),
        export_due_ms = coalesce(?3, export_due_ms), exported_to = coalesce(?4, exported_to)
    WHERE id = ?1
"""
COUNTS = """
    SELECT subscription_id, count(*) FROM dead_letter
    WHERE subscription_id NOT IN (SELECT owner_id FROM removal WHERE kind = 'subscription')
    AND replayed_ms = 0 AND source_id = 0 GROUP BY subscription_id
"""
COUNTS_OF_SOURCES = """
    SELECT source_id, count(*) FROM dead_letter
    WHERE source_id > 0 AND source_id NOT IN (SELECT owner_id FROM removal WHERE kind = 'source')
    AND replayed_ms = 0 GROUP BY source_id
"""
ID_MAX = "SELECT coalesce(max(id), 0) FROM dead_letter"
COUNT = "SELECT count(*) FROM dead_letter WHERE replayed_ms = 0"
SELECT = """
    SELECT id, topic_id, subscription_id, dead_ms, reason, finding, replayed_ms, export_due_ms,
        exported_to, source_id, partition, position, checksum, detail, wire
    FROM dead_letter JOIN dead_letter_event USING (id)
    WHERE id IN (SELECT id FROM dead_letter WHERE {clauses} ORDER BY id LIMIT :limit) ORDER BY id
"""
SELECT_COUNT = "SELECT count(*) FROM dead_letter WHERE {clauses}"
EVENTS_AFTER = """
    SELECT id, checksum, detail, wire FROM dead_letter_event WHERE id > ? ORDER BY id LIMIT ?
"""
OF_SUBSCRIPTION = """
    SELECT id FROM dead_letter WHERE subscription_id = ? AND source_id = 0 LIMIT ?
"""
OF_SOURCE = "SELECT id FROM dead_letter WHERE source_id = ? AND source_id > 0 LIMIT ?"

_CLAUSES = {
    "topic_id": "topic_id = :topic_id",
    "subscription_id": "subscription_id = :subscription_id",
    "subscription_ids": "subscription_id IN (SELECT value FROM json_each(:subscription_ids))",
    "source_id": "source_id = :source_id AND source_id > 0",
    "ids": "id IN (SELECT value FROM json_each(:ids))",
    "since_ms": "dead_ms >= :since_ms",
    "until_ms": "dead_ms <= :until_ms",
    "reason": "reason = :reason",
    "finding": "finding = :finding",
    "export_due_ms": "export_due_ms > 0 AND export_due_ms <= :export_due_ms",
}
_REPLAYED = {True: "replayed_ms > 0", False: "replayed_ms = 0"}
_EVENT = "topic_id = :event_topic AND partition = :event_partition AND position = :event_position"
# The index holds only letters that have a file, and is used by a query that says so.
_EXPORTED = "exported_to != '' AND exported_to IN (SELECT value FROM json_each(:exported_to))"
_OF_KEPT = """
    subscription_id NOT IN (SELECT owner_id FROM removal WHERE kind = 'subscription')
    AND source_id NOT IN (SELECT owner_id FROM removal WHERE kind = 'source')
"""


class _Detail(msgspec.Struct, frozen=True, array_like=True):
    """What is only shown, not asked about. What was added later comes last."""

    partition: int
    position: int
    event_id: str
    event_type: str
    subject: str
    trace: tuple[str, str] | None
    published_ms: int
    last_attempt_ms: int
    attempts: int
    outcome: str
    evidence: Evidence | None
    original: Original | None = None


_DETAIL = msgspec.msgpack.Decoder(_Detail)
_encode = msgspec.msgpack.Encoder().encode


def put(connection: apsw.Connection, letters: list[DeadLetter]) -> None:
    connection.executemany(PUT, [_values(letter) for letter in letters])
    connection.executemany(PUT_EVENT, [_event_values(letter) for letter in letters])


def change(connection: apsw.Connection, states: list[DeadLetterState]) -> None:
    connection.executemany(
        CHANGE,
        [(state.id, state.replayed_ms, state.export_due_ms, state.exported_to) for state in states],
    )


def remove(connection: apsw.Connection, ids: list[int]) -> None:
    keys = [(letter_id,) for letter_id in ids]
    connection.executemany(REMOVE, keys)
    connection.executemany(REMOVE_EVENT, keys)


def remove_of(connection: apsw.Connection, subscription_id: int, rows_max: int) -> int:
    """Remove some of a subscription's; how many were."""
    return _remove_some(connection, OF_SUBSCRIPTION, subscription_id, rows_max)


def remove_of_source(connection: apsw.Connection, source_id: int, rows_max: int) -> int:
    """The same of a source's."""
    return _remove_some(connection, OF_SOURCE, source_id, rows_max)


def _remove_some(connection: apsw.Connection, query: str, owner_id: int, rows_max: int) -> int:
    found = rows(connection, query, (owner_id, rows_max))
    remove(connection, [letter_id for (letter_id,) in found])
    return len(found)


def find(connection: apsw.Connection, query: DeadLetterQuery) -> list[DeadLetter]:
    """Raises DamagedError."""
    clauses, bindings = _where(query)
    sql = SELECT.format(clauses=f"{clauses} AND id > :after_id")
    bindings |= {"after_id": query.after_id, "limit": query.limit}
    return [_letter(values) for values in connection.execute(sql, bindings)]


def count(connection: apsw.Connection, query: DeadLetterQuery) -> int:
    clauses, bindings = _where(query)
    return int(value(connection, SELECT_COUNT.format(clauses=clauses), bindings))


def check(connection: apsw.Connection, after_id: int, limit: int) -> tuple[int | None, list[str]]:
    """The damage among the next ones, and the id after which to go on; None at the end."""
    found = rows(connection, EVENTS_AFTER, (after_id, limit))
    damage = [
        f"The checksum of dead letter {letter_id} is wrong."
        for letter_id, checksum, detail, wire in found
        if crc32(wire, crc32(detail)) != checksum
    ]
    return (found[-1][0] if len(found) == limit else None), damage


def counts(connection: apsw.Connection) -> dict[int, int]:
    """Those not replayed, by subscription id."""
    return dict(connection.execute(COUNTS))


def source_counts(connection: apsw.Connection) -> dict[int, int]:
    """Those of sources not replayed, by source id."""
    return dict(connection.execute(COUNTS_OF_SOURCES))


def _where(query: DeadLetterQuery) -> tuple[str, dict[str, Any]]:
    """The fixed clauses that the query asks for, and their bindings."""
    wanted = {name: getattr(query, name) for name in _CLAUSES}
    bindings = {name: value for name, value in wanted.items() if value is not None}
    clauses = [_CLAUSES[name] for name in bindings]
    for name in ("ids", "subscription_ids"):
        if name in bindings:
            bindings[name] = msgspec.json.encode(bindings[name]).decode()
    if query.exported_to is not None:
        clauses.append(_EXPORTED)
        bindings["exported_to"] = msgspec.json.encode(query.exported_to).decode()
    if query.event is not None:
        clauses.append(_EVENT)
        names = ("event_topic", "event_partition", "event_position")
        bindings |= dict(zip(names, query.event, strict=True))
    if query.is_replayed is not None:
        clauses.append(_REPLAYED[query.is_replayed])
    return " AND ".join([*clauses, _OF_KEPT]), bindings


def _values(letter: DeadLetter) -> tuple[int | str, ...]:
    return (
        letter.id,
        letter.topic_id,
        letter.subscription_id,
        letter.dead_ms,
        letter.reason,
        letter.finding,
        letter.replayed_ms,
        letter.export_due_ms,
        letter.exported_to,
        letter.source_id,
        letter.partition,
        letter.position,
    )


def _event_values(letter: DeadLetter) -> tuple[int, int, bytes, bytes]:
    detail = _encode(
        _Detail(
            letter.partition,
            letter.position,
            letter.event_id,
            letter.event_type,
            letter.subject,
            letter.trace,
            letter.published_ms,
            letter.last_attempt_ms,
            letter.attempts,
            letter.outcome,
            letter.evidence,
            letter.original,
        )
    )
    return (letter.id, crc32(letter.wire, crc32(detail)), detail, letter.wire)


def _letter(values: tuple[Any, ...]) -> DeadLetter:
    *asked, _, _, checksum, packed, wire = values
    if crc32(wire, crc32(packed)) != checksum:
        raise DamagedError(f"dead letter {asked[0]}")
    detail = _DETAIL.decode(packed)
    return DeadLetter(
        id=asked[0],
        topic_id=asked[1],
        subscription_id=asked[2],
        dead_ms=asked[3],
        reason=Reason(asked[4]),
        finding=asked[5],
        replayed_ms=asked[6],
        export_due_ms=asked[7],
        exported_to=asked[8],
        source_id=asked[9],
        original=detail.original,
        partition=detail.partition,
        position=detail.position,
        event_id=detail.event_id,
        event_type=detail.event_type,
        subject=detail.subject,
        trace=detail.trace,
        published_ms=detail.published_ms,
        last_attempt_ms=detail.last_attempt_ms,
        attempts=detail.attempts,
        outcome=detail.outcome,
        evidence=detail.evidence,
        wire=wire,
    )
