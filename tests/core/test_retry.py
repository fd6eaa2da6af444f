"""The retry policy: schedules, jitter, minima, Retry-After, statuses, attempts, time to live."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.outcomes import DELIVERED, Delivered, Evidence, Failed, Fault, Stage
from eventpost.core.retry import (
    DELAY_MS_MIN,
    DONE,
    JITTER_MAX,
    RETRY_AFTER_MS_MAX,
    DeadLettered,
    Reason,
    RetryAt,
    decide,
    delay_ms,
    is_expired,
)
from eventpost.core.subscriptions import RETRY_SCHEDULES_MS, RetryPolicy

NOW_MS = 1_700_000_000_000
JITTERS = st.floats(0, 1, exclude_max=True)


def failed(
    status: int | None = 500, *, retry_after_s: int | None = None, final: bool = False
) -> Failed:
    fault = Fault.RESET if status is None else Fault.STATUS
    evidence = Evidence(stage=Stage.ANSWER, fault=fault, status=status, retry_after_s=retry_after_s)
    return Failed(evidence=evidence, final=final)


def custom(*rungs_ms: int) -> RetryPolicy:
    return RetryPolicy(schedule=rungs_ms)


@pytest.mark.parametrize(
    ("name", "delays_s"),
    [
        ("event-grid", [10, 30, 60, 300, 600, 1800, 3600, 3600, 3600]),
        (
            "event-grid-2023",
            [10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200, 43200, 43200],
        ),
    ],
)
def test_named_schedules(name: str, delays_s: list[int]) -> None:
    """The named schedules are Event Grid's of 2020 and 2023; the last rung repeats."""
    policy = RetryPolicy(schedule=name)

    delays_ms = [delay_ms(policy, n + 1, failed(), 0.0) for n in range(len(delays_s))]

    assert delays_ms == [each * 1_000 for each in delays_s]


def test_custom_schedule() -> None:
    """A custom schedule is taken as written: the last rung repeats, no status has a minimum."""
    policy = custom(100, 50, 2_000)

    for status in (500, 408, 503, None):
        delays = [delay_ms(policy, n, failed(status), 0.0) for n in range(1, 6)]
        assert delays == [100, 50, 2_000, 2_000, 2_000]


def test_before_the_first_counted_attempt() -> None:
    """A failure that did not count waits as long as a first one."""
    assert delay_ms(custom(100, 200), 0, failed(None), 0.0) == 100


@given(st.sampled_from(list(RETRY_SCHEDULES_MS)), st.integers(1, 40), JITTERS)
def test_jitter_bounds(name: str, attempts: int, jitter: float) -> None:
    """Jitter lengthens a rung by 0 to 10 %, never shortens it."""
    rungs = RETRY_SCHEDULES_MS[name]
    rung = rungs[min(attempts, len(rungs)) - 1]

    delay = delay_ms(RetryPolicy(schedule=name), attempts, failed(), jitter)

    assert rung <= delay <= rung * (1 + JITTER_MAX)


@given(st.integers(0, 20), JITTERS)
def test_shortest_delay(rung_ms: int, jitter: float) -> None:
    """No delay is shorter than 10 ms."""
    assert delay_ms(custom(rung_ms), 1, failed(), jitter) >= DELAY_MS_MIN


@pytest.mark.parametrize(
    ("status", "delay_ms_min"),
    [(408, 120_000), (503, 30_000), (500, 10_000), (404, 10_000), (429, 10_000), (None, 10_000)],
)
def test_minimum_delay_by_status(status: int | None, delay_ms_min: int) -> None:
    """On a named schedule 408 waits two minutes at least, 503 half a minute, others 10 s."""
    policy = RetryPolicy()

    assert delay_ms(policy, 1, failed(status), 0.0) == delay_ms_min
    # A rung that is longer anyway stays as it is.
    assert delay_ms(policy, 4, failed(status), 0.0) == 300_000


@pytest.mark.parametrize(
    ("retry_after_s", "expected_ms"),
    [
        (0, 1_000),
        (1, 1_000),
        (2, 2_000),
        (3_599, 3_599_000),
        (3_600, RETRY_AFTER_MS_MAX),
        (3_601, RETRY_AFTER_MS_MAX),
        (10**9, RETRY_AFTER_MS_MAX),
    ],
)
def test_retry_after(retry_after_s: int, expected_ms: int) -> None:
    """Retry-After lengthens a delay, never shortens it, and by an hour at most."""
    answer = failed(429, retry_after_s=retry_after_s)

    assert delay_ms(custom(1_000), 1, answer, 0.0) == expected_ms


def test_retry_after_does_not_shorten_a_long_rung() -> None:
    """A rung beyond the cap of Retry-After keeps its length."""
    two_hours = 7_200_000

    assert delay_ms(custom(two_hours), 1, failed(503, retry_after_s=10**6), 0.0) == two_hours


