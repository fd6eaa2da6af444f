"""Requests of at most ten entries, and one result for each entry. Pure.

Layer: queues. An answer of 200 to a batch request may hold failures: each entry is looked up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

ENTRIES_MAX = 10
Item = TypeVar("Item")
Result = TypeVar("Result")


def cut(
    items: Sequence[Item],
    size_of: Callable[[Item], int] = lambda _: 0,
    bytes_max: int = 0,
) -> Iterator[Sequence[Item]]:
    """`items` in order, cut to at most `ENTRIES_MAX` and `bytes_max`; none alone is larger."""
    start = size = 0
    for index, item in enumerate(items):
        grown = size + size_of(item)
        if index > start and (index - start == ENTRIES_MAX or grown > bytes_max):
            yield items[start:index]
            start, grown = index, size_of(item)
        size = grown
    if start < len(items):
        yield items[start:]


def numbered(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries with ids, by which their results are found."""
    return [{**one, "Id": str(index)} for index, one in enumerate(entries)]


def results(
    answer: Mapping[str, Any],
    count: int,
    done: Result,
    failed: Callable[[Mapping[str, Any]], Result],
    unanswered: Callable[[], Result],
) -> list[Result]:
    """One result per entry, whose ids are `0` up to `count`, in order.

    An entry that the answer does not speak of is not known to have been done.
    """
    successful = {entry.get("Id") for entry in answer.get("Successful", ())}
    failures = {entry.get("Id"): entry for entry in answer.get("Failed", ())}
    found = []
    for name in map(str, range(count)):
        if name in failures:
            found.append(failed(failures[name]))
        else:
            found.append(done if name in successful else unanswered())
    return found
