"""What Dramatiq's worker asks for messages and tells what became of them.

Layer: workers. Holds nothing itself: a worker may give a message back to another consumer than the
one that it had it from, when its thread began anew meanwhile.
"""

import logging
from collections.abc import Iterable
from typing import cast

from dramatiq.broker import Consumer, MessageProxy

from eventpost.workers.message import LeasedMessage
from eventpost.workers.reception import Reception

log = logging.getLogger("eventpost.workers")


class LeaseConsumer(Consumer):
    """`ack`, `nack` and `requeue` may be called from any thread; none of them raises or waits for
    a server."""

    def __init__(self, reception: Reception, wait_s: float) -> None:
        self._reception = reception
        self._wait_s = wait_s

    def __next__(self) -> MessageProxy | None:
        return self._reception.next(self._wait_s)

    def ack(self, message: MessageProxy) -> None:
        leased = cast("LeasedMessage", message)
        try:
            leased.reception.ack(leased)
        except Exception:
            log.exception("An acknowledgement failed unexpectedly; the message comes again.")

    def nack(self, message: MessageProxy) -> None:
        leased = cast("LeasedMessage", message)
        try:
            leased.reception.nack(leased)
        except Exception:
            log.exception("A rejection failed unexpectedly; the message comes again.")

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            leased = cast("LeasedMessage", message)
            leased.reception.requeue([leased])

    def close(self) -> None:
        """The worker pauses, begins anew or ends: what nobody began is given back. What runs stays
        under lease until it is done, or until the broker is closed."""
        self._reception.pause()
