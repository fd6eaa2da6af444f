"""What one process receives of one queue: from the lease engine to a worker's hands, and back.

Layer: workers. A message comes in as work, waits for its time, or goes to the dead-letter queue. It
goes out in one of three ways: finished (the ledger first, then the engine deletes it), given back,
or moved (a copy is sent first). None of these waits for the network, and none raises.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from dramatiq import Message as TaskMessage
from dramatiq.errors import ActorNotFound, ConnectionClosed, DecodeError

from eventpost.core.outcomes import Evidence, Failed, Fault, Outcome, Stage
from eventpost.queues.interfaces import Message, Received
from eventpost.queues.leases import Lease, LeaseLimits, Leases, Left
from eventpost.queues.ledger import Ledger, LedgerError
from eventpost.queues.tasks import dead_letters_of
from eventpost.workers import deadletters, decoding, delays
from eventpost.workers.deadletters import FINDINGS, Reason, Story
from eventpost.workers.forwarding import Forwarder, Job
from eventpost.workers.hooks import Hooks
from eventpost.workers.limits import WorkerLimits
from eventpost.workers.message import LeasedMessage
from eventpost.workers.outbox import Outbox
from eventpost.workers.telling import Telling
from eventpost.workers.transport import Transport, WorkQueue
from eventpost.workers.unwritten import Unwritten
from eventpost.workers.waiting import Waiting

log = logging.getLogger("eventpost.workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a broker lends to the receptions of its queues."""

    transport: Transport
    ledger: Ledger
    limits: WorkerLimits
    hooks: Hooks
    forwarder: Forwarder
    outbox: Callable[[str], Outbox]
    """Of a queue by its name in the system."""
    lease_s: float
    receives_max: int


