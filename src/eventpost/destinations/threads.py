"""Threads for calls that block and cannot be ended: as many as are needed, up to a bound.

Layer: destinations. They are daemons: a call that hangs keeps no process from ending.
"""

import queue
import threading
from collections.abc import Callable

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
