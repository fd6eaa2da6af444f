"""What the lease engine says that a move acts on.

Layer: sources. Called on the engine's threads, read by the move's.
"""

from collections import deque
from collections.abc import Callable

from eventpost.core.outcomes import Failed
from eventpost.queues.leases import Lease, Listener


class Hearing(Listener):
    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._came_again: deque[Lease] = deque()
        self._failing_since_s: float | None = None
        self._receive_failed: Failed | None = None
        self.news: deque[tuple[str, Failed]] = deque(maxlen=8)
        """What was said and not told yet: the operation, and why it failed."""

    def redelivered_finished(self, lease: Lease) -> None:
        self._came_again.append(lease)

    def receive_failed(self, failed: Failed, count: int, delay_s: float) -> None:
        if self._failing_since_s is None:
            self._failing_since_s = self._monotonic_s()
            self.news.append(("receive", failed))
        self._receive_failed = failed

    def receive_recovered(self, outage_s: float) -> None:
        self._failing_since_s = self._receive_failed = None

    def settle_failed(self, failed: Failed, count: int, pending_count: int) -> None:
        self.news.append(("delete", failed))

    def outage(self) -> tuple[float, Failed] | None:
        """For how long nothing could be received, and why; None when it can."""
        since_s, failed = self._failing_since_s, self._receive_failed
        if since_s is None or failed is None:
            return None
        return self._monotonic_s() - since_s, failed

    def take_again(self) -> list[Lease]:
        """Messages that came again, and are only to be deleted."""
        taken: list[Lease] = []
        while self._came_again:
            taken.append(self._came_again.popleft())
        return taken
