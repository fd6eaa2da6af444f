"""RabbitMQ behaves as tests of it need it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from tests.services.rabbitmq import READER, STRANGER, RabbitMQ
from tests.services.running import Running
from tests.services.service import fresh_name


@asynccontextmanager
async def connected(
    url: str, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(url, ssl_context=ssl_context, timeout=120)
    async with connection:
        yield await connection.channel()


async def publish(channel: AbstractChannel, queue: str, text: str) -> None:
    """Return when the server has confirmed that it keeps the message."""
    message = aio_pika.Message(text.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, queue, timeout=120)


async def take(channel: AbstractChannel, name: str) -> str:
    queue = await channel.get_queue(name)
    message = await queue.get(timeout=120)
    await message.ack()
    return message.body.decode()


@pytest.mark.slow
def test_a_message_goes_through_a_queue(rabbitmq: RabbitMQ) -> None:
    """What is published to a queue is received from it."""

    async def test() -> None:
        name = fresh_name("queue")
        async with connected(rabbitmq.url) as channel:
            await channel.declare_queue(name, durable=True)
            await publish(channel, name, "a song")
            assert await take(channel, name) == "a song"

    asyncio.run(test())


@pytest.mark.slow
def test_its_certificate_is_checked(rabbitmq: RabbitMQ) -> None:
    """Over TLS who trusts its authority is let in, and who does not refuses to talk to it."""

    async def test() -> None:
        trusting = ssl.create_default_context(cafile=rabbitmq.ca_file)
        async with connected(rabbitmq.tls_url, trusting) as channel:
            await channel.declare_queue(fresh_name("queue"), exclusive=True)
        with pytest.raises(aio_pika.exceptions.AMQPConnectionError, match="CERTIFICATE_VERIFY"):
            async with connected(rabbitmq.tls_url, ssl.create_default_context()):
                pass

    asyncio.run(test())


@pytest.mark.slow
def test_permissions_count(rabbitmq: RabbitMQ) -> None:
    """One user may only read, another nothing at all, and a wrong password opens nothing."""

    async def refused(user: str, password: str, name: str) -> None:
        async with connected(rabbitmq.url_for(user, password)) as channel:
            await publish(channel, name, "a song")

    async def test() -> None:
        name = fresh_name("queue")
        async with connected(rabbitmq.url) as channel:
            await channel.declare_queue(name, durable=True)
            await publish(channel, name, "a song")
        async with connected(rabbitmq.url_for(READER, READER)) as channel:
            assert await take(channel, name) == "a song"
            with pytest.raises(ChannelAccessRefused):
                await channel.declare_queue(fresh_name("queue"))
        async with connected(rabbitmq.url_for(STRANGER, STRANGER)) as channel:
            with pytest.raises(ChannelAccessRefused):
                await take(channel, name)
        with pytest.raises(aio_pika.exceptions.ProbableAuthenticationError):
            await refused(READER, "another password", name)

    asyncio.run(test())


@pytest.mark.slow
def test_messages_outlive_the_server(own_rabbitmq: Running[RabbitMQ]) -> None:
    """A durable queue keeps confirmed messages through a kill, and the server can be stopped."""
    url = own_rabbitmq.service.url

    async def add_one() -> int:
        async with connected(url) as channel:
            await channel.declare_queue("songs", durable=True)
            await publish(channel, "songs", "a song")
            queue = await channel.declare_queue("songs", passive=True)
            return queue.declaration_result.message_count or 0

    async def declare() -> None:
        async with connected(url) as channel:
            await channel.declare_queue("songs", durable=True)

    asyncio.run(declare())
    own_rabbitmq.restart()  # a kill within seconds of the declaration may undo the declaration
    assert asyncio.run(add_one()) == 1
    own_rabbitmq.kill()
    with pytest.raises(aio_pika.exceptions.AMQPConnectionError):
        asyncio.run(add_one())
    own_rabbitmq.start()
    assert asyncio.run(add_one()) == 2

    own_rabbitmq.stop()
    assert "stopped TCP listener" in own_rabbitmq.log_tail()


@pytest.mark.slow
def test_it_can_be_administered(rabbitmq: RabbitMQ) -> None:
    """A test makes itself what clients cannot make: a virtual host."""
    name = fresh_name("host")

    rabbitmq.control("add_vhost", name)
    assert name in rabbitmq.control("list_vhosts").split()
