"""Sending to RabbitMQ: confirmed or a failure, routed as told, as the client library does it."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from msgspec.structs import replace

from eventpost.core.outcomes import Delivered, Failed
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Queue
from eventpost.queues.rabbitmq.publisher import BATCH_BYTES_MAX
from eventpost.queues.rabbitmq.settings import REQUEST_S_MAX
from eventpost.queues.rabbitmq.target import BATCH_COUNT_MAX
from tests.queues.rabbitmq.brokers import RabbitmqHarness, administer, opened, settings
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow


@pytest.fixture
def harness(rabbitmq: RabbitMQ) -> Iterator[RabbitmqHarness]:
    with RabbitmqHarness(rabbitmq, queue_type="classic") as harness:
        yield harness


def send(queue: Queue, *messages: Message) -> None:
    outcomes = queue.send(messages)
    assert all(isinstance(each, Delivered) for each in outcomes), outcomes


def taken(server: RabbitMQ, name: str, count: int) -> list[AbstractIncomingMessage]:
    """What another client gets from the queue, in order."""

    async def take(channel: AbstractChannel) -> list[AbstractIncomingMessage]:
        queue = await channel.get_queue(name)
        found: list[AbstractIncomingMessage] = []
        while len(found) < count:
            message = await queue.get(no_ack=True, fail=False)
            if message is not None:
                found.append(message)
        return found

    return administer(server, take)


def test_what_others_see(harness: RabbitmqHarness) -> None:
    """Another client gets what was sent with its properties, persistent, and nothing else."""
    message = Message(
        body=b"{}",
        attributes={"genre": "blues", "number": 5},
        content_type="application/json",
        message_id="m-1",
        priority=3,
    )
    send(harness.new_queue(), message)

    [found] = taken(harness.server, harness.name, 1)

    assert (found.body, found.headers) == (b"{}", {"genre": "blues", "number": 5})
    assert (found.content_type, found.message_id, found.priority) == ("application/json", "m-1", 3)
    assert found.delivery_mode == 2
    assert found.expiration is None
    assert found.timestamp is not None


def test_order(harness: RabbitmqHarness) -> None:
    """One sender's messages stand in the queue in their order, over many batches."""
    count = 2 * BATCH_COUNT_MAX + 3
    queue = harness.new_queue()
    send(queue, *(Message(body=str(number).encode()) for number in range(count)))
    send(queue, Message(body=b"last"))

    found = taken(harness.server, harness.name, count + 1)

    assert [each.body for each in found] == [*(str(n).encode() for n in range(count)), b"last"]


