"""One program and one world around it for each test; whatever happens, both end with the test."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import Say
from tests.crash.outside import Outside
from tests.crash.program import Program
from tests.crash.station import SETTINGS

NewProgram = Callable[..., Program]


@pytest.fixture
def seed(say: Say) -> int:
    """Of the moments of kills and of what receivers do; said, so that it can be set again."""
    chosen = int(os.environ.get("EVENTPOST_SEED") or random.SystemRandom().randrange(1, 2**31))
    say(f"EVENTPOST_SEED={chosen}")
    return chosen


@pytest.fixture
def outside(seed: int) -> Iterator[Outside]:
    made = Outside(seed)
    yield made
    made.close()


@pytest.fixture
def new_program(tmp_path: Path) -> Iterator[NewProgram]:
    """Makes programs that are not started yet; by default each has a data directory of its own."""
    made: list[Program] = []

    def new(data: Path | None = None, *, prefix: Sequence[str] = (), **settings: str) -> Program:
        number = len(made)
        place = data or tmp_path / f"data-{number}"
        made.append(
            Program(place, tmp_path / f"log-{number}", prefix=prefix, **SETTINGS | settings)
        )
        return made[-1]

    yield new
    for program in made:
        program.close()


@pytest.fixture
def program(new_program: NewProgram) -> Program:
    return new_program()
