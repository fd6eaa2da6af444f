"""Deliveries to queues: what is sent, how it is put together, what each message's fate means."""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery, Schema
from eventpost.core.outcomes import Delivered, Evidence, Failed, Fault, Outcome, Stage
from eventpost.core.sources import MessageFormat
from eventpost.core.subscriptions import DeliveryAttribute, Subscription
from eventpost.destinations import queue as queue_destination
from eventpost.destinations.queue import Sending
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Queue, Received
from eventpost.testing.destination_conformance import (
    NOW_MS,
    DestinationConformance,
    Harness,
    Recorder,
    delivery,
    until,
)
from eventpost.testing.memory_queue import BUSY, MemoryQueue, MemoryServer, Mishap
from tests.http.client.peers import Caller
from tests.services.moto import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Moto

from .queues import SqsHarness, over, subscription
from .receivers import topic

TRACE = ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "")


@pytest.mark.slow
class TestSqs(DestinationConformance):
    """A queue keeps the contract of destinations: Amazon SQS, as the moto server plays it."""

    @pytest.fixture(autouse=True)
    def _moto(self, moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moto = moto
        monkeypatch.setenv("SQS_TEST_KEY_ID", ACCESS_KEY_ID)
        monkeypatch.setenv("SQS_TEST_SECRET", SECRET_ACCESS_KEY)

    def harness(self) -> Harness:
        return SqsHarness(self.moto)


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer().create("songs")


class Bench:
    """A destination over a queue in memory, and what it answers."""

    def __init__(
        self,
        server: MemoryServer,
        declared: Subscription | None = None,
        schema: Schema = Schema.EVENT_GRID,
        queue: Queue | None = None,
    ) -> None:
        self.server = server
        self.queue = queue or server.queue("songs")
        self.caller = Caller()
        self.opened = 0
        self.trouble: InvalidRequest | None = None
        self.recorder = Recorder()
        self.destination = queue_destination.new_destination(
            topic(schema), declared or subscription(), over(self.caller, self._open)
        )

    def _open(self) -> Queue:
        self.opened += 1
        if self.trouble is not None:
            raise self.trouble
        return self.queue

    async def deliver(self, *deliveries: Delivery) -> Sequence[Outcome]:
        """Each as an attempt of its own; the outcomes in the order of the positions."""
        for each in deliveries:
            self.recorder.deliver(self.destination, [each])
        return await self.recorder.wait(len(deliveries))

    def close(self) -> None:
        self.destination.close()
        self.caller.client.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def sent(
    server: MemoryServer,
    *deliveries: Delivery,
    schema: Schema = Schema.EVENT_GRID,
    **endpoint: Any,
) -> tuple[list[Message], Sequence[Outcome]]:
    """What a queue was sent, and the outcomes."""
    watched = Watched(server)
    outcomes: list[Outcome] = []

    async def main() -> None:
        bench = Bench(server, subscription(**endpoint), schema, watched)
        try:
            outcomes.extend(await bench.deliver(*deliveries))
        finally:
            bench.close()

    run(main())
    return [message for call in watched.calls for message in call], outcomes


class Watched(MemoryQueue):
    """Remembers what it was sent, call by call, and waits when it is told to."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server, "songs")
        self.calls: list[list[Message]] = []
        self.error: Exception | None = None

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        self.calls.append(list(messages))
        if self.error is not None:
            raise self.error
        return super().send(messages)


def received(server: MemoryServer) -> list[Received]:
    page = server.queue("songs").receive(10, 0.0, 30.0)
    assert isinstance(page, list)
    return page


# --- what is sent ---------------------------------------------------------------------------------


def test_an_event_is_a_message(server: MemoryServer) -> None:
    """An event goes out as it is stored, with its id, and its trace among the attributes."""
    event = delivery(7)
    event.event.trace = TRACE

    ((message,), (outcome,)) = sent(server, event)

    assert isinstance(outcome, Delivered)
    assert message.body == event.event.wire
    assert message.message_id == "event-7"
    assert message.attributes == {"traceparent": TRACE[0]}
    assert (message.group, message.routing_key, message.delay_s) == ("", None, 0.0)


def test_the_offer_identifies_the_message(server: MemoryServer) -> None:
    """Every attempt at a delivery has one deduplication id, another event or offer another one."""
    again = delivery(7, attempts=3)
    offered_anew = Delivery(again.event, 7, NOW_MS, NOW_MS + 1)

    (first, second, third, fourth), _ = sent(
        server, delivery(7), delivery(8), *_at(again, 9), *_at(offered_anew, 10)
    )

    assert first.deduplication_id == f"3-5-7-{NOW_MS}"
    assert second.deduplication_id != first.deduplication_id
    assert third.deduplication_id == f"3-5-9-{NOW_MS}"
    assert fourth.deduplication_id == f"3-5-10-{NOW_MS + 1}"


def _at(given: Delivery, position: int) -> list[Delivery]:
    return [Delivery(given.event, position, given.published_ms, given.offered_ms)]


def test_attributes_and_properties(server: MemoryServer) -> None:
    """Delivery attributes become the message's; properties are fixed or taken from the event."""
    ((message,), _) = sent(
        server,
        delivery(7),
        attributes=(
            DeliveryAttribute(name="X-Station", type="static", value="blues"),
            DeliveryAttribute(name="X-Title", type="dynamic", value="data.title"),
            DeliveryAttribute(name="X-Missing", type="dynamic", value="data.nothing"),
        ),
        properties=(
            DeliveryAttribute(name="group", type="dynamic", value="subject"),
            DeliveryAttribute(name="deduplication-id", type="static", value="one"),
            DeliveryAttribute(name="routing-key", type="dynamic", value="eventType"),
            DeliveryAttribute(name="message-id", type="dynamic", value="data.title"),
            DeliveryAttribute(name="delay", type="static", value="1m"),
            DeliveryAttribute(name="priority", type="static", value="3"),
        ),
    )

    assert message.attributes == {"X-Station": "blues", "X-Title": "Dust My Broom"}
    assert (message.group, message.deduplication_id) == ("genre/blues", "one")
    assert (message.routing_key, message.message_id) == ("Song.Requested", "Dust My Broom")
    assert (message.delay_s, message.priority) == (60.0, 3)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("delay", "eventType", "The delay 'Song.Requested'"), ("priority", "subject", "The priority")],
)
def test_a_property_that_is_none(server: MemoryServer, name: str, value: str, says: str) -> None:
    """An event whose delay or priority is none is given up at once, and the others go."""
    path = DeliveryAttribute(name=name, type="dynamic", value=value)

    messages, (outcome,) = sent(server, delivery(7), properties=(path,))

    assert messages == []
    assert isinstance(outcome, Failed)
    assert outcome.final
    assert says in outcome.evidence.detail


