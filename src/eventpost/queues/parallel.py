"""A few threads for blocking calls, so that whoever asks is answered in time, whatever hangs.

Layer: queues. For services that have no batch calls, and for libraries whose time limits leave out
what they should bound (name lookup, an answer that trickles).
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Late(Enum):
    """Why there is no result at the end of the time."""

    WAITING = "waiting"
    """No thread was free: the call was never begun, and will not be."""
    RUNNING = "running"
    """It goes on in its thread, and nobody waits for it any more."""


class Parallel:
    """At most `threads_max` calls at once, from any number of callers.

    Threads are daemons, made when they are needed: one that hangs keeps no process from ending.
    """

    def __init__(self, threads_max: int, name: str) -> None:
        self._threads_max = threads_max
        self._name = name
        self._jobs: queue.SimpleQueue[_Job[Any] | _Turn] = queue.SimpleQueue()
        self._first: deque[_Job[Any]] = deque()
        """Whoever gets a turn begins with these."""
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._thread_count = 0
        self._unfinished: set[_Job[Any]] = set()
        self._is_closed = False

    def run(
        self, calls: Sequence[Callable[[], T]], within_s: float, *, is_first: bool = False
    ) -> list[T | Late]:
        """The results in order, after at most `within_s` for all of them together. With `is_first`
        they begin before all that wait for a thread.

        Raises what a call raised. Once closed, nothing is begun any more.
        """
        jobs = [_Job(call) for call in calls]
        ends_s = time.monotonic() + within_s
        for job in jobs:
            self._submit(job, is_first=is_first)
        for job in jobs:
            job.is_over.wait(max(0.0, ends_s - time.monotonic()))
        return [job.result() for job in jobs]

    @property
    def unfinished_count(self) -> int:
        """Calls that were asked for and are not over."""
        return len(self._unfinished)

    def close(self) -> None:
        """Answer all who wait, and let each thread end after the call that it is in. Idempotent."""
        with self._lock:
            self._is_closed = True
            unfinished = list(self._unfinished)
            for _ in range(self._thread_count):
                self._jobs.put(_Turn.LAST)
        for job in unfinished:
            job.is_over.set()

    def _submit(self, job: "_Job[T]", *, is_first: bool) -> None:
        with self._lock:
            if self._is_closed:
                job.is_over.set()
                return
            self._unfinished.add(job)
            if is_first:
                self._first.append(job)
            self._jobs.put(_Turn.ANY if is_first else job)
            if not self._idle.acquire(blocking=False) and self._thread_count < self._threads_max:
                self._thread_count += 1
                name = f"{self._name}-{self._thread_count}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (turn := self._jobs.get()) is not _Turn.LAST:
            last: _Job[Any] | None = None
            for job in self._due(turn):
                if last is not None:
                    last.is_over.set()
                self._run(job)
                last = job
            self._idle.release()  # before anybody hears of the result, and asks for the next
            if last is not None:
                last.is_over.set()

    def _due(self, turn: "_Job[Any] | _Turn") -> "Iterator[_Job[Any]]":
        """All that come first by now, and then what waited for this turn."""
        while self._first:
            try:
                yield self._first.popleft()
            except IndexError:  # another thread was quicker
                break
        if isinstance(turn, _Job):
            yield turn

    def _run(self, job: "_Job[Any]") -> None:
        job.run()
        with self._lock:
            self._unfinished.discard(job)


class _Turn(Enum):
    """What a thread gets in the place of a call."""

    ANY = "any"
    """A turn for those that come first, unless other threads have begun them by now."""
    LAST = "last"
    """To end."""


class _Job(Generic[T]):
    """One call, which begins or is abandoned."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.is_over = threading.Event()
        self._call = call
        self._lock = threading.Lock()
        self._late: Late | None = Late.WAITING
        self._is_abandoned = False
        self._result: T
        self._error: BaseException | None = None

    def run(self) -> None:
        with self._lock:
            if self._is_abandoned:
                return
            self._late = Late.RUNNING
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
        self._late = None

    def result(self) -> T | Late:
        with self._lock:
            late = self._late
            self._is_abandoned = late is Late.WAITING
        if late is not None:
            return late
        if self._error is not None:
            raise self._error
        return self._result
