"""From one queue through the grid to another, of each queue system, beside its plain client.

The services are those that tests run against (`make services`), started for the row on the
harness's core; the server, and the plain client when it is its turn, have the other core to
themselves.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import boto3
from azure.storage.queue import QueueClient
from botocore.config import Config
from tests.queues.leases.places import Place
from tests.services.azurite import AzuriteInMemory
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.kafka_clients import make_topic
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.rabbitmq import RabbitMQ
from tests.services.running import launched
from tests.services.service import fresh_name

from bench import queues_plain as plain
from bench.load import event
from bench.queues_idle import Count, Idle, per_hour, segments_to
from bench.servers import Harness, Process, start_server
from eventpost.core.outcomes import Delivered
from eventpost.queues.interfaces import Message
from eventpost.registry.declarations import (
    ConnectionDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
)
from eventpost.testing.fault_proxy import FaultProxy

WAIT_S = 120.0
PREFETCH, CONCURRENCY = 500, 500
PAGE = 200
COUNTED = 500
"""Messages of the run through a proxy that counts requests."""
TOPIC = "bench"
WARM = 50
"""Deliveries before the clock starts: libraries are imported and connections are open by then, as
they are for the plain client."""
ASK_S = 0.2
"""Rarely: each question costs the server as much as a message."""
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Ground:
    """A system that runs, two queues of it, and the plain client's way from one to the other."""

    first: Place
    second: Place
    plain: Callable[[int], float]
    fresh: Place | None = None
    """For a run whose requests are counted: a long poll of a server that was stopped may still take
    a message out of the first."""
    http_port: int = 0
    idle_s: float = 60.0
    """How long an idle source is watched: until pauses are as long as they get, or for three long
    polls."""
    idle_count: Count | None = None
    """Where no proxy counts."""


def row(system: str, share: float) -> Callable[[Harness, int], Awaitable[Figures]]:
    """The row of one system: so many messages for each delivery of a usual row."""
    return partial(_measured, GROUNDS[system], share)


def idle_row(system: str) -> Callable[[Harness, int], Awaitable[Figures]]:
    """The row of one system's empty queue."""
    return partial(_idle, GROUNDS[system])


NewGround = Callable[[Path], AbstractContextManager["Ground"]]


async def _measured(new_ground: NewGround, share: float, _harness: Harness, count: int) -> Figures:
    messages = max(COUNTED, int(count * share))
    with tempfile.TemporaryDirectory() as directory, new_ground(Path(directory)) as ground:
        work = partial(ground.plain, messages)
        await asyncio.to_thread(filled, ground.first, messages)
        plain_s, plain_cpu_s = await asyncio.to_thread(plain.on_the_servers_core, work)
        moved = await _moved(ground.first, ground.second, messages)
        figures = {
            "messages": messages,
            "messages_per_s": messages / moved.seconds,
            "plain_per_s": messages / plain_s,
            "rate_to_plain": plain_s / moved.seconds,
            "server_cpu_s_per_1000": moved.cpu_s / messages * 1000,
            "plain_cpu_s_per_1000": plain_cpu_s / messages * 1000,
            "memory_mb": moved.memory_mb,
        }
        if ground.http_port:
            with FaultProxy("127.0.0.1", ground.http_port) as proxy:
                await _moved(*_ends(proxy, ground), COUNTED, holds=ground.fresh)
                figures["requests_per_message"] = len(proxy.requests) / COUNTED
        return figures


async def _idle(new_ground: NewGround, _harness: Harness, _count: int) -> Figures:
    """A source that has just had messages, and gets none any more."""
    with tempfile.TemporaryDirectory() as directory, new_ground(Path(directory)) as ground:
        if ground.idle_count is not None:
            idle = Idle(ground.idle_count, ground.idle_s)
            return (await _moved(ground.first, ground.second, COUNTED, idle=idle)).idle
        with FaultProxy("127.0.0.1", ground.http_port) as proxy:
            idle = Idle(lambda _: len(proxy.requests), ground.idle_s)
            ends = _ends(proxy, ground)
            return (await _moved(*ends, COUNTED, holds=ground.fresh, idle=idle)).idle


def _ends(proxy: FaultProxy, ground: Ground) -> tuple[Place, Place]:
    assert ground.fresh is not None
    return _through(proxy, ground.http_port, ground.fresh), _through(
        proxy, ground.http_port, ground.second
    )