@pytest.mark.parametrize(("delay", "delay_s"), [("30", 30.0), ("1.5", 1.5), ("250ms", 0.25)])
def test_delays(server: MemoryServer, delay: str, delay_s: float) -> None:
    """A delay is a number of seconds, or a duration."""
    given = DeliveryAttribute(name="delay", type="static", value=delay)

    ((message,), _) = sent(server, delivery(7), properties=(given,))

    assert message.delay_s == delay_s


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (MessageFormat.RAW, b'{"title":"Dust My Broom"}'),
        (MessageFormat.ROADRUNNER, b'{"title":"Dust My Broom"}'),
    ],
)
def test_formats(server: MemoryServer, name: MessageFormat, body: bytes) -> None:
    """The subscription's format says how the event stands in the message."""
    ((message,), _) = sent(server, delivery(7), format=name)

    assert message.body == body


def test_the_delivery_schema(server: MemoryServer) -> None:
    """The event goes out in the delivery schema, as to a webhook."""
    ((message,), _) = sent(server, delivery(7), delivery_schema=Schema.CLOUD_EVENTS)

    assert json.loads(message.body)["specversion"] == "1.0"


def test_a_formats_delay_goes_as_far_as_the_system(server: MemoryServer) -> None:
    """A message of Dramatiq that is for next year is delayed as long as the system can."""
    job = {
        "queue_name": "default",
        "actor_name": "play",
        "args": [],
        "kwargs": {},
        "options": {"eta": NOW_MS + 365 * 86_400_000},
        "message_id": "1",
        "message_timestamp": NOW_MS,
    }
    wire = json.loads(delivery(7).event.wire) | {"data": job, "dataVersion": "dramatiq-1"}
    later = delivery(7)
    later.event.wire = json.dumps(wire, separators=(",", ":")).encode()

    ((message,), (outcome,)) = sent(server, later, format=MessageFormat.DRAMATIQ)

    assert isinstance(outcome, Delivered)
    assert message.delay_s == server.traits.delay_s_max


