"""How fast RabbitMQ's queues are beside aio-pika in the same run; told, and nothing is asserted."""

import asyncio
import time
from collections.abc import Iterator

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from eventpost.core.outcomes import Delivered
from eventpost.queues.interfaces import Message, Queue, Received, Settled
from tests.conftest import Say
from tests.queues.rabbitmq.brokers import RabbitmqHarness
from tests.services.rabbitmq import RabbitMQ

COUNT = 3_000
BATCH = 250
PREFETCH = 64
"""What the lease engine holds at once unless told otherwise."""
BODY = b"x" * 400


@pytest.fixture(params=["classic", "quorum"])
def harness(rabbitmq: RabbitMQ, request: pytest.FixtureRequest) -> Iterator[RabbitmqHarness]:
    with RabbitmqHarness(rabbitmq, queue_type=request.param) as harness:
        yield harness


class Measured:
    """Messages a second by the clock, and microseconds of this process's time for each."""

    def __enter__(self) -> "Measured":
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.rate = COUNT / (time.perf_counter() - self._wall_s)
        self.cpu_us = (time.process_time() - self._cpu_s) / COUNT * 1e6


@pytest.mark.slow
def test_rates(harness: RabbitmqHarness, figures: Say) -> None:
    """What is sent and received is all there; how fast, beside plain aio-pika, is told."""
    queue = harness.new_queue()
    queue.send([Message(body=BODY)])
    queue.settle(page(queue))

    sent, received = Measured(), Measured()
    with sent:
        for _ in range(COUNT // BATCH):
            outcomes = queue.send([Message(body=BODY) for _ in range(BATCH)])
            assert all(isinstance(each, Delivered) for each in outcomes)
    with received:
        left = COUNT
        while left:
            got = page(queue)
            assert set(queue.settle(got)) == {Settled.DONE}
            left -= len(got)
    plainly_sent, plainly_received = asyncio.run(plain(harness.server.url, harness.name))

    kind = harness.options["queue_type"]
    for what, ours, theirs in (
        ("sending", sent, plainly_sent),
        ("receiving and settling", received, plainly_received),
    ):
        figures(
            f"{kind}, {what}: {ours.rate:,.0f}/s, {ours.cpu_us:.0f} us CPU; aio-pika "
            f"{theirs.rate:,.0f}/s, {theirs.cpu_us:.0f} us CPU; {ours.rate / theirs.rate:.2f} of it"
        )


def page(queue: Queue) -> list[Received]:
    found = queue.receive(PREFETCH, 20, 0)
    assert isinstance(found, list)
    assert found
    return found


async def plain(url: str, name: str) -> tuple[Measured, Measured]:
    """aio-pika at its best: many publishes at once, and a consumer that acknowledges each."""
    connection = await aio_pika.connect(url)
    sent, received = Measured(), Measured()
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = channel.default_exchange
        with sent:
            for _ in range(COUNT // BATCH):
                messages = [aio_pika.Message(BODY, delivery_mode=2) for _ in range(BATCH)]
                await asyncio.gather(*(exchange.publish(each, name) for each in messages))
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(name)
        count, is_done = 0, asyncio.Event()

        async def take(message: AbstractIncomingMessage) -> None:
            nonlocal count
            await message.ack()
            count += 1
            if count == COUNT:
                is_done.set()

        with received:
            await queue.consume(take)
            await is_done.wait()
    return sent, received
