"""What the brokers tell beyond Dramatiq's own signals, to every middleware that wants to hear it.

Layer: workers. A middleware hears what it defines; stock ones define none of these, and Dramatiq's
own `emit_...` would trip over each that does not. A hook that raises is logged and goes no further.
"""

from typing import TYPE_CHECKING, Protocol

from eventpost.core.outcomes import Failed
from eventpost.workers.deadletters import Story

if TYPE_CHECKING:
    from dramatiq import Broker, Message


class WorkerHooks(Protocol):
    """Every hook, for whoever writes a middleware: define those of interest.

    Calls come from threads of the broker, and must not wait. Where a hook has a `count`, failures
    are told once per kind and minute, with how many there were since.
    """

    def on_receive_error(
        self, broker: "Broker", queue_name: str, failed: Failed, count: int, delay_s: float
    ) -> None:
        """Nothing could be received; the next try is in `delay_s`."""

    def on_receive_recovered(self, broker: "Broker", queue_name: str, outage_s: float) -> None: ...

    def on_extend_error(
        self, broker: "Broker", queue_name: str, failed: Failed, count: int
    ) -> None:
        """Leases could not be extended; it is tried again while they last."""

    def on_extend_forbidden(
        self, broker: "Broker", queue_name: str, failed: Failed, lease_s: float
    ) -> None:
        """Told once: from now on messages are received with a lease of `lease_s`, and work that
        takes longer may be done twice."""

    def on_extend_allowed(self, broker: "Broker", queue_name: str) -> None: ...

    def on_ack_error(self, broker: "Broker", queue_name: str, failed: Failed, count: int) -> None:
        """Finished messages could not be deleted. They are, later, and do not run again."""

    def on_ack_pending(self, broker: "Broker", queue_name: str, pending_count: int) -> None:
        """So many finished messages wait to be deleted, after a failure."""

    def on_ack_recovered(
        self, broker: "Broker", queue_name: str, outage_s: float, pending_count: int
    ) -> None:
        """Deleting works again; what waits follows at once."""

    def on_ack_abandoned(self, broker: "Broker", queue_name: str, transport_id: str) -> None:
        """Too many wait: this one is left to come again, and is known then."""

    def on_release_error(
        self, broker: "Broker", queue_name: str, failed: Failed, count: int
    ) -> None:
        """Messages could not be given back; they come again when their leases end."""

    def on_lease_lost(
        self, broker: "Broker", queue_name: str, transport_id: str, reason: str
    ) -> None:
        """Somebody else may have this message; while it runs, it may run twice."""

    def on_redelivered_finished(self, broker: "Broker", queue_name: str, transport_id: str) -> None:
        """A finished message came again: it is deleted with its fresh receipt, and not run."""

    def on_enqueue_error(
        self,
        broker: "Broker",
        queue_name: str,
        message: "Message[object] | None",
        failed: Failed | None,
    ) -> None:
        """A message was not sent; whoever enqueued it is told by an exception. `message` is None of
        a copy to a dead-letter queue, whose name `queue_name` is then. `failed` is None when
        nothing was tried (a message that is too large), or when there is no such queue."""

    def on_held_back(
        self, broker: "Broker", queue_name: str, message_id: str, delay_s: float
    ) -> None:
        """A follow-up of a message (its retry, its dead letter, a pipeline's next) could not be
        sent: the message itself is given back instead, and comes again after `delay_s`."""

    def on_dead_letter(
        self, broker: "Broker", queue_name: str, message_id: str, story: Story
    ) -> None:
        """A message is in the dead-letter queue."""

    def on_ledger_error(self, broker: "Broker", queue_name: str, error: Exception) -> None:
        """The ledger cannot be asked or written: nothing more is received, and what is finished
        waits, not deleted. Told once per kind and minute."""

    def on_ledger_recovered(
        self, broker: "Broker", queue_name: str, outage_s: float, count: int
    ) -> None:
        """The ledger has taken down so many finished messages that waited; their deletes follow."""


class Hooks:
    """Calls them."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker

    def call(self, name: str, *arguments: object) -> bool:
        """Whether any middleware has heard it."""
        is_heard = False
        for middleware in self._broker.middleware:
            hook = getattr(middleware, name, None)
            if hook is None:
                continue
            is_heard = True
            try:
                hook(self._broker, *arguments)
            except Exception:
                self._broker.logger.critical(
                    "Unexpected failure in %s of %r.", name, middleware, exc_info=True
                )
        return is_heard