# --- how it is put together -----------------------------------------------------------------------


def test_deliveries_of_one_turn_go_together(server: MemoryServer) -> None:
    """What is delivered at once travels in as few requests as the system allows, in order."""
    watched = Watched(server)

    async def main() -> None:
        bench = Bench(server, queue=watched)
        await bench.deliver(delivery(0))  # opens it, and learns how much goes in one request
        await bench.deliver(*(delivery(position) for position in range(1, 26)))
        bench.close()

    run(main())

    assert [len(call) for call in watched.calls] == [1, 10, 10, 5]
    ids = [message.message_id for call in watched.calls for message in call]
    assert sorted(ids) == sorted(f"event-{position}" for position in range(26))
    for call in watched.calls:
        positions = [int(message.message_id.partition("-")[2]) for message in call]
        assert positions == sorted(positions)


def test_requests_at_once_are_bounded(server: MemoryServer) -> None:
    """A slow queue has at most so many requests under way; what waits goes with the next ones."""
    watched = Watched(server)

    async def main() -> None:
        bench = Bench(server, queue=watched)
        await bench.deliver(delivery(0))
        with server.turn:  # every request waits for this
            for position in range(1, 200):
                bench.recorder.deliver(bench.destination, [delivery(position)])
            await until(lambda: len(watched.calls) == 1 + queue_destination.THREADS_MAX)
            await asyncio.sleep(0.01)
            assert len(watched.calls) == 1 + queue_destination.THREADS_MAX
        await bench.recorder.wait(200)
        bench.close()

    run(main())

    assert server.message_count("songs") == 200


def test_the_queue_is_opened_once(server: MemoryServer) -> None:
    """However many requests are the first, one queue is opened: the others' connections would stay
    open unused."""

    async def main() -> None:
        bench = Bench(server)
        all_came = threading.Barrier(queue_destination.THREADS_MAX)
        line = line_of(bench)
        opened = line._opened

        def opened_together() -> Sending | None:
            all_came.wait()
            return opened()

        line._opened = opened_together  # type: ignore[method-assign]
        for position in range(queue_destination.THREADS_MAX):
            bench.recorder.deliver(bench.destination, [delivery(position)])
        await bench.recorder.wait(queue_destination.THREADS_MAX)
        bench.close()

        assert bench.opened == 1

    run(main())


def test_no_queue_is_opened_after_closing(server: MemoryServer) -> None:
    """A request that is late, because its destination was closed first, fails without counting and
    opens nothing that nobody would close."""

    async def main() -> None:
        bench = Bench(server)
        line = line_of(bench)
        line.close()

        [outcome] = line.send([delivery(0)])

        assert isinstance(outcome, Failed)
        assert not outcome.is_counted
        assert bench.opened == 0
        bench.close()

    run(main())


def line_of(bench: Bench) -> queue_destination._Line:
    assert isinstance(bench.destination, queue_destination.QueueDestination)
    return bench.destination._line


# --- what a fate means ----------------------------------------------------------------------------


def test_each_message_has_its_outcome(server: MemoryServer) -> None:
    """Entries of a batch fail one by one; each attempt gets its own outcome, with its time."""
    server.mishaps = lambda *_: Mishap(failed=BUSY, ids={"event-2"})
    _, outcomes = sent(server, *(delivery(position) for position in range(4)))

    assert [isinstance(one, Delivered) for one in outcomes] == [True, True, False, True]
    assert isinstance(outcomes[2], Failed)
    assert outcomes[2].evidence.code == "ServerBusy"
    assert outcomes[2].is_counted
    assert not outcomes[2].final


