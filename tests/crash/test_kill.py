"""The real program, killed with SIGKILL under load: nothing acknowledged is lost."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventpost.grid.limits import GridLimits
from tests.crash.launcher import POINTS
from tests.crash.world import Program, Publisher, Receiver, prepare

pytestmark = [pytest.mark.crash, pytest.mark.timeout(3_600)]

ROUNDS = int(os.environ.get("EVENTPOST_CRASH_ROUNDS", "30"))
SEED = int(os.environ.get("EVENTPOST_SEED", str(random.randrange(1 << 30))))
CONCURRENCY = 64
PATHS = {"/all": 1, "/batched": 20, "/half": 1}
"""Where each subscription delivers, and its batch."""
BACKLOG_KILLS = 5


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(SEED)
    yield made
    made.close()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path / "data")
    yield made
    made.close()


def expected(path: str, acknowledged: set[str]) -> set[str]:
    if path != "/half":
        return acknowledged
    return {event_id for event_id in acknowledged if int(event_id) % 2}


def check(program: Program, receiver: Receiver, acknowledged: set[str]) -> None:
    """Lost = 0, duplicates within the design's number, the books balanced."""
    receiver.failure_rate = 0.0
    dead = dead_letters(program)
    for path, batch in PATHS.items():
        wanted = expected(path, acknowledged)
        lost = receiver.wait_for(path, wanted, dead.get(path, set()))
        duplicates = receiver.duplicates(path)
        bound = program.kills * (CONCURRENCY * batch + GridLimits().outcomes_unsaved_max)
        print(  # noqa: T201  the figures are what the run is for
            f"seed={SEED} {path} kills={program.kills} acknowledged={len(wanted)} "
            f"dead={len(dead.get(path, ()))} duplicates={duplicates} (bound {bound}) "
            f"lost={len(lost)}"
        )
        assert lost == set()
        assert duplicates <= bound
    with program.client() as client:
        for books in client.show_report().subscriptions:
            settled = books.delivered + sum(books.dead_lettered.values())
            settled += sum(books.dropped.values())
            assert books.matched + books.replayed == settled + books.pending


def dead_letters(program: Program) -> dict[str, set[str]]:
    """Ids by path. None may have fallen without an attempt."""
    found: dict[str, set[str]] = {}
    with program.client() as client:
        for letter in client.dead_letters():
            assert letter.delivery_attempts > 0
            found.setdefault(f"/{letter.subscription}", set()).add(letter.event_id)
    return found


def test_killed_at_random_moments(program: Program, receiver: Receiver) -> None:
    """Whenever the program is killed, every event answered with 200 arrives after the restart."""
    chance = random.Random(SEED)
    program.start()
    publisher = Publisher(program, prepare(program, receiver))
    for _ in range(ROUNDS):
        publisher.wait_for(chance.randint(1, 120))
        program.kill()
        program.start()
    publisher.wait_for(1)
    publisher.stop()

    check(program, receiver, publisher.acknowledged)
    assert program.stop() == 0


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_of_the_commit_path(
    program: Program, receiver: Receiver, point: str
) -> None:
    """Killed before or after a commit, an answer, routing or outcomes: nothing is lost."""
    chance = random.Random(SEED)
    program.start()
    key = prepare(program, receiver)
    program.kill()
    program.start(point, chance.randint(5, 40))
    publisher = Publisher(program, key)
    program.wait_until_dead()
    program.start()
    publisher.wait_for(20)
    publisher.stop()

    check(program, receiver, publisher.acknowledged)


def test_killed_again_and_again_with_a_backlog(program: Program, receiver: Receiver) -> None:
    """A claim is no attempt: kills in a row use up nobody's attempts, and the backlog arrives."""
    receiver.failure_rate = 1.0
    program.start()
    publisher = Publisher(program, prepare(program, receiver))
    publisher.wait_for(500)
    publisher.stop()
    for _ in range(BACKLOG_KILLS):
        program.kill()
        program.start()

    check(program, receiver, publisher.acknowledged)


def test_sigterm_drains_under_load(program: Program, receiver: Receiver) -> None:
    """SIGTERM under load ends the program with 0, and what it acknowledged is kept."""
    program.start()
    publisher = Publisher(program, prepare(program, receiver))
    publisher.wait_for(200)

    code = program.stop()

    program.start()
    publisher.wait_for(1)
    publisher.stop()
    assert code == 0
    check(program, receiver, publisher.acknowledged)
