"""So many messages a second. Pure but for the clock that it is given.

Layer: sources.
"""

from collections.abc import Callable


class Pace:
    def __init__(self, rate_per_s: float, monotonic_s: Callable[[], float]) -> None:
        self._rate_per_s = rate_per_s
        self._monotonic_s = monotonic_s
        self._from_s = monotonic_s()
        self._sent = 0

    def due(self) -> int:
        """How many may go now. What a pause saved up is not made good: at most a second's worth
        goes at once."""
        now_s = self._monotonic_s()
        due = (now_s - self._from_s) * self._rate_per_s + 1 - self._sent
        if due > max(2.0, self._rate_per_s):
            self._from_s, self._sent = now_s, 0
            return 1
        return int(due)

    def sent(self, count: int) -> None:
        self._sent += count
