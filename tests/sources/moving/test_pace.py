"""How many messages a move may send now, on a clock in the test's hand."""

import threading
from pathlib import Path

import pytest

from eventpost.sources.moving.pace import Pace
from tests.sources.moving.test_mover import Rig


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def sent_of(pace: Pace, clock: Clock, seconds: float, step_s: float) -> int:
    """Whoever sends at once whatever may go, looking every `step_s`."""
    sent = 0
    for _ in range(round(seconds / step_s)):
        due = pace.due()
        pace.sent(due)
        sent += due
        clock.now_s += step_s
    return sent


@pytest.mark.parametrize("rate_per_s", [0.5, 1.0, 7.0, 50.0, 1_000.0])
@pytest.mark.parametrize("step_s", [0.05, 0.25])
def test_so_many_a_second(rate_per_s: float, step_s: float) -> None:
    """In ten seconds ten times the rate goes, give or take the one that is due at once."""
    clock = Clock()

    sent = sent_of(Pace(rate_per_s, clock), clock, 10.0, step_s)

    assert 10 * rate_per_s * (1 - step_s / 10) - 1 <= sent <= 10 * rate_per_s + 1


def test_a_pause_is_not_made_good() -> None:
    """After a minute in which nothing could be sent, no more goes at once than before it."""
    clock = Clock()
    pace = Pace(10.0, clock)
    pace.sent(pace.due())
    clock.now_s += 60.0

    assert pace.due() == 1
    assert sent_of(pace, clock, 10.0, 0.05) <= 101


def test_a_second_may_go_at_once() -> None:
    """What was due within a second goes together, one more and it is a pause."""
    clock = Clock()
    pace = Pace(10.0, clock)

    clock.now_s += 0.85

    assert pace.due() == 9
    clock.now_s += 0.2
    assert pace.due() == 1


def test_a_move_keeps_its_pace(tmp_path: Path) -> None:
    """With a rate a move has sent no more at any time than the rate allows."""
    rig = Rig(tmp_path)
    rig.send(*(f"song-{n}" for n in range(30)))
    clock, one_look = Clock(), threading.Lock()
    seen: list[tuple[float, int]] = []

    def monotonic_s() -> float:
        """Each look at the clock takes a moment; the move and its engine look from their threads,
        so what has arrived is counted first."""
        count = rig.target.message_count("songs")
        with one_look:
            clock.now_s += 0.001
            seen.append((clock.now_s, count))
            return clock.now_s

    result = rig.move(rate_per_s=20.0, monotonic_s=monotonic_s)

    began_s = seen[0][0]
    assert result.account.moved == 30
    assert seen[-1][0] - began_s >= 29 / 20
    assert all(count <= 20 * (at_s - began_s) + 1 for at_s, count in seen)
