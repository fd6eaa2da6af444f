"""What becomes of a delivery that was not delivered: it climbs the ladder, or falls off it.

The decision is `core.retry`'s; here are its consequences for the lane, the ladder and the dead
letters. All calls on the grid's thread.
"""

from typing import TYPE_CHECKING

from eventpost.core.events import Delivery
from eventpost.core.interfaces import AttemptRecord, LadderRow
from eventpost.core.outcomes import Evidence, Failed
from eventpost.core.retry import DeadLettered, Done, Reason, RetryAt, answered_status, decide

if TYPE_CHECKING:
    from eventpost.grid.lane import Lane


def count_failure(lane: "Lane", failed: Failed) -> None:
    """A handler that answers finally is alive: only what is tried again opens the breaker. What
    could not even be tried does not open it, but it is no probe that succeeded either."""
    if failed.is_counted:
        lane.attempts_failed += 1
        status = answered_status(failed.evidence)
        if failed.final or status in lane.subscription.retry.final_statuses:
            if lane.breaker.succeeded():
                lane.engine.breaker_closed(lane)
            return
    elif not lane.breaker.is_open:
        return
    if lane.breaker.failed(lane.engine.clock.now_ms()):
        lane.engine.breaker_opened(lane)


def fail(lane: "Lane", delivery: Delivery, failed: Failed) -> None:
    engine = lane.engine
    if not lane.is_mine(delivery):
        return  # a rewind or a removal settled it meanwhile
    now_ms = engine.clock.now_ms()
    if failed.is_counted:
        delivery.attempts += 1
    decision = decide(
        lane.subscription.retry, delivery.attempts, failed, now_ms, engine.random.random()
    )
    finding = engine.classify(failed.evidence)
    match decision:
        case RetryAt(due_ms=due_ms):
            _record_attempt(lane, delivery, failed.evidence, finding, due_ms)
            climb(lane, delivery, due_ms, failed.evidence, now_ms)
        case DeadLettered(reason=reason):
            _record_attempt(lane, delivery, failed.evidence, finding, 0)
            _dead_letter(lane, delivery, reason, failed.evidence, finding, now_ms)
        case Done():
            raise AssertionError("a failed attempt is never done")


def note_attempt(
    lane: "Lane", position: int, attempts: int, evidence: Evidence, next_ms: int
) -> None:
    """A consumer had an event and did not acknowledge it; nothing is done about it here."""
    lane.attempts_failed += 1
    record = AttemptRecord(
        topic_id=lane.partition.topic_id,
        subscription_id=lane.subscription.id,
        partition=lane.partition.index,
        position=position,
        attempt=attempts,
        at_ms=lane.engine.clock.now_ms(),
        finding=lane.engine.classify(evidence),
        evidence=evidence,
        next_ms=next_ms,
    )
    _keep_record(lane, record)


def give_up(lane: "Lane", delivery: Delivery, reason: Reason, evidence: Evidence | None) -> None:
    """A dead letter, whatever the retry policy would still allow."""
    finding = lane.engine.finding_expired(evidence)
    _dead_letter(lane, delivery, reason, evidence, finding, lane.engine.clock.now_ms())


def _record_attempt(
    lane: "Lane", delivery: Delivery, evidence: Evidence, finding: str, next_ms: int
) -> None:
    _keep_record(lane, attempt(lane, delivery, evidence, finding, next_ms))


def _keep_record(lane: "Lane", record: AttemptRecord) -> None:
    lane.remember(record)
    lane.engine.journal.open.attempts.append(record)
    lane.engine.attempt_failed(lane, record)


def attempt(
    lane: "Lane", delivery: Delivery, evidence: Evidence | None, finding: str, next_ms: int
) -> AttemptRecord:
    return AttemptRecord(
        topic_id=lane.partition.topic_id,
        subscription_id=lane.subscription.id,
        partition=lane.partition.index,
        position=delivery.position,
        attempt=delivery.attempts + (1 if evidence is None else 0),
        at_ms=lane.engine.clock.now_ms(),
        finding=finding,
        evidence=evidence,
        next_ms=next_ms,
    )


def climb(
    lane: "Lane",
    delivery: Delivery,
    due_ms: int,
    evidence: Evidence | None,
    attempted_ms: int,
    *,
    lock: int = 0,
) -> LadderRow:
    """The delivery leaves the lane and waits on the ladder until `due_ms`, held by `lock` if that
    is not 0."""
    old = delivery.row
    row = LadderRow(
        due_ms=due_ms,
        subscription_id=lane.subscription.id,
        partition=lane.partition.index,
        position=delivery.position,
        topic_id=lane.partition.topic_id,
        generation=lane.generation,
        attempts=delivery.attempts,
        published_ms=delivery.published_ms,
        offered_ms=delivery.offered_ms,
        dead_letter_id=0 if old is None else old.dead_letter_id,
        evidence=evidence,
        last_attempt_ms=attempted_ms,
        lock=lock,
    )
    lane.leave(delivery)
    lane.ladder_count += 1
    lane.engine.journal.put_row(row)
    return row


def expire(lane: "Lane", delivery: Delivery) -> None:
    """Its time to live ran out before another attempt."""
    evidence = None if delivery.row is None else delivery.row.evidence
    finding = lane.engine.finding_expired(evidence)
    _dead_letter(lane, delivery, Reason.TIME_TO_LIVE, evidence, finding, lane.engine.clock.now_ms())


def _dead_letter(
    lane: "Lane",
    delivery: Delivery,
    reason: Reason,
    evidence: Evidence | None,
    finding: str,
    now_ms: int,
) -> None:
    row = delivery.row
    attempted_ms = now_ms if reason is not Reason.TIME_TO_LIVE else 0
    if attempted_ms == 0 and row is not None:
        attempted_ms = row.last_attempt_ms
    lane.leave(delivery)
    counts = lane.delta.dead_lettered
    counts[reason.value] = counts.get(reason.value, 0) + 1
    lane.engine.dead_letters.fall(
        lane, delivery, reason=reason, evidence=evidence, finding=finding, at_ms=attempted_ms
    )
