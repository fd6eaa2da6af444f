"""Brokers on the tests' services, each behind a proxy that refuses what it is told to."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

from eventpost.testing.brokers import BrokerHarness
from eventpost.testing.brokers.harness import Operation
from eventpost.testing.fault_proxy import Choice, FaultProxy
from eventpost.testing.proxied_http import Asked
from eventpost.testing.service_refusals import (
    AZURE_FORBIDDEN,
    AZURE_NO_ROLE,
    KAFKA_FORBIDDEN,
    KAFKA_GROUP_FORBIDDEN,
    SQS_FORBIDDEN,
)
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
    """Of a service behind a proxy that can tell its requests apart."""

    kind: str
    speaks: Literal["http", "kafka"] = "http"

    operations: Mapping[Operation, tuple[str, ...]]
    refusals: Mapping[Operation, Choice]

    @property
    @abstractmethod
    def words(self) -> dict[str, Any]:
        """What a broker's constructor takes to get here. Plain values, for another process, too."""

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory)
        self.namespace = fresh_name("workers")
        self.proxy = FaultProxy("127.0.0.1", port, speaks=self.speaks)

    def stop(self) -> None:
        self.proxy.close()

    def refusing(self, operation: Operation, name: str = "") -> AbstractContextManager[None] | None:
        if operation not in self.operations:
            return None

        @contextmanager
        def refuse() -> Iterator[None]:
            def matches(asked: Asked) -> bool:
                return asked.operation in self.operations[operation] and self.concerns(asked, name)

            rule = self.proxy.when(matches, self.refusals[operation])
            yield
            self.proxy.mend(rule)

        return refuse()

    def refused(self, operation: Operation) -> AbstractContextManager[None]:
        """The same for an operation that every service has."""
        refusing = self.refusing(operation)
        assert refusing is not None
        return refusing

    def concerns(self, asked: Asked, name: str) -> bool:
        """Whether a request is about the queue of that name; about any, without a name."""
        return name in asked.target or name.encode() in asked.body


class SqsHarness(ProxiedHarness):
    """On moto, or on ElasticMQ."""

    kind = "sqs"
    operations: Mapping[Operation, tuple[str, ...]] = {
        "send": ("SendMessageBatch", "SendMessage"),
        "receive": ("ReceiveMessage",),
        "extend": ("ChangeMessageVisibilityBatch",),
        "settle": ("DeleteMessageBatch",),
    }
    refusals: Mapping[Operation, Choice] = dict.fromkeys(operations, SQS_FORBIDDEN)

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
    operations: Mapping[Operation, tuple[str, ...]] = {
        "send": ("PutMessage",),
        "receive": ("GetMessages",),
        "extend": ("UpdateMessage",),
        "settle": ("DeleteMessage",),
    }
    refusals: Mapping[Operation, Choice] = {
        **dict.fromkeys(operations, AZURE_FORBIDDEN),
        "extend": AZURE_NO_ROLE,
    }

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


class KafkaHarness(ProxiedHarness):
    """A log has no lease to extend: that is the only thing that cannot be refused."""

    kind = "kafka"
    speaks = "kafka"
    holds_for_good = False
    operations: Mapping[Operation, tuple[str, ...]] = {
        "send": ("Produce",),
        "receive": ("Fetch",),
        "settle": ("OffsetCommit",),
    }
    refusals: Mapping[Operation, Choice] = {
        "send": KAFKA_FORBIDDEN,
        "receive": KAFKA_FORBIDDEN,
        "settle": KAFKA_GROUP_FORBIDDEN,
    }

    def __init__(self, directory: Path, kafka: Kafka) -> None:
        super().__init__(directory, kafka.ports["plain"])

    @property
    def words(self) -> dict[str, Any]:
        return {
            "bootstrap": [f"127.0.0.1:{self.proxy.port}"],
            "namespace": self.namespace,
            "partitions": 2,
            "session_timeout_s": 6.0,
        }

    def concerns(self, asked: Asked, name: str) -> bool:
        """To release a record is to write it to a retry topic: that is no sending."""
        return super().concerns(asked, name) and b".retry" not in asked.body

    def make_broker(self, **words: Any) -> LeaseBroker:
        return KafkaBroker(**{**self.words, "limits": QUICK, **words})
