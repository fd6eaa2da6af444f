"""A message in a worker's hands, with the lease that it is held under.

Layer: workers.
"""

from typing import TYPE_CHECKING, Any

from dramatiq import Message
from dramatiq.broker import MessageProxy

if TYPE_CHECKING:
    from eventpost.queues.leases import Lease
    from eventpost.workers.reception import Reception


class LeasedMessage(MessageProxy):
    """What Dramatiq's worker gets, and gives back with ack, nack or requeue."""

    def __init__(
        self, message: Message[Any], lease: "Lease", reception: "Reception", body: bytes
    ) -> None:
        super().__init__(message)
        self.lease = lease
        self.reception = reception
        self.body = body
        """As it came."""
        self.held_back_s: float | None = None
        """Set when a follow-up could not be sent: the message is to come again after that time."""
        self.is_lost = False
        """Set when its lease was lost before it began: it was skipped, and is not finished."""

    def hold_back(self, delay_s: float) -> None:
        self.held_back_s = max(delay_s, self.held_back_s or 0.0)
