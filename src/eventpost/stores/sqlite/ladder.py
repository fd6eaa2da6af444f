"""The ladder and its parked rows: deliveries that wait.

Two clustered tables with the same columns: by due time for those that can run, by lane for those
that cannot. Claims by due time from a clustered table are 2.8 times as fast as through an index.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import apsw
import msgspec

from eventpost.core.interfaces import LadderRow
from eventpost.core.outcomes import Evidence
from eventpost.stores.sqlite.connection import rows as select
from eventpost.stores.sqlite.connection import value

_COLUMNS = """due_ms, subscription_id, partition, position, generation, dead_letter_id, topic_id,
    attempts, published_ms, offered_ms, last_attempt_ms, evidence, lock"""
_OF_KEPT = "subscription_id NOT IN (SELECT owner_id FROM removal WHERE kind = 'subscription')"
_BY_KEY = """WHERE due_ms = ? AND subscription_id = ? AND partition = ? AND position = ?
    AND generation = ? AND dead_letter_id = ?"""

PUT_LADDER = "INSERT OR REPLACE INTO ladder VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
PUT_PARKED = "INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
REMOVE_LADDER = f"DELETE FROM ladder {_BY_KEY}"  # noqa: S608
REMOVE_PARKED = f"DELETE FROM parked {_BY_KEY}"  # noqa: S608

# Rows that are due, by due time; ordered by the primary key.
DUE = f"""
    SELECT {_COLUMNS} FROM ladder
    WHERE due_ms BETWEEN ? AND ? AND {_OF_KEPT} ORDER BY due_ms LIMIT ?
"""  # noqa: S608
NEXT_DUE = f"""
    SELECT {_COLUMNS} FROM ladder
    WHERE due_ms > ? AND {_OF_KEPT} ORDER BY due_ms LIMIT 1
"""  # noqa: S608
PARKED = f"""
    SELECT {_COLUMNS} FROM parked
    WHERE subscription_id = ? AND partition = ? AND {_OF_KEPT} ORDER BY due_ms LIMIT ?
"""  # noqa: S608
# Rows of one lane that a lock holds; by the partial index, which holds no other rows.
LOCKED = f"""
    SELECT {_COLUMNS} FROM ladder
    WHERE subscription_id = ? AND lock = ? AND lock > 0 AND partition = ? AND {_OF_KEPT}
"""  # noqa: S608
# All rows of one event. Reads both tables whole (a million rows in about 0.2 s).
OF_EVENT = f"""
    SELECT {_COLUMNS}, 0 FROM ladder
    WHERE position = ?3 AND topic_id = ?1 AND partition = ?2 AND {_OF_KEPT}
    UNION ALL
    SELECT {_COLUMNS}, 1 FROM parked
    WHERE position = ?3 AND topic_id = ?1 AND partition = ?2 AND {_OF_KEPT}
"""  # noqa: S608
# What is waited for per partition. A replay needs no segment: its event is the dead letter's.
FLOOR = f"""
    SELECT topic_id, partition, min(position) FROM (
        SELECT topic_id, partition, position, dead_letter_id, subscription_id FROM ladder
        UNION ALL
        SELECT topic_id, partition, position, dead_letter_id, subscription_id FROM parked
    ) WHERE dead_letter_id = 0 AND {_OF_KEPT} GROUP BY topic_id, partition
"""  # noqa: S608
LANES = f"""
    SELECT subscription_id, partition, generation FROM ladder WHERE {_OF_KEPT}
    UNION ALL
    SELECT subscription_id, partition, generation FROM parked WHERE {_OF_KEPT}
"""  # noqa: S608
# For removals: some rows of a lane's owner, and the ladder in the order of its key.
PARKED_KEYS = """
    SELECT due_ms, subscription_id, partition, position, generation, dead_letter_id FROM parked
    WHERE subscription_id = ? LIMIT ?
"""
KEYS_AFTER = """
    SELECT due_ms, subscription_id, partition, position, generation, dead_letter_id FROM ladder
    WHERE (due_ms, subscription_id, partition, position, generation, dead_letter_id)
        > (?, ?, ?, ?, ?, ?)
    ORDER BY due_ms, subscription_id, partition, position, generation, dead_letter_id LIMIT ?
