"""The retry policy as one pure decision: delivered, try again at, or dead-letter with a reason."""

from enum import StrEnum
from typing import assert_never

import msgspec

from eventpost.core.outcomes import Delivered, Evidence, Failed, Outcome, Stage
from eventpost.core.subscriptions import RetryPolicy

JITTER_MAX = 0.10
"""Each rung is lengthened by 0 to 10 %, so that what failed together does not return together."""
DELAY_MS_MIN = 10
DELAY_MS_MIN_BY_STATUS = {408: 120_000, 503: 30_000}
DELAY_MS_MIN_NAMED = 10_000
RETRY_AFTER_MS_MAX = 3_600_000


class Reason(StrEnum):
    """Why a delivery became a dead letter (`deadLetterReason`)."""

    ATTEMPTS = "MaxDeliveryAttemptsExceeded"
    TIME_TO_LIVE = "TimeToLiveExceeded"
    BAD_REQUEST = "UndeliverableDueToHttpBadRequest"
    UNAUTHORIZED = "UndeliverableDueToHttpUnauthorized"
    FORBIDDEN = "UndeliverableDueToHttpForbidden"
    TOO_LARGE = "UndeliverableDueToHttpRequestEntityTooLarge"
    CLIENT_ERROR = "UndeliverableDueToClientError"
    REJECTED = "Rejected"
    POISON = "Poison"


_REASON_BY_STATUS = {
    400: Reason.BAD_REQUEST,
    401: Reason.UNAUTHORIZED,
    403: Reason.FORBIDDEN,
    413: Reason.TOO_LARGE,
}


class Done(msgspec.Struct, frozen=True):
    """The delivery is settled: the destination has it."""


class RetryAt(msgspec.Struct, frozen=True):
    """The delivery climbs the ladder and falls due at `due_ms`."""

    due_ms: int


class DeadLettered(msgspec.Struct, frozen=True):
    """The delivery is given up for `reason`."""

    reason: Reason


Decision = Done | RetryAt | DeadLettered
DONE = Done()


def is_expired(policy: RetryPolicy, offered_ms: int, now_ms: int) -> bool:
    """Whether no further attempt may be made; asked when one falls due, as Event Grid does."""
    return now_ms - offered_ms >= policy.event_ttl_ms


def decide(
    policy: RetryPolicy, attempts: int, outcome: Outcome, now_ms: int, jitter: float
) -> Decision:
    """What follows from the outcome of one attempt.

    `attempts` counts the attempts made, this one included when it counted. `jitter` is uniform in
    [0, 1). Time to live is not looked at here: it is when the next attempt falls due.
    """
    match outcome:
        case Delivered():
            return DONE
        case Failed():
            return _decide_failed(policy, attempts, outcome, now_ms, jitter)
        case _:
            assert_never(outcome)


def answered_status(evidence: Evidence) -> int | None:
    """The status that a webhook itself answered: neither a proxy's, nor that of a service, whose
    refusals end when a permission or a network rule is mended."""
    is_webhooks = evidence.stage is Stage.ANSWER and evidence.system is None
    return evidence.status if is_webhooks else None


def _decide_failed(
    policy: RetryPolicy, attempts: int, failed: Failed, now_ms: int, jitter: float
) -> Decision:
    status = answered_status(failed.evidence)
    if status is not None and status in policy.final_statuses:
        return DeadLettered(_REASON_BY_STATUS.get(status, Reason.CLIENT_ERROR))
    if failed.final:
        return DeadLettered(Reason.CLIENT_ERROR)
    if attempts >= policy.max_delivery_attempts:
        return DeadLettered(Reason.ATTEMPTS)
    return RetryAt(now_ms + delay_ms(policy, attempts, failed, jitter))


def delay_ms(policy: RetryPolicy, attempts: int, failed: Failed, jitter: float) -> int:
    """Milliseconds until the next attempt, `attempts` having been made."""
    rungs = policy.rungs_ms
    rung = rungs[min(max(attempts, 1), len(rungs)) - 1]
    delay = max(DELAY_MS_MIN, int(rung * (1 + JITTER_MAX * jitter)))
    if policy.is_named:
        status = answered_status(failed.evidence) or 0
        delay = max(delay, DELAY_MS_MIN_BY_STATUS.get(status, DELAY_MS_MIN_NAMED))
    if failed.evidence.retry_after_s is not None:
        delay = max(delay, min(failed.evidence.retry_after_s * 1000, RETRY_AFTER_MS_MAX))
    return delay
