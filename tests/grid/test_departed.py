"""Rows that a read may show though they were taken off meanwhile."""

from eventpost.grid.departed import Departed
from eventpost.testing.samples import ladder_row

EARLY, LATE = ladder_row(5), ladder_row(7)
PARKED = ladder_row(5, is_parked=True)


def test_a_row_is_remembered_until_its_removal_is_durable() -> None:
    """Without a read under way it is forgotten with its commit."""
    departed = Departed()
    key = departed.add(EARLY)
    assert EARLY in departed
    assert LATE not in departed
    assert PARKED not in departed

    departed.committed([key])

    assert EARLY not in departed


def test_a_read_that_began_before_keeps_it() -> None:
    """It is remembered until every read that began before its commit has been dealt with."""
    departed = Departed()
    first = departed.read_started()
    key = departed.add(EARLY)
    second = departed.read_started()
    departed.committed([key])
    third = departed.read_started()

    departed.read_finished(second)
    assert EARLY in departed
    departed.read_finished(first)

    assert EARLY not in departed
    departed.read_finished(third)


def test_reads_may_end_in_any_order() -> None:
    """A later read that ends first forgets nothing that an earlier one may show."""
    departed = Departed()
    first = departed.read_started()
    departed.committed([departed.add(EARLY)])
    second = departed.read_started()
    departed.committed([departed.add(LATE)])

    departed.read_finished(first)

    assert (EARLY in departed, LATE in departed) == (False, True)
    departed.read_finished(second)
    assert LATE not in departed


def test_counts() -> None:
    """How many there are of a time, and of a lane when they are parked, each counted once."""
    departed = Departed()
    keys = [departed.add(row) for row in (EARLY, EARLY, ladder_row(5, 1), LATE, PARKED)]

    assert (departed.due_count(5), departed.due_count(7), departed.due_count(9)) == (2, 1, 0)
    assert (departed.parked_count(1, 0), departed.parked_count(2, 0)) == (1, 0)
    departed.committed(keys)

    assert (departed.due_count(5), departed.due_count(7), departed.parked_count(1, 0)) == (0, 0, 0)


def test_a_new_generation_is_another_row() -> None:
    """A row that a rewound lane makes again is not the one that was taken off."""
    departed = Departed()
    departed.add(ladder_row(5, generation=0))

    assert ladder_row(5, generation=1) not in departed
