"""Queues on real servers for tests of the engine, each behind a proxy that lets go wrong things.

`python -m tests.queues.leases.places PLACE LEDGER` works on such a queue as a worker would, and
says each step on a line: what it began, and what is finished in the ledger.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import boto3
from azure.storage.queue import QueueClient

from eventpost.core.outcomes import Delivered
from eventpost.queues.interfaces import Address, Message, Queue
from eventpost.queues.kinds import Services, connection_class, open_queue, read_settings
from eventpost.queues.leases import Lease, LeaseLimits, Leases, Listener
from eventpost.queues.ledger import Ledger
from eventpost.testing.fault_proxy import FaultProxy, Reaction
from eventpost.testing.service_refusals import AZURE_FORBIDDEN, AZURE_NO_ROLE, SQS_FORBIDDEN
from tests.queues.rabbitmq.brokers import administer
from tests.services.azurite import ACCOUNT, KEY, Azurite
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.kafka_clients import make_topic
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import fresh_name


@dataclass(frozen=True)
class Place:
    """How to reach one queue. Plain values, so that another process can be told."""

    kind: str
    connection: dict[str, Any]
    name: str
    options: dict[str, Any]
    secrets: dict[str, str] = field(default_factory=dict)
    """What the connection names, by names of this place's own."""

    @property
    def connection_kind(self) -> str:
        return {"sqs": "aws", "storagequeue": "azure-storage"}.get(self.kind, self.kind)

    def open(self, **more: Any) -> Queue:
        os.environ.update(self.secrets)
        settings = read_settings(self.connection | more, connection_class(self.connection_kind))
        address = Address(name=self.name, options=self.options)
        return open_queue(self.kind, settings, address, Services(client_id="tests"))

    def send(self, bodies: Sequence[str]) -> None:
        """What a test begins with: it takes its time, however little the connection gives."""
        is_short = "request_timeout_s" in self.connection
        queue = self.open(**({"request_timeout_s": 60.0} if is_short else {}))
        messages = [Message(body=body.encode(), message_id=f"id-{body}") for body in bodies]
        outcomes = queue.send(messages)
        queue.close()
        assert [one for one in outcomes if not isinstance(one, Delivered)] == []


@dataclass(frozen=True)
class Site:
    """A place, a proxy before it, and how the service calls what is to go wrong."""

    place: Place
    proxy: FaultProxy
    settle: Sequence[str] = ()
    extend: Sequence[str] = ()
    forbidden: Reaction | Any = None
    no_role: Reaction | Any = None

    def fail(self, operations: Sequence[str], reaction: Reaction | Any) -> None:
        for operation in operations:
            self.proxy.when(operation, reaction)


@contextmanager
def sqs(elasticmq: ElasticMQ) -> Iterator[Site]:
    client = boto3.client(
        "sqs",
        endpoint_url=elasticmq.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )
    name = fresh_name("leases")
    url = client.create_queue(QueueName=name)["QueueUrl"]
    with FaultProxy("127.0.0.1", elasticmq.ports["http"]) as proxy:
        connection = {
            "region": REGION,
            "endpoint_url": f"http://127.0.0.1:{proxy.port}",
            "access_key_id": "env:TEST_LEASES_KEY_ID",
            "secret_access_key": "env:TEST_LEASES_SECRET",
            "request_timeout_s": 2.0,
        }
        secrets = {"TEST_LEASES_KEY_ID": ACCESS_KEY_ID, "TEST_LEASES_SECRET": SECRET_ACCESS_KEY}
        yield Site(
            Place("sqs", connection, name, {}, secrets),
            proxy,
            settle=["DeleteMessageBatch", "DeleteMessage"],
            extend=["ChangeMessageVisibilityBatch", "ChangeMessageVisibility"],
            forbidden=SQS_FORBIDDEN,
            no_role=SQS_FORBIDDEN,
        )
    client.delete_queue(QueueUrl=url)
    client.close()


