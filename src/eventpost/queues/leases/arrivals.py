"""What a receive brought: new messages, those that are held already, and those that are finished.

Pure: no thread, no lock, no clock.
"""

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Received
from eventpost.queues.leases.commands import Page, Receive, Role
from eventpost.queues.leases.holdings import Holdings
from eventpost.queues.leases.lease import Fate, Lease, LostReason, State
from eventpost.queues.leases.receiving import Receiving


class Arrivals:
    """Takes pages into the holdings."""

    def __init__(self, held: Holdings, receiving: Receiving) -> None:
        self.ready_count = 0
        """Messages that came into the buffer since this was last set to 0."""
        self._held = held
        self._receiving = receiving

    def done(self, receive: Receive, result: Page | Failed, now_s: float) -> None:
        """A receive has ended."""
        self._receiving.ended(receive, now_s)
        if isinstance(result, Failed):
            self._failed(result, now_s)
            return
        if result.failed is not None:
            self._receiving.again = [*self._receiving.again, *result.received]
            self._failed(result.failed, now_s)
            return
        outage_s = self._receiving.outage.end(now_s)
        if outage_s is not None:
            self._held.tell(self._held.listener.receive_recovered, outage_s)
        if not result.received:
            self._receiving.came_empty(receive, now_s)
            return
        self._receiving.came(receive, len(result.received), now_s)
        before = self.ready_count
        for message in result.received:
            self._arrived(receive, message, now_s, is_known=message.id in result.known)
        if self.ready_count > before:
            self._held.tell(self._held.listener.received, self.ready_count - before)

    def _failed(self, failed: Failed, now_s: float) -> None:
        operation = failed.evidence.operation or "receive"
        self._held.tally.failed(operation, failed)
        delay_s = self._receiving.failed(failed, now_s)
        if count := self._held.telling.due_count(operation, failed, 1, now_s):
            self._held.tell(self._held.listener.receive_failed, failed, count, delay_s)

    def _arrived(
        self, receive: Receive, message: Received, now_s: float, *, is_known: bool
    ) -> None:
        self._held.tally.received += 1
        held = self._held.leases.get(message.id) if message.id else None
        if held is not None and self._held.traits.lease_s_max:
            if held.state is not State.RELEASING:
                self._replace(held, message, now_s)
                return
            # The release took effect though its answer was lost: this is the message anew.
            self._held.end(held, Fate.RELEASED)
            held = None
        # Where leases have no length the first delivery may still hold: both are kept.
        key: object = message.id if message.id and held is None else self._held.new_key()
        lease = Lease(key, message, now_s, receive.lease_s)
        self._held.hold(lease, now_s)
        if held is not None and held.is_pending:
            self._held.to_pending(lease, held.state, held.release_delay_s, now_s)
        elif held is not None:
            lease.state = State.TWIN
            held.twins.append(lease)
        elif message.id and (is_known or self._held.is_remembered(message.id)):
            self._came_again(lease)
            self._held.to_pending(lease, State.FINISHED, 0.0, now_s)
        elif message.lease_until_s <= now_s:
            self._held.lose(lease, LostReason.LATE)
        elif self._held.is_closing or (self._held.is_paused and not self._held.traits.is_log):
            self._held.put_back(lease, now_s)
        else:
            self._held.buffer[lease] = None
            self.ready_count += 1

    def _replace(self, held: Lease, message: Received, now_s: float) -> None:
        """A message that is held came again: its newest delivery is what holds."""
        self._held.tally.fates[Fate.REPLACED] += 1
        if message.lease_until_s <= held.until_s:
            return
        held.held = message
        held.is_void = False
        self._held.expiry_s = min(self._held.expiry_s, held.until_s)
        self._held.extending.schedule(held, now_s)
        self._held.stirred.add(Role.EXTEND)
        self._held.regain(held)
        if held.state is State.FINISHED:
            self._held.strip(held)
            held.attempt_count = 0
            self._came_again(held)
            if not held.is_busy:
                self._held.offer(held, now_s)

    def _came_again(self, lease: Lease) -> None:
        self._held.tally.redelivered_finished += 1
        self._held.tell(self._held.listener.redelivered_finished, lease)
