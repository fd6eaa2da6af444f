"""What the engine tells: for logs, metrics, and whoever wants to act on it."""

from collections.abc import Sequence

from eventpost.core.outcomes import Failed
from eventpost.queues.leases.lease import Lease, LostReason


class Listener:
    """Override what is of interest. Calls come from the engine's threads, without its lock, one
    after the other per thread; they must not wait. What they raise is counted and goes no further.

    Failures are told once per kind and `LeaseLimits.tell_s`, with how many there were since.
    """

    def received(self, count: int) -> None:
        """Messages came that will be given out."""

    def redelivered_finished(self, lease: Lease) -> None:
        """A message came again that is finished: it is settled with its fresh receipt and not given
        out."""

    def lease_lost(self, lease: Lease, reason: LostReason) -> None:
        """Somebody else may have this message. While it is at work, its work may be done twice; one
        that was not taken yet is dropped, and comes again."""

    def lease_regained(self, lease: Lease) -> None:
        """A lease that was lost is ours again: extended in time after all, or received anew."""

    def receive_failed(self, failed: Failed, count: int, delay_s: float) -> None:
        """Nothing could be received; the next try is in `delay_s`."""

    def receive_recovered(self, outage_s: float) -> None:
        """The first receive that worked after failures."""

    def extend_failed(self, failed: Failed, count: int) -> None:
        """Leases could not be extended; it is tried again while they last."""

    def extend_forbidden(self, failed: Failed, lease_s: float) -> None:
        """Whoever we are may not extend leases. From now on messages are received with a lease of
        `lease_s`; work that takes longer may be done twice."""

    def extend_allowed(self) -> None:
        """Extending works after it was forbidden."""

    def settled(self, leases: Sequence[Lease]) -> None:
        """The server has settled them while their leases held: they do not come again, and need not
        be remembered. A settle with a lease that ran out is not told, because a server may say that
        it is done and do nothing; nor is a log's, which may be read again from before it."""

    def settle_failed(self, failed: Failed, count: int, pending_count: int) -> None:
        """Finished messages could not be settled. They are settled later, and known meanwhile."""

    def settle_recovered(self, outage_s: float, pending_count: int) -> None:
        """The first settle that worked after failures; `pending_count` follow at once."""

    def settle_abandoned(self, lease: Lease) -> None:
        """A finished message waited too long, or too many did: it is left to come again."""

    def release_failed(self, failed: Failed, count: int) -> None:
        """Messages could not be given back; they come again when their leases end."""

    def appended_anew(self, lease: Lease) -> None:
        """A log's record was released: its copy comes with another id, and its own is as good as
        finished. A ledger that takes it down spares a repetition when the process dies before the
        records below it are finished."""
