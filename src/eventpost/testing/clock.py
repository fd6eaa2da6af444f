"""A clock that a test moves: timers fire when it says so, in order, and nothing waits."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""


class VirtualTimer:
    """A call that is due at a virtual time."""

    __slots__ = ("args", "callback", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self.callback = callback
        self.args = args
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class VirtualClock:
    """Implements core.interfaces.Clock without an event loop. One thread."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._now_s = start_ms / 1000
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._order = itertools.count()
        self._soon: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self.calls = 0

    def now_ms(self) -> int:
        return int(self._now_s * 1000)

    def monotonic_s(self) -> float:
        return self._now_s

    def call_later(
        self, delay_s: float, callback: Callable[..., object], *args: object
    ) -> VirtualTimer:
        timer = VirtualTimer(callback, args)
        due_s = self._now_s + max(0.0, delay_s)
        heapq.heappush(self._timers, (due_s, next(self._order), timer))
        return timer

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self._soon.append((callback, args))

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: object) -> None:
        self._soon.append((callback, args))

    def settle(self) -> None:
        """Run everything that is due now, and what follows from it at once."""
        while self._soon:
            callback, args = self._soon.popleft()
            self.calls += 1
            callback(*args)

    def advance(self, seconds: float) -> None:
        """Move time on, firing every timer on the way at its own time."""
        end_s = self._now_s + seconds
        self.settle()
        while self._timers and self._timers[0][0] <= end_s:
            due_s, _, timer = heapq.heappop(self._timers)
            if timer.is_cancelled:
                continue
            self._now_s = max(self._now_s, due_s)
            self.calls += 1
            timer.callback(*timer.args)
            self.settle()
        self._now_s = end_s

    def step(self) -> bool:
        """Go to the next timer and run it. False when there is nothing left to do."""
        self.settle()
        while self._timers:
            due_s, _, timer = heapq.heappop(self._timers)
            if timer.is_cancelled:
                continue
            self._now_s = max(self._now_s, due_s)
            self.calls += 1
            timer.callback(*timer.args)
            self.settle()
            return True
        return False
