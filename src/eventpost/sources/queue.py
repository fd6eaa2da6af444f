"""A queue as a source: messages become events, and are settled once these are durable.

Layer: sources. The lease engine receives and settles on threads of its own and keeps every lease
alive; here, on the loop, a page of messages becomes a page of events, which is handed over with the
messages' ids in one transaction. A message that comes again is known by its id, and only settled.
"""

from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

from eventpost.core.errors import EventpostError, Overloaded
from eventpost.core.events import Schema
from eventpost.core.interfaces import ReadFailed, Taken, Timer
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.sources import (
    Source,
    SourceFailure,
    SourceReport,
    SourceState,
    queue_key,
)
from eventpost.core.subscriptions import Topic
from eventpost.formats import messaging
from eventpost.formats.custom import CustomInput
from eventpost.formats.messages import Target
from eventpost.http.failures import bounded
from eventpost.queues.interfaces import Address, Queue, Redriving
from eventpost.queues.leases import Lease, Leases
from eventpost.sources.catch import Catcher, Caught, kept_id
from eventpost.sources.kinds import Services
from eventpost.sources.telling import OPEN, STOPPING, Telling
from eventpost.sources.unsettled import Unsettled

ASK_AGAIN_S = 0.5
"""A look-up that the store could not answer is asked again: nothing is given out without it."""


@dataclass(slots=True, eq=False)
class _Haul:
    """A page on its way into the store."""

    caught: list[Caught]
    is_unsure: bool = False
    """Whether a commit of it failed, so that it may be durable all the same."""


