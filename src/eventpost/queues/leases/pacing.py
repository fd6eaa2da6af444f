"""When to try again, and when to say so again."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from eventpost.core.outcomes import Failed

KINDS_MAX = 100
"""Kinds of failures that are told apart at a time."""


class Quickness:
    """Whether so many messages were finished within the last moment."""

    def __init__(self, count: int, within_s: float) -> None:
        """`within_s` 0: never."""
        self.is_on = False
        self._within_s = within_s
        self._ends_s: deque[float] = deque(maxlen=count)

    def finished(self, now_s: float) -> None:
        """One more."""
        if self._within_s:
            self._ends_s.append(now_s)
            self.look(now_s)

    def look(self, now_s: float) -> None:
        """Nothing was finished since: is it still so?"""
        ends_s = self._ends_s
        is_full = len(ends_s) == ends_s.maxlen
        self.is_on = is_full and now_s - ends_s[0] <= self._within_s


class GrowingDelay:
    """Random pauses ("full jitter") below a bound that doubles with each failure."""

    def __init__(self, random: Random, s_min: float, s_max: float) -> None:
        self.failure_count = 0
        self._random = random
        self._s_min = s_min
        self._s_max = s_max

    def next_s(self, s_max: float | None = None) -> float:
        """The pause after one more failure; `s_max` in place of the bound of all bounds."""
        bound_s = self._s_min * 2.0 ** min(self.failure_count, 30)
        self.failure_count += 1
        return self._random.uniform(0.0, min(bound_s, s_max or self._s_max))

    def reset(self) -> None:
        self.failure_count = 0


@dataclass(slots=True)
class _Kind:
    told_s: float
    untold_count: int = 0


class Telling:
    """Tells each kind of failure once per interval, and counts the rest."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._kinds: dict[tuple[object, ...], _Kind] = {}

    def due_count(self, operation: str, failed: Failed, count: int, now_s: float) -> int:
        """How many failures there were since this kind was told; 0 when it is not told now."""
        evidence = failed.evidence
        key = (operation, evidence.stage, evidence.fault, evidence.code, evidence.status)
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                self._kinds.clear()
            kind = self._kinds[key] = _Kind(now_s - self._interval_s)
        kind.untold_count += count
        if now_s - kind.told_s < self._interval_s:
            return 0
        told, kind.told_s, kind.untold_count = kind.untold_count, now_s, 0
        return told


class Outage:
    """How long something fails without a success in between."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._failed: Failed | None = None

    @property
    def is_on(self) -> bool:
        return self._since_s is not None

    @property
    def failed(self) -> Failed | None:
        """The newest failure, while it lasts."""
        return self._failed if self.is_on else None

    def begin(self, now_s: float, failed: Failed) -> None:
        """It failed, perhaps again."""
        self._failed = failed
        if self._since_s is None:
            self._since_s = now_s

    def age_s(self, now_s: float) -> float:
        return 0.0 if self._since_s is None else now_s - self._since_s

    def end(self, now_s: float) -> float | None:
        """How long it lasted, or None when there was none."""
        if self._since_s is None:
            return None
        lasted_s, self._since_s = now_s - self._since_s, None
        return lasted_s


News = Callable[[], None]
"""A call of the listener, to be made without the lock."""
