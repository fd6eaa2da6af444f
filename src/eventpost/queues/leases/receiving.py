"""When to ask the queue for messages, and for how many. Pure: time comes in with each call."""

from collections.abc import Sequence
from random import Random

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Received, Traits
from eventpost.queues.leases.commands import Receive
from eventpost.queues.leases.limits import LeaseLimits
from eventpost.queues.leases.pacing import GrowingDelay, Outage

NEVER_S = float("inf")
HONOURED = 0.5
"""A long poll that ends empty before this part of its time was none: whoever asks again at once
would ask without end."""
IDLE_JITTER = 0.1
"""So that processes that were started together do not ask together for ever."""


class Receiving:
    """Polls without storms: one at a time, more while full pages come, fewer while none do."""

    def __init__(self, traits: Traits, limits: LeaseLimits, random: Random) -> None:
        self.outage = Outage()
        self.asked_count = 0
        """Messages that receives under way may bring; they have their slots already."""
        self.call_count = 0
        """Receives under way."""
        self.empty_count = 0
        self.again: Sequence[Received] = ()
        """A page that came and could not be looked up: it comes before anything else."""
        self._traits = traits
        self._limits = limits
        self._random = random
        self._calls_allowed = 1
        self._not_before_s = 0.0
        self._idle_s = 0.0
        self._delay = GrowingDelay(random, limits.receive_delay_s_min, limits.receive_delay_s_max)
        self._ended_s = -NEVER_S
        self._nudged_s = -NEVER_S
        self._woken_s = -NEVER_S

    def next(
        self,
        now_s: float,
        *,
        free_count: int,
        buffered_count: int,
        slots_count: int,
        lease_s: float,
    ) -> Receive | None:
        """The receive to begin now, if there is one. It must be answered by `ended`."""
        count = self._count(free_count, buffered_count, slots_count)
        if not count or now_s < self._not_before_s:
            return None
        again, self.again = self.again, ()
        # Whoever asks beside somebody who waits already need not wait, too; and that it works again
        # is to be known when it does, not at the end of a long poll.
        is_short = self.call_count or self.outage.is_on
        wait_s = 0.0 if is_short else min(self._limits.wait_s, self._traits.wait_s_max)
        self.call_count += 1
        self.asked_count += count
        return Receive(count, wait_s, lease_s, now_s, again)

    def wake_s(self, *, free_count: int, buffered_count: int, slots_count: int) -> float:
        """When to ask `next` again, if nothing changes until then."""
        is_asking = self._count(free_count, buffered_count, slots_count)
        return self._not_before_s if is_asking else NEVER_S

    def nudge(self, now_s: float) -> None:
        """There is reason to think that a message came: ask now, not when the pause is over. No
        more often than the shortest pause allows, and never before a failure's pause is over."""
        self._nudged_s = now_s
        self._idle_s = 0.0
        if not self.outage.is_on:
            earliest_s = self._ended_s + self._limits.idle_s_min
            self._not_before_s = min(self._not_before_s, max(now_s, earliest_s))

    def woken(self, now_s: float) -> None:
        """Receives under way are made to return early."""
        self._woken_s = now_s

    def ended(self, receive: Receive, now_s: float) -> None:
        """A receive is not under way any more; before one of the three below."""
        self.call_count -= 1
        self.asked_count -= receive.count_max
        self._ended_s = now_s

    def came(self, receive: Receive, count: int, now_s: float) -> None:
        """It brought messages: there may be more."""
        self._idle_s = 0.0
        self._not_before_s = now_s
        is_full = count >= receive.count_max
        if is_full and not self._traits.is_log:
            self._calls_allowed = min(self._calls_allowed + 1, self._limits.receive_calls_max)
        elif not is_full:
            self._calls_allowed = 1
        self._delay.reset()

    def came_empty(self, receive: Receive, now_s: float) -> None:
        """It brought nothing. Where the server waited there is nothing to wait for besides."""
        self.empty_count += 1
        self._calls_allowed = 1
        self._delay.reset()
        if receive.started_s <= max(self._woken_s, self._nudged_s):
            self._idle_s = 0.0
            self._not_before_s = now_s + (self._limits.idle_s_min if not receive.wait_s else 0.0)
            return
        if receive.wait_s and now_s - receive.started_s >= receive.wait_s * HONOURED:
            self._not_before_s = now_s
            return
        longer_s = self._idle_s * self._limits.idle_growth
        self._idle_s = min(max(self._limits.idle_s_min, longer_s), self._limits.idle_s_max)
        jitter = 1 + self._random.uniform(-IDLE_JITTER, IDLE_JITTER)
        self._not_before_s = now_s + self._idle_s * jitter

    def failed(self, failed: Failed, now_s: float) -> float:
        """It failed; the pause until the next one."""
        self._calls_allowed = 1
        self.outage.begin(now_s, failed)
        delay_s = self._delay.next_s()
        self._not_before_s = now_s + delay_s
        return delay_s

    def _count(self, free_count: int, buffered_count: int, slots_count: int) -> int:
        """For how many to ask; 0 for not asking. With something in hand it waits until asking is
        worth a request."""
        free_count -= self.asked_count
        if self.again and free_count > 0:
            return len(self.again)
        if self.call_count >= self._calls_allowed or free_count <= 0:
            return 0
        page = min(self._traits.receive_count_max, max(1, slots_count // 2))
        if free_count < page and (buffered_count or self.call_count):
            return 0
        return min(free_count, self._traits.receive_count_max)
