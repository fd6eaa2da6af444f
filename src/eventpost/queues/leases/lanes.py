"""What waits to be settled, or to be released: in batches, and tried again when it fails.

Pure: time comes in with each call.
"""

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from random import Random

from eventpost.core.outcomes import Failed
from eventpost.queues.leases.lease import Lease
from eventpost.queues.leases.limits import LeaseLimits
from eventpost.queues.leases.pacing import GrowingDelay, Outage

NEVER_S = float("inf")


class Lane:
    """Leases that wait for one kind of call.

    When a whole call fails, the lane is out: one call at a time looks whether it works again, at a
    growing pace, and with the first that does everything goes. When entries of a call fail beside
    others that do not, each waits for itself.
    """

    def __init__(
        self,
        limits: LeaseLimits,
        random: Random,
        *,
        lease_s: float,
        batch_count_max: int,
        linger_s: float,
    ) -> None:
        self.outage = Outage()
        self.call_count = 0
        self._limits = limits
        self._random = random
        self._lease_s = lease_s
        self._batch_count_max = batch_count_max
        self._linger_s = linger_s if batch_count_max > 1 else 0.0
        self._delay = GrowingDelay(random, limits.settle_delay_s_min, limits.settle_delay_s_max)
        self._not_before_s = 0.0
        self._ready: OrderedDict[Lease, float] = OrderedDict()
        """Never tried, or worth a try at once; with when they came."""
        self._failed: OrderedDict[Lease, None] = OrderedDict()
        """Tried in vain: their turn comes when something works again, or nothing else is there."""
        self._later: list[tuple[float, int, Lease]] = []
        """Refused one by one, by the time of their next try. Entries may be stale."""
        self._later_s: dict[Lease, float] = {}
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._ready) + len(self._failed) + len(self._later_s)

    def __contains__(self, lease: Lease) -> bool:
        return lease in self._ready or lease in self._failed or lease in self._later_s

    def add(self, lease: Lease, now_s: float) -> None:
        """Let it go with the next call, or, tried in vain before, when something works again."""
        self.drop(lease)
        if lease.attempt_count and self.outage.is_on:
            self._failed[lease] = None
        else:
            self._ready[lease] = now_s

    def drop(self, lease: Lease) -> None:
        """Forget it, if it waits here."""
        self._ready.pop(lease, None)
        self._failed.pop(lease, None)
        self._later_s.pop(lease, None)

    def is_worth_a_look(self) -> bool:
        """Whether what was just added changes when the next call is due."""
        return len(self) == 1 or len(self._ready) in (1, self._batch_count_max)

    def hurry(self, now_s: float) -> None:
        """There is not much time left: look at once whether it works again."""
        self._delay.reset()
        self._not_before_s = min(self._not_before_s, now_s)

    def wake_s(self, *, is_urgent: bool = False) -> float:
        """When the next call is due, if nothing changes until then."""
        if self.outage.is_on:
            is_idle = self.call_count == 0 and len(self) > 0
            return self._not_before_s if is_idle else NEVER_S
        if len(self._ready) >= self._batch_count_max or (is_urgent and self._ready):
            return 0.0
        if self._failed:
            return 0.0
        oldest_s = next(iter(self._ready.values())) + self._linger_s if self._ready else NEVER_S
        return min(oldest_s, self._next_later_s())

    def take(self, now_s: float, count_max: int, *, is_urgent: bool = False) -> list[Lease]:
        """The leases of the call to begin now. Must be answered by `ended`."""
        if now_s < self.wake_s(is_urgent=is_urgent):
            return []
        taken: list[Lease] = []
        while self._ready and len(taken) < count_max:
            taken.append(self._ready.popitem(last=False)[0])
        while self._failed and len(taken) < count_max:
            taken.append(self._failed.popitem(last=False)[0])
        while len(taken) < count_max and self._next_later_s() <= now_s:
            lease = heapq.heappop(self._later)[2]
            del self._later_s[lease]
            taken.append(lease)
        if not taken and self.outage.is_on and self._later_s:
            # In an outage nobody's own time matters: the next one looks whether it works again.
            self._next_later_s()
            lease = heapq.heappop(self._later)[2]
            del self._later_s[lease]
            taken.append(lease)
        if taken:
            self.call_count += 1
        return taken

    def ended(self) -> None:
        self.call_count -= 1

    def worked(self, now_s: float) -> float | None:
        """At least one entry went through; how long nothing had, or None when it had."""
        self._delay.reset()
        return self.outage.end(now_s)

    def failed(self, leases: Sequence[Lease], failed: Failed, now_s: float) -> None:
        """All entries of a call failed."""
        self.outage.begin(now_s, failed)
        for lease in leases:
            lease.attempt_count += 1
            self._failed[lease] = None
        self._not_before_s = now_s + self._delay.next_s(self._bound_s(now_s))

    def refused(self, lease: Lease, now_s: float) -> None:
        """This entry failed, beside others that went through."""
        bound_s = self._limits.settle_delay_s_min * 2.0 ** min(lease.attempt_count, 30)
        lease.attempt_count += 1
        limit_s = self._limits.settle_delay_s_max
        if now_s - lease.pending_since_s >= self._lease_s:
            limit_s = self._limits.settle_delay_s_late
        due_s = now_s + self._random.uniform(0.0, min(bound_s, limit_s))
        self._later_s[lease] = due_s
        heapq.heappush(self._later, (due_s, next(self._order), lease))

    def _bound_s(self, now_s: float) -> float:
        is_late = self.outage.age_s(now_s) >= self._lease_s
        return self._limits.settle_delay_s_late if is_late else self._limits.settle_delay_s_max

    def _next_later_s(self) -> float:
        while self._later and self._later_s.get(self._later[0][2]) != self._later[0][0]:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else NEVER_S
