"""What the server said to extend, settle and release, entry by entry.

Pure: no thread, no lock, no clock.
"""

from collections.abc import Sequence

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Settled, Verdict
from eventpost.queues.leases.commands import Extend, Release, Settle
from eventpost.queues.leases.extending import is_forbidden
from eventpost.queues.leases.holdings import Holdings
from eventpost.queues.leases.lanes import Lane
from eventpost.queues.leases.lease import Fate, Lease, LostReason, State


class Verdicts:
    """Draws the consequences in the holdings."""

    def __init__(self, held: Holdings) -> None:
        self._held = held

    def extended(self, extend: Extend, verdicts: Sequence[Verdict], now_s: float) -> None:
        """An extend was answered; none of its leases is busy any more."""
        self._held.extending.ended(extend, now_s)
        failures: list[Failed] = []
        has_worked = False
        for lease, entry, verdict in zip(extend.leases, extend.held, verdicts, strict=True):
            if lease.state is State.OVER:
                continue
            if lease.held is not entry:
                pass  # the verdict is on a receipt that was replaced meanwhile
            elif isinstance(verdict, Failed):
                failures.append(verdict)
            elif verdict is Settled.DONE:
                has_worked = True
                self._held.extending.extended(lease, extend.lease_s, now_s)
                self._held.expiry_s = min(self._held.expiry_s, lease.until_s)
                self._held.regain(lease)
            else:
                lease.is_void = True
                self._held.lose(lease, LostReason.TAKEN)
            if lease.is_pending:
                self._held.strip(lease)
                self._held.offer(lease, now_s)
        if failures:
            self._extend_failed(failures, now_s)
        elif has_worked and self._held.extending.is_forbidden:
            self._held.extending.allow()
            self._held.tell(self._held.listener.extend_allowed)

    def _extend_failed(self, failures: Sequence[Failed], now_s: float) -> None:
        self._held.extending.failed(now_s)
        for failed in failures:
            self._held.tally.failed("extend", failed)
        if forbidden := [one for one in failures if is_forbidden(one.evidence)]:
            was_forbidden = self._held.extending.is_forbidden
            self._held.extending.forbid(now_s)
            if not was_forbidden:
                self._held.expiry_s = now_s
                lease_s = self._held.extending.receive_lease_s
                self._held.tell(self._held.listener.extend_forbidden, forbidden[0], lease_s)
        elif count := self._held.telling.due_count("extend", failures[0], len(failures), now_s):
            self._held.tell(self._held.listener.extend_failed, failures[0], count)

    def settled(self, change: Settle | Release, verdicts: Sequence[Verdict], now_s: float) -> None:
        is_settle = isinstance(change, Settle)
        lane = self._held.settling if is_settle else self._held.releasing
        lane.ended()
        failed: list[tuple[Lease, Failed]] = []
        gone: list[Lease] = []
        has_worked = False
        for lease, entry, verdict in zip(change.leases, change.held, verdicts, strict=True):
            has_worked = has_worked or not isinstance(verdict, Failed)
            if lease.state is State.OVER:
                continue
            if lease.held is not entry:  # the verdict is on a receipt that was replaced meanwhile
                self._held.offer(lease, now_s)
            elif isinstance(verdict, Failed):
                failed.append((lease, verdict))
            elif verdict is Settled.DONE:
                if is_settle and lease.until_s > now_s:
                    gone.append(lease)
                self._done(lease, is_settle=is_settle)
            else:
                self._held.end(lease, Fate.LOST)
        if gone and not self._held.traits.is_log:
            self._held.tell(self._held.listener.settled, gone)
        if has_worked:
            self._lane_worked(lane, now_s)
        if failed:
            self._settle_failed(lane, failed, now_s, is_alone=not has_worked)

    def _done(self, lease: Lease, *, is_settle: bool) -> None:
        if not is_settle and self._held.traits.releases_anew:
            self._held.remember(lease)
            self._held.tell(self._held.listener.appended_anew, lease)
        self._held.end(lease, Fate.SETTLED if is_settle else Fate.RELEASED)

    def _lane_worked(self, lane: Lane, now_s: float) -> None:
        outage_s = lane.worked(now_s)
        if outage_s is not None and lane is self._held.settling:
            self._held.tell(self._held.listener.settle_recovered, outage_s, len(lane))

    def _settle_failed(
        self,
        lane: Lane,
        failed: Sequence[tuple[Lease, Failed]],
        now_s: float,
        *,
        is_alone: bool,
    ) -> None:
        operation = "settle" if lane is self._held.settling else "release"
        for _, verdict in failed:
            self._held.tally.failed(operation, verdict)
        leases = [lease for lease, _ in failed]
        if lane is self._held.releasing:
            for lease in [one for one in leases if one.until_s <= now_s]:
                leases.remove(lease)
                self._held.end(lease, Fate.RELEASED)
        if is_alone:
            lane.failed(leases, failed[0][1], now_s)
        else:
            for lease in leases:
                lane.refused(lease, now_s)
        first = failed[0][1]
        count = self._held.telling.due_count(operation, first, len(failed), now_s)
        if count and lane is self._held.settling:
            self._held.tell(
                self._held.listener.settle_failed, first, count, len(self._held.pending)
            )
        elif count:
            self._held.tell(self._held.listener.release_failed, first, count)
