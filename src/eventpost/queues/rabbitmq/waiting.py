"""Receives that wait: who asks for how many, and who is told what.

Layer: queues, on the loop's thread.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from eventpost.core.outcomes import Evidence


class Waiter:
    """A receive that waits."""

    __slots__ = ("count", "event", "evidence", "is_woken")

    def __init__(self, count: int) -> None:
        self.count = count
        self.event = asyncio.Event()
        self.is_woken = False
        self.evidence: Evidence | None = None
        """Why there is nothing to wait for."""

    async def until(self, is_ready: Callable[[], bool], deadline_s: float) -> None:
        """Wait until something is ready, or this one is told or woken, or the time is over."""
        while not (is_ready() or self.is_woken or self.evidence is not None):
            rest_s = deadline_s - time.monotonic()
            if rest_s <= 0:
                return
            self.event.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self.event.wait()


class Waiters:
    """All that wait now, in the order of their coming."""

    def __init__(self) -> None:
        self._waiting: deque[Waiter] = deque()
        self._news: Evidence | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def asked_count(self) -> int:
        """How many messages they want together."""
        return sum(each.count for each in self._waiting)

    def add(self, count: int) -> Waiter:
        waiter = Waiter(count)
        self._waiting.append(waiter)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        self._waiting.remove(waiter)

    def stir(self) -> None:
        """Let the first one look again."""
        if self._waiting:
            self._waiting[0].event.set()

    def wake(self) -> None:
        """Let all return."""
        for waiter in self._waiting:
            waiter.is_woken = True
            waiter.event.set()

    def tell(self, evidence: Evidence) -> None:
        """Whoever waits is told, else whoever asks next: once."""
        for waiter in self._waiting:
            waiter.evidence = evidence
            waiter.event.set()
        if not self._waiting:
            self._news = evidence

    def take_news(self) -> Evidence | None:
        """What nobody was told yet."""
        news, self._news = self._news, None
        return news
