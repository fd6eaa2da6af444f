"""Grids that are broken on purpose: the simulation finds each of them within a few seeds."""

from dataclasses import replace
from typing import Literal

import pytest

from eventpost.core.events import Event
from eventpost.core.interfaces import Commit
from eventpost.grid.checkpoint import LaneRecord, Outcomes, decode_outcomes, encode
from eventpost.grid.departed import Departed
from eventpost.grid.journal import Journal, PublishDone
from eventpost.grid.partition import Partition
from eventpost.grid.pull import PullLane
from eventpost.testing.simulation import BrokenPromiseError, Plan, workload
from tests.simulation.conftest import Run

SEEDS_MAX = 60
EVENTS = 400

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]


def found(
    run: Run,
    first_seed: int,
    *,
    synchronous: Literal["FULL", "NORMAL"] = "FULL",
    end_gap_s: float = 1.0,
) -> str:
    """The first broken promise over the seeds."""
    for seed in range(first_seed, first_seed + SEEDS_MAX):
        plan = Plan.of(seed, EVENTS)
        store = replace(plan.store, synchronous=synchronous)
        try:
            run(replace(plan, store=store, end_gap_s=end_gap_s))
        except BrokenPromiseError as broken:
            return str(broken)
    pytest.fail(f"not found in {SEEDS_MAX} seeds from {first_seed} on")


def test_commits_that_are_not_synced_are_found(run: Run, first_seed: int) -> None:
    """With synchronous=NORMAL a power cut takes what was acknowledged, and that is seen."""
    assert found(run, first_seed, synchronous="NORMAL")


def test_answers_before_the_commit_are_found(
    run: Run, first_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that is answered before the commit is done loses events, and that is seen."""
    append = Journal.append

    def answered_early(
        self: Journal, partition: Partition, events: list[Event], size: int, done: PublishDone
    ) -> None:
        append(self, partition, events, size, None if done is None else lambda _: None)
        if done is not None:
            self._clock.call_soon(done, None)

    monkeypatch.setattr(Journal, "append", answered_early)

    assert "acknowledged and lost" in found(run, first_seed)


def test_lanes_that_are_recorded_too_late_are_found(
    run: Run, first_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane whose record comes one commit after the router's is seen in the books, or by what is
    lost."""
    add_outcome = Journal._add_outcome
    late: dict[Journal, list[LaneRecord]] = {}

    def recorded_late(self: Journal, commit: Commit) -> None:
        add_outcome(self, commit)
        outcome = decode_outcomes(commit.outcome)
        before, late[self] = late.get(self, []), outcome.lanes
        commit.outcome = encode(Outcomes(outcome.partitions, before))

    monkeypatch.setattr(Journal, "_add_outcome", recorded_late)

    assert found(run, first_seed)


def test_rows_that_come_back_from_an_old_read_are_found(
    run: Run, first_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ladder row that was taken off and is believed when an old read shows it again is seen."""
    monkeypatch.setattr(Departed, "__contains__", lambda *_: False)

    assert found(run, first_seed, end_gap_s=5.0)


def test_outcomes_that_go_before_the_states_are_written_are_found(
    run: Run, first_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes that are dropped though a lane's state lacks them are seen at the next start."""
    monkeypatch.setattr(Journal, "soil", lambda *_: None)

    assert found(run, first_seed)


def test_ladder_rows_that_stay_after_their_delivery_are_found(
    run: Run, first_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is not taken off in the commit that settles its delivery is seen."""
    monkeypatch.setattr(Journal, "remove_row", lambda *_: None)

    assert found(run, first_seed)


def test_locks_that_a_restart_forgets_are_found(
    run: Run, first_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grid that gives out after a restart what somebody still holds is seen."""
    monkeypatch.setattr(PullLane, "relock", lambda *_: None)
    monkeypatch.setattr(workload, "PULL_CHANCE", 1.0)

    assert "two consumers hold" in found(run, first_seed)
