"""Brokers on the tests' services, each behind a proxy that refuses what it is told to."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from eventpost.testing.brokers import BrokerHarness
from eventpost.testing.brokers.harness import Operation
from eventpost.testing.fault_proxy import Choice, FaultProxy
from eventpost.testing.proxied_http import Asked
from eventpost.testing.service_refusals import AZURE_FORBIDDEN, AZURE_NO_ROLE, SQS_FORBIDDEN
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.kafka import KafkaBroker
from eventpost.workers.limits import WorkerLimits
from eventpost.workers.sqs import SQSBroker
from eventpost.workers.storagequeue import StorageQueueBroker
from tests.services.azurite import ACCOUNT, KEY, Azurite
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Moto
from tests.services.service import fresh_name

QUICK = WorkerLimits(tell_s=0.5, pending_lease_s=2.0)


class ProxiedHarness(BrokerHarness):
    """Of a service that is spoken to over HTTP."""

    kind: str

    operations: dict[Operation, tuple[str, ...]]
    refusals: dict[Operation, Choice]

    @property
    @abstractmethod
    def words(self) -> dict[str, Any]:
        """What a broker's constructor takes to get here. Plain values, for another process, too."""

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory)
        self.namespace = fresh_name("workers")
        self.proxy = FaultProxy("127.0.0.1", port)

    def stop(self) -> None:
        self.proxy.close()

    def refusing(self, operation: Operation, name: str = "") -> AbstractContextManager[None]:
        @contextmanager
        def refuse() -> Iterator[None]:
            def matches(asked: Asked) -> bool:
                is_there = name in asked.target or name.encode() in asked.body
                return asked.operation in self.operations[operation] and is_there

            rule = self.proxy.when(matches, self.refusals[operation])
            yield
            self.proxy.mend(rule)

        return refuse()


class SqsHarness(ProxiedHarness):
    """On moto, or on ElasticMQ."""

    kind = "sqs"
    operations = {
        "send": ("SendMessageBatch", "SendMessage"),
        "receive": ("ReceiveMessage",),
        "extend": ("ChangeMessageVisibilityBatch",),
        "settle": ("DeleteMessageBatch",),
    }
    refusals = dict.fromkeys(operations, SQS_FORBIDDEN)

    def __init__(self, directory: Path, service: Moto | ElasticMQ) -> None:
        super().__init__(directory, service.ports["http"])

    @property
    def words(self) -> dict[str, Any]:
        return {
            "region": REGION,
            "endpoint_url": f"http://127.0.0.1:{self.proxy.port}",
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
            "namespace": self.namespace,
        }

    def make_broker(self, **words: Any) -> LeaseBroker:
        return SQSBroker(**{**self.words, "limits": QUICK, **words})


class StorageQueueHarness(ProxiedHarness):
    kind = "storagequeue"
    operations = {
        "send": ("PutMessage",),
        "receive": ("GetMessages",),
        "extend": ("UpdateMessage",),
        "settle": ("DeleteMessage",),
    }
    refusals = {**dict.fromkeys(operations, AZURE_FORBIDDEN), "extend": AZURE_NO_ROLE}

    def __init__(self, directory: Path, azurite: Azurite) -> None:
        super().__init__(directory, azurite.ports["queue"])

    @property
    def words(self) -> dict[str, Any]:
        endpoint = f"http://127.0.0.1:{self.proxy.port}/{ACCOUNT}"
        return {
            "connection_string": f"AccountName={ACCOUNT};AccountKey={KEY};QueueEndpoint={endpoint}",
            "namespace": self.namespace,
        }

    def make_broker(self, **words: Any) -> LeaseBroker:
        return StorageQueueBroker(**{**self.words, "limits": QUICK, **words})


class KafkaHarness(BrokerHarness):
    """Kafka's clients reach its brokers by the addresses that these tell: there is no proxy."""

    kind = "kafka"
    holds_for_good = False

    def __init__(self, directory: Path, kafka: Kafka) -> None:
        super().__init__(directory)
        self.namespace = fresh_name("workers")
        self._kafka = kafka

    def stop(self) -> None:
        """Topics stay until the service ends."""

    @property
    def words(self) -> dict[str, Any]:
        return {
            "bootstrap": [self._kafka.address("plain")],
            "namespace": self.namespace,
            "partitions": 2,
            "session_timeout_s": 6.0,
        }

    def make_broker(self, **words: Any) -> LeaseBroker:
        return KafkaBroker(**{**self.words, "limits": QUICK, **words})
