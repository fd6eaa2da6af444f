"""Queue destinations in tests: over a queue in memory, or over SQS behind a proxy."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import Any

from eventpost.core.interfaces import Destination
from eventpost.core.subscriptions import Endpoint, Subscription
from eventpost.credentials.aws import AwsConnection
from eventpost.destinations import kinds, queue
from eventpost.destinations.kinds import Services
from eventpost.queues.interfaces import Address, Queue
from eventpost.queues.kinds import Services as QueueServices
from eventpost.queues.kinds import open_queue
from eventpost.testing.destination_conformance import Behaviour, Harness
from eventpost.testing.fault_proxy import HANG, RESET_BEFORE, Choice, FaultProxy
from eventpost.testing.service_refusals import SQS_FORBIDDEN
from tests.http.client.peers import Caller
from tests.services.aws_clients import client
from tests.services.moto import Moto
from tests.services.service import fresh_name

from .receivers import services, topic

SEND = "SendMessageBatch"
REQUEST_TIMEOUT_S = 1.0


def over(caller: Caller, open_it: Callable[[], Queue]) -> Services:
    """The services of a destination whose queue `open_it` opens, on the running loop."""
    loop = asyncio.get_running_loop()
    return dataclasses.replace(
        services(caller),
        opener=lambda *_: open_it,
        call_soon=loop.call_soon,
        call_soon_threadsafe=loop.call_soon_threadsafe,
    )


def subscription(kind: str = "memory", address: str = "songs", **endpoint: Any) -> Subscription:
    made = Endpoint(type=kind, address=address, **endpoint)
    return Subscription(id=5, topic_id=3, name="blues", created_ms=0, endpoint=made)


class SqsHarness(Harness):
    """A queue of Amazon SQS, on the moto server behind a proxy that refuses, resets or hangs."""

    def __init__(self, moto: Moto) -> None:
        self._caller = Caller()
        self._proxy = FaultProxy("127.0.0.1", moto.ports["http"])
        self._name = fresh_name("destination")
        self._client = client(moto.url, "sqs")
        self._client.create_queue(QueueName=self._name)
        self._destination: Destination | None = None

    async def start(self, behaviour: Behaviour, *, batch_events_max: int = 1) -> Destination:
        reactions: dict[Behaviour, Choice] = {
            Behaviour.REFUSE: SQS_FORBIDDEN,
            Behaviour.VANISH: RESET_BEFORE,
            Behaviour.HANG: HANG,
        }
        if behaviour in reactions:
            self._proxy.when(SEND, reactions[behaviour])
        if behaviour is Behaviour.ABSENT:
            self._proxy.refuse()
        connection = AwsConnection(
            region="us-east-1",
            endpoint_url=f"http://{self._proxy.host}:{self._proxy.port}",
            access_key_id="env:SQS_TEST_KEY_ID",
            secret_access_key="env:SQS_TEST_SECRET",
            request_timeout_s=REQUEST_TIMEOUT_S,
            attempts_max=1,
        )
        declared = subscription("sqs", self._name, max_events_per_batch=batch_events_max)
        made = over(
            self._caller,
            lambda: open_queue("sqs", connection, Address(name=self._name), QueueServices()),
        )
        self._destination = kinds.new_destination(topic(), declared, made)
        assert isinstance(self._destination, queue.QueueDestination)
        return self._destination

    async def stop(self) -> None:
        if self._destination is not None:
            self._destination.close()
        self._caller.client.close()
        await asyncio.to_thread(self._proxy.close)
        await asyncio.to_thread(self._client.close)

    def received_ids(self) -> list[str]:
        """In order of arrival, taken or not."""
        return [
            json.loads(entry["MessageBody"])["id"]
            for asked in self._proxy.asked_for(SEND)
            for entry in json.loads(asked.body)["Entries"]
        ]

    def pass_time(self, seconds: float) -> None:
        """The client's own timeout runs by the system's clock, and is short."""
