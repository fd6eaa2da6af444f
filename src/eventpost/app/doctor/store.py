"""The ladder of the store and of folders for dead letters: looked at from outside, never opened.

Layer: app.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from eventpost.config.quantities import size_text
from eventpost.diagnosis import codes
from eventpost.diagnosis.doctor.climbing import Look
from eventpost.diagnosis.doctor.ladder import Faulty, Seen, Warned

FREE_BYTES_MIN = 16 * 1024 * 1024
"""With less than this a disk is as good as full: SQLite's log alone may want it."""
FREE_BYTES_WARNING = 512 * 1024 * 1024


def steps_of(data: Path) -> list[tuple[str, Look]]:
    """The ladder of a data directory."""
    return [
        ("settings", lambda: f"the data directory {data.absolute()}"),
        ("authorization", lambda: _directory(data)),
        ("quota", lambda: room(data, codes.DISK_FULL)),
    ]


def _directory(data: Path) -> Seen:
    if not data.exists():
        return "it is not there yet, and is made at the first start"
    missing = _missing_rights(data)
    for each in sorted(data.iterdir()):
        if each.is_file() and not os.access(each, os.R_OK | os.W_OK):
            missing.append(f"{each.name} cannot be read and written")
    if missing:
        return Faulty(code=codes.DATA_DIRECTORY_NOT_WRITABLE, detail="; ".join(missing))
    return "this user may read and write it"


def folder(path: Path) -> Look:
    """Whether dead letters can be written to a folder: it, or what it will be made in."""

    def look() -> Seen:
        place = _existing(path)
        missing = _missing_rights(place)
        if missing:
            return Faulty(code=codes.EXPORT_FAILED, detail="; ".join(missing))
        found = room(place, codes.EXPORT_FAILED)
        return f"dead letters can be written to {path}" if isinstance(found, str) else found

    return look


def room(path: Path, code: str) -> Seen:
    """What is free on the disk of a path."""
    free = shutil.disk_usage(_existing(path)).free
    told = f"{size_text(free)} are free"
    if free < FREE_BYTES_MIN:
        return Faulty(code=code, detail=told)
    return Warned(code=code, detail=told) if free < FREE_BYTES_WARNING else told


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def _missing_rights(path: Path) -> list[str]:
    if not path.is_dir():
        return [f"{path} is no directory"]
    rights: Sequence[tuple[int, str]] = ((os.W_OK, "written to"), (os.X_OK, "entered"))
    return [f"{path} cannot be {what}" for right, what in rights if not os.access(path, right)]
