"""One fresh namespace on a real service, and what is particular about it.

Layer: testing.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from dramatiq import Worker

from eventpost.core.outcomes import Delivered, Failed
from eventpost.queues.interfaces import Message
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.deadletters import DeadLetter, decode

Operation = Literal["send", "receive", "extend", "settle"]


class Log:
    """What actors did, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[float, Any]] = []

    def add(self, entry: Any) -> None:
        with self._lock:
            self._entries.append((time.time(), entry))

    @property
    def entries(self) -> list[Any]:
        with self._lock:
            return [entry for _, entry in self._entries]

    def time_of(self, entry: Any) -> float:
        """UTC, of the first such entry."""
        with self._lock:
            return next(at for at, one in self._entries if one == entry)


class BrokerHarness(ABC):
    """Makes brokers of one namespace and one ledger."""

    lease_s = 2.0
    """The shortest lease that survives the slowness of a test machine."""
    patience_s = 150.0
    """Longer than anything takes that is waited for."""
    holds_for_good = True
    """Whether what one worker holds stays its own while it lives. A log's group shares partitions
    out anew when a worker comes or goes; that is the reason for False."""

    def __init__(self, directory: Path) -> None:
        self.ledger = directory / "ledger"
        self._brokers: list[LeaseBroker] = []

    @abstractmethod
    def make_broker(self, **words: Any) -> LeaseBroker:
        """A broker of this namespace; `words` go to its constructor."""

    @abstractmethod
    def stop(self) -> None:
        """Remove what was made on the service, as far as that is needed."""

    def refusing(self, operation: Operation, name: str = "") -> AbstractContextManager[None] | None:
        """While it lasts the service refuses this operation, on the queue `name` alone if one is
        given. None when that cannot be brought about."""
        return None

    def new_broker(self, **words: Any) -> LeaseBroker:
        """Another broker, closed when the test is over."""
        made = self.make_broker(**{"ledger": self.ledger, "lease_s": self.lease_s, **words})
        self._brokers.append(made)
        return made

    def put(self, broker: LeaseBroker, queue_name: str, body: bytes) -> None:
        """A message as somebody else might send it."""
        queue = broker.open_queue(queue_name)
        outcomes = queue.send([Message(body=body)])
        queue.close()
        assert isinstance(outcomes[0], Delivered), outcomes

    def buried(self, broker: LeaseBroker, queue_name: str, count: int = 1) -> list[DeadLetter]:
        """So many dead letters, taken off their queue."""
        queue = broker.open_dead_letters(queue_name)
        found: list[DeadLetter] = []
        end_s = time.monotonic() + self.patience_s
        while len(found) < count and time.monotonic() < end_s:
            page = queue.receive(10, 1.0, 30.0)
            if not isinstance(page, Failed) and page:
                found += [decode(one.body) for one in page]
                queue.settle(page)
            else:
                time.sleep(0.01)
        queue.close()
        assert len(found) == count, found
        return found

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for it."""
        end_s = time.monotonic() + self.patience_s
        while not condition():
            assert time.monotonic() < end_s, "it did not happen"
            time.sleep(0.01)

    def join(self, broker: LeaseBroker, queue_name: str = "default") -> None:
        broker.join(queue_name, timeout=int(self.patience_s * 1000))

    @contextmanager
    def working(self, broker: LeaseBroker, threads: int = 4) -> Iterator[Worker]:
        """A worker, while it lasts."""
        worker = Worker(broker, worker_threads=threads, worker_timeout=100)
        worker.start()
        try:
            yield worker
        finally:
            worker.stop(timeout=10_000)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self._brokers:
            broker.close()
        self.stop()
