"""Of a partition a finished prefix is committed, and beside it what is finished above."""

from hypothesis import given
from hypothesis import strategies as st

from eventpost.queues.kafka.offsets import METADATA_CHARS_MAX, PREFIX, Track, finished_of


def test_the_prefix_waits_for_the_first_unfinished() -> None:
    """The committed offset passes nothing that is not finished."""
    track = Track(1, committed=10)
    for offset in (10, 11, 12):
        track.take(offset)

    track.finish(11)
    track.finish(12)

    assert track.prefix == 10
    track.finish(10)
    assert track.prefix == 13


def test_what_is_finished_above_is_not_taken_again() -> None:
    """Whoever gets the partition next passes over what was finished above the prefix."""
    track = Track(1, committed=0)
    for offset in range(5):
        track.take(offset)
    for offset in (1, 2, 4):
        track.finish(offset)

    after = Track(2, track.prefix, finished_of(track.prefix, track.metadata()))

    assert [offset for offset in range(6) if after.take(offset)] == [0, 3, 5]


def test_gaps_in_a_log_hold_nothing_back() -> None:
    """Offsets that a log lacks (transactions, compaction) are no work."""
    track = Track(1, committed=0)
    track.take(3)
    track.take(9)

    track.finish(3)

    assert track.prefix == 9
    track.finish(9)
    assert track.prefix == 10


def test_finishing_twice_is_told() -> None:
    """The second time there is nothing to finish."""
    track = Track(1, committed=0)
    track.take(0)

    assert track.finish(0)
    assert not track.finish(0)


def test_a_log_that_begins_again() -> None:
    """When a log goes on below where it was, nothing that was known of what comes now holds: it is
    taken, and holds the prefix."""
    track = Track(1, committed=10)
    for offset in range(10, 15):
        track.take(offset)
    track.finish(12)
    track.finish(14)

    assert track.take(11)
    assert track.take(12)

    assert track.prefix == 10
    track.finish(10)
    assert track.prefix == 11
    track.finish(11)
    track.finish(12)
    assert track.prefix == 13


def test_metadata_of_others_means_nothing() -> None:
    """What another program left beside an offset is passed over, as is what cannot be read."""
    assert finished_of(5, None) == set()
    assert finished_of(5, "something else") == set()
    assert finished_of(5, f"{PREFIX}x,1-,-,2") == {6, 7}


def test_bound_of_the_metadata() -> None:
    """More than there is room for: the lowest are kept, the rest may be taken again."""
    track = Track(1, committed=0)
    for offset in range(10_000):
        track.take(offset)
    for offset in range(1, 10_000, 2):
        track.finish(offset)

    metadata = track.metadata()

    assert len(metadata) <= METADATA_CHARS_MAX
    kept = finished_of(0, metadata)
    assert kept == set(range(1, 2 * len(kept), 2))
    assert len(kept) > 500


@given(st.sets(st.integers(0, 60)), st.integers(0, 60))
def test_nothing_unfinished_is_passed_over(finished: set[int], count: int) -> None:
    """Whatever is finished in whatever order, the next owner takes exactly the rest."""
    track = Track(1, committed=0)
    for offset in range(count):
        track.take(offset)
    for offset in finished:
        track.finish(offset)

    after = Track(2, track.prefix, finished_of(track.prefix, track.metadata()))
    again = {offset for offset in range(track.prefix, count) if after.take(offset)}

    assert again == set(range(count)) - finished
