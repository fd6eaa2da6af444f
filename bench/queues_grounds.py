"""The queue systems that rows are measured on: two queues, and the plain client between them.

The services are those that tests run against (`make services`), started for the row.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from azure.storage.queue import QueueServiceClient
from botocore.config import Config
from tests.queues.leases.places import Place
from tests.queues.rabbitmq.brokers import administer
from tests.services.azurite import AzuriteInMemory
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.kafka_clients import make_topic
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.rabbitmq import RabbitMQ
from tests.services.running import launched
from tests.services.service import fresh_name

from bench import queues_plain as plain
from bench.pace import Took
from bench.queues_idle import Count, segments_to

Ends = tuple[Place, Place]
"""The queue that messages are in, and the one that they are to go to."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A system that runs."""

    pair: Callable[[], AbstractContextManager[Ends]]
    """Two new queues, and nothing left of them: what an emulator holds makes it slow. A delete at
    Azurite took 5 ms beside 200 messages, and 16 ms beside 3,000."""
    plain: Callable[[Ends, int], Took]
    """The plain client's way from one to the other."""
    http_port: int = 0
    idle_s: float = 60.0
    """How long an idle source is watched: until pauses are as long as they get, or for three long
    polls."""
    idle_count: Count | None = None
    """Where no proxy counts."""
    prefetch: int = 500
    """Of the grid's source. A client of Kafka fetches far ahead by itself, and the plain one waits
    for no disk: the source must have enough for while the disk writes."""


NewGround = Callable[[Path], AbstractContextManager[Ground]]


@contextmanager
def _sqs(directory: Path) -> Iterator[Ground]:
    settings = {
        "access_key_id": "env:TEST_BENCH_KEY_ID",
        "secret_access_key": "env:TEST_BENCH_SECRET",
    }
    secrets = {"TEST_BENCH_KEY_ID": ACCESS_KEY_ID, "TEST_BENCH_SECRET": SECRET_ACCESS_KEY}
    with launched(ElasticMQ, directory) as running:
        url = running.service.url
        client = boto3.client(
            "sqs",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(max_pool_connections=plain.SQS_THREADS),
        )

        def url_of(place: Place) -> str:
            told: str = client.get_queue_url(QueueName=place.name)["QueueUrl"]
            return told

        @contextmanager
        def pair() -> Iterator[Ends]:
            names = [fresh_name("bench"), fresh_name("bench")]
            urls = [client.create_queue(QueueName=each)["QueueUrl"] for each in names]
            reached = {"region": REGION, "endpoint_url": url, **settings}
            first, second = (Place("sqs", reached, each, {}, secrets) for each in names)
            yield first, second
            for each in urls:
                client.delete_queue(QueueUrl=each)

        def work(ends: Ends, count: int) -> Took:
            return plain.sqs(client, url_of(ends[0]), url_of(ends[1]), count)

        yield Ground(pair, work, running.service.ports["http"])
        client.close()


@contextmanager
def _storagequeue(directory: Path) -> Iterator[Ground]:
    settings = {"connection_string": "env:TEST_BENCH_STORAGE"}
    with launched(AzuriteInMemory, directory) as running, ExitStack() as opened:
        text = running.service.connection_string
        secrets = {"TEST_BENCH_STORAGE": text}
        account = opened.enter_context(QueueServiceClient.from_connection_string(text))

        @contextmanager
        def pair() -> Iterator[Ends]:
            names = [fresh_name("bench"), fresh_name("bench")]
            for each in names:
                account.create_queue(each).close()
            first, second = (Place("storagequeue", settings, each, {}, secrets) for each in names)
            yield first, second
            for each in names:
                account.delete_queue(each)

        def work(ends: Ends, count: int) -> Took:
            with (
                account.get_queue_client(ends[0].name) as first,
                account.get_queue_client(ends[1].name) as second,
            ):
                return plain.storagequeue(first, second, count)

        yield Ground(pair, work, running.service.ports["queue"])


@contextmanager
def _rabbitmq(directory: Path) -> Iterator[Ground]:
    with launched(RabbitMQ, directory) as running:
        port, url = running.service.ports["amqp"], running.service.url
        settings = {"host": "127.0.0.1", "port": port}

        @contextmanager
        def pair() -> Iterator[Ends]:
            names = [fresh_name("bench"), fresh_name("bench")]
            first, second = (Place("rabbitmq", settings, each, {}) for each in names)

            async def make(channel: Any) -> None:
                for each in names:
                    await channel.declare_queue(
                        each, durable=True, arguments={"x-queue-type": "quorum"}
                    )

            async def remove(channel: Any) -> None:
                for each in names:
                    await channel.queue_delete(each)

            with ThreadPoolExecutor(1) as beside:  # the harness runs on a loop of its own
                beside.submit(administer, running.service, make).result()
                yield first, second
                beside.submit(administer, running.service, remove).result()

        def work(ends: Ends, count: int) -> Took:
            return plain.rabbitmq(url, ends[0].name, ends[1].name, count)

        yield Ground(pair, work, idle_count=segments_to(port))


@contextmanager
def _kafka(directory: Path) -> Iterator[Ground]:
    with launched(Kafka, directory) as running:
        bootstrap = running.service.address("plain")
        settings = {"bootstrap": [bootstrap]}

        @contextmanager
        def pair() -> Iterator[Ends]:
            options = {"group": fresh_name("group")}
            names = [make_topic(running.service), make_topic(running.service)]
            first, second = (Place("kafka", settings, each, options) for each in names)
            yield first, second

        def work(ends: Ends, count: int) -> Took:
            return plain.kafka(bootstrap, ends[0].name, ends[1].name, count)

        port = int(bootstrap.rpartition(":")[2])
        yield Ground(pair, work, idle_count=segments_to(port), idle_s=30.0, prefetch=4_000)


GROUNDS: dict[str, NewGround] = {
    "sqs": _sqs,
    "storagequeue": _storagequeue,
    "rabbitmq": _rabbitmq,
    "kafka": _kafka,
}