def test_a_message_that_is_too_large_is_given_up(server: MemoryServer) -> None:
    """What the system can never take is final; what is with it goes."""
    large = delivery(1)
    large.event.wire = b'{"data":"' + b"x" * 5_000 + b'"}'

    _, outcomes = sent(server, delivery(0), large)

    assert isinstance(outcomes[0], Delivered)
    assert isinstance(outcomes[1], Failed)
    assert outcomes[1].final
    assert classify(outcomes[1].evidence) == "EP2703"
    assert [each.body for each in received(server)] == [delivery(0).event.wire]


@pytest.mark.parametrize(
    ("code", "fault"), [("SecretMissing", Fault.NOT_FOUND), ("InvalidField", Fault.MALFORMED)]
)
def test_settings_that_cannot_be_used(server: MemoryServer, code: str, fault: Fault) -> None:
    """While the queue cannot be opened no attempt counts; once it can be, it is."""

    async def main() -> None:
        bench = Bench(server)
        bench.trouble = InvalidRequest(code, "The variable KEY is not set.")
        (outcome,) = await bench.deliver(delivery(0))
        assert isinstance(outcome, Failed)
        assert not outcome.is_counted
        assert (outcome.evidence.stage, outcome.evidence.fault) == (Stage.SETTINGS, fault)
        assert "KEY is not set" in outcome.evidence.detail
        assert classify(outcome.evidence) == "EP2704"

        bench.trouble = None
        _, outcome = await _two(bench)
        assert isinstance(outcome, Delivered)
        assert bench.opened == 2
        bench.close()

    run(main())


async def _two(bench: Bench) -> Sequence[Outcome]:
    bench.recorder.deliver(bench.destination, [delivery(1)])
    return await bench.recorder.wait(2)


def test_a_fault_of_an_adapter_is_an_outcome(server: MemoryServer) -> None:
    """An exception that should not be ends the attempt as unexpected, and no other one."""
    watched = Watched(server)
    watched.error = RuntimeError("oh no")

    async def main() -> None:
        bench = Bench(server, queue=watched)
        (outcome,) = await bench.deliver(delivery(0))
        assert isinstance(outcome, Failed)
        assert outcome.evidence.fault is Fault.UNEXPECTED
        assert outcome.evidence.detail == "RuntimeError: oh no"

        watched.error = None
        _, outcome = await _two(bench)
        assert isinstance(outcome, Delivered)
        bench.close()

    run(main())


def test_closing_answers_what_waits(server: MemoryServer) -> None:
    """What waits when the destination is closed fails without counting; what is out may end."""

    async def main() -> None:
        bench = Bench(server)
        await bench.deliver(delivery(0))
        bench.recorder.deliver(bench.destination, [delivery(1)])
        bench.destination.close()
        bench.destination.close()

        _, outcome = await bench.recorder.wait(2)

        assert isinstance(outcome, Failed)
        assert not outcome.is_counted
        bench.close()

    run(main())


def test_times_are_told(server: MemoryServer) -> None:
    """Evidence that does not say how long it took gets the time that the request took."""

    async def main() -> None:
        quick = Failed(Evidence(stage=Stage.WAIT, fault=Fault.RESET))
        own = Failed(Evidence(stage=Stage.WAIT, fault=Fault.RESET, elapsed_ms=7))
        assert queue_destination._timed(quick, 9) == _with(quick, 9)
        assert queue_destination._timed(own, 9) == own

    run(main())


def _with(failed: Failed, elapsed_ms: int) -> Failed:
    return Failed(msgspec.structs.replace(failed.evidence, elapsed_ms=elapsed_ms))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Threads of a closed destination end."""
    import threading

    yield
    left = [one for one in threading.enumerate() if one.name.startswith("eventpost-memory")]
    for one in left:
        one.join(60.0)
    assert not any(one.is_alive() for one in left)
