"""The clock and the threads of one simulated process: they end with it, at any instant."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from eventpost.core.interfaces import ReadFailed, Timer
from eventpost.testing.clock import VirtualClock

T = TypeVar("T")
_Job = tuple[Callable[[], object], Callable[..., object]]

STALL_CHANCE = 0.02
"""That a thread does not get its turn for long."""
STALL_S_MAX = 0.2
TURN_S_MAX = 0.002


class ProcessClock:
    """Implements core.interfaces.Clock. Nothing of a process runs after its end.

    `offset_ms` is how wrong the wall clock was when the process began.
    """

    def __init__(self, clock: VirtualClock, offset_ms: int) -> None:
        self._clock = clock
        self._offset_ms = offset_ms
        self.is_alive = True

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._offset_ms

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: object) -> Timer:
        return self._clock.call_later(delay_s, self._run, callback, args)

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self._clock.call_soon(self._run, callback, args)

    call_soon_threadsafe = call_soon

    def _run(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        if self.is_alive:
            callback(*args)


class TimedExecutor:
    """A stores.executor.Executor whose work happens at instants of virtual time.

    A piece of work waits, happens at one instant, and is answered later; whatever else the process
    does goes on in between, and it may end in between. `after_work` is called at once after each
    piece. `read_fault` says whether the read that comes now fails.
    """

    def __init__(
        self,
        clock: ProcessClock,
        draw: random.Random,
        *,
        after_work: Callable[[], None],
        read_fault: Callable[[], bool],
    ) -> None:
        self._read_fault = read_fault
        self._is_immediate = False
        self._writer, self._reader, self._scanner, self._copier = (
            _Lane(clock, draw, after_work) for _ in range(4)
        )

    def write(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._writer.put(work, done)

    def read(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._put_read(self._reader, work, done)

    def scan(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._put_read(self._scanner, work, done)

    def copy(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        self._copier.put(work, done)

    def _put_read(
        self, lane: "_Lane", work: Callable[[], object], done: Callable[..., object]
    ) -> None:
        if self._is_immediate:
            done(work())
        elif self._read_fault():
            lane.put(lambda: ReadFailed("the simulated disk did not answer"), done)
        else:
            lane.put(work, done)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Reads within the block are done and answered at once: for those who look on."""
        self._is_immediate = True
        try:
            yield
        finally:
            self._is_immediate = False

    def settle(self) -> None:
        return

    def close(self) -> None:
        return


class _Lane:
    """One thread: a piece of work at a time, answers in order."""

    def __init__(
        self, clock: ProcessClock, draw: random.Random, after_work: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._after_work = after_work
        self._jobs: deque[_Job] = deque()
        self._answers: deque[tuple[Callable[..., object], object]] = deque()
        self._is_busy = False

    def put(self, work: Callable[[], object], done: Callable[..., object]) -> None:
        self._jobs.append((work, done))
        if not self._is_busy:
            self._is_busy = True
            self._clock.call_later(self._wait_s(), self._work)

    def _work(self) -> None:
        work, done = self._jobs.popleft()
        result = work()
        self._after_work()
        self._answers.append((done, result))
        self._clock.call_later(self._wait_s(), self._answer)
        if self._jobs:
            self._clock.call_later(self._wait_s(), self._work)
        else:
            self._is_busy = False

    def _answer(self) -> None:
        done, result = self._answers.popleft()
        done(result)

    def _wait_s(self) -> float:
        most_s = STALL_S_MAX if self._draw.random() < STALL_CHANCE else TURN_S_MAX
        return self._draw.random() * most_s
