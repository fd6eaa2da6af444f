"""RabbitMQ queues for tests: made over a connection of the tests' own, and removed again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import aio_pika
from aio_pika.abc import AbstractChannel

from eventpost.queues.interfaces import Address, Message, Queue
from eventpost.queues.kinds import Services, open_queue, read_settings
from eventpost.queues.rabbitmq import RabbitmqConnection
from eventpost.testing.queue_conformance import QueueHarness, send, settle
from tests.patience import PATIENCE_S
from tests.services.rabbitmq import RabbitMQ
from tests.services.running import Running
from tests.services.service import fresh_name

Result = TypeVar("Result")
ASK_S_MAX = 120.0
HEARTBEAT_S_MAX = 600
"""The rarest there can be: a test is over before one is missed."""


def settings(server: RabbitMQ, **more: Any) -> RabbitmqConnection:
    """The settings of a connection to the server, as its administrator."""
    given: dict[str, Any] = {"port": server.ports["amqp"], "host": "127.0.0.1", "heartbeat_s": 5}
    return read_settings(given | more, RabbitmqConnection)


def opened(
    connection: RabbitmqConnection, name: str, client_id: str = "tests", **options: Any
) -> Queue:
    """A client of a queue, to be closed by the test."""
    address = Address(name=name, options=options)
    return open_queue("rabbitmq", connection, address, Services(client_id=client_id))


def administer(server: RabbitMQ, work: Callable[[AbstractChannel], Awaitable[Result]]) -> Result:
    """What another client does on the server."""

    async def run() -> Result:
        connection = await aio_pika.connect(server.url, timeout=ASK_S_MAX)
        async with connection:
            return await asyncio.wait_for(work(await connection.channel()), ASK_S_MAX)

    return asyncio.run(run())


def declare_lastingly(running: Running[RabbitMQ], open_creating: Callable[[], Queue]) -> None:
    """Declare a queue, and let the server write down that it is there.

    RabbitMQ 3.10 forgets the one member of a quorum queue when it is killed within some seconds of
    the declaration, and the queue has no leader from then on; an orderly stop writes it at once.
    """
    queue = open_creating()
    send(queue, Message(body=b"0"))
    page = queue.receive(1, PATIENCE_S, 0)
    assert isinstance(page, list)
    settle(queue, page)
    queue.close()
    running.restart()


class RabbitmqHarness(QueueHarness):
    """One fresh queue, of the type and with the options that are given."""

    keeps_content_type = True

    def __init__(self, server: RabbitMQ, **options: Any) -> None:
        self.server = server
        self.settings = settings(server)
        self.name = fresh_name("songs")
        self.options = {"create": True, "message_bytes_max": 100_000} | options
        self.queues: list[Queue] = []

    def __enter__(self) -> Self:
        return self

    def new_queue(self, **options: Any) -> Queue:
        return self.open(self.name, self.options | options)

    def missing_queue(self) -> Queue:
        kind = self.options.get("queue_type", "")
        return self.open(f"{self.name}-missing", {"queue_type": kind})

    def stop(self) -> None:
        for queue in self.queues:
            queue.close()
        administer(self.server, self._remove)

    def open(self, name: str, options: dict[str, Any]) -> Queue:
        """A client of any queue, closed with the harness."""
        queue = opened(self.settings, name, **options)
        self.queues.append(queue)
        return queue

    async def _remove(self, channel: AbstractChannel) -> None:
        await channel.queue_delete(self.name)
        for delay_s in self.options.get("delays_s", ()):
            await channel.queue_delete(f"{self.name}.delay.{round(delay_s * 1_000)}ms")
