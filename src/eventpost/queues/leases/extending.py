"""The one heartbeat: which leases to extend, and by how much.

Pure: time comes in with each call.
"""

from collections.abc import Iterable
from random import Random

from eventpost.core.outcomes import Evidence
from eventpost.queues.interfaces import Traits
from eventpost.queues.leases.commands import Extend
from eventpost.queues.leases.lease import Lease, State
from eventpost.queues.leases.limits import LeaseLimits
from eventpost.queues.leases.pacing import GrowingDelay

NEVER_S = float("inf")
BEAT = 1 / 3
"""A lease is extended when this part of it has gone, so that two more tries fit into the rest."""
EARLY = 1 / 6
"""Leases that are due within this part of one are extended together."""
DELAY_S_MIN = 0.1
LEASE_S_MIN = 1.0
"""Systems count in whole seconds, and no lease at all would give the message back."""

FORBIDDEN_CODES = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationPermissionMismatch",
        "InsufficientAccountPermissions",
    }
)
"""An identity that is known and lacks the permission. `AuthorizationFailure` is not among them: a
firewall refuses everything or comes and goes, and trying again helps."""


def is_forbidden(evidence: Evidence) -> bool:
    """Whether trying again is useless until somebody grants the permission."""
    if evidence.code is None:
        return evidence.status == 403
    return evidence.code in FORBIDDEN_CODES


class Extending:
    """Decides for all leases of one queue."""

    def __init__(self, traits: Traits, limits: LeaseLimits, random: Random) -> None:
        self.is_forbidden = False
        self.beat_s = NEVER_S
        """No lease is due before."""
        self._traits = traits
        self._limits = limits
        self._not_before_s = 0.0
        self._delay = GrowingDelay(random, DELAY_S_MIN, limits.lease_s * EARLY)
        self._is_probing = False

    @property
    def is_possible(self) -> bool:
        """Whether leases are extended at present; always where they have no length."""
        return not self._traits.lease_s_max or (self._traits.can_extend and not self.is_forbidden)

    @property
    def receive_lease_s(self) -> float:
        """The lease to ask for with each message."""
        wanted_s = self._limits.lease_s if self.is_possible else self._limits.unextended_lease_s
        return min(wanted_s, self._traits.lease_s_max)

    def schedule(self, lease: Lease, now_s: float, *, floor_s: float = 0.0) -> None:
        """A lease begins or was extended: its next turn is when a third of it has gone."""
        due_s = lease.until_s - lease.length_s * (1 - BEAT)
        lease.extend_at_s = max(due_s, now_s + floor_s)
        if lease.until_s >= self._cap_s(lease):
            lease.extend_at_s = NEVER_S
        self.beat_s = min(self.beat_s, lease.extend_at_s)

    def wake_s(self) -> float:
        if not self._traits.can_extend:
            return NEVER_S
        if self.is_forbidden:
            return NEVER_S if self._is_probing else self._not_before_s
        return max(self.beat_s, self._not_before_s)

    def next(self, leases: Iterable[Lease], now_s: float, count_max: int) -> Extend | None:
        """The leases to extend now. Must be answered by `ended`."""
        if now_s < self.wake_s():
            return None
        due = self._due(leases, now_s)
        if not due:
            if self.is_forbidden:
                self._not_before_s = now_s + self._limits.extend_retry_s
            return None
        due.sort(key=lambda lease: lease.until_s)
        if self.is_forbidden:
            self._is_probing = True
            due = due[-1:]
        first_is_finished = due[0].state is State.FINISHED
        group = [one for one in due if (one.state is State.FINISHED) == first_is_finished]
        group = group[:count_max]
        lease_s = min(
            self._length_s(group[0]), *(self._cap_s(one) + LEASE_S_MIN - now_s for one in group)
        )
        return Extend(group, [one.held for one in group], lease_s)

    def ended(self, extend: Extend, now_s: float) -> None:
        self._is_probing = False
        self.beat_s = min(self.beat_s, now_s)  # what was due beside it, or became due meanwhile

    def extended(self, lease: Lease, lease_s: float, now_s: float) -> None:
        lease.length_s = lease_s
        self.schedule(lease, now_s, floor_s=lease_s * EARLY)
        self._delay.reset()

    def failed(self, now_s: float) -> None:
        """A call failed as a whole or in part: what failed is due still."""
        self._not_before_s = now_s + self._delay.next_s()

    def forbid(self, now_s: float) -> None:
        self.is_forbidden = True
        self._not_before_s = now_s + self._limits.extend_retry_s

    def allow(self) -> None:
        self.is_forbidden = False
        self.beat_s = self._not_before_s = 0.0

    def _due(self, leases: Iterable[Lease], now_s: float) -> list[Lease]:
        due, beat_s = [], NEVER_S
        within_s = now_s if self.is_forbidden else now_s + self._limits.lease_s * EARLY
        for lease in leases:
            if lease.is_void or lease.state in (State.RELEASING, State.TWIN, State.OVER):
                continue
            if max(now_s, lease.until_s) >= self._cap_s(lease):
                continue
            if lease.is_busy:
                beat_s = min(beat_s, now_s + self._limits.lease_s * EARLY)
            elif lease.extend_at_s <= within_s or self.is_forbidden:
                due.append(lease)
            else:
                beat_s = min(beat_s, lease.extend_at_s)
        self.beat_s = beat_s
        return due

    def _length_s(self, lease: Lease) -> float:
        is_finished = lease.state is State.FINISHED
        wanted_s = self._limits.pending_lease_s if is_finished else self._limits.lease_s
        return min(max(wanted_s, self._limits.lease_s), self._traits.lease_s_max)

    def _cap_s(self, lease: Lease) -> float:
        """From then on it is not extended any more."""
        return lease.received_s + self._limits.hold_s_max - LEASE_S_MIN
