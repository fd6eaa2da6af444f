"""Batches: cut by count and by size, and every entry gets its own result."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.queues.sqs.batches import ENTRIES_MAX, cut, numbered, results


@pytest.mark.parametrize(
    ("count", "lengths"),
    [(0, []), (1, [1]), (9, [9]), (10, [10]), (11, [10, 1]), (20, [10, 10]), (21, [10, 10, 1])],
)
def test_cut_by_count(count: int, lengths: list[int]) -> None:
    """A request holds at most ten entries."""
    assert [len(batch) for batch in cut(range(count))] == lengths


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([50, 50], [[50, 50]]),
        ([50, 51], [[50], [51]]),
        ([100, 1, 99, 100], [[100], [1, 99], [100]]),
        ([99, 1, 1], [[99, 1], [1]]),
    ],
)
def test_cut_by_size(sizes: list[int], batches: list[list[int]]) -> None:
    """A request holds at most so many bytes, to the byte."""
    assert [list(batch) for batch in cut(sizes, lambda size: size, 100)] == batches


@given(st.lists(st.integers(0, 100)))
def test_nothing_is_lost_by_cutting(sizes: list[int]) -> None:
    """All entries go out once and in order, and no batch is out of bounds or empty."""
    batches = [list(batch) for batch in cut(sizes, lambda size: size, 100)]

    assert [size for batch in batches for size in batch] == sizes
    assert all(0 < len(batch) <= ENTRIES_MAX and sum(batch) <= 100 for batch in batches)


def test_results_are_read_one_by_one() -> None:
    """An entry that failed beside others is told from them; one not spoken of is neither."""

    def failed(entry: Mapping[str, Any]) -> str:
        return f"failed {entry['Code']}"

    answer = {"Successful": [{"Id": "2"}, {"Id": "0"}], "Failed": [{"Id": "1", "Code": "no"}]}
    found = results(answer, 4, "done", failed, lambda: "unknown")

    assert found == ["done", "failed no", "done", "unknown"]


def test_an_entry_that_is_both_has_failed() -> None:
    """An answer that contradicts itself is taken for the worse."""
    answer = {"Successful": [{"Id": "0"}], "Failed": [{"Id": "0"}]}

    assert results(answer, 1, "done", lambda _: "failed", lambda: "unknown") == ["failed"]


def test_entries_are_numbered() -> None:
    """The ids of a batch are its indexes; the entries themselves are left as they were."""
    entry = {"MessageBody": "x"}

    assert numbered([entry, entry]) == [entry | {"Id": "0"}, entry | {"Id": "1"}]
    assert entry == {"MessageBody": "x"}
