"""Sending to one queue from many threads: who comes while a request is out goes with the next.

Layer: workers. Nobody lingers for company: a message that comes alone goes alone, at once.
"""

import threading
from collections import deque
from dataclasses import dataclass

from eventpost.core.outcomes import Evidence, Failed, Fault, Outcome, Stage
from eventpost.queues.interfaces import Message
from eventpost.workers.transport import WorkQueue


@dataclass(slots=True, eq=False)
class _Entry:
    message: Message
    outcome: Outcome | None = None


class Outbox:
    """Of one queue in one process. From any thread; `send` blocks as the request does."""

    def __init__(self, queue: WorkQueue, calls_max: int) -> None:
        self.queue = queue
        is_batched = queue.traits.batch_count_max > 1
        self._count_max = queue.traits.send_count_max if is_batched else 1
        self._calls_max = calls_max if is_batched else queue.traits.send_count_max
        self._turn = threading.Condition()
        self._waiting: deque[_Entry] = deque()
        self._call_count = 0

    @property
    def waiting_count(self) -> int:
        """Messages that wait for a request under way."""
        with self._turn:
            return len(self._waiting)

    def send(self, message: Message) -> Outcome:
        return self.send_all([message])[0]

    def send_all(self, messages: list[Message]) -> list[Outcome]:
        """One outcome each, in order."""
        entries = [_Entry(message) for message in messages]
        with self._turn:
            self._waiting += entries
            while any(entry.outcome is None for entry in entries):
                if not self._waiting or self._call_count >= self._calls_max:
                    self._turn.wait()
                    continue
                self._lead()
        return [entry.outcome for entry in entries if entry.outcome is not None]

    def _lead(self) -> None:
        """Send what waits, for whoever waits. Within the lock, which is let go of meanwhile."""
        count = min(self._count_max, len(self._waiting))
        going = [self._waiting.popleft() for _ in range(count)]
        self._call_count += 1
        self._turn.release()
        outcomes: list[Outcome] = []
        try:
            outcomes = list(self.queue.send([entry.message for entry in going]))
        finally:
            self._turn.acquire()
            self._call_count -= 1
            # A thread that is interrupted here must not leave others without an answer.
            rest = [_interrupted(self.queue.traits.system)] * (len(going) - len(outcomes))
            for entry, outcome in zip(going, [*outcomes, *rest], strict=True):
                entry.outcome = outcome
            self._turn.notify_all()


def _interrupted(system: str) -> Failed:
    return Failed(
        Evidence(
            stage=Stage.WAIT,
            fault=Fault.UNEXPECTED,
            system=system,
            operation="send",
            detail="the thread that sent it was interrupted",
        )
    )
