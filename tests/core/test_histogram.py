"""Latency buckets: each observation falls into exactly one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.histogram import BOUNDS_MS, Histogram


@pytest.mark.parametrize("index", range(len(BOUNDS_MS)))
def test_a_bound_belongs_to_its_bucket(index: int) -> None:
    """A bucket holds what is at most its bound; what is just above falls into the next."""
    histogram = Histogram()

    histogram.observe(BOUNDS_MS[index])
    histogram.observe(BOUNDS_MS[index] * 1.0001)

    assert histogram.counts[index] == 1
    assert histogram.counts[index + 1] == 1
    assert sum(histogram.counts) == 2


def test_the_first_and_the_last_bucket() -> None:
    """Nothing is too fast or too slow to be counted."""
    histogram = Histogram()

    histogram.observe(0.0)
    histogram.observe(10**9)

    assert histogram.counts[0] == 1
    assert histogram.counts[-1] == 1


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_count_and_sum(elapsed_ms: list[float]) -> None:
    """Counts add up to the observations, and the sum is theirs."""
    histogram = Histogram()

    for each in elapsed_ms:
        histogram.observe(each)

    assert sum(histogram.counts) == len(elapsed_ms)
    assert histogram.sum_ms == pytest.approx(sum(elapsed_ms))


def test_bounds_rise() -> None:
    """Bounds are in order, so that a bucket is found by bisection."""
    assert list(BOUNDS_MS) == sorted(set(BOUNDS_MS))
