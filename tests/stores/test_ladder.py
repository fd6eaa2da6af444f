"""How the ladder's rows are found in SQLite."""

import apsw
import pytest

from eventpost.stores.sqlite import ladder, schema


@pytest.fixture
def connection() -> apsw.Connection:
    made = apsw.Connection(":memory:")
    for _, sql in schema.migrations():
        made.execute(sql)
    return made


@pytest.mark.parametrize(
    ("query", "values", "way"),
    [
        (ladder.LOCKED, (1, 2, 0), "USING INDEX ladder_by_lock (subscription_id=? AND lock=?)"),
        (ladder.DUE, (1, 2, 3), "USING PRIMARY KEY (due_ms>? AND due_ms<?)"),
        (ladder.PARKED, (1, 0, 3), "USING PRIMARY KEY (subscription_id=? AND partition=?)"),
    ],
)
def test_a_million_rows_are_not_read_for_a_few(
    connection: apsw.Connection, query: str, values: tuple[int, ...], way: str
) -> None:
    """Rows are found by an index: those that are due, those of a lane, those of a lock."""
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]

    assert any(step.endswith(way) for step in steps), steps
    assert not any(step.startswith("SCAN ladder") for step in steps)
