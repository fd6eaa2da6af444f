"""How much memory a worker has, and by how much it grows while something goes on.

Resident memory of all processes of the worker's group, looked at several times a second: what two
of them share counts twice, which is the same at each look.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

LOOK_S = 0.25
KIB_PER_MIB = 1024


def group_kib(group: int) -> int:
    """Resident memory of a group of processes."""
    return sum(
        _resident_kib(one)
        for one in Path("/proc").iterdir()
        if one.name.isdecimal() and _group_of(one) == group
    )


def _group_of(process: Path) -> int:
    with suppress(OSError):
        # The name stands in parentheses, and may itself hold spaces and parentheses.
        return int((process / "stat").read_text().rpartition(")")[2].split()[2])
    return -1


def _resident_kib(process: Path) -> int:
    with suppress(OSError):
        for line in (process / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


class MemoryWatch:
    """Of groups of processes, which may come and go. `mark` says from when growth counts."""

    def __init__(self, groups: Callable[[], Iterable[int]]) -> None:
        self._groups = groups
        self._from_kib = 0
        self._most_kib = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)
        self._thread.start()

    def mark(self) -> None:
        self._from_kib = self._most_kib = self._now_kib()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def told(self) -> str:
        """In MiB: what they had at the mark, and by how much more at most since; without a mark
        what they had at most."""
        if not self._from_kib:
            return f"{self._most_kib / KIB_PER_MIB:.0f} MiB"
        more_kib = self._most_kib - self._from_kib
        return f"{self._from_kib / KIB_PER_MIB:.0f} MiB +{more_kib / KIB_PER_MIB:.1f}"

    def _now_kib(self) -> int:
        return sum(map(group_kib, self._groups()))

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            self._most_kib = max(self._most_kib, self._now_kib())
