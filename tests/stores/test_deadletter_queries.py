"""How dead letters are found in SQLite."""

import apsw
import pytest

from eventpost.core.interfaces import DeadLetterQuery
from eventpost.stores.sqlite import deadletters, schema


@pytest.mark.parametrize(
    ("query", "way"),
    [
        (DeadLetterQuery(exported_to=["a", "b"], is_replayed=None), "dead_letter_exported"),
        (DeadLetterQuery(subscription_id=1), "dead_letter_by_subscription"),
        (DeadLetterQuery(export_due_ms=1, is_replayed=None), "dead_letter_to_export"),
    ],
)
def test_a_million_are_not_read_for_a_few(query: DeadLetterQuery, way: str) -> None:
    """Dead letters of a file, of a subscription, and those that are to be written are found by an
    index: a replay from a million files asks for each page of them."""
    connection = apsw.Connection(":memory:")
    for _, sql in schema.migrations():
        connection.execute(sql)
    clauses, bindings = deadletters._where(query)
    asked = f"EXPLAIN QUERY PLAN {deadletters.SELECT.format(clauses=clauses)}"

    steps = [row[3] for row in connection.execute(asked, {**bindings, "limit": 10})]

    assert any(f"USING INDEX {way} (" in step for step in steps), steps
    assert "SCAN dead_letter" not in steps