class Reception:
    """Of one queue. `next` is for the one consumer thread, the others for any thread."""

    def __init__(self, queue_name: str, name: str, prefetch: int, around: Surroundings) -> None:
        self.queue_name = queue_name
        self._name = name
        self._around = around
        self._limits = around.limits
        self._identity = ""
        self._waiting = Waiting(int(prefetch * around.limits.held_part_max))
        self._doomed: OrderedDict[str, Story] = OrderedDict()
        """Messages whose copy could not be sent to the dead-letter queue: they do not run again."""
        self._uncounted: OrderedDict[str, int] = OrderedDict()
        """How often we gave a message back ourselves: such receives say nothing against it."""
        self._is_closed = False
        self._ledger_told: tuple[str, float] = ("", 0.0)
        """Which finding, and until when it is not told again."""
        self._unwritten = Unwritten(
            self._take_down,
            lambda lease: self.leases.finish(lease),
            self._ledger_failed,
            self._ledger_recovered,
            (around.limits.ledger_pause_s_min, around.limits.ledger_pause_s_max),
        )
        self.leases = Leases(
            self._open,
            limits=lease_limits(prefetch, around),
            known=self._known,
            listener=Telling(queue_name, around.hooks, self._settled, self._note),
        )

    def _open(self) -> WorkQueue:
        return self._around.transport.open(self._name)

    # --- in ---------------------------------------------------------------------------------------

    def next(self, wait_s: float) -> LeasedMessage | None:
        """The next message to run, or None when there is none within `wait_s`. Raises
        ConnectionClosed once this is closed."""
        until_s = time.monotonic() + wait_s
        while True:
            if self._is_closed:
                raise ConnectionClosed(f"the consumer of {self.queue_name} was closed")
            now_s = time.monotonic()
            message = self._waiting.due(now_s)
            if message is not None:
                return message
            rest_s = min(until_s, self._waiting.next_s()) - now_s
            lease = self.leases.take(max(0.0, rest_s))
            if lease is not None:
                message = self._admit(lease)
                if message is not None:
                    return message
            elif time.monotonic() >= until_s:
                return self._waiting.due(time.monotonic())

    def _admit(self, lease: Lease) -> LeasedMessage | None:
        received = lease.message
        doomed = self._doomed.get(_first_id(received))
        if doomed is not None:
            self._bury(lease, received.body, "", doomed)
            return None
        try:
            message = decoding.decode(received.body, self.queue_name)
        except DecodeError as error:
            cause = f"{type(error.error).__name__}: {error.error}"
            self._bury(lease, received.body, "", self._story(lease, Reason.UNDECODABLE, cause))
            return None
        due_ms = decoding.take_eta_ms(message)
        leased = LeasedMessage(message, lease, self, received.body)
        rest_s = (due_ms - time.time() * 1000) / 1000 if due_ms else 0.0
        if rest_s > 0:
            self._delay(leased, rest_s)
            return None
        counted = received.receive_count - self._uncounted.get(_first_id(received), 0)
        if counted > self._around.receives_max:
            told = f"received {counted} times, of at most {self._around.receives_max}"
            story = self._story(lease, Reason.RECEIVED_TOO_OFTEN, told, message)
            self._bury(lease, received.body, message.message_id, story)
            return None
        return leased

    def _delay(self, message: LeasedMessage, rest_s: float) -> None:
        received = message.lease.message
        age_s = max(0.0, time.time() - received.sent_ms / 1000) if received.sent_ms else 0.0
        transport = self._around.transport
        step = delays.step(
            rest_s,
            age_s,
            self.leases.queue.traits,
            self._limits,
            has_room=self._waiting.has_room,
            resends=transport.resends_delayed,
        )
        match step:
            case delays.Wait(rest):
                self._waiting.add(message, time.monotonic() + rest)
            case delays.Resend(delay_s):
                self._resend(message, delay_s)
            case delays.Hide(delay_s):
                self._give_back(message.lease, delay_s)
            case delays.Run():
                self._waiting.add(message, time.monotonic())

    def _known(self, ids: Sequence[str]) -> Collection[str]:
        """On a thread of the engine, before anything of a page is given out. A queue may come to
        know its whole identity with its first answer, and not before."""
        self._identity = self.leases.queue.identity
        try:
            return self._around.ledger.known(self._identity, ids)
        except LedgerError as error:
            self._ledger_failed(error)
            raise

    # --- out --------------------------------------------------------------------------------------

    def ack(self, message: LeasedMessage) -> None:
        """Its work is done, unless a follow-up could not be sent, or it never began."""
        if message.is_lost:
            self._give_back(message.lease, 0.0)
        elif message.held_back_s is not None:
            self._hold_back(message, message.held_back_s)
        else:
            self._finish(message.lease)

    def nack(self, message: LeasedMessage) -> None:
        """It belongs to the dead-letter queue, unless a follow-up could not be sent."""
        if message.held_back_s is not None:
            self._hold_back(message, message.held_back_s)
            return
        error = message._exception
        is_unknown = isinstance(error, ActorNotFound)
        story = self._story(
            message.lease,
            Reason.UNKNOWN_ACTOR if is_unknown else Reason.FAILED,
            "" if error is None else f"{type(error).__name__}: {error}",
            message._message,
        )
        body = decoding.encoded(message._message, message.body)
        self._bury(message.lease, body, message.message_id, story)

    def requeue(self, messages: Sequence[LeasedMessage]) -> None:
        for message in messages:
            self._give_back(message.lease, 0.0)

    def _finish(self, lease: Lease) -> None:
        """Durably known as finished, then settled by the engine; while the ledger cannot take it
        down, it waits. Never raises."""
        first_id = _first_id(lease.message)
        self._doomed.pop(first_id, None)
        self._uncounted.pop(first_id, None)
        if not (lease.id and self._identity):
            self.leases.finish(lease)
        elif self._unwritten or not self._note(lease):
            self._unwritten.add(lease)
        else:
            self.leases.finish(lease)

    def _note(self, lease: Lease) -> bool:
        """Whether the ledger has it."""
        if lease.id and self._identity:
            try:
                self._take_down([lease.id])
            except LedgerError as error:
                self._ledger_failed(error)
                return False
        return True

    def _take_down(self, ids: Sequence[str]) -> None:
        self._around.ledger.finish(self._identity, *ids)

    def _settled(self, leases: Sequence[Lease]) -> None:
        ids = [lease.id for lease in leases if lease.id]
        if ids:
            try:
                self._around.ledger.settled(self._identity, *ids)
            except LedgerError as error:
                self._ledger_failed(error)

    def _ledger_failed(self, error: LedgerError) -> None:
        """Told once in a while, and at once when something else is the matter."""
        code, until_s = self._ledger_told
        now_s = time.monotonic()
        if error.code == code and now_s < until_s:
            return
        self._ledger_told = (error.code, now_s + self._limits.tell_s)
        if not self._around.hooks.call("on_ledger_error", self.queue_name, error):
            log.error(
                "%s: the ledger fails: nothing more is received, and what is finished is not "
                "deleted before the ledger has it. %s: %s",
                self.queue_name,
                error.code,
                error,
            )

    def _ledger_recovered(self, outage_s: float, count: int) -> None:
        self._ledger_told = ("", 0.0)
        if not self._around.hooks.call("on_ledger_recovered", self.queue_name, outage_s, count):
            log.warning(
                "%s: after %.1f s the ledger has the %d finished messages that waited for it.",
                self.queue_name,
                outage_s,
                count,
            )

    def _give_back(self, lease: Lease, delay_s: float) -> None:
        first_id = _first_id(lease.message)
        if first_id:
            self._uncounted[first_id] = self._uncounted.pop(first_id, 0) + 1
            while len(self._uncounted) > self._limits.doomed_max:
                self._uncounted.popitem(last=False)
        self.leases.release(lease, delay_s)

    def _hold_back(self, message: LeasedMessage, delay_s: float) -> None:
        self._give_back(message.lease, delay_s)
        if not self._around.hooks.call(
            "on_held_back", self.queue_name, message.message_id, delay_s
        ):
            log.warning(
                "%s: what follows message %s could not be sent: it is not finished, and comes "
                "again in %.1f s.",
                self.queue_name,
                message.message_id,
                delay_s,
            )

    # --- to another place -------------------------------------------------------------------------

    def _resend(self, message: LeasedMessage, delay_s: float) -> None:
        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Failed):
                self._give_back(message.lease, self._limits.bury_delay_s)
            else:
                self._finish(message.lease)

        outgoing = Message(body=self._around.transport.wire(message.body), delay_s=delay_s)
        self._forward(self._name, outgoing, done)

    def _bury(self, lease: Lease, body: bytes, message_id: str, story: Story) -> None:
        """Copy it to the dead-letter queue, then finish it; else give it back, to be buried when it
        comes again: it does not run any more."""
        bytes_max = self.leases.queue.traits.message_bytes_max
        letter = deadletters.encode(body, story, bytes_max)

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Failed):
                self._doom(_first_id(lease.message), story)
                self._give_back(lease, self._limits.bury_delay_s)
                self._not_buried(message_id or lease.id, outcome)
                return
            self._finish(lease)
            if not self._around.hooks.call(
                "on_dead_letter", self.queue_name, message_id or lease.id, story
            ):
                log.error(
                    "%s: message %s is in the dead-letter queue. %s: %s",
                    self.queue_name,
                    message_id or lease.id,
                    story.finding,
                    story.error,
                )

        outgoing = Message(body=self._around.transport.wire(letter))
        self._forward(dead_letters_of(self._name), outgoing, done)

    def _doom(self, first_id: str, story: Story) -> None:
        if first_id:
            self._doomed[first_id] = story
            while len(self._doomed) > self._limits.doomed_max:
                self._doomed.popitem(last=False)

    def _not_buried(self, message_id: str, failed: Failed) -> None:
        delay_s = self._limits.bury_delay_s
        self._around.hooks.call("on_enqueue_error", dead_letters_of(self.queue_name), None, failed)
        self._around.hooks.call("on_held_back", self.queue_name, message_id, delay_s)
        log.error(
            "%s: message %s could not be moved to the dead-letter queue, and stays. Tried again in "
            "%.0f s.",
            self.queue_name,
            message_id,
            delay_s,
        )

    def _forward(self, name: str, message: Message, done: Callable[[Outcome], None]) -> None:
        self._around.forwarder.add(
            Job(lambda: self._around.outbox(name), message, done, self._refused)
        )

    def _refused(self, error: Exception) -> Failed:
        return Failed(
            Evidence(
                stage=Stage.SETTINGS,
                fault=Fault.UNEXPECTED,
                system=self._around.transport.system,
                operation="send",
                detail=str(error)[:1000],
            )
        )

    def _story(
        self,
        lease: Lease,
        reason: Reason,
        error: str,
        message: "TaskMessage[object] | None" = None,
    ) -> Story:
        retries = 0 if message is None else message.options.get("retries", 0)
        return Story(
            reason=reason,
            finding=FINDINGS[reason],
            error=error[: self._limits.error_chars_max],
            queue=self.queue_name,
            transport_id=lease.id,
            receives=lease.message.receive_count,
            retries=retries if isinstance(retries, int) else 0,
            at_ms=int(time.time() * 1000),
        )

    @property
    def unwritten_count(self) -> int:
        """Finished messages that wait until the ledger has them."""
        return len(self._unwritten)

    # --- its life ---------------------------------------------------------------------------------

    def pause(self) -> None:
        """Receive nothing more; give back what nobody began."""
        for due_s, message in self._waiting.take_all():
            rest_s = max(0.0, due_s - time.monotonic())
            self._give_back(message.lease, float(int(rest_s)))
        self.leases.pause()

    def resume(self) -> None:
        self.leases.resume()

    def begin_close(self) -> None:
        self.pause()
        self._is_closed = True
        self.leases.begin_close()
        self._unwritten.hurry()

    def end_close(self, until_s: float) -> Left:
        """Wait until what is finished is settled, or that time (monotonic) has come."""
        left = self.leases.close(max(0.0, until_s - time.monotonic()))
        unwritten = self._unwritten.close()
        if unwritten:
            log.error(
                "%s: the ledger did not take down %d finished messages in time: they run again.",
                self.queue_name,
                unwritten,
            )
        return left


def _first_id(received: Received) -> str:
    """What stays the same of a message however often it is given back. In a log that writes a copy,
    which has a place and so an id of its own."""
    system = received.system_attributes
    if "retry-place" not in system:
        return received.id
    return f"{system['topic']}/{system['partition']}/{system['offset']}"


def lease_limits(prefetch: int, around: Surroundings) -> LeaseLimits:
    limits = around.limits
    default = LeaseLimits()
    return replace(
        default,
        slots_max=prefetch,
        quick_s=limits.quick_s,
        lease_s=around.lease_s,
        hold_s_max=max(default.hold_s_max, around.lease_s),
        held_bytes_max=limits.held_bytes_max,
        pending_lease_s=limits.pending_lease_s,
        wait_s=limits.wait_s,
        idle_s_min=min(default.idle_s_min, limits.idle_s_max),
        idle_growth=limits.idle_growth,
        idle_s_max=limits.idle_s_max,
        tell_s=limits.tell_s,
    )
