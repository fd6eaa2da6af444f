"""What a broker needs to know about its queue system.

Layer: workers. The system itself is written once, in `queues`.
"""

from typing import Protocol

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Queue

NO_SUCH_QUEUE = frozenset(
    {"NonExistentQueue", "QueueDoesNotExist", "QueueNotFound", "UNKNOWN_TOPIC_OR_PART"}
)
"""What the systems call a queue that is not there."""


class WorkQueue(Queue, Protocol):
    """A queue that can be counted and emptied, for tests and for whoever looks after it."""

    def count(self) -> int | Failed:
        """About how many messages there are, in whatever state."""
        ...

    def clear(self) -> Failed | None:
        """Remove every message, in whatever state."""
        ...


class Transport(Protocol):
    """One account or cluster, as one broker speaks to it. From any thread; connects to nothing."""

    system: str
    """The queue system's module: `sqs`, `storagequeue`, `kafka`."""
    resends_delayed: bool
    """Whether the system forgets messages by their age, so that a long delay has to begin anew."""

    def name_of(self, queue: str) -> str:
        """The name that a queue, namespace included, has in this system: another one only where the
        system does not take it."""
        ...

    def open(self, name: str) -> WorkQueue:
        """A queue by the system's own name, for this process."""
        ...

    def wire(self, body: bytes) -> bytes:
        """A body as the system can carry it."""
        ...
