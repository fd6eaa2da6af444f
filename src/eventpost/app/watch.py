"""Whether the workers inside do their work: asked of each of them again and again.

A thread that has ended, a call that hangs and a callback that failed all look alike from outside:
nothing comes back, and nothing is said. So every worker of the store is given something to do that
changes nothing, and what escapes from a callback is kept.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eventpost.app.application import Health
from eventpost.app.clock import AppClock
from eventpost.core.interfaces import Commit, DeadLetterQuery, Store, Timer
from eventpost.telemetry import logs

if TYPE_CHECKING:
    from eventpost.app.application import App

ASK_S = 5.0
"""Time between a sign of life and the next question."""
SILENT_S_MAX = {"writer": 30.0, "reader": 30.0, "scanner": 300.0}
"""How long a worker may take for an answer; a scan reads through very much."""
GRID = "eventpost/grid/"
"""A failed callback of this part leaves something undone that nobody will do."""

Answered = Callable[[object], None]


class Watch:
    """Asks from `start` until `stop`. On the loop's thread."""

    def __init__(self, app: "App", clock: AppClock) -> None:
        self._app = app
        self._clock = clock
        self._asked_s: dict[str, float] = {}
        """Since when an answer is awaited, by worker."""
        self._timers: dict[str, Timer] = {}
        self._is_stopped = False
        self._failure = ""
        """Of a callback of the grid."""

    def start(self) -> None:
        self._app.checks += [self.workers, self.grid, _log]
        for worker in SILENT_S_MAX:
            self._ask(worker)

    def stop(self) -> None:
        self._is_stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # --- what is told ---------------------------------------------------------------------------

    def workers(self) -> Health:
        """Whether each worker of the store has answered lately."""
        now_s = self._clock.monotonic_s()
        silent = {
            worker: now_s - asked_s
            for worker, asked_s in self._asked_s.items()
            if now_s - asked_s > SILENT_S_MAX[worker]
        }
        told = [f"the store's {worker} is silent for {age:.0f} s" for worker, age in silent.items()]
        return Health("store-workers", not told, "; ".join(told))

    def grid(self) -> Health:
        """Whether the grid is whole: an error that nobody expected may have left it stuck."""
        return Health("grid", not self._failure, self._failure)

    # --- the workers of the store -----------------------------------------------------------------

    def _ask(self, worker: str) -> None:
        self._asked_s[worker] = self._clock.monotonic_s()
        _QUESTIONS[worker](self._app.supervisor.store, lambda _: self._answered(worker))

    def _answered(self, worker: str) -> None:
        self._asked_s.pop(worker, None)
        if self._is_stopped:
            return
        self._timers[worker] = self._clock.call_later(ASK_S, self._ask, worker)

    # --- what nobody caught -----------------------------------------------------------------------

    def escaped(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler."""
        error = context.get("exception")
        frames = traceback.extract_tb(error.__traceback__) if error is not None else []
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        what = f"{type(error).__name__}: {error}" if error is not None else context["message"]
        if any(GRID in frame.filename for frame in frames):
            self._failure = f"{what} at {where}"
        logs.log(
            "loop.callback_failed",
            level=logging.ERROR,
            reason=what,
            where=where,
            stack=" < ".join(f"{each.name}:{each.lineno}" for each in reversed(frames)),
        )


def _log() -> Health:
    is_written = logs.is_written()
    return Health("log", is_written, "" if is_written else "its thread has ended")


_QUESTIONS: dict[str, Callable[[Store, Answered], None]] = {
    "writer": lambda store, done: store.commit(Commit(), done),
    "reader": lambda store, done: store.position_at(0, 0, 0, done),
    "scanner": lambda store, done: store.count_dead_letters(DeadLetterQuery(ids=[]), done),
}
