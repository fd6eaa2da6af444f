"""Threads for calls that block and cannot be ended: as many as are needed, up to a bound.

Layer: destinations. They are daemons: a call that hangs keeps no process from ending.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone
from eventpost.core.outcomes import Outcome

if TYPE_CHECKING:
    from eventpost.destinations.kinds import Services

Job = Callable[[], object]


class Threads:
    """`submit` from one thread at a time. Jobs raise nothing."""

    def __init__(self, threads_max: int, name: str) -> None:
        self._threads_max = threads_max
        self._name = name
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._thread_count = 0

    def submit(self, job: Job) -> None:
        """Have it run; it waits while all threads are taken."""
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._thread_count < self._threads_max:
            self._thread_count += 1
            name = f"{self._name}-{self._thread_count}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def close(self) -> None:
        """Let each thread end after the job that it is in, and after those that wait."""
        for _ in range(self._thread_count):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            self._idle.release()


def deliver_on(
    threads: Threads,
    deliveries: Sequence[Delivery],
    attempt: Callable[[Sequence[Delivery]], Outcome | Sequence[Outcome]],
    done: DeliveryDone,
    services: "Services",
) -> None:
    """Make the attempt, which raises nothing, on a thread; tell of it on the loop's thread."""

    def told(outcomes: Outcome | Sequence[Outcome], elapsed_ms: float) -> None:
        services.delivery_times.observe(elapsed_ms)
        done(deliveries, outcomes)

    def job() -> None:
        began_s = time.monotonic()
        outcomes = attempt(deliveries)
        elapsed_ms = (time.monotonic() - began_s) * 1000
        try:
            services.call_soon_threadsafe(told, outcomes, elapsed_ms)
        except RuntimeError:
            return  # the loop was closed first: nobody is left to be told

    threads.submit(job)
