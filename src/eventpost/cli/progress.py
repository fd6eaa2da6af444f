"""How far a long command has come: a bar on a terminal, a plain line now and then otherwise.

Progress goes to standard error, so that it never mixes with data.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_INTERVAL_S = 2.0
BAR_INTERVAL_S = 0.1


class Progress(Protocol):
    def __enter__(self) -> "Progress": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def to(self, done: int) -> None:
        """So many are done. Cheap: the screen is not touched each time."""
        ...


def progress(label: str, *, total: int | None, unit: str = "events") -> Progress:
    """A progress display for `label`; `total` None when it is not known."""
    if sys.stderr.isatty():
        return _Bar(label, total, unit)
    return _Lines(label, total, unit)


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """A sign of life for one long request; nothing when nobody watches."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield


class _Lines:
    """`label: 1,200 of 5,000 events` every two seconds, and nothing for what is over sooner."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label = label
        self.of = f" of {total:,}" if total is not None else ""
        self.unit = unit
        self.next_at = time.monotonic() + LINE_INTERVAL_S

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def to(self, done: int) -> None:
        now = time.monotonic()
        if now >= self.next_at:
            self.next_at = now + LINE_INTERVAL_S
            print(f"{self.label}: {done:,}{self.of} {self.unit}", file=sys.stderr, flush=True)


class _Bar:
    """A rich progress bar."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.next_at = 0.0
        self.bar: RichProgress
        self.task: TaskID

    def __enter__(self) -> "_Bar":
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(self.unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.bar.add_task(self.label, total=self.total)
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def to(self, done: int) -> None:
        now = time.monotonic()
        if now >= self.next_at:
            self.next_at = now + BAR_INTERVAL_S
            self.bar.update(self.task, completed=done)
