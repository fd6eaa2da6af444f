"""What is tried again, when, and when no more."""

from itertools import pairwise

import pytest

from eventpost.testing import CLOSE, HANG, RESET, Answer, Grid, Receiver, VirtualClock
from eventpost.testing.receiver import Reaction

MINUTE_S = 60
HOUR_S = 3_600
RUNGS_S = [10, 30, MINUTE_S, 5 * MINUTE_S, 10 * MINUTE_S, 30 * MINUTE_S, HOUR_S, HOUR_S, HOUR_S]
JITTER = 1.10


def waits_s(receiver: Receiver) -> list[float]:
    """The times between the attempts."""
    return [(b.at_ms - a.at_ms) / 1000 for a, b in pairwise(receiver.requests)]


def within(wait_s: float, least_s: float) -> bool:
    """From the delay itself to a tenth more, and the millisecond that is rounded."""
    return least_s <= wait_s <= least_s * JITTER + 0.001


def reason(grid: Grid) -> tuple[str, int]:
    """Why the only dead letter fell, and after how many attempts."""
    [letter] = grid.dead_letters()
    return letter.dead_letter_reason, letter.delivery_attempts


def test_the_schedule_is_event_grids(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """A failing handler is tried again after 10 s, 30 s, 1 m, 5 m, 10 m, 30 m, then every hour,
    each up to a tenth later."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.always = 500
    grid.publish("songs")
    grid.settle()

    clock.advance(5 * HOUR_S)

    waits = waits_s(receiver)
    assert len(waits) >= len(RUNGS_S)
    for wait_s, rung_s in zip(waits, RUNGS_S, strict=False):
        assert within(wait_s, rung_s), waits
    assert len(set(waits)) > 3, "there is jitter"
    assert [request.attempt for request in receiver.requests] == list(range(len(waits) + 1))


def test_the_schedule_of_2023(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """The other named schedule has longer rungs behind the first hour."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, retry={"schedule": "event-grid-2023"})
    receiver.always = 500
    grid.publish("songs")
    grid.settle()

    clock.advance(23 * HOUR_S)

    expected_s = [*RUNGS_S[:7], 3 * HOUR_S, 6 * HOUR_S]
    for wait_s, rung_s in zip(waits_s(receiver), expected_s, strict=False):
        assert within(wait_s, rung_s)


def test_a_schedule_of_ones_own(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """Rungs that a subscription names are kept to, the last one again and again; minimum delays
    by status do not apply to them."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, retry={"schedule": "10ms,1s,2s"})
    receiver.always = 503
    grid.publish("songs")
    grid.settle()

    clock.advance(10)

    waits = waits_s(receiver)
    for wait_s, rung_s in zip(waits, [0.01, 1, 2, 2, 2], strict=False):
        assert within(wait_s, rung_s), waits


@pytest.mark.parametrize(("status", "least_s"), [(408, 120), (503, 30), (500, 10), (429, 10)])
def test_some_answers_ask_for_patience(
    grid: Grid, receiver: Receiver, clock: VirtualClock, status: int, least_s: float
) -> None:
    """408 waits two minutes at least and 503 half a minute, others ten seconds."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(status)
    grid.publish("songs")
    grid.settle()

    clock.advance(least_s - 0.001)
    assert len(receiver.requests) == 1
    clock.advance(least_s * 0.1 + 0.002)

    assert len(receiver.requests) == 2
    assert grid.books().delivered == 1


@pytest.mark.parametrize(("status", "header", "least_s"), [(429, "100", 100), (503, "7200", 3600)])
def test_retry_after_is_respected(
    grid: Grid, receiver: Receiver, clock: VirtualClock, status: int, header: str, least_s: float
) -> None:
    """`Retry-After` makes a delay longer, up to an hour."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(Answer(status, headers={"Retry-After": header}))
    grid.publish("songs")
    grid.settle()

    clock.advance(least_s - 0.001)
    assert len(receiver.requests) == 1
    clock.advance(least_s * 0.1 + 0.002)

    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, "UndeliverableDueToHttpBadRequest"),
        (401, "UndeliverableDueToHttpUnauthorized"),
        (403, "UndeliverableDueToHttpForbidden"),
        (413, "UndeliverableDueToHttpRequestEntityTooLarge"),
    ],
)
def test_final_answers_are_not_argued_with(
    grid: Grid, receiver: Receiver, clock: VirtualClock, status: int, expected: str
) -> None:
    """Some answers are final: a dead letter at once, and no further attempt."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(status)

    grid.publish("songs")

    grid.settle()
    assert reason(grid) == (expected, 1)
    clock.advance(2 * HOUR_S)
    assert len(receiver.requests) == 1


def test_which_answers_are_final_is_a_setting(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """A subscription may call other statuses final, and the usual ones not."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, retry={"finalStatuses": [404]})
    receiver.script(400, 404)
    grid.publish("songs")

    clock.advance(11)

    assert reason(grid) == ("UndeliverableDueToClientError", 2)


@pytest.mark.parametrize("attempts", [1, 2, 30])
def test_attempts_run_out(
    grid: Grid, receiver: Receiver, clock: VirtualClock, attempts: int
) -> None:
    """After the last attempt that the policy allows the event is a dead letter, not before."""
    grid.topic("songs")
    retry = {"schedule": "10s", "maxDeliveryAttempts": attempts}
    grid.subscribe("songs", receiver, retry=retry)
    receiver.always = 500
    grid.publish("songs")
    grid.settle()

    clock.advance(11.1 * max(0, attempts - 1) + 1)

    assert len(receiver.requests) == attempts
    assert reason(grid) == ("MaxDeliveryAttemptsExceeded", attempts)
    books = grid.books()
    assert books.dead_lettered == {"MaxDeliveryAttemptsExceeded": 1}
    assert (books.pending, books.ladder) == (0, 0)


def test_time_runs_out(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """Time to live is looked at when an attempt falls due: from then on none is made."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, retry={"schedule": "20s", "eventTtlMinutes": 1})
    receiver.always = 500
    grid.publish("songs")
    grid.settle()

    clock.advance(59)
    assert len(receiver.requests) == 3
    assert grid.dead_letters() == []
    clock.advance(10)

    assert len(receiver.requests) == 3
    assert reason(grid) == ("TimeToLiveExceeded", 3)


def test_time_runs_out_at_the_millisecond(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """An event resumed a moment before its time is over is sent, at that time it is not."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, retry={"eventTtl": "10s"})
    grid.client.pause_subscription("handler")
    [first] = grid.publish("songs")
    clock.advance(0.001)
    grid.publish("songs")
    clock.advance(9.999)

    grid.client.resume_subscription("handler")

    grid.settle()
    assert len(receiver.requests) == 1
    [letter] = grid.dead_letters()
    assert letter.event_id == first
    assert (letter.delivery_attempts, letter.last_delivery_attempt_time) == (0, "")
    assert letter.finding == "EP2801"


def test_a_hanging_handler_is_given_up_in_time(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """An attempt ends with the response timeout, and its evidence says so."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, response_timeout="5s")
    receiver.script(HANG)
    grid.publish("songs")
    receiver.wait_for_held(1)

    clock.advance(4.9)
    assert grid.books().in_flight == 1
    clock.advance(1.1)

    [failure] = grid.client.show_subscription("handler").last_failures
    assert failure.evidence is not None
    assert (failure.evidence.stage, failure.evidence.fault) == ("wait", "timed_out")
    clock.advance(11)
    assert grid.books().delivered == 1


@pytest.mark.parametrize("reaction", [RESET, CLOSE, Answer(500, b"broken")])
def test_every_failure_is_explained(
    grid: Grid, receiver: Receiver, clock: VirtualClock, reaction: Reaction
) -> None:
    """A failed attempt keeps its evidence, finding, cause and fix, and when it is tried again."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(reaction)
    [event_id] = grid.publish("songs")
    grid.settle()

    [failure] = grid.client.show_subscription("handler").last_failures
    assert failure.finding.startswith("EP2")
    assert failure.cause
    assert failure.fix
    assert failure.evidence is not None
    assert failure.evidence.address == f"127.0.0.1:{receiver.port}"
    [story] = grid.client.trace_event(event_id)
    [delivery] = story.deliveries
    assert delivery.where == "ladder"
    assert delivery.next_attempt_time == failure.next_attempt_time

    clock.advance(11)

    [story] = grid.client.trace_event(event_id)
    [delivery] = story.deliveries
    assert delivery.where == "delivered"
    assert [attempt.finding for attempt in delivery.attempts] == [failure.finding, ""]


def test_a_refused_connection_is_tried_again(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """A handler that is down gets its events when it is back."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.refuse()
    ids = grid.publish("songs", count=3)
    grid.settle()
    assert grid.books().attempts_failed == 3

    receiver.listen()
    clock.advance(11)

    assert sorted(receiver.ids) == sorted(ids)


def test_a_kept_connection_that_was_closed_costs_no_attempt(grid: Grid, receiver: Receiver) -> None:
    """A handler that closes its idle connections is reached over a fresh one, at once."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.publish("songs")
    grid.settle()
    receiver.refuse()
    receiver.listen()

    grid.publish("songs")

    grid.settle()
    books = grid.books()
    assert (books.delivered, books.attempts_failed) == (2, 0)


def test_a_batch_fails_and_returns_as_a_whole(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """Every event of a failed batch is tried again."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, max_events_per_batch=10)
    receiver.script(500)
    ids = grid.publish("songs", count=5)
    grid.settle()
    assert grid.books().ladder == 5

    clock.advance(11)

    assert sorted(event_id for each in receiver.requests[1:] for event_id in _ids(each.events)) == (
        sorted(ids)
    )
    assert grid.books().delivered == 5


def _ids(events: list[dict[str, str]]) -> list[str]:
    return [event["id"] for event in events]


def test_retries_and_first_attempts_take_turns(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """Neither many due retries nor many fresh events starve the others."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, concurrency=2, retry={"schedule": "10s"})
    receiver.always = 500
    old = set(grid.publish("songs", count=40))
    grid.settle()
    receiver.always = 200
    grid.client.pause_subscription("handler")
    fresh = set(grid.publish("songs", count=40))
    clock.advance(12)
    del receiver.requests[:]

    grid.client.resume_subscription("handler")

    grid.settle()
    half = receiver.ids[:40]
    assert 10 <= len(old.intersection(half)) <= 30
    assert set(receiver.ids) == old | fresh
