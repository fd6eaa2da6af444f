"""A middleware that says why something failed, and what happens to the message.

Layer: workers.

    from eventpost.workers.middleware import ExplainFailures

    broker.add_middleware(ExplainFailures())

On our brokers it hears everything (`hooks`). On any other it sees what `consume` and `enqueue`
raise, and what actors run into.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from dramatiq import Broker, Message, Middleware, Worker
from dramatiq.broker import MessageProxy

from eventpost.core.outcomes import Failed
from eventpost.diagnosis import codes
from eventpost.workers import metrics, wrapping
from eventpost.workers.alerts import Alerts
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.deadletters import Story
from eventpost.workers.explaining import Interval, Notice, described, notice
from eventpost.workers.recognising import recognised

log = logging.getLogger("eventpost.workers")

LEDGER_KEEPS = "Finished jobs do not run again on this ledger; their messages are deleted later."
STAYS = "Messages stay in their queue, and nothing of them is lost."
OF_AN_ACTOR = "The job has failed; Dramatiq tries it again as its actor's retries say."
STOCK_EFFECTS = {
    "receive": f"{STAYS} Dramatiq begins its consumer anew in a few seconds.",
    "send": "Whoever enqueued it is told by an exception. Inside a retry, a callback or a pipeline "
    "Dramatiq drops that exception, and the message is lost.",
    "settle": "The job has run, and its message was not acknowledged: it comes again, and runs "
    "again.",
    "release": "The messages come again when the broker takes them for abandoned.",
}


class ExplainFailures(Middleware):
    """Logs each kind of failure once per `interval_s`: finding, what was seen, cause, check, fix,
    and what happens to the message. Counts in Prometheus' form beside Dramatiq's own metrics.

    With `topic_endpoint` and `topic_key` each notice is also an event `Eventpost.WorkerFailure` on
    that topic of a grid.
    """

    def __init__(
        self,
        *,
        interval_s: float = 60.0,
        topic_endpoint: str = "",
        topic_key: str = "",
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if bool(topic_endpoint) != bool(topic_key):
            raise ValueError("give both, topic_endpoint and topic_key, or neither")
        self._interval = Interval(interval_s, monotonic_s)
        self._alerts = Alerts(topic_endpoint, topic_key) if topic_endpoint else None
        self.metrics = metrics.Metrics()

    # --- any broker -------------------------------------------------------------------------------

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Wrap what is not ours, and say what stays out of sight."""
        if isinstance(broker, LeaseBroker):
            self.metrics.watch(broker)
        elif wrapping.wrap(broker, self._seen):
            log.info(
                "ExplainFailures sees what %s raises from receive, ack and enqueue. It cannot see "
                "failures that the broker swallows (dramatiq_azure: failed deletes), nor leases.",
                type(broker).__name__,
            )

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        if isinstance(broker, LeaseBroker):
            self.metrics.unwatch(broker)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """What an actor's own calls ran into, where it is a service's failure."""
        if exception is None:
            return
        found = recognised(exception, "work")
        if found is not None:
            where = f"{message.queue_name}, actor {message.actor_name}"
            self._tell(notice(found, where, "work", OF_AN_ACTOR))

    def _seen(self, queue_name: str, operation: str, error: BaseException) -> None:
        self.metrics.failed(operation, queue_name, type(error).__name__)
        found = recognised(error, operation)
        effect = STOCK_EFFECTS[operation]
        if found is not None:
            self._tell(notice(found, queue_name, operation, effect))
            return
        detail = f"{type(error).__name__}: {error}"
        self._tell(described(codes.UNEXPECTED, queue_name, operation, effect, detail=detail))

    def _tell(self, told: Notice, level: int = logging.ERROR) -> None:
        due = self._interval.due(told)
        if due is None:
            return
        log.log(level, "%s", due.text())
        if self._alerts is not None:
            self._alerts.publish(due)

    def _failed(self, queue_name: str, operation: str, failed: Failed, effect: str, n: int) -> None:
        evidence = failed.evidence
        code = evidence.code or evidence.fault.value
        self.metrics.failed(operation, queue_name, code, n)
        self._tell(notice(evidence, queue_name, operation, effect, n))

    # --- our brokers' hooks -----------------------------------------------------------------------

    def on_receive_error(
        self, broker: Broker, queue_name: str, failed: Failed, count: int, delay_s: float
    ) -> None:
        effect = f"{STAYS} Receiving is tried again in {delay_s:.1f} s."
        self._failed(queue_name, "receive", failed, effect, count)

    def on_receive_recovered(self, broker: Broker, queue_name: str, outage_s: float) -> None:
        log.info("%s: receiving works again after %.1f s.", queue_name, outage_s)

    def on_extend_error(self, broker: Broker, queue_name: str, failed: Failed, count: int) -> None:
        effect = "It is tried again while the leases last; when they end, messages come again."
        self._failed(queue_name, "extend", failed, effect, count)

    def on_extend_forbidden(
        self, broker: Broker, queue_name: str, failed: Failed, lease_s: float
    ) -> None:
        effect = (
            f"From now on messages are held for {lease_s:.0f} s; a job that takes longer comes "
            "again, to somebody else too, and runs twice."
        )
        evidence = failed.evidence
        self.metrics.failed("extend", queue_name, evidence.code or evidence.fault.value, 1)
        found = codes.EXTEND_FORBIDDEN
        self._tell(described(found, queue_name, "extend", effect, evidence=evidence))

    def on_extend_allowed(self, broker: Broker, queue_name: str) -> None:
        log.info("%s: leases may be extended again.", queue_name)

    def on_ack_error(self, broker: Broker, queue_name: str, failed: Failed, count: int) -> None:
        self._failed(queue_name, "settle", failed, LEDGER_KEEPS, count)

    def on_ack_recovered(
        self, broker: Broker, queue_name: str, outage_s: float, pending_count: int
    ) -> None:
        log.info(
            "%s: deleting works again after %.1f s; %d follow.", queue_name, outage_s, pending_count
        )

    def on_release_error(self, broker: Broker, queue_name: str, failed: Failed, count: int) -> None:
        effect = "The messages come again when their leases end."
        self._failed(queue_name, "release", failed, effect, count)

    def on_lease_lost(
        self, broker: Broker, queue_name: str, transport_id: str, reason: str
    ) -> None:
        effect = "Somebody else may have the message by now: a job at work may run twice."
        told = described(
            codes.LEASE_LOST,
            queue_name,
            "extend",
            effect,
            detail=f"message {transport_id}, {reason}",
        )
        self._tell(told, logging.WARNING)

    def on_redelivered_finished(self, broker: Broker, queue_name: str, transport_id: str) -> None:
        log.info("%s: %s came again although finished; deleted, not run.", queue_name, transport_id)

    def on_enqueue_error(
        self,
        broker: Broker,
        queue_name: str,
        message: Message[Any] | None,
        failed: Failed | None,
    ) -> None:
        if failed is not None:
            effect = "It was not sent, or nobody knows; who enqueued it is told by an exception."
            self._failed(queue_name, "send", failed, effect, 1)

    def on_held_back(
        self, broker: Broker, queue_name: str, message_id: str, delay_s: float
    ) -> None:
        self.metrics.held_back(queue_name)
        log.warning(
            "%s: what follows message %s could not be sent: it is not finished, and comes again in "
            "%.1f s.",
            queue_name,
            message_id,
            delay_s,
        )

    def on_dead_letter(
        self, broker: Broker, queue_name: str, message_id: str, story: Story
    ) -> None:
        self.metrics.dead_letter(queue_name, story.reason.value)
        effect = f"It is in the dead-letter queue, after {story.receives} receives."
        detail = f"message {message_id}: {story.error}"
        self._tell(described(story.finding, queue_name, "work", effect, detail=detail))

    def on_ledger_error(self, broker: Broker, queue_name: str, error: Exception) -> None:
        finding = getattr(error, "code", codes.LEDGER_FAILED)
        effect = (
            f"{STAYS} What is finished is held, and deleted when the ledger has it; a process that "
            "ends before that does it once more."
        )
        self.metrics.failed("ledger", queue_name, finding)
        self._tell(described(finding, queue_name, "ledger", effect, detail=str(error)))

    def on_ledger_recovered(
        self, broker: Broker, queue_name: str, outage_s: float, count: int
    ) -> None:
        log.warning(
            "%s: after %.1f s the ledger has the %d finished messages that waited for it.",
            queue_name,
            outage_s,
            count,
        )