class QueueSource:
    """Implements `core.interfaces.Puller` for one source."""

    def __init__(self, topic: Topic, source: Source, services: Services) -> None:
        self._topic = topic
        self._source = source
        self._services = services
        self._open = services.opener(
            source.kind, source.connection, Address(name=source.queue, options=source.options)
        )
        self._queue: Queue | None = None
        self.telling = Telling(source, topic.name, services)
        self._leases = Leases(
            self._opened,
            limits=replace(services.leases, slots_max=source.prefetch, lease_s=source.lease_s),
            known=self._known,
            listener=self.telling,
            on_ready=self._stir,
            monotonic_s=services.monotonic_s,
            random=services.random,
        )
        self.telling.on_redelivered = self._came_again
        self._catcher = Catcher(
            messaging.decoder(source.format),
            target_of(topic, source, services),
            source.kind,
            source.receives_max,
            services.classify,
        )
        self._unsettled = Unsettled(self._leases, services)
        self._waiting: deque[_Haul] = deque()
        """What the store did not take, oldest first."""
        self._retry_s = 0.0
        self._timer: Timer | None = None
        self._open_s = 0.0
        self._is_open = False
        self._is_stirred = False
        self._is_closing = False
        self._is_paused = source.is_paused
        self._page_max = services.limits.page_max
        self._taken = self._events = self._poison = 0

    # --- its life -------------------------------------------------------------------------------

    def start(self) -> None:
        if self._is_paused:
            self._leases.pause()
        self._try_to_open()

    def _try_to_open(self) -> None:
        self._timer = None
        if not self._is_closing:
            self._services.executor.submit(self._start)

    def _start(self) -> None:
        """On another thread."""
        error: Exception | None = None
        try:
            self._leases.start()
        except Exception as caught:  # noqa: BLE001 - the border: third parties open queues, too
            error = caught
        self._soon(self._started, error)

    def _started(self, error: Exception | None) -> None:
        if self._is_closing:
            return
        if error is None:
            self._is_open = True
            self.telling.works(OPEN)
            self._services.log("source.started", source=self._source.name, topic=self._topic.name)
            queue: object = self._queue
            if isinstance(queue, Redriving):
                self._services.executor.submit(self._look_at_redrive, queue)
            self._pump()
            return
        limits = self._services.limits
        self._open_s = min(max(limits.open_s_min, self._open_s * 2), limits.open_s_max)
        self.telling.fails(OPEN, _evidence(error, self._source.kind), self._open_s)
        self._timer = self._services.clock.call_later(self._open_s, self._try_to_open)

    def _look_at_redrive(self, queue: Redriving) -> None:
        """On another thread."""
        try:
            self.telling.warns(queue.redrive_warning(self._source.receives_max))
        except Exception as error:  # noqa: BLE001 - the border: third parties make queues, too
            self.telling.fails("probe", _evidence(error, self._source.kind), 0.0)

    def _opened(self) -> Queue:
        """On the thread that starts the engine."""
        self._queue = self._open()
        return self._queue

    def pause(self, *, is_paused: bool) -> None:
        self._is_paused = is_paused
        if is_paused:
            self._leases.pause()
        else:
            self._leases.resume()
            self._pump()

    def begin_close(self) -> None:
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            for one in self._waiting.popleft().caught:
                self._leases.release(one.lease)
        self._leases.begin_close()

    def end_close(self, drain_s: float) -> None:
        """On another thread."""
        left = self._leases.close(drain_s)
        self._soon(self._unsettled.look)
        fields = {} if not left else {"running": left.running, "unsettled": left.finished}
        self._services.log("source.stopped", source=self._source.name, **fields)

    # --- from messages to events, on the loop ---------------------------------------------------

    def _stir(self) -> None:
        """From the engine's threads: there is something to take."""
        if not self._is_stirred:
            self._is_stirred = True
            self._soon(self._stirred)

    def _stirred(self) -> None:
        self._is_stirred = False
        self._pump()

    def _pump(self) -> None:
        """Take a page and hand it over, unless an earlier one waits for the store."""
        if self._is_closing or not self._is_open or self._waiting:
            return
        page = self._page_max
        leases = self._leases.take_many(page)
        if not leases:
            return
        limits = self._services.limits
        mean_bytes = sum(len(lease.message.body) for lease in leases) // len(leases) + 1
        self._page_max = min(limits.page_max, max(1, limits.page_bytes_max // mean_bytes))
        self._hand_over(_Haul(self._catcher.catch(leases)))
        if len(leases) == page:
            self._services.clock.call_soon(self._pump)

    def _hand_over(self, haul: _Haul) -> None:
        haul.caught = self._still_ours(haul.caught)
        if not haul.caught:
            return
        events = [event for one in haul.caught for event in one.events]
        poison = [one.poison for one in haul.caught if one.poison is not None]
        ids = [one.id for one in haul.caught if one.id]
        taken = Taken(self._key(), ids, self._services.clock.now_ms())
        done = partial(self._handed_over, haul)
        try:
            self._services.intake.take(self._source, events, poison, taken, done)
        except Overloaded as refusal:
            self._hold(haul, refusal)

    def _handed_over(self, haul: _Haul, refusal: Overloaded | None) -> None:
        if refusal is not None:
            haul.is_unsure = True
            self._hold(haul, refusal)
            return
        self._retry_s = 0.0
        self._finish(haul.caught)
        self._pump()

    def _finish(self, caught: Sequence[Caught]) -> None:
        """What they became is durable."""
        for one in caught:
            self._events += len(one.events)
            if one.poison is None:
                self._taken += 1
            else:
                self._poison += 1
                self.telling.poisoned(one.id, one.poison)
        leases = [one.lease for one in caught]
        self._leases.finish_many(leases)
        self._unsettled.add(self._key(), leases)

    def _still_ours(self, caught: list[Caught]) -> list[Caught]:
        """Without those that somebody else may have by now: they come again, to us or to him."""
        for one in caught:
            if one.lease.is_lost:
                self._leases.release(one.lease)
        return [one for one in caught if not one.lease.is_lost]

    # --- when the store does not take them --------------------------------------------------------

    def _hold(self, haul: _Haul, refusal: Overloaded) -> None:
        """Keep them under lease, receive no more than fits, and try again after a while."""
        if self._is_closing:
            for one in haul.caught:
                self._leases.release(one.lease)
            return
        self._waiting.append(haul)
        limits = self._services.limits
        if self._timer is None:
            self._retry_s = min(max(limits.hold_s_min, self._retry_s * 2), limits.hold_s_max)
            wait_s = self._retry_s * (1 + self._services.random.random() / 2)
            self._timer = self._services.clock.call_later(wait_s, self._retry)
            self.telling.held(refusal, wait_s)

    def _retry(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for haul in waiting:
            if haul.is_unsure:
                ids = [one.id for one in haul.caught if one.id]
                answer = partial(self._told, haul)
                self._services.intake.taken(self._key(), ids, answer)
            else:
                self._hand_over(haul)
        self._pump()

    def _told(self, haul: _Haul, known: set[str] | ReadFailed) -> None:
        """Of messages whose commit failed: which of them are durable all the same."""
        if isinstance(known, ReadFailed):
            self._hold(haul, Overloaded("EP3003", known.reason))
            return
        self._finish([one for one in haul.caught if one.id in known])
        rest = [one for one in haul.caught if one.id not in known]
        self._hand_over(_Haul(rest))
        self._pump()

    # --- what was taken before ------------------------------------------------------------------

    def _known(self, ids: Sequence[str]) -> Collection[str]:
        """On a thread of the engine, which gives nothing out before it is answered."""
        answer: Future[set[str]] = Future()
        asked = [one for one in ids if kept_id(one)]
        self._services.clock.call_soon_threadsafe(self._ask, asked, answer)
        return answer.result()

    def _ask(self, ids: list[str], answer: "Future[set[str]]") -> None:
        if self._is_closing:  # whatever came is given back now, and asked about when it comes again
            answer.set_result(set())
            return

        def told(known: set[str] | ReadFailed) -> None:
            if isinstance(known, ReadFailed):
                self._services.clock.call_later(ASK_AGAIN_S, self._ask, ids, answer)
            else:
                answer.set_result(known)

        self._services.intake.taken(self._key(), ids, told)

    def _came_again(self, lease: Lease) -> None:
        """From the engine's threads: a message that was taken before is settled now."""
        self._soon(self._unsettled.add, self._key(), (lease,))

    def _key(self) -> int:
        """A queue may come to know its whole identity with its first answer, and not before."""
        assert self._queue is not None, "nothing is received before it is open"
        return queue_key(self._queue.identity)

    def _soon(self, callback: object, *arguments: object) -> None:
        """From any thread, to the loop; not when the loop has ended."""
        try:
            self._services.clock.call_soon_threadsafe(callback, *arguments)  # type: ignore[arg-type]
        except RuntimeError:
            return

    # --- what it is -----------------------------------------------------------------------------

    def report(self) -> SourceReport:
        stats = self._leases.stats()
        failures = self.telling.current(stats.failing)
        return SourceReport(
            source=self._source.name,
            topic=self._topic.name,
            state=self._state(failures),
            failures=failures,
            warning=self.telling.warning,
            received=stats.received,
            taken=self._taken,
            events=self._events,
            poison=self._poison,
            redelivered=stats.redelivered_finished,
            settled=stats.settled,
            released=stats.released,
            lost=stats.lost,
            failed_calls=sum(stats.failures.values()),
            held=stats.slots_used,
            unsettled=stats.pending_settles,
            oldest_unsettled_s=stats.oldest_pending_s,
            is_paused=self._is_paused,
        )

    def _state(self, failures: Sequence[SourceFailure]) -> SourceState:
        if self._is_paused:
            return SourceState.PAUSED
        if any(each.operation in STOPPING for each in failures):
            return SourceState.FAILING
        if self._waiting:
            return SourceState.HOLDING
        return SourceState.RUNNING if self._is_open else SourceState.STARTING


def target_of(topic: Topic, source: Source, services: Services) -> Target:
    """What a source's messages are for."""
    new_id, now_ms = services.new_event_id, services.clock.now_ms
    is_custom = topic.input_schema is Schema.CUSTOM
    return Target(
        schema=topic.wire_schema,
        topic_resource=services.topic_resource(topic),
        queue=source.queue,
        mapping=source.mapping,
        new_id=new_id,
        now_ms=now_ms,
        custom=CustomInput(topic.input_mapping, new_id, now_ms) if is_custom else None,
    )


def _evidence(error: Exception, kind: str) -> Evidence:
    if isinstance(error, EventpostError):
        is_missing = error.code in ("SecretMissing", "ConnectionNotFound")
        return Evidence(
            stage=Stage.SETTINGS,
            fault=Fault.NOT_FOUND if is_missing else Fault.MALFORMED,
            operation=OPEN,
            detail=bounded(str(error)),
        )
    detail = bounded(f"{type(error).__name__}: {error}")
    return Evidence(
        stage=Stage.CONNECT, fault=Fault.UNEXPECTED, system=kind, operation=OPEN, detail=detail
    )