def test_a_batch_above_its_bytes(harness: RabbitmqHarness) -> None:
    """Large messages are written one after the other, also one larger than a batch may be."""
    queue = harness.new_queue(message_bytes_max=2 * BATCH_BYTES_MAX)
    sizes = [BATCH_BYTES_MAX // 2, BATCH_BYTES_MAX // 2 + 1, BATCH_BYTES_MAX + 1, 1, 0]
    send(queue, *(Message(body=b"x" * size) for size in sizes))

    assert [len(each.body) for each in taken(harness.server, harness.name, 5)] == sizes


@pytest.mark.parametrize("kind", ["direct", "topic", "fanout", "headers"])
def test_exchanges(rabbitmq: RabbitMQ, kind: str) -> None:
    """A message goes through an exchange of any type to the queues that are bound to it."""
    exchange, name = fresh_name("exchange"), fresh_name("songs")
    queue = opened(
        settings(rabbitmq),
        name,
        create=True,
        exchange=exchange,
        exchange_type=kind,
        routing_key="song.requested",
        binding_keys=["song.*"] if kind == "topic" else ["song.requested"],
    )
    send(queue, Message(body=b"one"))
    [outcome] = queue.send([Message(body=b"two", routing_key="other")])

    page = queue.receive(10, 5, 0)
    assert isinstance(page, list)
    queue.settle(page)
    queue.close()
    administer(rabbitmq, lambda channel: channel.exchange_delete(exchange))
    administer(rabbitmq, lambda channel: channel.queue_delete(name))

    assert page[0].body == b"one"
    assert page[0].system_attributes["exchange"] == exchange
    assert page[0].system_attributes["routing_key"] == "song.requested"
    is_everywhere = kind in ("fanout", "headers")
    assert isinstance(outcome, Delivered if is_everywhere else Failed)


def test_no_route(rabbitmq: RabbitMQ) -> None:
    """A message that no queue takes is returned, and is a failure with its finding."""
    queue = opened(settings(rabbitmq), "amq.direct/nobody.listens")

    [outcome] = queue.send([Message(body=b"lost")])
    queue.close()

    assert isinstance(outcome, Failed)
    assert (outcome.evidence.code, classify(outcome.evidence)) == ("NO_ROUTE", "EP4312")
    assert not outcome.final


def test_nobody_needs_to_listen(rabbitmq: RabbitMQ) -> None:
    """When that was asked for, a message that no queue takes is no failure."""
    queue = opened(settings(rabbitmq), "amq.direct/nobody.listens", mandatory=False)

    send(queue, Message(body=b"lost"))
    queue.close()


def test_some_are_routed(harness: RabbitmqHarness) -> None:
    """Of many messages each has its own outcome: those that were returned fail, others do not."""
    queue = harness.new_queue()
    keys = [None, "nowhere", None, "nowhere", "nowhere", None]

    outcomes = queue.send([Message(body=b"x", routing_key=key) for key in keys])

    assert [isinstance(each, Delivered) for each in outcomes] == [key is None for key in keys]


def test_one_id_twice(harness: RabbitmqHarness) -> None:
    """Messages of one id are told apart, though the server names a returned one by its id only."""
    queue = harness.new_queue()
    keys = [None, "nowhere"] * 20
    messages = [Message(body=b"x", message_id="same", routing_key=key) for key in keys]

    outcomes = queue.send(messages)

    assert [isinstance(each, Delivered) for each in outcomes] == [key is None for key in keys]


def test_one_id_from_many_threads(harness: RabbitmqHarness) -> None:
    """The same holds for messages of one id from several threads at once."""
    queue = harness.new_queue()
    wrong: list[Any] = []

    def work(key: str | None) -> None:
        for _ in range(10):
            [outcome] = queue.send([Message(body=b"x", message_id="same", routing_key=key)])
            if isinstance(outcome, Delivered) != (key is None):
                wrong.append((key, outcome))

    threads = [threading.Thread(target=work, args=(key,)) for key in (None, "nowhere") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_full_queue(harness: RabbitmqHarness) -> None:
    """A queue that is full and was told to refuse does refuse, and takes again when it can."""
    queue = harness.new_queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    send(queue, Message(body=b"1"))

    # The queue may take one beyond its bound while it learns of the first.
    outcomes = list(queue.send([Message(body=b"2"), Message(body=b"3"), Message(body=b"4")]))
    refused = outcomes[-1]

    assert isinstance(refused, Failed)
    assert (refused.evidence.code, classify(refused.evidence)) == ("NACK", "EP4313")
    administer(harness.server, lambda channel: _purge(channel, harness.name))
    send(queue, Message(body=b"5"))


async def _purge(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name)).purge()


def test_expiry(harness: RabbitmqHarness) -> None:
    """A message that expires is gone when its time is over; others stay."""
    send(harness.new_queue(expiration_s=0.05), Message(body=b"short"))
    queue = harness.new_queue()

    async def is_gone(channel: AbstractChannel) -> None:
        while (
            await channel.declare_queue(harness.name, passive=True)
        ).declaration_result.message_count:
            await asyncio.sleep(0.02)

    administer(harness.server, is_gone)
    send(queue, Message(body=b"long"))
    page = queue.receive(10, 5, 0)
    assert isinstance(page, list)
    assert [each.body for each in page] == [b"long"]


def test_priority(harness: RabbitmqHarness) -> None:
    """In a queue with priorities the higher one comes first."""
    queue = harness.new_queue(arguments={"x-max-priority": 9})
    send(queue, *(Message(body=str(n).encode(), priority=n) for n in (1, 9, 5)))

    assert [each.body for each in taken(harness.server, harness.name, 3)] == [b"9", b"5", b"1"]


def test_larger_than_the_server_takes(rabbitmq: RabbitMQ, harness: RabbitmqHarness) -> None:
    """A message above the server's own bound fails finally; the queue goes on."""
    bound = 134_217_728  # RabbitMQ 3.10 as it comes
    queue = harness.new_queue(message_bytes_max=2 * bound)

    [outcome] = queue.send([Message(body=bytes(bound + 1))])

    assert isinstance(outcome, Failed)
    assert outcome.final
    assert classify(outcome.evidence) == "EP4322"
    send(queue, Message(body=b"small"))


def test_a_queue_that_vanishes(harness: RabbitmqHarness) -> None:
    """A queue that is deleted is missed by the next message, and found when it is there again."""
    queue = harness.new_queue(create=False)
    harness.new_queue().send([Message(body=b"first")])
    send(queue, Message(body=b"second"))
    administer(harness.server, lambda channel: channel.queue_delete(harness.name))

    [outcome] = queue.send([Message(body=b"third")])
    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) in ("EP4312", "EP4307")

    harness.new_queue().send([Message(body=b"fourth")])
    send(queue, Message(body=b"fifth"))


