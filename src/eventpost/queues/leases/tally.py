"""What an engine counted since it began."""

from collections import Counter

from eventpost.core.outcomes import Failed
from eventpost.queues.leases.lease import Fate


class Tally:
    """Counters, within the engine's lock."""

    def __init__(self) -> None:
        self.received = 0
        self.fates: Counter[Fate] = Counter()
        self.taken = 0
        self.redelivered_finished = 0
        self.lost_running = 0
        self.lost_unstarted = 0
        self.regained = 0
        self.requests: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.listener_errors = 0
        self.last_failures: dict[str, Failed] = {}

    def failed(self, operation: str, failed: Failed, count: int = 1) -> None:
        evidence = failed.evidence
        self.failures[operation, evidence.code or evidence.fault.value] += count
        self.last_failures[operation] = failed
