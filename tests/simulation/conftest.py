"""Runs of the simulation by seed, each in a directory of its own that goes with it."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eventpost.testing.simulation import Plan, Report, simulate
from tests.conftest import Say

Run = Callable[[Plan], Report]
SEED = "EVENTPOST_SEED"
"""The first seed, to repeat a run; without it every run of the tests has new ones."""


@pytest.fixture
def run(tmp_path: Path, say: Say) -> Run:
    """Carries out one plan and says what it did."""

    def carry_out(plan: Plan) -> Report:
        directory = tmp_path / f"seed-{plan.seed}"
        try:
            report = simulate(plan, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        say(str(report))
        return report

    return carry_out


@pytest.fixture
def first_seed(say: Say) -> int:
    """Where the seeds of this test begin; said, so that a failure can be repeated."""
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(1, 2**31))
    say(f"{SEED}={seed}")
    return seed
