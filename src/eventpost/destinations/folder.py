"""Dead-letter files in a folder: whole or not at all, durable before they are told of."""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from eventpost.core.errors import InvalidRequest
from eventpost.core.interfaces import Clock
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage

SCHEME = "folder:"


def check(destination: str | None) -> None:
    """Raises InvalidRequest for a place that dead letters cannot be written to."""
    if destination is not None and not destination.startswith(SCHEME):
        kind = destination.partition(":")[0]
        raise InvalidRequest(
            "DeadLetterKindNotAvailable",
            f"Dead letters cannot be written to {kind}:// in this version.",
            fix="Use folder:PATH, or leave it out: dead letters are kept in the store in any case.",
        )


class FolderFiles:
    """Implements core.interfaces.DeadLetterFiles for `folder:PATH`. Files are written on the
    executor's threads; `done` is called on the clock's."""

    def __init__(self, executor: Executor, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock

    def write(
        self, destination: str, path: str, body: bytes, done: Callable[[str | Failed], None]
    ) -> None:
        def work() -> None:
            result = _written(destination, path, body)
            self._clock.call_soon_threadsafe(done, result)

        self._executor.submit(work)


def _written(destination: str, path: str, body: bytes) -> str | Failed:
    started_s = time.monotonic()
    target = Path(destination.removeprefix(SCHEME)).expanduser().absolute() / path
    try:
        write_whole(target, body)
    except OSError as error:
        evidence = Evidence(
            stage=Stage.WRITE,
            fault=Fault.UNEXPECTED,
            errno=error.errno,
            elapsed_ms=int((time.monotonic() - started_s) * 1000),
            address=str(target.parent),
            detail=f"{type(error).__name__}: {error.strerror or error}",
        )
        return Failed(evidence)
    return target.as_uri()


def write_whole(target: Path, body: bytes) -> None:
    """Temporary name, sync, rename, sync of the folder: a reader sees all of it or nothing.

    Raises OSError. A file of that name is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
