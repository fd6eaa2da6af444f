"""How often the same thing is said: so many records per window, the rest is counted.

A million failing deliveries are a million attempts in the store, but not a million lines.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from eventpost.core.log_bounds import KEYS_MAX, SAID_MAX, WINDOW_S

Key = tuple[str, str]


@dataclass(slots=True)
class _Window:
    start_s: float
    said_count: int = 0
    suppressed_count: int = 0


class Repeats:
    """Decides for each record whether it is said. Safe to call from any thread.

    A window begins with its first record and lasts until `take_suppressed` finds it over, so that
    what it suppressed is told before the next one begins.
    """

    def __init__(
        self,
        *,
        said_max: int = SAID_MAX,
        window_s: float = WINDOW_S,
        keys_max: int = KEYS_MAX,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.suppressed_total = 0
        self._said_max = said_max
        self.window_s = window_s
        self._keys_max = keys_max
        self._now = now
        self._windows: dict[Key, _Window] = {}
        self._lock = threading.Lock()

    def is_said(self, event: str, subscription: str) -> bool:
        """Whether this record is written; if not, it is counted."""
        with self._lock:
            window = self._window((event, subscription))
            if window.said_count < self._said_max:
                window.said_count += 1
                return True
            window.suppressed_count += 1
            self.suppressed_total += 1
            return False

    def take_suppressed(self, *, is_last: bool = False) -> list[tuple[Key, int]]:
        """What was suppressed in windows that are over, once; those windows are forgotten.

        `is_last`: in all windows, because no later call comes.
        """
        with self._lock:
            over_s = self._now() - (0.0 if is_last else self.window_s)
            over = [key for key, window in self._windows.items() if window.start_s <= over_s]
            windows = [(key, self._windows.pop(key)) for key in over]
            return [(key, one.suppressed_count) for key, one in windows if one.suppressed_count]

    def _window(self, key: Key) -> _Window:
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= self._keys_max and key[1]:
                return self._window((key[0], ""))
            window = self._windows[key] = _Window(self._now())
        return window
