"""The attempt log: what was tried and seen, for as long as the grid wants to tell it."""

import apsw

from eventpost.core.interfaces import AttemptRecord
from eventpost.stores.sqlite.ladder import pack_evidence, unpack_evidence

RECORDS_MAX = 1_000
"""Most records that one read returns."""

PUT = """
    INSERT INTO attempt (topic_id, partition, position, subscription_id, attempt, at_ms, next_ms,
        finding, evidence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# The attempts of one event, oldest first, by the index of events.
OF_EVENT = """
    SELECT topic_id, partition, position, subscription_id, attempt, at_ms, next_ms, finding,
        evidence
    FROM attempt WHERE topic_id = ? AND partition = ? AND position = ? ORDER BY id LIMIT ?
"""
# The oldest ones; they are written in the order of time.
OLDEST = "SELECT id, at_ms FROM attempt ORDER BY id LIMIT ?"
REMOVE_UNTIL = "DELETE FROM attempt WHERE id <= ?"


def put(connection: apsw.Connection, records: list[AttemptRecord]) -> None:
    connection.executemany(
        PUT,
        [
            (
                record.topic_id,
                record.partition,
                record.position,
                record.subscription_id,
                record.attempt,
                record.at_ms,
                record.next_ms,
                record.finding,
                pack_evidence(record.evidence),
            )
            for record in records
        ],
    )


def of_event(
    connection: apsw.Connection, topic_id: int, partition: int, position: int
) -> list[AttemptRecord]:
    found = connection.execute(OF_EVENT, (topic_id, partition, position, RECORDS_MAX))
    return [
        AttemptRecord(
            topic_id=values[0],
            partition=values[1],
            position=values[2],
            subscription_id=values[3],
            attempt=values[4],
            at_ms=values[5],
            next_ms=values[6],
            finding=values[7],
            evidence=unpack_evidence(values[8]),
        )
        for values in found
    ]


def remove_before(connection: apsw.Connection, before_ms: int, rows_max: int) -> int:
    """Remove the oldest ones as long as they are older; how many were."""
    last_id = count = 0
    for record_id, at_ms in connection.execute(OLDEST, (rows_max,)):
        if at_ms >= before_ms:
            break
        last_id = record_id
        count += 1
    if last_id:
        connection.execute(REMOVE_UNTIL, (last_id,))
    return count
