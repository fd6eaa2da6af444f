"""What an idle worker costs and how long a task waits for it, where the server does not wait."""

import statistics
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from eventpost.queues.leases import LeaseLimits
from eventpost.testing.memory_queue import POLLED
from eventpost.workers.limits import WorkerLimits
from eventpost.workers.reception import lease_limits
from tests.conftest import Say
from tests.queues.leases.rig import SEED, Rig, new_rig

HOUR_S = 3_600.0
STOCK_REQUESTS = 5_040
"""Of `dramatiq_azure` 2.0.0 in an idle hour, as `make worker-bench` counted them."""
STOCK_START_S = 0.437
"""The median from enqueue to start that was measured with it."""


def limits_of_a_worker() -> LeaseLimits:
    around: Any = SimpleNamespace(limits=WorkerLimits(), lease_s=60.0)
    return lease_limits(16, around)


def waited_s(rig: Rig) -> float:
    """From now, when a message comes, until a worker has it."""
    rig.send("song")
    sent_s = rig.clock.monotonic_s()
    while not (taken := rig.take()):
        rig.advance(0.01)
    rig.leases.finish(taken[0])
    return rig.clock.monotonic_s() - sent_s


def test_an_idle_hour(figures: Say) -> None:
    """An idle worker asks less often than the stock broker does."""
    rig = new_rig(POLLED, limits=limits_of_a_worker())
    rig.advance(HOUR_S)

    count = rig.stats().requests["receive"]
    figures(f"{count} requests in an idle hour of a worker, where the server does not wait")
    assert 3_600 < count < STOCK_REQUESTS


@pytest.mark.parametrize(("idle_s", "most_s"), [(1.0, 0.25), (15.0, 0.4)], ids=["short", "long"])
def test_a_task_that_comes_alone(idle_s: float, most_s: float, figures: Say) -> None:
    """A task that comes to an idle worker starts sooner than the stock broker's does in the middle,
    and the sooner, the shorter nothing came before it."""
    rig, random = new_rig(POLLED, limits=limits_of_a_worker()), Random(SEED)
    waits: list[float] = []
    for _ in range(250):
        rig.advance(idle_s + random.random())
        waits.append(waited_s(rig))

    middle_s = statistics.median(waits)
    figures(f"after {idle_s:g} s without a task the next one waits {middle_s:.2f} s in the middle")
    assert middle_s <= most_s < STOCK_START_S
    assert max(waits) <= WorkerLimits().idle_s_max * 1.2


def test_whoever_enqueues_here_wakes_the_worker() -> None:
    """A task that this process itself enqueues starts without a wait."""
    rig = new_rig(POLLED, limits=limits_of_a_worker())
    rig.advance(HOUR_S)
    rig.send("song")
    rig.advance(LeaseLimits().idle_s_min)

    rig.leases.nudge()

    assert len(rig.take()) == 1


def test_pauses_do_not_get_shorter() -> None:
    """A growth below one is refused by its name; one is an even pause."""
    with pytest.raises(ValueError, match="idle_growth"):
        WorkerLimits(idle_growth=0.99)
    assert WorkerLimits(idle_growth=1.0).idle_growth == 1.0


@pytest.mark.parametrize("quick_s", [0.0, 0.25])
def test_quick_work_may_be_fetched_ahead(quick_s: float) -> None:
    """By how much quick work is fetched ahead is a setting, and may be nothing."""
    assert WorkerLimits(quick_s=quick_s).quick_s == quick_s
    with pytest.raises(ValueError, match="quick_s"):
        WorkerLimits(quick_s=-quick_s - 0.1)
