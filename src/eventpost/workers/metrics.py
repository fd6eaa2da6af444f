"""What workers count, beside Dramatiq's own metrics and in the same way.

Layer: workers. Dramatiq's `Prometheus` middleware puts every process's metrics into one directory
(`PROMETHEUS_MULTIPROC_DIR`) and serves the sum of them: what is counted here appears there. Without
it the metrics are in `prometheus_client`'s own registry. They are made in the worker's process.
"""

import threading
from typing import Any

from eventpost.queues.leases import Stats
from eventpost.workers.broker import LeaseBroker

LOOK_S = 5.0
"""How often an engine's books are looked at."""

COUNTERS = {
    "eventpost_worker_failures": (
        "Failed calls, by operation and code.",
        ["queue_name", "operation", "code"],
    ),
    "eventpost_worker_held_back": (
        "Messages given back because their follow-up could not be sent.",
        ["queue_name"],
    ),
    "eventpost_worker_dead_letters": ("Dead letters, by reason.", ["queue_name", "reason"]),
    "eventpost_worker_acks": ("Finished messages that were deleted.", ["queue_name"]),
    "eventpost_worker_lease_extensions": ("Requests that extended leases.", ["queue_name"]),
    "eventpost_worker_leases_lost": ("Leases lost while their job ran.", ["queue_name"]),
    "eventpost_worker_redelivered_finished": (
        "Finished messages that came again and did not run.",
        ["queue_name"],
    ),
    "eventpost_worker_empty_receives": ("Receives that brought nothing.", ["queue_name"]),
}
GAUGES = {
    "eventpost_worker_acks_pending": (
        "Finished messages that wait to be deleted.",
        ["queue_name"],
    ),
    "eventpost_worker_oldest_pending_ack_seconds": (
        "How long the oldest of them has waited.",
        ["queue_name"],
    ),
    "eventpost_worker_ledger_pending": (
        "Finished messages that wait until the ledger has taken them down.",
        ["queue_name"],
    ),
}


def _counts(stats: Stats) -> dict[str, int]:
    return {
        "eventpost_worker_acks": stats.settled,
        "eventpost_worker_lease_extensions": stats.requests.get("extend", 0),
        "eventpost_worker_leases_lost": stats.lost_running,
        "eventpost_worker_redelivered_finished": stats.redelivered_finished,
        "eventpost_worker_empty_receives": stats.empty_receives,
    }


_made: dict[str, Any] = {}
_making = threading.Lock()


def _metric(name: str) -> Any:
    """Of this process. Made once: a registry takes each name only once."""
    with _making:
        if name not in _made:
            import prometheus_client

            if name in COUNTERS:
                text, labels = COUNTERS[name]
                _made[name] = prometheus_client.Counter(name, text, labels)
            else:
                text, labels = GAUGES[name]
                _made[name] = prometheus_client.Gauge(
                    name, text, labels, multiprocess_mode="livesum"
                )
        return _made[name]


class Metrics:
    """Of one worker. From any thread."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: dict[tuple[str, str, int], int] = {}

    def failed(self, operation: str, queue_name: str, code: str, count: int = 1) -> None:
        _metric("eventpost_worker_failures").labels(queue_name, operation, code).inc(count)

    def held_back(self, queue_name: str) -> None:
        _metric("eventpost_worker_held_back").labels(queue_name).inc()

    def dead_letter(self, queue_name: str, reason: str) -> None:
        _metric("eventpost_worker_dead_letters").labels(queue_name, reason).inc()

    def watch(self, broker: LeaseBroker) -> None:
        """Look at the broker's books every few seconds, until `unwatch`."""
        self._stopped.clear()

        def run() -> None:
            while not self._stopped.wait(LOOK_S):
                self.look(broker)

        name = "eventpost-workers-metrics"
        self._thread = threading.Thread(target=run, name=name, daemon=True)
        self._thread.start()

    def unwatch(self, broker: LeaseBroker) -> None:
        """Look a last time: what was settled since the look before would be counted nowhere."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(LOOK_S)
            self._thread = None
            self.look(broker)

    def look(self, broker: LeaseBroker) -> None:
        """Take the books over as they stand."""
        for queue_name, stats, number in broker.books():
            for name, value in _counts(stats).items():
                key = (name, queue_name, number)
                before = self._last.get(key, 0)
                self._last[key] = value
                if value > before:
                    _metric(name).labels(queue_name).inc(value - before)
            pending = _metric("eventpost_worker_acks_pending").labels(queue_name)
            pending.set(stats.pending_settles)
            oldest = _metric("eventpost_worker_oldest_pending_ack_seconds").labels(queue_name)
            oldest.set(stats.oldest_pending_s)
            unwritten = _metric("eventpost_worker_ledger_pending").labels(queue_name)
            unwritten.set(broker.waiting_for_ledger(queue_name))
