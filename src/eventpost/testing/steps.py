"""The virtual clock of a grid that runs on an event loop: turns are real, time is the test's."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from eventpost.testing.clock import START_MS, VirtualClock, VirtualTimer

if TYPE_CHECKING:
    from eventpost.testing.background import BackgroundLoop

STEP_S_MAX = 1.0
"""While an attempt is under way time moves no further at once, so that its timeout is noticed when
it is due."""


class GridClock(VirtualClock):
    """Time stands still but for `advance`. Timers without a delay run with the loop's next turn.

    `advance` goes from timer to timer and lets the grid come to rest before each, so that an hour
    passes as it would have: what was sent is answered before the next attempt falls due. Until it
    is attached to a grid it is a plain VirtualClock. `now_ms`, `monotonic_s` and `advance` are for
    any thread, the rest for the grid's.
    """

    def __init__(self, start_ms: int = START_MS) -> None:
        super().__init__(start_ms)
        self.turns_pending = 0
        """Calls that were asked for and have not been made."""
        self._background: BackgroundLoop | None = None
        self._rest: Callable[[], Awaitable[None]] | None = None
        self._is_busy: Callable[[], bool] = lambda: False

    def attach(
        self,
        background: "BackgroundLoop",
        *,
        rest: Callable[[], Awaitable[None]],
        is_busy: Callable[[], bool],
    ) -> None:
        """Serve a grid: `rest` waits until only time can move it, `is_busy` tells whether attempts
        are under way even so."""
        self._background = background
        self._rest = rest
        self._is_busy = is_busy

    def detach(self) -> None:
        """The grid has stopped; with it go its timers."""
        self._timers.clear()

    def now_ms(self) -> int:
        return round(self._now_s * 1000)

    def call_later(
        self, delay_s: float, callback: Callable[..., object], *args: object
    ) -> VirtualTimer:
        if delay_s > 0:
            return super().call_later(delay_s, callback, *args)
        timer = VirtualTimer(callback, args)
        self.call_soon(_fire, timer)
        return timer

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        if self._background is None:
            super().call_soon(callback, *args)
            return
        self.turns_pending += 1
        self._background.loop.call_soon(self._turn, callback, args)

    def _turn(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self.turns_pending -= 1
        self.calls += 1
        callback(*args)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: object) -> None:
        if self._background is None:
            super().call_soon_threadsafe(callback, *args)
        else:
            self._background.loop.call_soon_threadsafe(callback, *args)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass. Raises TimeoutError when the grid does not come to rest."""
        if self._background is None:
            super().advance(seconds)
        else:
            self._background.run(self._advance(seconds))

    async def _advance(self, seconds: float) -> None:
        assert self._rest is not None
        await self._rest()
        end_s = self._now_s + seconds
        while True:
            due = self._next_due_s()
            step_s = min(end_s, end_s if due is None else due)
            if self._is_busy():
                step_s = min(step_s, self._now_s + STEP_S_MAX)
            self._now_s = max(self._now_s, step_s)
            if due is not None and due <= self._now_s:
                _, _, timer = heapq.heappop(self._timers)
                self.call_soon(_fire, timer)
            elif self._now_s >= end_s:
                await self._rest()
                return
            await self._rest()

    def _next_due_s(self) -> float | None:
        """When the next timer that still counts is due."""
        while self._timers and self._timers[0][2].is_cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None


def _fire(timer: VirtualTimer) -> None:
    if not timer.is_cancelled:
        timer.callback(*timer.args)


async def soon() -> None:
    """A short real wait, in a loop that asks for a condition."""
    await asyncio.sleep(0.0005)
