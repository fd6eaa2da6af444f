"""The real program, which ends itself at a named point, or lives by a clock that is wrong.

`python -m tests.crash.launcher serve ...` is `eventpost serve ...` with

    EVENTPOST_CRASH_POINT=NAME:COUNT   SIGKILL when it comes to that point for the COUNT-th time
    EVENTPOST_CLOCK_OFFSET_S=SECONDS   the wall clock is so many seconds ahead
    SIGUSR1, SIGUSR2                   the wall clock steps an hour forward, an hour back

The points are put around functions of the program from outside, so that the program itself holds
nothing for them and pays nothing.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from eventpost.app.intake import GridIntake
from eventpost.cli.main import main
from eventpost.destinations.webhook import WebhookDestination
from eventpost.grid.catchup import CatchUp
from eventpost.grid.deadletters import DeadLetters
from eventpost.grid.engine import Engine
from eventpost.grid.export import Exports
from eventpost.grid.journal import Journal
from eventpost.grid.lane import Lane
from eventpost.queues.leases import Leases
from eventpost.queues.leases.commands import Page, Settle
from eventpost.stores.sqlite.database import Database

POINT = "EVENTPOST_CRASH_POINT"
CLOCK_OFFSET = "EVENTPOST_CLOCK_OFFSET_S"
STEPS_S: dict[int, float] = {signal.SIGUSR1: 3_600.0, signal.SIGUSR2: -3_600.0}


class Point(NamedTuple):
    """Before or after a call of `owner.function` whose arguments are meant."""

    owner: type
    function: str
    is_before: bool
    is_meant: Callable[..., bool] = lambda *_: True


def _has_events(_database: Any, commit: Any) -> bool:
    return bool(commit.appends)


def _has_outcomes(_database: Any, commit: Any) -> bool:
    return bool(commit.outcome_id)


def _has_taken(_database: Any, commit: Any) -> bool:
    return bool(commit.taken)


def _has_forgotten(_database: Any, commit: Any) -> bool:
    return bool(commit.taken_remove)


def _has_brought(_leases: Any, _command: Any, result: Any) -> bool:
    return isinstance(result, Page) and bool(result.received)


def _settles(_leases: Any, command: Any) -> bool:
    return isinstance(command, Settle)


def _has_publishers(_owner: Any, group: Any, _result: Any) -> bool:
    return bool(group.published)


POINTS = {
    "while-opening": Point(Database, "__init__", is_before=False),
    "before-commit": Point(Database, "commit", True, _has_events),
    "after-commit": Point(Database, "commit", False, _has_events),
    "before-answer": Point(Journal, "_done", True),
    "after-answer": Point(Engine, "_committed", True, _has_publishers),
    "after-routing": Point(Engine, "_committed", False, _has_publishers),
    "after-sending": Point(WebhookDestination, "deliver", is_before=False),
    "after-outcome": Point(Lane, "_on_outcome", is_before=False),
    "after-commit-of-outcomes": Point(Database, "commit", False, _has_outcomes),
    "after-dead-letter": Point(DeadLetters, "fall", is_before=False),
    "after-file": Point(Exports, "_written", is_before=True),
    "while-restoring": Point(CatchUp, "_was_read", is_before=False),
}
"""In the order in which an event comes by, restarts first and last."""

SOURCE_POINTS = {
    "after-receiving": Point(Leases, "answer", True, _has_brought),
    "before-handing-over": Point(GridIntake, "take", is_before=True),
    "before-commit-of-taken": Point(Database, "commit", True, _has_taken),
    "after-commit-of-taken": Point(Database, "commit", False, _has_taken),
    "before-settling": Point(Leases, "carry_out", True, _settles),
    "after-settling": Point(Leases, "carry_out", False, _settles),
    "before-forgetting": Point(GridIntake, "forget", is_before=True),
    "after-forgetting": Point(Database, "commit", False, _has_forgotten),
}
"""In the order in which a message of a queue comes by."""


def arm(point: Point, count: int) -> None:
    """End the process when it has come by `count` times."""
    original = getattr(point.owner, point.function)
    left = count

    def burn() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(*arguments: Any, **named: Any) -> Any:
        is_meant = point.is_meant(*arguments)
        if is_meant and point.is_before:
            burn()
        result = original(*arguments, **named)
        if is_meant and not point.is_before:
            burn()
        return result

    setattr(point.owner, point.function, around)


def set_clock(offset_s: float) -> None:
    """Let the wall clock be wrong, and step when told to; monotonic time is as it is."""
    time_s, time_ns = time.time, time.time_ns
    time.time = lambda: time_s() + offset_s
    time.time_ns = lambda: time_ns() + int(offset_s * 1e9)

    def step(number: int, _frame: object) -> None:
        nonlocal offset_s
        offset_s += STEPS_S[number]

    for number in STEPS_S:
        signal.signal(number, step)


if __name__ == "__main__":
    wanted, _, after = os.environ.pop(POINT, "").partition(":")
    if wanted:
        arm((POINTS | SOURCE_POINTS)[wanted], int(after or 1))
    set_clock(float(os.environ.pop(CLOCK_OFFSET, "0")))
    sys.exit(main(sys.argv[1:]))
