"""Where a store's blocking work runs: in threads when serving, inline in a simulation."""

import queue
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from eventpost.core.interfaces import Clock

T = TypeVar("T")


class Executor(Protocol):
    """Four lanes of work. Each lane carries out one piece at a time, in the order handed over.

    `work` must not raise; its result is handed to `done` on the grid's thread, never before the
    call that handed it over has returned. Called from the grid's thread.
    """

    def write(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        """The one lane that changes the store."""
        ...

    def read(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        """Reads that take well under a millisecond each."""
        ...

    def scan(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        """Reads that may take seconds, kept away from the quick ones."""
        ...

    def copy(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        """The log's way into the database, beside the lane that changes the store."""
        ...

    def settle(self) -> None:
        """Return once no lane is at work on what was handed over before; `done`s may be to come.

        What an inline executor has not begun yet may stay where it is."""
        ...

    def close(self) -> None:
        """Finish what was handed over, then stop. Idempotent."""
        ...


class InlineExecutor:
    """Does the work within the call and answers with the clock's next turn: for tests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def write(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._clock.call_soon(done, work())

    read = write
    scan = write
    copy = write

    def settle(self) -> None:
        return

    def close(self) -> None:
        return


class ThreadExecutor:
    """One thread per lane; results come back through `clock.call_soon_threadsafe`."""

    def __init__(self, clock: Clock) -> None:
        self._lanes = [_Lane(f"eventpost-store-{name}", clock) for name in _LANES]
        self._writer, self._reader, self._scanner, self._copier = self._lanes

    def write(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._writer.jobs.put((work, done))

    def read(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._reader.jobs.put((work, done))

    def scan(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._scanner.jobs.put((work, done))

    def copy(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._copier.jobs.put((work, done))

    def settle(self) -> None:
        for lane in self._lanes:
            lane.settle()

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()


_LANES = ("write", "read", "scan", "copy")
_Job = tuple[Callable[[], object], Callable[..., object]]


class _Lane:
    """A daemon thread: a process that ends without `close` does not hang on it."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._clock = clock
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def settle(self) -> None:
        if self._is_closed:
            return
        is_reached = threading.Event()
        self.jobs.put((is_reached.set, _ignore))
        is_reached.wait()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self.jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self.jobs.get()) is not None:
            work, done = job
            result = work()
            try:
                self._clock.call_soon_threadsafe(done, result)
            except RuntimeError:
                # The event loop was closed first: nobody is left to answer, and what was handed
                # over must still be carried out.
                continue


def _ignore(_result: object) -> None:
    return
