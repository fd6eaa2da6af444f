"""The one broker for Dramatiq, over any queue system: it loses nothing and repeats nothing that is
finished.

Layer: workers. `SQSBroker`, `StorageQueueBroker` and `KafkaBroker` only say where the queues are.
Nothing is opened before its first use.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dramatiq import Broker, Message, Middleware
from dramatiq.broker import Consumer
from dramatiq.common import current_millis, q_name
from dramatiq.errors import QueueJoinTimeout, QueueNotFound
from dramatiq.middleware import SkipMessage

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Failed, Fault
from eventpost.queues.interfaces import Message as Outgoing
from eventpost.queues.leases import Stats
from eventpost.queues.ledger import LedgerError
from eventpost.queues.tasks import dead_letters_of, within
from eventpost.workers import delays, ledgers
from eventpost.workers.channels import Channels
from eventpost.workers.consumer import LeaseConsumer
from eventpost.workers.errors import LedgerUnusable, MessageTooLarge, SendFailed, told
from eventpost.workers.hooks import Hooks
from eventpost.workers.limits import WorkerLimits
from eventpost.workers.message import LeasedMessage
from eventpost.workers.reception import Reception, Surroundings
from eventpost.workers.transport import NO_SUCH_QUEUE, Transport, WorkQueue

log = logging.getLogger("eventpost.workers")

Milliseconds = int
"""Of times whose names Dramatiq gives."""

JOIN_PAUSE_S = 0.1
EMPTY_LOOKS = 2
"""How often in a row a queue must look empty: systems count approximately."""


class LeaseBroker(Broker):
    """Every broker takes these words beside its own:

    - `namespace`: prefix of its queues' names, `NAMESPACE-QUEUE`;
    - `lease_s`: how long a message is held before its lease is extended, again and again;
    - `ledger`: where is remembered what is finished: a file, one per user and namespace by default,
      or the URL of a server that hosts share, `postgresql://` or `redis://`;
    - `create`: whether queues that do not exist are made, `auto` or `never`;
    - `receives_max`: how often a message may come without being finished;
    - `middleware`: Dramatiq's;
    - `limits`: every other bound.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        namespace: str = "",
        lease_s: float = 60.0,
        ledger: str | Path | None = None,
        receives_max: int = 10,
        middleware: list[Middleware] | None = None,
        limits: WorkerLimits | None = None,
    ) -> None:
        _check(lease_s, receives_max)
        super().__init__(middleware)
        self.namespace = namespace
        self.limits = limits or WorkerLimits()
        self.ledger = ledgers.open_ledger(ledger, namespace)
        self.hooks = Hooks(self)
        self._transport = transport
        self._lease_s = lease_s
        self._receives_max = receives_max
        self._channels = Channels(transport.open, self.limits.send_calls_max)
        self._names: dict[str, str] = {}
        """The system's names of the declared queues, and the other way round."""
        self._following = threading.local()
        """The message whose follow-ups this thread is sending."""

    # --- queues -----------------------------------------------------------------------------------

    def declare_queue(self, queue_name: str) -> None:
        """Raises InvalidRequest when the system cannot tell it from another one."""
        if queue_name in self.queues:
            return
        name = self._name(queue_name)
        for taken in (name, dead_letters_of(name)):
            other = self._names.setdefault(taken, queue_name)
            if other != queue_name:
                raise InvalidRequest(
                    "QueueNamesCollide",
                    f"The queues {other} and {queue_name} are both called {taken} here.",
                    fix="Rename one of them, or give it a broker with another namespace.",
                )
        self.emit_before("declare_queue", queue_name)
        self.queues[queue_name] = None
        self.emit_after("declare_queue", queue_name)

    def dead_letters(self, queue_name: str) -> str:
        """The name of a queue's dead-letter queue in the system."""
        return dead_letters_of(self._name(queue_name))

    def open_queue(self, queue_name: str) -> WorkQueue:
        """A queue as its system has it, for whoever looks after it; to be closed by who opened it.
        Beside a worker, it takes messages away from it."""
        return self._transport.open(self._name(queue_name))

    def open_dead_letters(self, queue_name: str) -> WorkQueue:
        """The same of its dead-letter queue."""
        return self._transport.open(self.dead_letters(queue_name))

    def wire(self, body: bytes) -> bytes:
        """A body as the system can carry it."""
        return self._transport.wire(body)

    def books(self) -> list[tuple[str, Stats, int]]:
        """What this process received of each queue, and what became of it: the queue, the engine's
        books, and which engine's they are, because each worker begins new ones."""
        receptions = [*self._channels.ended(), *self._channels.receptions()]
        return [(one.queue_name, one.leases.stats(), id(one)) for one in receptions]

    def waiting_for_ledger(self, queue_name: str) -> int:
        """How many finished messages of a queue the ledger could not take down yet."""
        reception = self._channels.receiving(queue_name)
        return 0 if reception is None else reception.unwritten_count

    def _name(self, queue_name: str) -> str:
        return self._transport.name_of(within(self.namespace, queue_name))

    # --- sending ----------------------------------------------------------------------------------

    def enqueue(self, message: Message[Any], *, delay: Milliseconds | None = None) -> Message[Any]:
        """Send a message; it is in the queue when this returns. `delay` is in milliseconds, and may
        be of any length.

        Raises QueueNotFound, MessageTooLarge, or SendFailed, which is a BrokerConnectionError.
        """
        queue_name = q_name(message.queue_name)
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        sending = message
        if delay is not None:
            options = {"eta": current_millis() + delay}
            sending = message.copy(queue_name=queue_name, options=options)
        elif message.queue_name != queue_name:
            sending = message.copy(queue_name=queue_name)
        self.emit_before("enqueue", sending, delay)
        try:
            self._send(queue_name, sending, delay or 0)
        except Exception as error:
            self._not_sent(queue_name, message, delay, error)
            raise
        self.emit_after("enqueue", sending, delay)
        return sending

    def _send(self, queue_name: str, message: Message[Any], delay_ms: int) -> None:
        outbox = self._channels.outbox(self._name(queue_name))
        traits = outbox.queue.traits
        body = self._body(queue_name, message, traits.message_bytes_max)
        delay_s = delays.first_delay_s(delay_ms, traits)
        outcome = outbox.send(Outgoing(body=body, delay_s=delay_s))
        if isinstance(outcome, Failed):
            raise _error_of(queue_name, outcome)
        reception = self._channels.receiving(queue_name)
        if reception is not None and not delay_s:
            reception.leases.nudge()

    def _body(self, queue_name: str, message: Message[Any], bytes_max: int) -> bytes:
        """As it travels. The traceback that a retry takes along is not worth losing the retry."""
        bytes_max -= self.limits.dead_letter_bytes
        body = self._transport.wire(message.encode())
        if len(body) > bytes_max and "traceback" in message.options:
            options = {name: one for name, one in message.options.items() if name != "traceback"}
            plain: Message[Any] = Message(**{**message.asdict(), "options": options})
            body = self._transport.wire(plain.encode())
        if len(body) > bytes_max:
            raise MessageTooLarge(
                f"EP5003: a message to {queue_name} has {len(body)} bytes, of at most {bytes_max}. "
                "Fix: put the content where all workers reach it, and send where it is."
            )
        return body

    def _not_sent(
        self, queue_name: str, message: Message[Any], delay: Milliseconds | None, error: Exception
    ) -> None:
        failed = error.failed if isinstance(error, SendFailed) else None
        self.hooks.call("on_enqueue_error", queue_name, message, failed)
        followed: LeasedMessage | None = getattr(self._following, "message", None)
        if followed is None:
            return
        is_retry = message.message_id == followed.message_id
        delay_s = delay / 1000 if is_retry and delay is not None else self.limits.guard_delay_s
        followed.hold_back(delay_s)

    # --- receiving --------------------------------------------------------------------------------

    def consume(
        self, queue_name: str, prefetch: int = 1, timeout: Milliseconds = 30_000
    ) -> Consumer:
        """Raises QueueNotFound for a queue that was not declared."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        reception = self._channels.reception(
            queue_name,
            lambda: Reception(queue_name, self._name(queue_name), prefetch, self._surroundings()),
        )
        return LeaseConsumer(reception, timeout / 1000)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            transport=self._transport,
            ledger=self.ledger,
            limits=self.limits,
            hooks=self.hooks,
            forwarder=self._channels.forwarder,
            outbox=self._channels.outbox,
            lease_s=self._lease_s,
            receives_max=self._receives_max,
        )

    # --- what the worker tells --------------------------------------------------------------------

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Raises LedgerUnusable before a worker begins that could not remember what it finishes,
        and SkipMessage for a message that somebody else may have by now."""
        if signal == "worker_boot":
            self._check_ledger()
        super().emit_before(signal, *args, **kwargs)
        if signal == "process_message" and isinstance(args[0], LeasedMessage):
            _check_lease(args[0])

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Middleware sends retries, callbacks and what follows in a pipeline from these signals,
        where Dramatiq drops whatever is raised: so it is noted here which message they belong to,
        and a message whose follow-up was not sent is not finished."""
        if signal in ("process_message", "skip_message") and isinstance(args[0], LeasedMessage):
            with self._following_up(args[0]):
                super().emit_after(signal, *args, **kwargs)
            return
        if signal == "worker_shutdown":
            self._drain()  # before middleware takes its last look
        super().emit_after(signal, *args, **kwargs)

    @contextmanager
    def _following_up(self, message: LeasedMessage) -> Iterator[None]:
        self._following.message = message
        try:
            yield
        finally:
            self._following.message = None

    def _check_ledger(self) -> None:
        try:
            risks = ledgers.risks(self.ledger)
        except LedgerError as error:
            raise LedgerUnusable(f"{error.code}: {error}") from error
        for risk in risks:
            log.warning(
                "%s: %s What is finished and not deleted yet may run again after that. Fix: %s",
                risk.code,
                risk.what,
                risk.fix,
            )

    def _drain(self) -> None:
        left = self._channels.drain(self.limits.drain_s)
        if left:
            log.warning(
                "%d finished messages could not be deleted in time; the ledger knows them: they do "
                "not run again.",
                left,
            )

    # --- the end, and tests -----------------------------------------------------------------------

    def close(self) -> None:
        """Stop receiving, settle what is finished, and let go of everything. Idempotent; a later
        use opens anew."""
        self._drain()
        self._channels.close()
        try:
            self.ledger.close()
        except LedgerError as error:
            log.warning("The ledger could not be written at the end. %s: %s", error.code, error)

    def flush(self, queue_name: str) -> None:
        """Remove every message of a queue, delayed ones included. For tests. Raises SendFailed when
        the system does not do it."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        reception = self._channels.receiving(queue_name)
        if reception is not None:
            reception.pause()
        try:
            failed = self._channels.outbox(self._name(queue_name)).queue.clear()
        finally:
            if reception is not None:
                reception.resume()
        if failed is not None and failed.evidence.code not in NO_SUCH_QUEUE:
            raise SendFailed(queue_name, failed)

    def flush_all(self) -> None:
        for queue_name in self.get_declared_queues():
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: Milliseconds | None = None) -> None:
        """Wait until a queue is empty, delayed messages included, and nothing of it is at work in
        this process. For tests. `timeout` is in milliseconds; raises QueueJoinTimeout."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        until_s = None if timeout is None else time.monotonic() + timeout / 1000
        looks = 0
        while True:
            looks = looks + 1 if self._is_empty(queue_name) else 0
            if looks >= EMPTY_LOOKS:
                return
            if until_s is not None and time.monotonic() >= until_s:
                raise QueueJoinTimeout(f"{queue_name} was not empty after {timeout} ms")
            time.sleep(JOIN_PAUSE_S)

    def _is_empty(self, queue_name: str) -> bool:
        if self._is_busy(queue_name):
            return False
        count = self._channels.outbox(self._name(queue_name)).queue.count()
        if isinstance(count, Failed):
            return count.evidence.code in NO_SUCH_QUEUE
        return count == 0 and not self._is_busy(queue_name)

    def _is_busy(self, queue_name: str) -> bool:
        reception = self._channels.receiving(queue_name)
        is_held = reception is not None and reception.leases.stats().held > 0
        return is_held or not self._channels.forwarder.is_idle


def _check(lease_s: float, receives_max: int) -> None:
    if lease_s < 1:
        raise InvalidRequest(
            "SettingOutOfRange", f"lease_s is {lease_s:g}.", fix="Give at least 1 second."
        )
    if receives_max < 1:
        raise InvalidRequest(
            "SettingOutOfRange", f"receives_max is {receives_max}.", fix="Give at least 1."
        )


def _check_lease(message: LeasedMessage) -> None:
    """A message that waited too long for its turn is not begun: it is given back."""
    lease = message.lease
    if lease.is_lost or lease.until_s <= time.monotonic():
        message.is_lost = True
        raise SkipMessage("its lease was lost before it began: it comes again")


def _error_of(queue_name: str, failed: Failed) -> Exception:
    if failed.evidence.fault is Fault.TOO_LARGE:
        return MessageTooLarge(f"The message to {queue_name} is too large. {told(failed)}")
    if failed.evidence.code in NO_SUCH_QUEUE:
        return QueueNotFound(f"{queue_name}: {told(failed)}")
    return SendFailed(queue_name, failed)
