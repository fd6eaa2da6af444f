"""What a source tells: log records, and what does not work at this moment.

Layer: sources. The lease engine calls from its own threads.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from eventpost.core.errors import Overloaded
from eventpost.core.outcomes import Evidence, Failed
from eventpost.core.sources import Poison, Source, SourceFailure
from eventpost.queues.leases import Lease, Listener, LostReason
from eventpost.sources.kinds import Services

OPEN = "open"
ORDER = (OPEN, "receive", "settle", "extend", "release")
"""Of failures, the most telling first."""
STOPPING = frozenset((OPEN, "receive"))
"""Operations without which nothing comes in."""
PASSING = frozenset(("extend", "release"))
"""Failures of which nobody tells that they are over."""
PASSING_MS = 120_000
"""How long one of these is shown. While it lasts, the engine tells it once a minute."""


class Telling(Listener):
    """Of one source. From any thread."""

    def __init__(self, source: Source, topic: str, services: Services) -> None:
        self._name = source.name
        self._topic = topic
        self._services = services
        self._lock = threading.Lock()
        self._failures: dict[str, SourceFailure] = {}
        """By operation: what fails now."""
        self._is_forbidden = False
        """Whether leases may not be extended: that is told once, until it is over."""
        self.warning = ""
        """What is not as it should be, though it works."""
        self.on_redelivered: Callable[[Lease], None] = lambda _: None

    def current(self, failing: Mapping[str, Failed]) -> tuple[SourceFailure, ...]:
        """`failing` is what the engine says: it tells a failure again once in a while only, also
        when it worked in between."""
        since_ms = self._services.clock.now_ms() - PASSING_MS
        with self._lock:
            found = dict(self._failures)
            lasting = self._is_forbidden
        for name in failing.keys() - found.keys():
            found[name] = self._failure(name, failing[name].evidence)
        return tuple(
            each
            for each in (found[name] for name in ORDER if name in found)
            if each.operation not in PASSING
            or each.at_ms >= since_ms
            or (lasting and each.operation == "extend")
        )

    def fails(self, operation: str, evidence: Evidence, wait_s: float, count: int = 1) -> None:
        """It does not work now; it is tried again after `wait_s`."""
        failure = self._remember(operation, evidence)
        self._log(
            "source.failed",
            level=logging.WARNING,
            operation=operation,
            finding=failure.finding,
            stage=evidence.stage.value,
            fault=evidence.fault.value,
            code=evidence.code,
            status=evidence.status,
            detail=evidence.detail,
            count=count,
            wait_s=round(wait_s, 1),
        )

    def works(self, operation: str, outage_s: float | None = None) -> None:
        """It works, perhaps again."""
        with self._lock:
            was_failing = self._failures.pop(operation, None) is not None
        if was_failing:
            seconds = None if outage_s is None else round(outage_s, 1)
            self._log("source.recovered", operation=operation, outage_s=seconds)

    def warns(self, warning: str) -> None:
        """Of what does not fail, and is not as it was meant. "" when there is nothing to say."""
        self.warning = warning
        if warning:
            self._log("source.warning", level=logging.WARNING, detail=warning)

    def held(self, refusal: Overloaded, wait_s: float) -> None:
        """The store took nothing."""
        self._log(
            "source.holding",
            level=logging.WARNING,
            reason=refusal.code,
            detail=refusal.what,
            wait_s=round(wait_s, 1),
        )

    def poisoned(self, message_id: str, poison: Poison) -> None:
        self._log(
            "source.poison",
            level=logging.WARNING,
            message_id=message_id,
            finding=poison.finding,
            detail=poison.evidence.detail,
        )

    # --- from the lease engine ------------------------------------------------------------------

    def redelivered_finished(self, lease: Lease) -> None:
        self.on_redelivered(lease)

    def lease_lost(self, lease: Lease, reason: LostReason) -> None:
        self._log(
            "source.lease_lost", level=logging.WARNING, message_id=lease.id, reason=reason.value
        )

    def receive_failed(self, failed: Failed, count: int, delay_s: float) -> None:
        self.fails("receive", failed.evidence, delay_s, count)

    def receive_recovered(self, outage_s: float) -> None:
        self.works("receive", outage_s)

    def extend_failed(self, failed: Failed, count: int) -> None:
        self.fails("extend", failed.evidence, 0.0, count)

    def extend_forbidden(self, failed: Failed, lease_s: float) -> None:
        self._is_forbidden = True
        self.fails("extend", failed.evidence, lease_s)

    def extend_allowed(self) -> None:
        self._is_forbidden = False
        self.works("extend")

    def settle_failed(self, failed: Failed, count: int, pending_count: int) -> None:
        self.fails("settle", failed.evidence, 0.0, count)

    def settle_recovered(self, outage_s: float, pending_count: int) -> None:
        self.works("settle", outage_s)

    def release_failed(self, failed: Failed, count: int) -> None:
        self.fails("release", failed.evidence, 0.0, count)

    def _remember(self, operation: str, evidence: Evidence) -> SourceFailure:
        failure = self._failure(operation, evidence)
        with self._lock:
            self._failures[operation] = failure
        return failure

    def _failure(self, operation: str, evidence: Evidence) -> SourceFailure:
        return SourceFailure(
            operation=operation,
            at_ms=self._services.clock.now_ms(),
            finding=self._services.classify(evidence),
            evidence=evidence,
        )

    def _log(self, event: str, **fields: object) -> None:
        self._services.log(event, source=self._name, topic=self._topic, **fields)