"""
COUNT = "SELECT (SELECT count(*) FROM ladder) + (SELECT count(*) FROM parked)"

START = (-(2**63), 0, 0, 0, 0, 0)
"""Before every row, for `remove_after`."""

_EVIDENCE = msgspec.msgpack.Decoder(Evidence)
_encode = msgspec.msgpack.Encoder().encode
_Values = tuple[Any, ...]


def pack_evidence(evidence: Evidence | None) -> bytes | None:
    return None if evidence is None else _encode(evidence)


def unpack_evidence(packed: bytes | None) -> Evidence | None:
    return None if packed is None else _EVIDENCE.decode(packed)


def put(connection: apsw.Connection, rows: list[LadderRow]) -> None:
    _by_table(connection, PUT_LADDER, PUT_PARKED, rows, _values)


def remove(connection: apsw.Connection, rows: list[LadderRow]) -> None:
    _by_table(connection, REMOVE_LADDER, REMOVE_PARKED, rows, _key)


def _by_table(
    connection: apsw.Connection,
    ladder: str,
    parked: str,
    rows: list[LadderRow],
    values: Callable[[LadderRow], _Values],
) -> None:
    waiting = [values(row) for row in rows if not row.is_parked]
    if waiting:
        connection.executemany(ladder, waiting)
    if len(waiting) < len(rows):
        connection.executemany(parked, [values(row) for row in rows if row.is_parked])


def _key(row: LadderRow) -> _Values:
    return (
        row.due_ms,
        row.subscription_id,
        row.partition,
        row.position,
        row.generation,
        row.dead_letter_id,
    )


def _values(row: LadderRow) -> _Values:
    return (
        row.due_ms,
        row.subscription_id,
        row.partition,
        row.position,
        row.generation,
        row.dead_letter_id,
        row.topic_id,
        row.attempts,
        row.published_ms,
        row.offered_ms,
        row.last_attempt_ms,
        pack_evidence(row.evidence),
        row.lock,
    )


def _row(values: _Values, *, is_parked: bool) -> LadderRow:
    return LadderRow(
        due_ms=values[0],
        subscription_id=values[1],
        partition=values[2],
        position=values[3],
        generation=values[4],
        dead_letter_id=values[5],
        topic_id=values[6],
        attempts=values[7],
        published_ms=values[8],
        offered_ms=values[9],
        last_attempt_ms=values[10],
        evidence=unpack_evidence(values[11]),
        lock=values[12],
        is_parked=is_parked,
    )


def due(connection: apsw.Connection, from_ms: int, until_ms: int, limit: int) -> list[LadderRow]:
    found = select(connection, DUE, (from_ms, until_ms, limit))
    if len(found) < limit:
        found += select(connection, NEXT_DUE, (until_ms,))
    return [_row(values, is_parked=False) for values in found]


def parked(
    connection: apsw.Connection, subscription_id: int, partition: int, limit: int
) -> list[LadderRow]:
    found = connection.execute(PARKED, (subscription_id, partition, limit))
    return [_row(values, is_parked=True) for values in found]


def locked(
    connection: apsw.Connection, subscription_id: int, partition: int, locks: list[int]
) -> list[LadderRow]:
    return [
        _row(values, is_parked=False)
        for lock in locks
        for values in connection.execute(LOCKED, (subscription_id, lock, partition))
    ]


def of_event(
    connection: apsw.Connection, topic_id: int, partition: int, position: int
) -> list[LadderRow]:
    found = connection.execute(OF_EVENT, (topic_id, partition, position))
    return [_row(values, is_parked=bool(values[13])) for values in found]


def floor(connection: apsw.Connection) -> dict[tuple[int, int], int]:
    return {(topic_id, part): low for topic_id, part, low in connection.execute(FLOOR)}


def counts(connection: apsw.Connection) -> dict[tuple[int, int, int], int]:
    """Rows by (subscription id, partition, generation). Counting here takes half the time of
    sorting there: 0.8 s for a million rows."""
    return dict(Counter(connection.execute(LANES)))


def count(connection: apsw.Connection) -> int:
    return int(value(connection, COUNT))


def remove_parked_of(connection: apsw.Connection, subscription_id: int, rows_max: int) -> int:
    """Remove some parked rows of a subscription; how many were."""
    keys = select(connection, PARKED_KEYS, (subscription_id, rows_max))
    connection.executemany(REMOVE_PARKED, keys)
    return len(keys)


def remove_after(
    connection: apsw.Connection, after: _Values, subscription_ids: frozenset[int], rows_max: int
) -> _Values | None:
    """Look at the next `rows_max` rows and remove those of `subscription_ids`.

    Returns where to go on, None at the end of the ladder.
    """
    keys = select(connection, KEYS_AFTER, (*after, rows_max))
    connection.executemany(REMOVE_LADDER, [key for key in keys if key[1] in subscription_ids])
    return keys[-1] if len(keys) == rows_max else None
