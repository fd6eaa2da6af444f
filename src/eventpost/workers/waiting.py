"""Messages that are due within moments, in the order of their times.

Layer: workers. Each is under lease meanwhile, and counts against what is fetched ahead.
"""

import heapq
import itertools
import threading

from eventpost.workers.message import LeasedMessage

NEVER_S = float("inf")


class Waiting:
    """From any thread. Times are those of the monotonic clock."""

    def __init__(self, count_max: int) -> None:
        self._count_max = max(1, count_max)
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._heap: list[tuple[float, int, LeasedMessage]] = []

    @property
    def has_room(self) -> bool:
        with self._lock:
            return len(self._heap) < self._count_max

    def add(self, message: LeasedMessage, due_s: float) -> None:
        with self._lock:
            heapq.heappush(self._heap, (due_s, next(self._order), message))

    def due(self, now_s: float) -> LeasedMessage | None:
        with self._lock:
            if self._heap and self._heap[0][0] <= now_s:
                return heapq.heappop(self._heap)[2]
            return None

    def next_s(self) -> float:
        """When the next one is due."""
        with self._lock:
            return self._heap[0][0] if self._heap else NEVER_S

    def take_all(self) -> list[tuple[float, LeasedMessage]]:
        with self._lock:
            taken, self._heap = self._heap, []
        return [(due_s, message) for due_s, _, message in taken]
