"""Events kept in memory for lanes that lag a little."""

import pytest

from eventpost.core.events import Event
from eventpost.grid.tail import Stretch, Tail


def stretch(first: int, count: int = 10, size: int = 100) -> Stretch:
    events = [Event(f"e{first + index}", "T", "s", b"{}") for index in range(count)]
    return Stretch(first, 0, events, size)


def firsts(tail: Tail, *positions: int) -> list[int | None]:
    found = [tail.get(1, 0, position) for position in positions]
    return [None if each is None else each.first for each in found]


def test_a_position_is_found_in_its_stretch() -> None:
    """From its first position to its last; not before, behind, or in another partition."""
    tail = Tail(1_000)
    tail.add(1, 0, stretch(10))
    tail.add(1, 0, stretch(30))

    assert firsts(tail, 9, 10, 19, 20, 29, 30, 39, 40) == [None, 10, 10, None, None, 30, 30, None]
    assert tail.get(1, 1, 10) is None
    assert tail.get(2, 0, 10) is None


@pytest.mark.parametrize(("size", "is_kept"), [(49, True), (50, True), (51, False)])
def test_the_bytes_kept(size: int, is_kept: bool) -> None:
    """Beyond its bytes the stretch that was added first goes, wherever it lies."""
    tail = Tail(100)
    tail.add(1, 0, stretch(50, size=size))
    tail.add(1, 0, stretch(10, size=50))

    assert (tail.get(1, 0, 50) is not None) is is_kept
    assert tail.get(1, 0, 10) is not None


def test_one_stretch_is_kept_however_large() -> None:
    """The last one added is there, so that whoever asked for it can have it."""
    tail = Tail(100)
    tail.add(1, 0, stretch(10, size=50))
    tail.add(1, 0, stretch(20, size=5_000))

    assert firsts(tail, 10, 20) == [None, 20]
    tail.add(1, 0, stretch(30, size=10))
    assert firsts(tail, 20, 30) == [None, 30]


def test_a_stretch_is_kept_once() -> None:
    """Adding it again neither counts it again nor makes it younger."""
    tail = Tail(100)
    tail.add(1, 0, stretch(10, size=40))
    tail.add(1, 0, stretch(20, size=40))
    tail.add(1, 0, stretch(10, size=40))
    assert firsts(tail, 10, 20) == [10, 20]

    tail.add(2, 0, stretch(0, size=40))

    assert firsts(tail, 10, 20) == [None, 20]
