"""What one engine holds, and every way in which a message comes into it and leaves it.

Pure: no thread, no lock, no clock.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from random import Random

from eventpost.queues.interfaces import Traits
from eventpost.queues.leases.commands import Role
from eventpost.queues.leases.extending import Extending
from eventpost.queues.leases.lanes import Lane
from eventpost.queues.leases.lease import Fate, Lease, LostReason, State
from eventpost.queues.leases.limits import LeaseLimits
from eventpost.queues.leases.listening import Listener
from eventpost.queues.leases.pacing import News, Telling
from eventpost.queues.leases.tally import Tally

NEVER_S = float("inf")
TAKEN_PART_MIN = 0.5
"""Where leases cannot be extended, a message is not given out once this part of its lease is gone:
it would be lost before its work is done. It is released instead."""


class Holdings:
    """All leases of one queue, by key and by what they wait for."""

    def __init__(
        self, traits: Traits, limits: LeaseLimits, random: Random, listener: Listener
    ) -> None:
        self.traits = traits
        self.limits = limits
        self.listener = listener
        self.tally = Tally()
        self.telling = Telling(limits.tell_s)
        self.news: list[News] = []
        """Calls of the listener that are to be made, without the lock."""
        self.stirred: set[Role] = set()
        """Hands that may have something to do earlier than they think."""
        self.is_paused = False
        self.is_closing = False

        self.leases: dict[object, Lease] = {}
        self.buffer: OrderedDict[Lease, None] = OrderedDict()
        """What waits to be taken, oldest first."""
        self.slots: set[object] = set()
        """The keys of the messages that are not finished: the bound of what is fetched."""
        self.pending: OrderedDict[object, Lease] = OrderedDict()
        """What waits to be settled or released, oldest first."""
        self.held_bytes = 0

        self.extending = Extending(traits, limits, random)
        lane = partial(
            Lane,
            limits,
            random,
            lease_s=limits.lease_s,
            batch_count_max=traits.batch_count_max,
        )
        self.settling: Lane = lane(linger_s=limits.settle_linger_s)
        self.releasing: Lane = lane(linger_s=0.0)
        self.expiry_s = NEVER_S
        """Before this nothing runs out."""
        self._remembered: OrderedDict[str, None] = OrderedDict()
        self._numbers = itertools.count(1)

    def new_key(self) -> int:
        """For a message that its id does not tell apart."""
        return next(self._numbers)

    def is_remembered(self, message_id: str) -> bool:
        """Whether a message with this id was finished here of late."""
        return message_id in self._remembered

    @property
    def can_abandon(self) -> bool:
        """Whether what is given up comes again by itself, and is known then."""
        return self.traits.has_ids and self.traits.lease_s_max > 0

    def tell(self, call: Callable[..., None], *arguments: object) -> None:
        self.news.append(partial(call, *arguments))

    def hold(self, lease: Lease, now_s: float) -> None:
        self.leases[lease.key] = lease
        self.slots.add(lease.key)
        self.held_bytes += lease.bytes
        before_s = self.extend_wake_s()
        self.extending.schedule(lease, now_s)
        self.expiry_s = min(self.expiry_s, self._end_s(lease))
        if self.extend_wake_s() < before_s:
            self.stirred.add(Role.EXTEND)

    def extend_wake_s(self) -> float:
        """When a lease is to be extended, or runs out, at the earliest."""
        return min(self.extending.wake_s(), self.expiry_s)

    def to_pending(self, lease: Lease, state: State, delay_s: float, now_s: float) -> None:
        """It needs its slot no more; it is settled or released as soon as that works."""
        lease.state = state
        lease.release_delay_s = delay_s
        lease.pending_since_s = now_s
        self.slots.discard(lease.key)
        self.buffer.pop(lease, None)
        self.pending[lease.key] = lease
        if state is State.FINISHED:
            self.remember(lease)
        if not lease.is_busy:
            self.strip(lease)
            self.offer(lease, now_s)
        for twin in lease.twins:
            self.to_pending(twin, state, delay_s, now_s)
        lease.twins = []
        self._bound_pending()
        self.stirred.add(Role.RECEIVE)

    def strip(self, lease: Lease) -> None:
        """Keep no content that is not needed: a log's release appends it anew."""
        if not (lease.state is State.RELEASING and self.traits.is_log):
            self.held_bytes -= lease.bytes
            lease.strip()

    def offer(self, lease: Lease, now_s: float) -> None:
        lane = self.settling if lease.state is State.FINISHED else self.releasing
        lane.add(lease, now_s)
        if lane.is_worth_a_look() or self.is_closing:
            self.stirred.add(Role.SETTLE)

    def _bound_pending(self) -> None:
        if not self.can_abandon or len(self.pending) <= self.limits.pending_max:
            return
        oldest = next((one for one in self.pending.values() if not one.is_busy), None)
        if oldest is not None:
            self._abandon(oldest)

    def _abandon(self, lease: Lease) -> None:
        if lease.state is State.FINISHED:
            self.tell(self.listener.settle_abandoned, lease)
        self.end(lease, Fate.ABANDONED)

    def put_all_back(self, now_s: float) -> None:
        for lease in list(self.buffer):
            self.put_back(lease, now_s)

    def put_back(self, lease: Lease, now_s: float) -> None:
        """It was not begun. A log is simply read again from where it was committed."""
        if self.traits.is_log:
            self.end(lease, Fate.LEFT)
        else:
            self.to_pending(lease, State.RELEASING, 0.0, now_s)

    def remember(self, lease: Lease) -> None:
        if lease.id:
            self._remembered[lease.id] = None
            self._remembered.move_to_end(lease.id)
            if len(self._remembered) > self.limits.remembered_max:
                self._remembered.popitem(last=False)

    def lose(self, lease: Lease, reason: LostReason) -> None:
        """Somebody else may have it."""
        if lease.state is State.FINISHED:
            self.end(lease, Fate.LOST)
        elif lease.state is State.BUFFERED:
            self.tally.lost_unstarted += 1
            self.tell(self.listener.lease_lost, lease, reason)
            self.end(lease, Fate.LOST)
        elif lease.state is State.RUNNING and not lease.is_lost:
            lease.is_lost = True
            self.tally.lost_running += 1
            self.tell(self.listener.lease_lost, lease, reason)

    def regain(self, lease: Lease) -> None:
        if lease.is_lost:
            lease.is_lost = False
            self.tally.regained += 1
            self.tell(self.listener.lease_regained, lease)

    def end(self, lease: Lease, fate: Fate) -> None:
        """Nothing more is done about it. The one place where a lease leaves the engine."""
        assert self.leases.get(lease.key) is lease
        del self.leases[lease.key]
        lease.state = State.OVER
        lease.fate = fate
        self.slots.discard(lease.key)
        self.pending.pop(lease.key, None)
        self.buffer.pop(lease, None)
        self.settling.drop(lease)
        self.releasing.drop(lease)
        self.held_bytes -= lease.bytes
        lease.bytes = 0
        self.tally.fates[fate] += 1
        for twin in lease.twins:
            self.end(twin, fate)
        lease.twins = []

    # --- time -------------------------------------------------------------------------------------

    def expire(self, now_s: float) -> None:
        """Notice leases that ran out, and settles that were tried for too long."""
        while self.pending and self.can_abandon:
            oldest = next(iter(self.pending.values()))
            if oldest.is_busy or now_s < oldest.pending_since_s + self.limits.pending_s_max:
                break
            self._abandon(oldest)
        if now_s < self.expiry_s:
            return
        self.expiry_s = NEVER_S
        for lease in list(self.leases.values()):
            if now_s < self._end_s(lease):
                self.expiry_s = min(self.expiry_s, self._end_s(lease))
            elif lease.state is State.BUFFERED and now_s < lease.until_s:
                self.put_back(lease, now_s)
            elif lease.state is not State.RELEASING:
                if lease.state is not State.FINISHED:
                    self.lose(lease, LostReason.EXPIRED)
            elif not lease.is_busy:
                self.end(lease, Fate.RELEASED)

    def _end_s(self, lease: Lease) -> float:
        """When something is to be done about a lease that nobody extends."""
        if lease.state is State.BUFFERED and not self.extending.is_possible:
            return lease.until_s - lease.length_s * TAKEN_PART_MIN
        return lease.until_s

    def is_stale(self, lease: Lease, now_s: float) -> bool:
        return not self.extending.is_possible and now_s >= self._end_s(lease)
