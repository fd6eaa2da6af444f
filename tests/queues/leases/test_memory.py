"""Memory while something fails: what is held is bounded, and a failure that lasts adds nothing."""

import gc
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import pytest

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Traits
from eventpost.queues.leases import Lease, LeaseLimits
from eventpost.testing.memory_queue import FORBIDDEN, LEASED, LOG, POLLED
from tests.conftest import Say
from tests.queues.leases.rig import Heard, Rig, new_rig

MESSAGES = 30
FIRST_S = 1_800.0
"""Until everything has been seen: kinds of failures, pauses, and leases that ended."""
THEN_S = 2 * FIRST_S
MORE_MAX = 100
"""Objects that come and go: a request under way, a pause."""
SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, Heard)


def object_count(rig: Rig) -> int:
    """All that the engine's book leads to, and neither code nor who listens."""
    book = rig.leases._book
    seen: set[int] = set()
    waiting: list[object] = [book]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, SHARED):
            seen.add(id(one))
            waiting += gc.get_referents(one)
    return len(seen)


def at_work(rig: Rig, operation: str, failure: Failed) -> None:
    """All messages have been received; half of them are finished, and the failure begins."""
    rig.send(*(str(number) for number in range(MESSAGES)))
    leases: list[Lease] = []
    while len(leases) < MESSAGES:
        leases += rig.take()
        rig.advance(0.1)
    rig.server.fail(operation, failure)
    for lease in leases[::2]:
        rig.leases.finish(lease)
    if operation == "release":
        for lease in leases[1::2]:
            rig.leases.release(lease)


@pytest.mark.parametrize("traits", [LEASED, POLLED, LOG], ids=["leased", "polled", "log"])
@pytest.mark.parametrize("operation", ["settle", "receive", "release", "extend"])
def test_a_failure_that_lasts(operation: str, traits: Traits, figures: Say) -> None:
    """While a service refuses, for an hour, the engine holds no more than after the beginning."""
    rig = new_rig(traits, limits=LeaseLimits(slots_max=2 * MESSAGES, idle_s_max=5.0))
    at_work(rig, operation, FORBIDDEN)
    rig.advance(FIRST_S)
    before, count = object_count(rig), sum(rig.stats().requests.values())

    rig.advance(THEN_S)

    more = object_count(rig) - before
    asked = sum(rig.stats().requests.values()) - count
    figures(f"{operation}: {more} of {before} objects more after {asked:,} requests")
    assert asked > MORE_MAX
    assert more < MORE_MAX


def test_what_waits_is_counted() -> None:
    """The opposite: what is held is seen, message by message."""
    rig = new_rig(limits=LeaseLimits(slots_max=2 * MESSAGES))
    empty = object_count(rig)
    at_work(rig, "settle", FORBIDDEN)
    assert object_count(rig) > empty + MESSAGES
