"""Where a copy waits: tiers whose waits add up to the delay."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventpost.queues.kafka.copies import (
    TIERS_MAX,
    WAIT_S_MIN,
    Origin,
    origin_of,
    partition_of,
    tier_of,
    wait_ms,
)

WAIT_MS_MIN = int(WAIT_S_MIN * 1000)


def origin(due_ms: int = 0) -> Origin:
    return Origin(
        topic="songs",
        partition=1,
        offset=2,
        group="g",
        count=3,
        due_ms=due_ms,
        look_ms=0,
        sent_ms=9,
    )


def test_a_tier_waits_no_longer_than_is_left() -> None:
    """At the edge of each tier: a millisecond less goes to the tier below."""
    for tier in range(1, TIERS_MAX):
        length_ms = wait_ms(tier, 0)
        assert tier_of(length_ms, TIERS_MAX) == tier
        assert tier_of(length_ms - 1, TIERS_MAX) == tier - 1
        assert length_ms == WAIT_MS_MIN * 2 ** (tier - 1)
    assert tier_of(10**12, TIERS_MAX) == TIERS_MAX - 1


@settings(deadline=None)
@given(st.integers(0, 86_400_000), st.integers(1, 40))
def test_waits_add_up(delay_ms: int, partition_count: int) -> None:
    """Wait after wait a record comes nearer to its time, never beyond it by more than the shortest
    wait, and in a bounded number of steps."""
    now_ms, step_count = 0, 0
    copy = origin(due_ms=delay_ms)
    while copy.due_ms - now_ms >= WAIT_MS_MIN:
        tier = tier_of(copy.due_ms - now_ms, partition_count)
        copy = copy.later(now_ms, tier)
        assert now_ms < copy.look_ms <= copy.due_ms
        now_ms = copy.look_ms
        step_count += 1

    longest_ms = max(WAIT_MS_MIN, wait_ms(min(TIERS_MAX, partition_count) - 1, WAIT_MS_MIN))
    assert step_count <= delay_ms // longest_ms + TIERS_MAX


@given(st.integers(0, TIERS_MAX - 1), st.integers(1, 60), st.integers(0, 100))
def test_partitions_beyond_the_tiers(tier: int, partition_count: int, turn: int) -> None:
    """Partitions above the twelfth are more of the same tier, taken in turns."""
    if tier >= partition_count:
        return
    found = partition_of(tier, partition_count, turn)
    lanes = {partition_of(tier, partition_count, one) for one in range(60)}

    assert found < partition_count
    assert found % TIERS_MAX == tier
    assert lanes == set(range(tier, partition_count, TIERS_MAX))


def test_a_copy_says_what_it_is() -> None:
    """What is written into headers is read from them, beside others; others stay."""
    headers = [("genre", b"blues"), *origin().headers(), ("empty", None)]

    assert origin_of(headers) == origin()
    assert Origin.without_ours(headers) == (("genre", b"blues"), ("empty", None))


@pytest.mark.parametrize("missing", range(8))
def test_half_a_copy_is_none(missing: int) -> None:
    """A record that lacks one of the headers is one like any other."""
    headers = origin().headers()
    del headers[missing]

    assert origin_of(headers) is None
    assert origin_of([]) is None