@contextmanager
def storagequeue(azurite: Azurite) -> Iterator[Site]:
    name = fresh_name("leases")
    client = QueueClient.from_connection_string(azurite.connection_string, name)
    client.create_queue()
    with FaultProxy("127.0.0.1", azurite.ports["queue"]) as proxy:
        variable = f"TEST_LEASES_{name.upper().replace('-', '_')}"
        connection = {"connection_string": f"env:{variable}", "request_timeout_s": 2.0}
        endpoint = f"http://127.0.0.1:{proxy.port}/{ACCOUNT}"
        secret = f"AccountName={ACCOUNT};AccountKey={KEY};QueueEndpoint={endpoint}"
        yield Site(
            Place("storagequeue", connection, name, {}, {variable: secret}),
            proxy,
            settle=["DeleteMessage"],
            extend=["UpdateMessage"],
            forbidden=AZURE_FORBIDDEN,
            no_role=AZURE_NO_ROLE,
        )
    client.delete_queue()
    client.close()


@contextmanager
def rabbitmq(server: RabbitMQ) -> Iterator[Site]:
    name = fresh_name("leases")
    with FaultProxy("127.0.0.1", server.ports["amqp"], speaks="tcp") as proxy:
        connection = {"host": "127.0.0.1", "port": proxy.port, "heartbeat_s": 5}
        options = {"create": True, "message_ids": True}
        yield Site(Place("rabbitmq", connection, name, options), proxy)

    async def remove(channel: Any) -> None:
        await channel.queue_delete(name)

    administer(server, remove)


def kafka_place(kafka: Kafka, *, partitions: int = 1) -> Place:
    """Kafka's clients reach its brokers by the addresses that these tell: there is no proxy."""
    connection = {"bootstrap": [kafka.address("plain")]}
    options = {"group": fresh_name("group"), "session_timeout_ms": 6_000}
    return Place("kafka", connection, make_topic(kafka, partitions=partitions), options)


class Noting(Listener):
    """Takes down in the ledger what need not be remembered, as a worker does."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def settled(self, leases: Sequence[Lease]) -> None:
        self._worker.ledger.settled(self._worker.identity, *(one.id for one in leases))

    def appended_anew(self, lease: Lease) -> None:
        self._worker.ledger.finish(self._worker.identity, lease.id)


class Worker:
    """Takes, works and finishes, with the ledger before the settle."""

    def __init__(self, place: Place, ledger: Ledger, limits: LeaseLimits) -> None:
        self.ledger = ledger
        self.leases = Leases(
            place.open,
            limits=limits,
            known=lambda ids: ledger.known(self.identity, ids),
            listener=Noting(self),
        )
        self.begun: list[str] = []
        self.finished: list[str] = []

    @property
    def identity(self) -> str:
        return self.leases.queue.identity

    def work(self, wait_s: float = 0.1) -> bool:
        lease = self.leases.take(wait_s)
        if lease is None:
            return False
        body = lease.message.body.decode()
        self.begun.append(body)
        self.say("begun", body)
        self.ledger.finish(self.identity, lease.id)
        self.finished.append(body)
        self.say("finished", body)
        self.leases.finish(lease)
        return True

    def say(self, what: str, body: str) -> None:
        """For whoever watches."""


class Telling(Worker):
    def say(self, what: str, body: str) -> None:
        sys.stdout.write(f"{what} {body}\n")
        sys.stdout.flush()


def told(place: Place) -> str:
    return json.dumps(asdict(place))


def main(place: str, ledger: str) -> None:
    limits = LeaseLimits(lease_s=2.0, pending_lease_s=2.0, slots_max=16)
    worker = Telling(Place(**json.loads(place)), Ledger(ledger), limits)

    def run() -> None:
        while True:
            worker.work()

    for _ in range(4):
        threading.Thread(target=run).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
