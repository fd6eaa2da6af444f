"""Delivery to a queue, whatever its system: one message per event, one outcome per message.

Layer: destinations. A queue's calls block, so they are made on threads of the destination's own: a
slow queue holds up nobody else. Deliveries that wait for a thread are sent together, as many as the
system takes in one request; so the requests grow with the load, and a single event goes at once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone, Destination
from eventpost.core.outcomes import Delivered, Evidence, Failed, Fault, Outcome, Stage
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.destinations.borders import unexpected, unusable
from eventpost.destinations.kinds import Services
from eventpost.destinations.queue_messages import Composer, Composing, Unsendable
from eventpost.http.failures import bounded
from eventpost.queues.interfaces import Address, Message, Traits

THREADS_MAX = 4
"""Requests of one destination at the same time. With batches of ten this is more than one account
of Amazon SQS answers in 20 ms to a client in Python."""
CLOSED = Evidence(
    stage=Stage.SETTINGS, fault=Fault.CLOSED, detail="the destination was closed meanwhile"
)


class _Waiting(NamedTuple):
    deliveries: Sequence[Delivery]
    done: DeliveryDone


class Sending(Protocol):
    """As much of a queue as is sent to: see `queues.interfaces.Queue`."""

    @property
    def traits(self) -> Traits: ...
    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]: ...
    def close(self) -> None: ...


class QueueDestination:
    """Implements `core.interfaces.Destination` for one subscription.

    Constructing raises nothing and connects to nothing: settings that cannot be used make every
    attempt fail with evidence, without counting, until they can be.
    """

    def __init__(
        self,
        subscription: Subscription,
        services: Services,
        open_queue: Callable[[], Sending],
        composer: Composing,
    ) -> None:
        """`open_queue` is called on a thread; it blocks, and may raise InvalidRequest."""
        endpoint = subscription.endpoint
        self._services = services
        self._waiting: deque[_Waiting] = deque()
        self._sending = 0
        self._is_dispatching = False
        self._is_closed = False
        name = f"eventpost-{endpoint.type}-{subscription.name}"
        self._threads = ThreadPoolExecutor(THREADS_MAX, name)
        self._line = _Line(open_queue, composer)

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        self._waiting.append(_Waiting(deliveries, done))
        if not self._is_dispatching:  # what is delivered in this turn of the loop goes together
            self._is_dispatching = True
            self._services.call_soon(self._dispatch)

    def close(self) -> None:
        """What waits is answered as failed; what is being sent still ends with an outcome."""
        if not self._is_closed:
            self._is_closed = True
            self._threads.submit(self._line.close)
            self._threads.shutdown(wait=False)

    # --- on the loop's thread -------------------------------------------------------------------

    def _dispatch(self) -> None:
        self._is_dispatching = False
        if self._is_closed:
            while self._waiting:
                one = self._waiting.popleft()
                one.done(one.deliveries, Failed(CLOSED, is_counted=False))
            return
        while self._waiting and self._sending < THREADS_MAX:
            page = self._page()
            self._sending += 1
            self._threads.submit(self._send, page)

    def _page(self) -> list[_Waiting]:
        """What goes in one call: as much as travels in one request, and one attempt at least."""
        page = [self._waiting.popleft()]
        room = self._line.send_count_max - len(page[0].deliveries)
        while self._waiting and len(self._waiting[0].deliveries) <= room:
            room -= len(self._waiting[0].deliveries)
            page.append(self._waiting.popleft())
        return page

    def _sent(self, page: list[_Waiting], outcomes: Sequence[Outcome], elapsed_ms: float) -> None:
        self._sending -= 1
        at = 0
        for one in page:
            self._services.delivery_times.observe(elapsed_ms)
            end = at + len(one.deliveries)
            one.done(one.deliveries, outcomes[at:end])
            at = end
        self._dispatch()

    # --- on a thread of its own -----------------------------------------------------------------

    def _send(self, page: list[_Waiting]) -> None:
        began_s = time.monotonic()
        deliveries = [delivery for one in page for delivery in one.deliveries]
        outcomes = self._line.send(deliveries)
        elapsed_ms = (time.monotonic() - began_s) * 1000
        answer = partial(self._sent, page, outcomes, elapsed_ms)
        try:
            self._services.call_soon_threadsafe(answer)
        except RuntimeError:
            return  # the loop was closed first: nobody is left to be told


class _Line:
    """The queue, opened on first use. From the destination's threads, several at once."""

    def __init__(self, open_queue: Callable[[], Sending], composer: Composing) -> None:
        self._open = open_queue
        self._composer = composer
        self._opening = threading.Lock()
        """So that one queue is opened, however many threads are the first, and none after `close`:
        nobody would close it."""
        self._queue: Sending | None = None
        self._is_closed = False
        self.send_count_max = 1

    def send(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """One outcome for each. Raises nothing."""
        try:
            queue = self._queue or self._opened()
            if queue is None:
                return [Failed(CLOSED, is_counted=False)] * len(deliveries)
            return self._send(queue, deliveries)
        except InvalidRequest as error:
            return [unusable(error)] * len(deliveries)
        except Exception as error:  # noqa: BLE001 - the border: it is recorded as a finding
            return [unexpected(error, Stage.WAIT)] * len(deliveries)

    def _opened(self) -> Sending | None:
        """The queue, opened by whoever comes first; None when it was closed before that."""
        with self._opening:
            if self._queue is None and not self._is_closed:
                queue = self._open()
                self.send_count_max = max(1, queue.traits.send_count_max)
                self._queue = queue
            return self._queue

    def _send(self, queue: Sending, deliveries: Sequence[Delivery]) -> list[Outcome]:
        composed = [self._composer.message(delivery, queue.traits) for delivery in deliveries]
        messages = [one for one in composed if isinstance(one, Message)]
        began_s = time.monotonic()
        sent = iter(queue.send(messages) if messages else ())
        elapsed_ms = int((time.monotonic() - began_s) * 1000)
        return [
            _timed(next(sent), elapsed_ms) if isinstance(one, Message) else _unsendable(queue, one)
            for one in composed
        ]

    def close(self) -> None:
        with self._opening:
            self._is_closed = True
        if self._queue is not None:
            self._queue.close()


def _timed(outcome: Outcome, elapsed_ms: int) -> Outcome:
    """With how long it took, where the system did not say."""
    if isinstance(outcome, Delivered) or outcome.evidence.elapsed_ms:
        return outcome
    evidence = msgspec.structs.replace(outcome.evidence, elapsed_ms=elapsed_ms)
    return msgspec.structs.replace(outcome, evidence=evidence)


def _unsendable(queue: Sending, why: Unsendable) -> Failed:
    evidence = Evidence(
        stage=Stage.SETTINGS,
        fault=why.fault,
        system=queue.traits.system,
        operation="send",
        detail=bounded(str(why)),
    )
    return Failed(evidence, final=True)


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Destination:
    endpoint = subscription.endpoint
    address = Address(name=endpoint.address, options=endpoint.options)
    opener = services.opener(endpoint.type, endpoint.connection, address)
    composer = Composer(topic, subscription, services)
    return QueueDestination(subscription, services, opener, composer)
