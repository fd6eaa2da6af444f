"""The real program, killed by itself at a named point of the commit path.

`python -m tests.crash.launcher POINT COUNT serve ...` runs `eventpost serve ...` and sends itself
SIGKILL when it comes to the point for the COUNT-th time with events in hand.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from eventpost.cli.main import main
from eventpost.grid import engine
from eventpost.stores.sqlite import database

POINTS = ("before-commit", "after-commit", "after-answer", "after-route", "after-outcomes")


class _Fuse:
    def __init__(self, count: int) -> None:
        self._left = count

    def burn(self) -> None:
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, count: int) -> None:
    """Wrap the one function that the point belongs to."""
    fuse = _Fuse(count)
    if point in {"before-commit", "after-commit", "after-outcomes"}:
        _wrap(database.Database, "commit", _around_commit(point, fuse))
    elif point == "after-answer":
        _wrap(engine.Engine, "_committed", _before_routing(fuse))
    else:
        assert point == "after-route", point
        _wrap(engine.Engine, "_committed", _after_routing(fuse))


def _wrap(owner: type, name: str, wrapper: Callable[[Any], Any]) -> None:
    setattr(owner, name, wrapper(getattr(owner, name)))


def _around_commit(point: str, fuse: _Fuse) -> Callable[[Any], Any]:
    def wrapper(original: Any) -> Any:
        def commit(self: Any, commit: Any) -> Any:
            is_ours = bool(commit.outcome_id) if point == "after-outcomes" else bool(commit.appends)
            if point == "before-commit" and is_ours:
                fuse.burn()
            result = original(self, commit)
            if point != "before-commit" and is_ours:
                fuse.burn()
            return result

        return commit

    return wrapper


def _before_routing(fuse: _Fuse) -> Callable[[Any], Any]:
    def wrapper(original: Any) -> Any:
        def committed(self: Any, group: Any, result: Any) -> Any:
            if group.published:
                fuse.burn()
            return original(self, group, result)

        return committed

    return wrapper


def _after_routing(fuse: _Fuse) -> Callable[[Any], Any]:
    def wrapper(original: Any) -> Any:
        def committed(self: Any, group: Any, result: Any) -> Any:
            answer = original(self, group, result)
            if group.published:
                fuse.burn()
            return answer

        return committed

    return wrapper


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
