"""Events in memory for lanes that lag: what was just committed, and what was just read back.

One bound in bytes for all partitions. The stretch that was added longest ago goes first.
"""

from bisect import bisect_right, insort
from collections import OrderedDict
from dataclasses import dataclass

from eventpost.core.events import Event


@dataclass(slots=True)
class Stretch:
    """Consecutive events of one partition; `size` is the bytes of their wires."""

    first: int
    published_ms: int
    events: list[Event]
    size: int

    @property
    def end(self) -> int:
        return self.first + len(self.events)


class Tail:
    """Stretches by (topic id, partition) and position."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._stretches: OrderedDict[tuple[int, int, int], Stretch] = OrderedDict()
        self._firsts: dict[tuple[int, int], list[int]] = {}

    def add(self, topic_id: int, partition: int, stretch: Stretch) -> None:
        key = (topic_id, partition, stretch.first)
        if key in self._stretches:
            return
        self._stretches[key] = stretch
        insort(self._firsts.setdefault((topic_id, partition), []), stretch.first)
        self._bytes += stretch.size
        while self._bytes > self._bytes_max and len(self._stretches) > 1:
            self._evict()

    def get(self, topic_id: int, partition: int, position: int) -> Stretch | None:
        """The stretch that holds `position`, None when it is not in memory."""
        firsts = self._firsts.get((topic_id, partition))
        if not firsts:
            return None
        index = bisect_right(firsts, position) - 1
        if index < 0:
            return None
        stretch = self._stretches[topic_id, partition, firsts[index]]
        return stretch if position < stretch.end else None

    def _evict(self) -> None:
        (topic_id, partition, first), gone = self._stretches.popitem(last=False)
        firsts = self._firsts[topic_id, partition]
        del firsts[bisect_right(firsts, first) - 1]
        if not firsts:
            del self._firsts[topic_id, partition]
        self._bytes -= gone.size
