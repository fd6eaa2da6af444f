"""A proxy of Kafka's protocol, between a real client and a real broker."""

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from eventpost.testing.fault_proxy import RESET_AFTER, FaultProxy
from eventpost.testing.service_refusals import KAFKA_FORBIDDEN, KAFKA_GROUP_FORBIDDEN
from tests.services.kafka import Kafka
from tests.services.kafka_clients import CALL_S_MAX, make_topic
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow


@pytest.fixture
def proxy(kafka: Kafka) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", kafka.ports["plain"], speaks="kafka") as proxy:
        yield proxy


class Client:
    """A producer and a consumer that know the proxy alone."""

    def __init__(self, proxy: FaultProxy, topic: str) -> None:
        servers = {"bootstrap.servers": f"127.0.0.1:{proxy.port}"}
        self.place = TopicPartition(topic, 0, 0)
        self.producer = Producer(servers | {"enable.idempotence": True})
        self.consumer = Consumer(servers | {"group.id": fresh_name("group")})

    def send(self, body: bytes) -> list[KafkaError | None]:
        told: list[KafkaError | None] = []
        self.producer.produce(
            self.place.topic, body, on_delivery=lambda error, _: told.append(error)
        )
        self.producer.flush(CALL_S_MAX)
        return told

    def begin(self) -> None:
        self.consumer.assign([self.place])

    def receive(self) -> tuple[str, bytes | None]:
        message = self.consumer.poll(CALL_S_MAX)
        assert message is not None
        error = message.error()
        return ("", message.value()) if error is None else (error.name(), None)


@pytest.fixture
def client(kafka: Kafka, proxy: FaultProxy) -> Iterator[Client]:
    client = Client(proxy, make_topic(kafka))
    yield client
    client.consumer.close()


def test_all_goes_through_it(proxy: FaultProxy, client: Client) -> None:
    """The addresses that the broker tells lead through the proxy, and every request is seen."""
    assert client.send(b"1") == [None]
    client.begin()
    assert client.receive() == ("", b"1")

    seen = {asked.operation for asked in proxy.requests}
    assert {"ApiVersions", "Metadata", "InitProducerId", "Produce", "Fetch"} <= seen


def test_a_refused_send(proxy: FaultProxy, client: Client) -> None:
    """A refusal is understood as the broker's, and nothing was stored."""
    proxy.when("Produce", KAFKA_FORBIDDEN, times=1)

    [error] = client.send(b"1")

    assert error is not None
    assert error.name() == "TOPIC_AUTHORIZATION_FAILED"
    assert client.consumer.get_watermark_offsets(client.place, CALL_S_MAX) == (0, 0)


def test_a_refused_fetch(proxy: FaultProxy, client: Client) -> None:
    """Receiving is refused by the topic, and goes on when that is over."""
    client.send(b"1")
    rule = proxy.when("Fetch", KAFKA_FORBIDDEN)
    client.begin()

    assert client.receive() == ("TOPIC_AUTHORIZATION_FAILED", None)
    proxy.mend(rule)
    assert client.receive() == ("", b"1")


def test_a_refused_commit(proxy: FaultProxy, client: Client) -> None:
    """A commit is refused for the group, while all else goes on."""
    place = TopicPartition(client.place.topic, 0, 1)
    rule = proxy.when("OffsetCommit", KAFKA_GROUP_FORBIDDEN)

    with pytest.raises(KafkaException, match="GROUP_AUTHORIZATION_FAILED"):
        client.consumer.commit(offsets=[place], asynchronous=False)
    proxy.mend(rule)
    [taken] = client.consumer.commit(offsets=[place], asynchronous=False)

    assert taken.error is None
    assert client.consumer.committed([place], CALL_S_MAX)[0].offset == 1


def test_a_lost_answer(proxy: FaultProxy, client: Client) -> None:
    """A record that was stored and whose answer was lost is stored once by an idempotent client."""
    rule = proxy.when("Produce", RESET_AFTER, times=1)

    assert client.send(b"1") == [None]

    assert len(rule.hits) == 1
    assert client.consumer.get_watermark_offsets(client.place, CALL_S_MAX) == (0, 1)