def _through(proxy: FaultProxy, port: int, place: Place) -> Place:
    told = json.dumps([place.connection, place.secrets])
    connection, secrets = json.loads(told.replace(f"127.0.0.1:{port}", f"127.0.0.1:{proxy.port}"))
    return replace(place, connection=connection, secrets=secrets)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a run through the grid took."""

    seconds: float
    """Until every message is delivered and none is left at the source; as long as all would have
    taken at the pace after the first `WARM`, when these were seen before half of them was there."""
    cpu_s: float
    memory_mb: float
    idle: Figures


async def _moved(
    first: Place, second: Place, count: int, *, holds: Place | None = None, idle: Idle | None = None
) -> Moved:
    """Move so many messages through a server, and then watch it with nothing to do."""
    await asyncio.to_thread(filled, holds or first, count)
    os.environ.update(first.secrets)
    process = await start_server()
    try:
        await asyncio.to_thread(_declared, process, first, second)
        seconds, cpu_s = await asyncio.to_thread(_pulled, process, first, count)
        memory_mb = process.memory_mb()
        watched = await asyncio.to_thread(per_hour, process, idle) if idle is not None else {}
        return Moved(seconds, cpu_s, memory_mb, watched)
    finally:
        process.stop()


def filled(place: Place, count: int) -> None:
    """Send so many messages to it."""
    with closing(place.open()) as queue:
        for first in range(0, count, PAGE):
            page = [
                Message(body=event(number)) for number in range(first, min(count, first + PAGE))
            ]
            if not all(isinstance(each, Delivered) for each in queue.send(page)):
                raise RuntimeError(f"{place.kind} did not take what is to be measured")


def _declared(process: Process, first: Place, second: Place) -> None:
    with process.client() as client:
        client.create_topic(TOPIC)
        client.create_connection(
            ConnectionDeclaration(
                name="home", kind=first.connection_kind, settings=first.connection
            )
        )
        client.create_subscription(
            SubscriptionDeclaration(
                topic=TOPIC,
                name="bench-out",
                endpoint=second.name,
                endpoint_type=second.kind,
                endpoint_options=second.options,
                connection="home",
                concurrency=CONCURRENCY,
            )
        )


def _pulled(process: Process, place: Place, count: int) -> tuple[float, float]:
    """Seconds and processor time for so many messages."""
    with process.client() as client:
        client.create_source(
            SourceDeclaration(
                name="bench-in",
                topic=TOPIC,
                kind=place.kind,
                queue=place.name,
                options=place.options,
                connection="home",
                prefetch=PREFETCH,
            )
        )
        first, start_s, cpu_s = 0, time.perf_counter(), process.cpu_s()
        end_s = start_s + WAIT_S
        while time.perf_counter() < end_s:
            delivered = sum(
                each.delivered for each in client.show_report().subscriptions if each.topic == TOPIC
            )
            if not first and WARM <= delivered <= count // 2:
                first, start_s, cpu_s = delivered, time.perf_counter(), process.cpu_s()
            counts = client.show_source("bench-in").counts
            if delivered >= count and counts is not None and counts.settled >= count:
                share = count / (count - first)
                elapsed_s = time.perf_counter() - start_s
                return elapsed_s * share, (process.cpu_s() - cpu_s) * share
            time.sleep(ASK_S)
    raise TimeoutError(f"{delivered} of {count} came in {WAIT_S:.0f} s")


# --- grounds --------------------------------------------------------------------------------------


@contextmanager
def _sqs(directory: Path) -> Iterator[Ground]:
    with launched(ElasticMQ, directory) as running:
        client = boto3.client(
            "sqs",
            endpoint_url=running.service.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(max_pool_connections=plain.SQS_THREADS),
        )
        settings = {
            "region": REGION,
            "endpoint_url": running.service.url,
            "access_key_id": "env:TEST_BENCH_KEY_ID",
            "secret_access_key": "env:TEST_BENCH_SECRET",
        }
        secrets = {"TEST_BENCH_KEY_ID": ACCESS_KEY_ID, "TEST_BENCH_SECRET": SECRET_ACCESS_KEY}
        names = [fresh_name("bench") for _ in range(3)]
        urls = [client.create_queue(QueueName=each)["QueueUrl"] for each in names]
        first, second, fresh = (Place("sqs", settings, each, {}, secrets) for each in names)
        yield Ground(
            first,
            second,
            lambda count: plain.sqs(client, urls[0], urls[1], count),
            fresh,
            running.service.ports["http"],
        )
        client.close()


@contextmanager
def _storagequeue(directory: Path) -> Iterator[Ground]:
    with launched(AzuriteInMemory, directory) as running:
        text = running.service.connection_string
        settings = {"connection_string": "env:TEST_BENCH_STORAGE"}
        secrets = {"TEST_BENCH_STORAGE": text}
        names = [fresh_name("bench") for _ in range(3)]
        first, second, fresh = (
            Place("storagequeue", settings, each, {}, secrets) for each in names
        )
        with ExitStack() as opened:
            clients = [
                opened.enter_context(QueueClient.from_connection_string(text, each))
                for each in names
            ]
            for client in clients:
                client.create_queue()
            yield Ground(
                first,
                second,
                lambda count: plain.storagequeue(clients[0], clients[1], count),
                fresh,
                running.service.ports["queue"],
            )


@contextmanager
def _rabbitmq(directory: Path) -> Iterator[Ground]:
    with launched(RabbitMQ, directory) as running:
        settings = {"host": "127.0.0.1", "port": running.service.ports["amqp"]}
        options = {"create": True}
        names = [fresh_name("bench"), fresh_name("bench")]
        first, second = (Place("rabbitmq", settings, each, options) for each in names)
        filled(second, 1)
        url = running.service.url
        yield Ground(
            first,
            second,
            lambda count: plain.rabbitmq(url, names[0], names[1], count),
            idle_count=segments_to(running.service.ports["amqp"]),
        )


@contextmanager
def _kafka(directory: Path) -> Iterator[Ground]:
    with launched(Kafka, directory) as running:
        bootstrap = running.service.address("plain")
        names = [make_topic(running.service), make_topic(running.service)]
        settings = {"bootstrap": [bootstrap]}
        options = {"group": fresh_name("group")}
        first, second = (Place("kafka", settings, each, options) for each in names)
        yield Ground(
            first,
            second,
            lambda count: plain.kafka(bootstrap, names[0], names[1], count),
            idle_count=segments_to(int(bootstrap.rpartition(":")[2])),
            idle_s=30.0,
        )


GROUNDS = {
    "sqs": _sqs,
    "storagequeue": _storagequeue,
    "rabbitmq": _rabbitmq,
    "kafka": _kafka,
}
