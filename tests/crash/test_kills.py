"""The real program, killed with SIGKILL under load: nothing acknowledged is lost."""

import os
import random

import pytest

from tests.conftest import Say
from tests.crash.launcher import POINTS
from tests.crash.outside import Outside
from tests.crash.program import Program, until
from tests.crash.station import KINDS, check, dead_letters, prepare, report

ROUNDS = int(os.environ.get("EVENTPOST_CRASH_ROUNDS") or 30)
"""Kills at random moments."""
KILLS_PER_CHECK = 10
BACKLOG_KILLS = 6
RARE = {"while-opening": 1, "after-file": 2, "while-restoring": 1}
"""Points that are passed seldom: how often they are passed at most before the kill."""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600 + 20 * ROUNDS)]


def test_kills_at_random_moments(
    program: Program, outside: Outside, seed: int, figures: Say
) -> None:
    """Whenever it is killed: what was answered with 200 is delivered or a dead letter, duplicates
    stay within the bound, and the books balance; some kills follow each other at once."""
    draw = random.Random(seed)
    program.start()
    key = prepare(program, outside)
    outside.start_publishing(program, key)
    for kill in range(1, ROUNDS + 1):
        outside.sicken(draw.choice((0.0, 0.1, 0.5)))
        if draw.random() < 0.8:
            outside.wait_for_acknowledged(draw.randint(1, 300))
        program.kill()
        program.start()
        if kill % KILLS_PER_CHECK == 0 or kill == ROUNDS:
            outside.wait_for_acknowledged(1)
            outside.stop_publishing()
            check(program, outside, figures)
            outside.start_publishing(program, key)
    outside.stop_publishing()
    with program.client() as client:
        assert client.verify_store().damage == []
    assert program.stop() == 0


@pytest.mark.parametrize("name", POINTS)
def test_a_kill_at_a_point_of_the_way(
    program: Program, outside: Outside, seed: int, name: str, figures: Say
) -> None:
    """Killed at a named point of an event's way, twice in a row: the same holds."""
    draw = random.Random(seed)
    program.start()
    key = prepare(program, outside)
    outside.sicken(0.2)
    outside.start_publishing(program, key)
    outside.wait_for_acknowledged(100)
    program.kill()
    for most in (3, 25):
        program.begin(f"{name}:{draw.randint(1, min(most, RARE.get(name, most)))}")
        program.wait_for_kill()
    program.start()
    outside.wait_for_acknowledged(10)
    outside.stop_publishing()

    check(program, outside, figures)
    assert program.stop() == 0


def test_what_was_in_flight_goes_out_at_once(program: Program, outside: Outside) -> None:
    """After a restart nothing waits: deliveries that were in flight when it was killed are sent
    again, though the retry schedule begins with an hour."""
    program.start()
    key = prepare(program, outside, schedule="1h", attempts_max=1)
    outside.behaviour = {kind.name: lambda: "hang" for kind in KINDS}
    outside.start_publishing(program, key)
    outside.wait_for_acknowledged(50)
    outside.stop_publishing()
    until(lambda: all(outside.seen(kind.name).attempts for kind in KINDS), "every window is in use")

    program.kill()
    outside.heal()
    program.start()
    until(lambda: all(not books.pending for books in report(program).subscriptions), "all is sent")

    for kind in KINDS:
        wanted = {id_ for id_, subject in outside.acknowledged.items() if kind.wants(subject)}
        refused = dead_letters(program, outside)[kind.name]
        assert wanted <= outside.seen(kind.name).times.keys() | refused


def test_kills_use_up_no_attempts(program: Program, outside: Outside, figures: Say) -> None:
    """Many kills in a row, with a backlog in flight each time, count as no attempt: with a single
    attempt allowed nothing becomes a dead letter but what was refused."""
    program.start()
    key = prepare(program, outside, attempts_max=1)
    outside.behaviour = {kind.name: lambda: "hang" for kind in KINDS}
    outside.start_publishing(program, key)
    outside.wait_for_acknowledged(300)
    outside.stop_publishing()
    for _ in range(BACKLOG_KILLS):
        before = attempts(outside)
        program.kill()
        program.start()
        until(lambda before=before: attempts(outside) > before, "it is sent again")  # type: ignore[misc]

    program.kill()
    outside.heal()
    program.start()
    check(program, outside, figures)
    with program.client() as client:
        reasons = {letter.dead_letter_reason for letter in client.dead_letters()}
    assert reasons <= {"UndeliverableDueToHttpBadRequest"}


def attempts(outside: Outside) -> int:
    return sum(sum(outside.seen(kind.name).attempts.values()) for kind in KINDS)


def test_a_stop_under_load_ends_with_0(program: Program, outside: Outside, figures: Say) -> None:
    """SIGTERM under load drains: the exit code is 0, every answer that was given holds."""
    program.start()
    key = prepare(program, outside)
    outside.sicken(0.1)
    outside.start_publishing(program, key)
    outside.wait_for_acknowledged(300)

    assert program.stop() == 0

    program.start()
    outside.wait_for_acknowledged(10)
    outside.stop_publishing()
    check(program, outside, figures)
