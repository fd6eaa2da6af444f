"""Climbing ladders: many at once, each within a bound, whatever hangs.

Layer: diagnosis. A look may hang for as long as a library lets it, in a name server or in a
metadata service; so each ladder is climbed on a thread of its own, which is left behind when its
time is up. Those threads never hold the process up.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eventpost.diagnosis.doctor.ladder import (
    Examination,
    Faulty,
    Rung,
    Seen,
    State,
    rung,
    unexpected,
)

SECONDS_MAX = 15.0
"""For one ladder, from its first rung on."""
PARALLEL_MAX = 32
NOT_ENDED = "EP6001"

Look = Callable[[], Seen]
"""Looks at one rung. Blocks; changes nothing."""
Step = Callable[[], "Seen | Sequence[Rung]"]
"""The same, or several rungs that come together."""
OnRung = Callable[[str, str, Rung], None]
"""Told the kind and the name of what is examined and each rung as it is known; from any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One thing to examine, and the looks that make up its ladder, in their order."""

    kind: str
    name: str
    steps: Sequence[tuple[str, Step]]


def examine(
    subjects: Sequence[Subject],
    *,
    seconds_max: float = SECONDS_MAX,
    parallel_max: int = PARALLEL_MAX,
    all_seconds_max: float = math.inf,
    on_rung: OnRung = lambda *_: None,
) -> list[Examination]:
    """Climb every ladder; one examination each, in order. Raises nothing, and ends within
    `seconds_max` for each `parallel_max` of them, and within `all_seconds_max` altogether."""
    ends_s = time.monotonic() + all_seconds_max
    changed = threading.Condition()
    climbs = [_Climb(each, changed, on_rung) for each in subjects]
    waiting, running = deque(climbs), list[_Climb]()
    with changed:
        while waiting or running:
            while waiting and len(running) < parallel_max:
                left_s = max(0.0, ends_s - time.monotonic())
                running.append(waiting.popleft().started(min(seconds_max, left_s)))
            now_s = time.monotonic()
            running = [each for each in running if not each.is_over(now_s)]
            if running and (len(running) == parallel_max or not waiting):
                changed.wait(max(0.0, min(each.until_s for each in running) - now_s))
        return [each.examination() for each in climbs]


@dataclass(slots=True)
class _Climb:
    """One ladder on its way. What is shared is read and written under `changed`."""

    subject: Subject
    changed: threading.Condition
    on_rung: OnRung
    rungs: list[Rung] = field(default_factory=list)
    current: str = ""
    until_s: float = 0.0
    seconds_max: float = 0.0
    is_done: bool = False
    is_left: bool = False

    def started(self, seconds_max: float) -> "_Climb":
        self.seconds_max = seconds_max
        self.until_s = time.monotonic() + seconds_max
        name = f"eventpost-doctor-{self.subject.name}"
        threading.Thread(target=self._climb, name=name, daemon=True).start()
        return self

    def is_over(self, now_s: float) -> bool:
        if not self.is_done and now_s >= self.until_s:
            self._leave()
        return self.is_done or self.is_left

    def examination(self) -> Examination:
        return Examination(kind=self.subject.kind, name=self.subject.name, rungs=tuple(self.rungs))

    def _leave(self) -> None:
        """Its time is up: what it says from now on is not heard."""
        self.is_left = True
        detail = f"looking had not ended after {self.seconds_max:.3g} s, and was left"
        found = rung(self.current or "settings", Faulty(code=NOT_ENDED, detail=detail))
        assert found is not None
        self.rungs.append(found)
        self.on_rung(self.subject.kind, self.subject.name, found)

    def _climb(self) -> None:
        for name, look in self.subject.steps:
            with self.changed:
                self.current = name
            for each in self._seen(name, look):
                if not self._add(each) or each.state is State.BROKEN:
                    return self._end()
        return self._end()

    def _seen(self, name: str, look: Step) -> Sequence[Rung]:
        began_s = time.monotonic()
        try:
            seen = look()
        except Exception as error:  # noqa: BLE001 - the border: a look that breaks is a rung
            return [unexpected(name, error)]
        if isinstance(seen, Sequence) and not isinstance(seen, str):
            return seen
        found = rung(name, seen, round((time.monotonic() - began_s) * 1_000))
        return [] if found is None else [found]

    def _add(self, found: Rung) -> bool:
        with self.changed:
            if self.is_left:
                return False
            self.rungs.append(found)
            self.on_rung(self.subject.kind, self.subject.name, found)
            return True

    def _end(self) -> None:
        with self.changed:
            self.is_done = True
            self.changed.notify_all()
