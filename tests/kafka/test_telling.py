"""Causes are logged once in an interval."""

import pytest

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.kafka.telling import CAUSES_MAX, Telling


def evidence(address: str = "b-1:9098", fault: Fault = Fault.REFUSED) -> Evidence:
    return Evidence(stage=Stage.CONNECT, fault=fault, system="kafka", address=address)


def test_a_cause_is_told_once_in_an_interval(told: pytest.LogCaptureFixture) -> None:
    """The same cause is told again when the interval is over, not before, however often it came."""
    time_s = [0.0]
    telling = Telling(60.0, lambda: time_s[0])

    for time_s[0], count in ((0.0, 1), (30.0, 1), (59.9, 1), (60.0, 2), (119.9, 2), (120.0, 3)):
        telling.failed("connect", evidence())
        assert len(told.messages) == count


def test_another_cause_is_told_at_once(told: pytest.LogCaptureFixture) -> None:
    """Another address, another fault and another thing that failed are other causes."""
    telling = Telling(60.0, lambda: 0.0)

    telling.failed("connect", evidence())
    telling.failed("connect", evidence("b-2:9098"))
    telling.failed("connect", evidence(fault=Fault.TIMED_OUT))
    telling.failed("delivery", evidence())

    assert len(told.messages) == 4
    assert all("Fix: " in text and "EP200" in text for text in told.messages)


@pytest.mark.parametrize(("other_count", "told_again"), [(CAUSES_MAX - 1, 0), (CAUSES_MAX, 1)])
def test_causes_in_memory_are_bounded(
    told: pytest.LogCaptureFixture, other_count: int, told_again: int
) -> None:
    """So many causes are remembered; with one more the oldest is forgotten, and told again."""
    telling = Telling(60.0, lambda: 0.0)
    telling.failed("connect", evidence())
    for number in range(other_count):
        telling.failed("connect", evidence(f"b:{number}"))
    told.clear()

    telling.failed("connect", evidence())

    assert len(told.messages) == told_again