def test_many_threads(harness: RabbitmqHarness) -> None:
    """Threads that send at once share a channel, and each gets its own outcomes."""
    queue = harness.new_queue()
    numbers = itertools.count()

    def work() -> None:
        for size in (1, 7, 50):
            send(queue, *(Message(body=str(next(numbers)).encode()) for _ in range(size)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = taken(harness.server, harness.name, 8 * 58)
    assert sorted(int(each.body) for each in found) == list(range(8 * 58))


def test_as_the_client_library_sends(harness: RabbitmqHarness) -> None:
    """A batch written by us and a message published by the library alternate on one channel: both
    are confirmed or returned, so that we count delivery tags as the library does."""
    queue = harness.new_queue()
    send(queue, Message(body=b"first"))
    core = queue._core  # type: ignore[attr-defined]  # the two ways meet below the contract

    async def alternate() -> list[str]:
        _, channel = await core.publisher.channel()
        told = []
        for key in (harness.name, "nowhere", harness.name):
            outcomes = await core.publisher.send([Message(body=b"ours", routing_key=key)] * 3)
            told += [type(each).__name__ for each in outcomes]
            try:
                await channel.basic_publish(b"theirs", routing_key=key, mandatory=True)
                told.append("Delivered")
            except Exception as error:  # noqa: BLE001 - its name is what is looked at
                told.append(type(error).__name__)
        return told

    good, bad = ["Delivered"] * 4, ["Failed"] * 3 + ["PublishError"]
    assert core.thread.submit(alternate()).result(30) == good + bad + good


def test_close_while_sending(harness: RabbitmqHarness) -> None:
    """Closing ends sends under way, long before their time is over: each has an outcome, and what
    was delivered is there."""
    harness.settings = replace(harness.settings, request_timeout_s=REQUEST_S_MAX)
    queue = harness.new_queue()
    delivered = []
    is_sending = threading.Event()

    def work() -> None:
        while True:
            outcomes = queue.send([Message(body=b"x")] * 20)
            delivered.append(sum(isinstance(each, Delivered) for each in outcomes))
            is_sending.set()
            if delivered[-1] < 20:
                return

    thread = threading.Thread(target=work)
    thread.start()
    is_sending.wait(30)
    queue.close()
    thread.join(30)

    assert not thread.is_alive()
    count = administer(harness.server, lambda channel: _count(channel, harness.name))
    assert count >= sum(delivered)


async def _count(channel: AbstractChannel, name: str) -> int:
    queue = await channel.declare_queue(name, passive=True)
    return queue.declaration_result.message_count or 0
