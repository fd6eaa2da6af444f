"""The pace of a run once its libraries are imported and its connections are open."""

import time
from collections.abc import Callable
from dataclasses import dataclass

WARM = 50
"""Messages before the clock starts. A run that was past its half when they were first seen counts
from its beginning."""


@dataclass(frozen=True, slots=True)
class Took:
    """What all messages of a run would have taken at the pace after the first `WARM`."""

    seconds: float
    cpu_s: float


class Pace:
    """Tell it with `came` how many have been moved, from any thread, at least at the end."""

    def __init__(self, count: int, cpu_s: Callable[[], float] = time.process_time) -> None:
        self._count = count
        self._cpu_s = cpu_s
        self._first = 0
        self._start = self._end = self._now()

    def came(self, moved: int) -> None:
        """So many have been moved by now."""
        if not self._first and WARM <= moved <= self._count // 2:
            self._first, self._start = moved, self._now()
        if moved >= self._count:
            self._end = self._now()

    def took(self) -> Took:
        """Once all of them have been moved."""
        share = self._count / (self._count - self._first)
        seconds, cpu_s = (
            (end - start) * share for start, end in zip(self._start, self._end, strict=True)
        )
        return Took(seconds, cpu_s)

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), self._cpu_s()
