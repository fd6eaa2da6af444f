"""What the engine tells its onlooker, as log records."""

import logging

from eventpost.core.interfaces import AttemptRecord, DeadLetter
from eventpost.core.outcomes import Evidence
from eventpost.core.subscriptions import Subscription
from eventpost.diagnosis.classify import classify
from eventpost.grid.engine import Watcher
from eventpost.grid.lane import Lane
from eventpost.telemetry.logs import log


class LogWatcher(Watcher):
    """One record per attempt that failed and per dead letter; `telemetry.logs` bounds the rest."""

    def attempt_failed(self, lane: Lane, record: AttemptRecord) -> None:
        evidence = record.evidence
        assert evidence is not None
        log(
            "delivery.failed",
            level=logging.WARNING,
            subscription=lane.subscription.name,
            topic=lane.engine.topics[lane.subscription.topic_id].name,
            position=record.position,
            attempt=record.attempt,
            finding=record.finding,
            stage=evidence.stage.value,
            fault=evidence.fault.value,
            status=evidence.status,
            address=evidence.address,
            elapsed_ms=evidence.elapsed_ms,
            next_ms=record.next_ms,
        )

    def dead_lettered(self, lane: Lane, letter: DeadLetter) -> None:
        log(
            "delivery.dead_lettered",
            level=logging.WARNING,
            subscription=lane.subscription.name,
            topic=lane.engine.topics[lane.subscription.topic_id].name,
            event_id=letter.event_id,
            dead_letter_id=letter.id,
            reason=letter.reason.value,
            finding=letter.finding,
            attempts=letter.attempts,
        )

    def breaker_opened(self, lane: Lane) -> None:
        log(
            "breaker.opened",
            level=logging.WARNING,
            subscription=lane.subscription.name,
            failures=lane.breaker.failures,
        )

    def breaker_closed(self, lane: Lane) -> None:
        log("breaker.closed", subscription=lane.subscription.name)

    def read_failed(self, reason: str) -> None:
        log("store.read_failed", level=logging.ERROR, reason=reason)

    def events_lost(self, lane: Lane, first: int, end: int, count: int) -> None:
        log(
            "events.lost",
            level=logging.ERROR,
            subscription=lane.subscription.name,
            first_position=first,
            end_position=end,
            pending_count=count,
        )

    def export_failed(self, subscription: Subscription, evidence: Evidence, wait_ms: int) -> None:
        log(
            "deadletter.export_failed",
            level=logging.ERROR,
            subscription=subscription.name,
            place=subscription.deadletter,
            finding=classify(evidence),
            address=evidence.address,
            code=evidence.code,
            detail=evidence.detail,
            wait_ms=wait_ms,
        )
