"""The whole grid in virtual time, with everything going wrong that can: every promise holds."""

from collections import Counter

import pytest

from eventpost.testing.simulation import FAULTS, Plan
from tests.conftest import Say
from tests.simulation.conftest import Run

EVENTS = 50_000
"""Of each half of the long run; both together are 10^5."""
EVENTS_EACH = 1_500
RUNS_MAX = 150
"""If a kind of fault was not met by then, the simulation does not bring it about."""


def test_a_short_run_keeps_every_promise(run: Run, first_seed: int) -> None:
    """Nothing acknowledged is lost, the books balance, duplicates are bounded, on any seed."""
    report = run(Plan.of(first_seed, events=60))

    assert report.events >= 60


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("half", [0, 1])
def test_long_runs_keep_every_promise(run: Run, first_seed: int, half: int, figures: Say) -> None:
    """So it is over 10^5 events, with every kind of fault met, crashes among them."""
    faults: Counter[str] = Counter()
    events = runs = 0
    while events < EVENTS or FAULTS - faults.keys():
        assert runs < RUNS_MAX, f"never met: {sorted(FAULTS - faults.keys())}"
        report = run(Plan.of(first_seed + 2 * runs + half, EVENTS_EACH))
        faults += report.faults
        events += report.events
        runs += 1

    told = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    figures(f"{events} events in {runs} runs from seed {first_seed}; {told}")
    assert faults.keys() >= FAULTS


def test_a_seed_repeats_its_run(run: Run) -> None:
    """The same seed gives the same run, so that a failure can be looked at."""
    plan = Plan.of(11, events=60)

    assert run(plan) == run(plan)
