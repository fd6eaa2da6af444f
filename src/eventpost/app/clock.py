"""Real time on an event loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from eventpost.core.interfaces import Clock, Timer


class AppClock(Clock, Protocol):
    """The grid's clock, which also measures how long the network takes."""

    def monotonic_s(self) -> float:
        """Seconds since some moment, never going back."""
        ...


class LoopClock:
    """Implements core.interfaces.Clock. The wall clock is read once, at the start; from there time
    is monotonic, so that a step of the system's clock expires nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self.monotonic_s: Callable[[], float] = time.monotonic
        self.call_soon: Callable[..., object] = loop.call_soon
        self.call_soon_threadsafe: Callable[..., object] = loop.call_soon_threadsafe

    def now_ms(self) -> int:
        return (time.monotonic_ns() + self._offset_ns) // 1_000_000

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: object) -> Timer:
        return self._loop.call_later(delay_s, callback, *args)