def test_delivered_is_done() -> None:
    """A delivery that was taken is settled, whatever attempt it was."""
    for outcome in (DELIVERED, Delivered(evidence=failed().evidence)):
        assert decide(RetryPolicy(), 30, outcome, NOW_MS, 0.5) is DONE


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.BAD_REQUEST),
        (401, Reason.UNAUTHORIZED),
        (403, Reason.FORBIDDEN),
        (413, Reason.TOO_LARGE),
    ],
)
def test_final_statuses(status: int, reason: Reason) -> None:
    """400, 401, 403 and 413 are not retried, each with its own reason."""
    assert decide(RetryPolicy(), 1, failed(status), NOW_MS, 0.0) == DeadLettered(reason)


@pytest.mark.parametrize("status", [301, 302, 404, 408, 409, 410, 429, 500, 502, 503, 504, None])
def test_everything_else_is_retried(status: int | None) -> None:
    """Any other status and any failure without an answer is tried again."""
    assert isinstance(decide(RetryPolicy(), 1, failed(status), NOW_MS, 0.0), RetryAt)


def test_final_statuses_are_a_setting() -> None:
    """A subscription may name its own final statuses; without a reason of its own it is a client
    error."""
    policy = RetryPolicy(final_statuses=(404, 410))

    assert decide(policy, 1, failed(410), NOW_MS, 0.0) == DeadLettered(Reason.CLIENT_ERROR)
    assert isinstance(decide(policy, 1, failed(400), NOW_MS, 0.0), RetryAt)
    none_final = RetryPolicy(final_statuses=())
    assert isinstance(decide(none_final, 1, failed(401), NOW_MS, 0.0), RetryAt)


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_refusals_of_a_service_are_tried_again(status: int) -> None:
    """A service that refuses us (a queue, a function) is asked again: somebody may mend it."""
    evidence = Evidence(stage=Stage.ANSWER, fault=Fault.CODE, status=status, system="sqs", code="x")

    assert isinstance(decide(RetryPolicy(), 1, Failed(evidence), NOW_MS, 0.0), RetryAt)


def test_what_the_destination_calls_final_is_final() -> None:
    """A failure that no later attempt can mend is dead at once, retries left or not."""
    outcome = failed(None, final=True)

    assert decide(RetryPolicy(), 1, outcome, NOW_MS, 0.0) == DeadLettered(Reason.CLIENT_ERROR)


def test_attempts_at_their_bound() -> None:
    """One attempt before the last is retried; at and beyond the last it is dead."""
    policy = RetryPolicy(max_delivery_attempts=5)

    assert isinstance(decide(policy, 4, failed(), NOW_MS, 0.0), RetryAt)
    assert decide(policy, 5, failed(), NOW_MS, 0.0) == DeadLettered(Reason.ATTEMPTS)
    assert decide(policy, 6, failed(), NOW_MS, 0.0) == DeadLettered(Reason.ATTEMPTS)


def test_a_final_status_beats_the_attempts() -> None:
    """On the last attempt a final status is still the reason."""
    policy = RetryPolicy(max_delivery_attempts=1)

    assert decide(policy, 1, failed(400), NOW_MS, 0.0) == DeadLettered(Reason.BAD_REQUEST)


@given(st.integers(1, 29), JITTERS)
def test_due_time(attempts: int, jitter: float) -> None:
    """A retry falls due its delay after now."""
    policy = RetryPolicy()

    decision = decide(policy, attempts, failed(), NOW_MS, jitter)

    assert decision == RetryAt(NOW_MS + delay_ms(policy, attempts, failed(), jitter))


@pytest.mark.parametrize(
    ("age_ms", "expired"), [(0, False), (59_999, False), (60_000, True), (60_001, True)]
)
def test_time_to_live(age_ms: int, expired: bool) -> None:
    """No attempt is made once the time to live has passed since the event was offered."""
    policy = RetryPolicy(event_ttl_ms=60_000)

    assert is_expired(policy, NOW_MS, NOW_MS + age_ms) is expired


def test_time_to_live_is_not_the_decision_s_business() -> None:
    """A retry may fall due after the time to live has passed: it is looked at then."""
    policy = RetryPolicy(event_ttl_ms=60_000)

    assert decide(policy, 6, failed(), NOW_MS, 0.0) == RetryAt(NOW_MS + 1_800_000)


def test_the_defaults_last_a_day() -> None:
    """With the defaults and no jitter the thirtieth and last attempt is made after 23:46:40; with
    the longest jitter time to live ends it earlier."""

    def attempts_made(jitter: float) -> tuple[int, int]:
        policy, now_ms, attempts = RetryPolicy(), NOW_MS, 0
        while not is_expired(policy, NOW_MS, now_ms):
            attempts += 1
            decision = decide(policy, attempts, failed(), now_ms, jitter)
            if not isinstance(decision, RetryAt):
                break
            now_ms = decision.due_ms
        return attempts, now_ms - NOW_MS

    assert attempts_made(0.0) == (30, ((23 * 60 + 46) * 60 + 40) * 1_000)
    assert attempts_made(0.999)[0] < 30


def test_a_proxys_refusal_is_not_the_receivers() -> None:
    """A 403 that a proxy answered is tried again: the receiver never said it."""
    evidence = Evidence(stage=Stage.PROXY, fault=Fault.STATUS, status=403)

    decision = decide(RetryPolicy(), 1, Failed(evidence), 0, 0.0)

    assert isinstance(decision, RetryAt)
