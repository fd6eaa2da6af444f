"""Where is remembered what is finished, and whether that outlives the process's machine.

Layer: workers.
"""

import os
import re
from pathlib import Path

from eventpost.queues.ledger import Ledger
from eventpost.queues.ledger_file import FilePlace
from eventpost.queues.ledger_rows import Risk
from eventpost.queues.ledger_url import place_at

ON_CONTAINER_DISK = "EP5001"
VANISHING = frozenset({"overlay", "aufs", "tmpfs", "ramfs"})
"""File systems that go with their container, or with the machine's memory."""
MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def open_ledger(given: str | Path | None, namespace: str) -> Ledger:
    """The ledger that a user names, or the one of this user and namespace. Opens nothing yet.

    Raises InvalidRequest for a URL that is none of a ledger, or lacks a part.
    """
    if given is None:
        return Ledger(default_path(namespace))
    if isinstance(given, str) and "://" in given:
        return Ledger(place_at(given))
    return Ledger(Path(given))


def risks(ledger: Ledger) -> list[Risk]:
    """Why it may forget what it was told. Opens it. Raises LedgerError."""
    found = list(ledger.risks())
    if isinstance(ledger.place, FilePlace):
        kind = vanishing_disk(ledger.place.path)
        if kind:
            what = (
                f"The ledger {ledger.place.path} lies on a disk ({kind}) that goes with its "
                "container."
            )
            fix = "Give ledger= a path on a volume, or the URL of a server."
            found.append(Risk(ON_CONTAINER_DISK, what, fix))
    return found


def default_path(namespace: str) -> Path:
    """One file per user and namespace, for all processes of that user."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return base / "eventpost" / "workers" / f"{namespace or 'default'}.ledger"


def vanishing_disk(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of file system at `path` when it goes with its container, else ""."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""  # not Linux, or nothing is told
    target = str(path.resolve())
    found, length = "", -1
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")[0]
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        is_above = target == point or target.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= length:
            found, length = kind, len(point)
    return found if found in VANISHING else ""
