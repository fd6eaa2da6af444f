"""The books: matched + replayed = delivered + dead-lettered + dropped + pending."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.books import Dropped, Tally

counts = st.integers(0, 1_000)
tallies = st.builds(
    Tally,
    matched=counts,
    replayed=counts,
    delivered=counts,
    dead_lettered=st.dictionaries(st.sampled_from(["Rejected", "Poison"]), counts),
    dropped=st.dictionaries(st.sampled_from([each.value for each in Dropped]), counts),
)


def test_a_new_tally_is_zero() -> None:
    """Nothing counted is nothing pending."""
    tally = Tally()

    assert tally.is_zero()
    assert tally.pending == 0


def test_pending() -> None:
    """What was taken and is neither delivered, dead-lettered nor dropped is pending."""
    tally = Tally(
        matched=100,
        replayed=10,
        delivered=60,
        dead_lettered={"Rejected": 5, "Poison": 4},
        dropped={Dropped.SKIPPED.value: 3, Dropped.RETENTION.value: 2},
    )

    assert tally.pending == 36
    assert not tally.is_zero()


def test_any_count_makes_it_more_than_zero() -> None:
    """A tally in which anything was counted is not zero, balanced or not."""
    assert not Tally(matched=1, delivered=1).is_zero()
    assert not Tally(replayed=1).is_zero()
    assert not Tally(dead_lettered={"Rejected": 1}).is_zero()
    assert not Tally(dropped={"Skipped": 1}).is_zero()


@given(tallies, tallies)
def test_adding(total: Tally, change: Tally) -> None:
    """Adding sums every count, by reason, and leaves what was added alone."""
    before, added = copy.deepcopy(total), copy.deepcopy(change)

    total.add(change)

    assert change == added
    assert total.pending == before.pending + added.pending
    assert total.matched == before.matched + added.matched
    for reason in {*before.dropped, *added.dropped}:
        expected = before.dropped.get(reason, 0) + added.dropped.get(reason, 0)
        assert total.dropped[reason] == expected
    for reason in {*before.dead_lettered, *added.dead_lettered}:
        expected = before.dead_lettered.get(reason, 0) + added.dead_lettered.get(reason, 0)
        assert total.dead_lettered[reason] == expected


@given(tallies)
def test_packed(tally: Tally) -> None:
    """A packed tally holds every count, in the order of the fields."""
    assert Tally(*tally.packed()) == tally  # type: ignore[arg-type]  # packed for any encoder
