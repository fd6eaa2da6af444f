"""Moving a held message to another place: a copy is sent, and only then is the original finished.

Layer: workers. On a thread of its own, so that no worker waits for the network to be rid of a
message. When the copy cannot be sent, the original is given back.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from eventpost.core.outcomes import Failed, Outcome
from eventpost.queues.interfaces import Message
from eventpost.workers.outbox import Outbox

log = logging.getLogger("eventpost.workers")

IDLE_S = 5.0
"""A thread that had nothing to do for so long ends; the next job starts another."""


@dataclass(frozen=True, slots=True)
class Job:
    """`outbox` opens the queue, on this thread; `done` is told what came of it."""

    outbox: Callable[[], Outbox]
    message: Message
    done: Callable[[Outcome], None]
    refused: Callable[[Exception], Failed]
    """What an exception of `outbox`, or of sending, means."""


class Forwarder:
    """One for each broker and process. Bounded by what the brokers' consumers hold."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._running = 0
        self._thread: threading.Thread | None = None

    def add(self, job: Job) -> None:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()
            if self._thread is None:
                name = "eventpost-workers-forward"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()

    @property
    def is_idle(self) -> bool:
        with self._changed:
            return not self._jobs and not self._running

    def drain(self, until_s: float) -> bool:
        """Wait until everything is moved, or that time (monotonic) has come."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._jobs and not self._running, max(0.0, until_s - time.monotonic())
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: bool(self._jobs), IDLE_S):
                    self._thread = None
                    return
                page = list(self._jobs)
                self._jobs.clear()
                self._running = len(page)
            try:
                self._forward(page)
            finally:
                with self._changed:
                    self._running = 0
                    self._changed.notify_all()

    def _forward(self, page: list[Job]) -> None:
        """What goes to the same place goes together."""
        together: dict[int, tuple[Outbox, list[Job]]] = {}
        for job in page:
            try:
                outbox = job.outbox()
            except Exception as error:  # noqa: BLE001 - a border: the original is given back
                _tell(job, job.refused(error))
                continue
            together.setdefault(id(outbox), (outbox, []))[1].append(job)
        for outbox, jobs in together.values():
            outcomes: list[Outcome]
            try:
                outcomes = outbox.send_all([job.message for job in jobs])
            except Exception as error:  # noqa: BLE001 - a border: the originals are given back
                outcomes = [job.refused(error) for job in jobs]
            for job, outcome in zip(jobs, outcomes, strict=True):
                _tell(job, outcome)


def _tell(job: Job, outcome: Outcome) -> None:
    """One that fails must not take with it those behind it, nor the thread."""
    try:
        job.done(outcome)
    except Exception:
        log.exception("What follows a copy failed; its original comes again when we have ended.")
