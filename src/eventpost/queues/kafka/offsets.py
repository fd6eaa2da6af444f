"""Which records of a partition are finished: the prefix to commit, and what is finished above it.

Layer: queues. Pure. What is finished above the committed offset travels with it, in the metadata
that Kafka keeps beside each committed offset: whoever gets the partition next, on whatever machine,
does not take it again.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

METADATA_CHARS_MAX = 4_000
"""Brokers keep 4,096 bytes beside an offset by default (`offset.metadata.max.bytes`)."""
PREFIX = "ep1:"


class Track:
    """One partition while this consumer has it. Records come in ascending order, unless the log was
    cut off."""

    __slots__ = ("_above", "_held", "generation", "next")

    def __init__(self, generation: int, committed: int = -1, finished: Iterable[int] = ()) -> None:
        self.generation = generation
        self.next = committed
        """The offset after the last one taken; -1 before the first when nothing was committed."""
        self._held: dict[int, None] = {}
        """Taken and not finished, ascending."""
        self._above = set(finished)
        """Finished, and not below the prefix."""

    def take(self, offset: int) -> bool:
        """A record came. False: it was finished before, and is nobody's work any more."""
        if offset < self.next:
            self._begin_again(offset)
        self.next = offset + 1
        if offset in self._above:
            return False
        self._held[offset] = None
        return True

    def finish(self, offset: int) -> bool:
        """It is done. False when it is not held: it was finished already."""
        if offset not in self._held:
            return False
        del self._held[offset]
        self._above.add(offset)
        return True

    def _begin_again(self, offset: int) -> None:
        """The log goes on below where it was: it was cut off or made anew, or its reading began
        anew. What was known of what comes now is of another log, perhaps."""
        self._above = {one for one in self._above if one < offset}
        self._held = {one: None for one in self._held if one < offset}

    @property
    def prefix(self) -> int:
        """The offset to commit: every record below it is finished."""
        return next(iter(self._held), self.next)

    @property
    def unfinished(self) -> int:
        """How far the newest record taken is ahead of the prefix."""
        return self.next - self.prefix

    def holds(self, offset: int) -> bool:
        return offset in self._held

    def metadata(self) -> str:
        """What is finished above the prefix, as text to commit with it; "" when nothing is. The
        lowest ones first, as many as there is room for."""
        prefix = self.prefix
        self._above = {offset for offset in self._above if offset >= prefix}
        parts: list[str] = []
        room = METADATA_CHARS_MAX - len(PREFIX)
        for first, last in _ranges(sorted(self._above)):
            part = f"{first - prefix}" if first == last else f"{first - prefix}-{last - prefix}"
            room -= len(part) + 1
            if room < 0:
                break
            parts.append(part)
        return PREFIX + ",".join(parts) if parts else ""


def finished_of(committed: int, metadata: str | None) -> set[int]:
    """What the metadata beside a committed offset says; nothing when it is somebody else's."""
    if not metadata or not metadata.startswith(PREFIX):
        return set()
    finished: set[int] = set()
    for part in metadata.removeprefix(PREFIX).split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last.isdigit() or not last):
            end = int(last or first)
            finished.update(range(committed + int(first), committed + end + 1))
    return finished


def _ranges(ordered: list[int]) -> Iterator[tuple[int, int]]:
    if not ordered:
        return
    first = ordered[0]
    for left, right in pairwise(ordered):
        if right != left + 1:
            yield first, left
            first = right
    yield first, ordered[-1]
