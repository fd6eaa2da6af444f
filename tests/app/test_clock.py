"""The grid's time is steady while the process lives."""

import asyncio
import time

import pytest

from eventpost.app.clock import LoopClock

HOUR_NS = 3_600 * 10**9


@pytest.mark.parametrize("step_ns", [HOUR_NS, -HOUR_NS])
def test_a_step_of_the_systems_clock_is_not_seen(
    monkeypatch: pytest.MonkeyPatch, step_ns: int
) -> None:
    """The wall clock is read at the start; a step forward or back changes nothing after it."""
    real_ns = time.time_ns
    loop = asyncio.new_event_loop()
    try:
        clock = LoopClock(loop)
        before_ms = clock.now_ms()
        assert abs(before_ms - real_ns() // 1_000_000) < 1_000

        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + step_ns)

        assert before_ms <= clock.now_ms() < before_ms + 60_000
    finally:
        loop.close()
