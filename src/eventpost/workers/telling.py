"""From the lease engine to hooks, and to the log where nobody listens.

Layer: workers. The engine tells each kind of failure once a minute.
"""

import logging
from collections.abc import Callable, Sequence

from eventpost.core.outcomes import Failed
from eventpost.queues.leases import Lease, Listener, LostReason
from eventpost.workers.errors import told
from eventpost.workers.hooks import Hooks

log = logging.getLogger("eventpost.workers")


class Telling(Listener):
    """Of one queue. `on_settled` is told what was deleted for good, `on_appended` what goes
    on as a copy."""

    def __init__(
        self,
        queue_name: str,
        hooks: Hooks,
        on_settled: Callable[[Sequence[Lease]], None],
        on_appended: Callable[[Lease], object],
    ) -> None:
        self._queue = queue_name
        self._hooks = hooks
        self._on_settled = on_settled
        self._on_appended = on_appended

    def settled(self, leases: Sequence[Lease]) -> None:
        self._on_settled(leases)

    def appended_anew(self, lease: Lease) -> None:
        self._on_appended(lease)

    def redelivered_finished(self, lease: Lease) -> None:
        if not self._hooks.call("on_redelivered_finished", self._queue, lease.id):
            log.info(
                "%s: message %s came again although it is finished: deleted, not run.",
                self._queue,
                lease.id,
            )

    def lease_lost(self, lease: Lease, reason: LostReason) -> None:
        if not self._hooks.call("on_lease_lost", self._queue, lease.id, reason.value):
            log.warning(
                "%s: the lease of message %s was lost (%s): somebody else may run it, too.",
                self._queue,
                lease.id,
                reason.value,
            )

    def receive_failed(self, failed: Failed, count: int, delay_s: float) -> None:
        if not self._hooks.call("on_receive_error", self._queue, failed, count, delay_s):
            log.error(
                "%s: nothing could be received (%d times). %s Tried again in %.1f s.",
                self._queue,
                count,
                told(failed),
                delay_s,
            )

    def receive_recovered(self, outage_s: float) -> None:
        if not self._hooks.call("on_receive_recovered", self._queue, outage_s):
            log.info("%s: receiving works again after %.1f s.", self._queue, outage_s)

    def extend_failed(self, failed: Failed, count: int) -> None:
        if not self._hooks.call("on_extend_error", self._queue, failed, count):
            log.warning(
                "%s: leases could not be extended (%d). %s", self._queue, count, told(failed)
            )

    def extend_forbidden(self, failed: Failed, lease_s: float) -> None:
        if not self._hooks.call("on_extend_forbidden", self._queue, failed, lease_s):
            log.error(
                "%s: leases may not be extended: messages are held for %.0f s, and work that takes "
                "longer may be done twice. %s",
                self._queue,
                lease_s,
                told(failed),
            )

    def extend_allowed(self) -> None:
        if not self._hooks.call("on_extend_allowed", self._queue):
            log.info("%s: leases may be extended again.", self._queue)

    def settle_failed(self, failed: Failed, count: int, pending_count: int) -> None:
        is_heard = self._hooks.call("on_ack_error", self._queue, failed, count)
        self._hooks.call("on_ack_pending", self._queue, pending_count)
        if not is_heard:
            log.error(
                "%s: finished messages could not be deleted (%d); %d wait, and do not run again. "
                "%s",
                self._queue,
                count,
                pending_count,
                told(failed),
            )

    def settle_recovered(self, outage_s: float, pending_count: int) -> None:
        if not self._hooks.call("on_ack_recovered", self._queue, outage_s, pending_count):
            log.info(
                "%s: deleting works again after %.1f s; %d follow.",
                self._queue,
                outage_s,
                pending_count,
            )

    def settle_abandoned(self, lease: Lease) -> None:
        self._hooks.call("on_ack_abandoned", self._queue, lease.id)

    def release_failed(self, failed: Failed, count: int) -> None:
        if not self._hooks.call("on_release_error", self._queue, failed, count):
            log.warning(
                "%s: messages could not be given back (%d); they come when their leases end. %s",
                self._queue,
                count,
                told(failed),
            )
