"""A breaker opens at a bound, lets probes through, and closes with the first sign of life."""

import pytest

from eventpost.core.outcomes import DELIVERED, Delivered
from eventpost.core.subscriptions import RetryPolicy
from eventpost.grid import catalogue
from tests.grid.conftest import NewRig
from tests.grid.rig import UNTRIED, Rig, failed

BOUND = 5
LATER = RetryPolicy(schedule=(3_600_000,), event_ttl_ms=2 * 3_600_000)


@pytest.fixture
def rig(new_rig: NewRig) -> Rig:
    made = new_rig(breaker_failures=BOUND, breaker_probe_s=5.0, breaker_probe_s_max=60.0)
    made.topic()
    return made


def open_breaker(rig: Rig) -> None:
    rig.handler().react = lambda _: failed()
    rig.publish(BOUND)
    assert rig.lane().breaker.is_open
    rig.handler().attempts.clear()


@pytest.mark.parametrize("count", [BOUND - 1, BOUND, BOUND + 1])
def test_it_opens_at_the_bound(rig: Rig, count: int) -> None:
    """So many failures in a row open it, fewer do not; it is told once."""
    rig.subscribe(retry=LATER)
    rig.handler().react = lambda _: failed()

    rig.publish(count)

    assert rig.lane().breaker.is_open == (count >= BOUND)
    assert rig.watcher.breaker == ["opened"] * (count >= BOUND)


def test_a_success_between_failures(rig: Rig) -> None:
    """Only failures in a row count."""
    rig.subscribe(retry=LATER, concurrency=1)
    answers = iter([failed()] * (BOUND - 1) + [DELIVERED] + [failed()] * (BOUND - 1))
    rig.handler().react = lambda _: next(answers)

    rig.publish(2 * BOUND - 1)

    assert not rig.lane().breaker.is_open


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_final_answers_never_open_it(rig: Rig, status: int) -> None:
    """A handler that answers finally is alive."""
    rig.subscribe(retry=LATER)
    rig.handler().react = lambda _: failed(status)

    rig.publish(3 * BOUND)

    assert not rig.lane().breaker.is_open
    assert rig.lane().attempts_failed == 3 * BOUND


def test_a_final_answer_closes_it(rig: Rig) -> None:
    """A probe that is answered finally shows that the handler is alive: what waits is sent."""
    rig.subscribe(retry=LATER)
    open_breaker(rig)
    rig.publish(3)
    rig.handler().react = lambda _: failed(400)

    rig.advance(5.0)

    assert not rig.lane().breaker.is_open
    assert rig.books().dead_lettered == {"UndeliverableDueToHttpBadRequest": 3}


def test_what_was_not_tried_does_not_count(rig: Rig) -> None:
    """An attempt that could not be begun uses up nothing: no attempt, no failure in a row."""
    rig.subscribe(retry=LATER)
    rig.handler().react = lambda _: UNTRIED

    rig.publish(3 * BOUND)

    assert not rig.lane().breaker.is_open
    assert rig.lane().attempts_failed == 0
    rig.handler().react = lambda _: DELIVERED
    rig.advance(2 * 3_600.0 - 1)
    assert {delivery.attempts for each in rig.handler().attempts for delivery in each.deliveries}
    assert rig.books().delivered == 3 * BOUND
    assert all(each.deliveries[0].attempts == 0 for each in rig.handler().attempts)


def test_a_probe_that_could_not_be_made(rig: Rig) -> None:
    """While attempts cannot even be begun, the breaker lets no more of them through than probes."""
    rig.subscribe(retry=LATER)
    open_breaker(rig)
    rig.publish(50)
    rig.handler().react = lambda _: UNTRIED

    rig.advance(5.0)
    assert len(rig.handler().attempts) == 1
    rig.advance(9.9)
    assert len(rig.handler().attempts) == 1
    rig.advance(0.2)
    assert len(rig.handler().attempts) == 2


def test_probes_double(rig: Rig) -> None:
    """Probes go out after 5, 10, 20, 40 s and then every minute; nothing else does."""
    rig.subscribe(retry=LATER)
    opened_ms = rig.clock.now_ms()
    open_breaker(rig)
    rig.publish(100)

    rig.advance(300.0)

    at = [each.at_ms - opened_ms for each in rig.handler().attempts]
    assert at == [5_000, 15_000, 35_000, 75_000, 135_000, 195_000, 255_000]


def test_an_attempt_that_was_under_way(rig: Rig) -> None:
    """Attempts from before it opened do not count as probes when they fail."""
    rig.subscribe(retry=LATER)
    rig.publish(BOUND + 3)
    rig.handler().answer(failed(), count=BOUND)
    assert rig.lane().breaker.is_open

    rig.handler().answer(failed())

    assert rig.lane().breaker.probe_wait_s == 5.0
    rig.publish(1)
    rig.advance(5.0)
    assert len(rig.handler().open) == 1


def test_a_success_closes_it(rig: Rig) -> None:
    """With the first success everything goes out; the next opening waits 5 s again."""
    rig.subscribe(retry=LATER)
    open_breaker(rig)
    rig.publish(10)
    rig.advance(20.0)
    rig.handler().react = lambda _: Delivered(failed().evidence)

    rig.advance(20.0)

    assert rig.watcher.breaker == ["opened", "closed"]
    assert rig.books().delivered == 8  # two became rows, as probes that failed
    assert rig.lane().breaker.probe_wait_s == 5.0


def test_one_look_per_probe(rig: Rig) -> None:
    """However long a handler is down, the lane's parked rows are read a bounded number of times."""
    rig.subscribe(retry=RetryPolicy(schedule=(10_000,), event_ttl_ms=24 * 3_600_000))
    open_breaker(rig)
    rig.advance(600.0)
    reads = rig.store.calls["parked"]

    rig.advance(3_600.0)

    assert rig.store.calls["parked"] - reads <= 3 * 60
    probes = len(rig.handler().attempts)
    rig.advance(3_600.0)
    assert len(rig.handler().attempts) - probes == 60


def test_time_to_live_runs_while_it_is_open(rig: Rig) -> None:
    """What waits, on the ladder or unread, becomes dead letters when its time is over."""
    rig.notices()
    rig.subscribe(retry=RetryPolicy(schedule=(3_600_000,), event_ttl_ms=120_000))
    open_breaker(rig)
    rig.publish(300)
    assert rig.books().matched < 10

    rig.advance(250.0)

    books = rig.books()
    assert books.matched == 300 + BOUND
    assert sum(books.dead_lettered.values()) + rig.lane().ladder_count == 300 + BOUND
    assert {letter.reason.value for letter in rig.letters()} == {"TimeToLiveExceeded"}
    rig.advance(7_200.0)
    assert rig.books().dead_lettered == {"TimeToLiveExceeded": 300 + BOUND}


@pytest.mark.parametrize("end", ["remove", "stop"])
def test_no_probe_after_the_end(rig: Rig, end: str) -> None:
    """Nothing is sent for a lane that is gone."""
    rig.subscribe(retry=LATER)
    open_breaker(rig)
    rig.publish(1)
    handler = rig.handler()
    if end == "remove":
        catalogue.remove_subscription(rig.engine, rig.subscription().id, lambda _: None)
    else:
        rig.engine.stop()

    rig.advance(600.0)

    assert handler.attempts == []
