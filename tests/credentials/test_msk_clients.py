"""Every Kafka client signs in with `MSKTokenProvider` to a broker that verifies its tokens."""

import asyncio
import gc
import importlib
import ssl
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiokafka
import confluent_kafka
import pytest

from eventpost.kafka import MSKTokenProvider
from tests.services.aws import REGION
from tests.services.kafka import IamKey, Kafka
from tests.services.kafka_clients import CALL_S_MAX, make_topic

pytestmark = pytest.mark.slow
Send = Callable[[Kafka, str, MSKTokenProvider, bytes], None]


def by_confluent(kafka: Kafka, topic: str, provider: MSKTokenProvider, body: bytes) -> None:
    told: list[Any] = []
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": kafka.address("iam"),
            "broker.address.family": "v4",
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "OAUTHBEARER",
            "ssl.ca.location": str(kafka.ca_file),
            "message.timeout.ms": 8_000,
            "oauth_cb": provider.oauth_cb,
        }
    )
    producer.produce(topic, body, on_delivery=lambda error, _: told.append(error))
    producer.flush(CALL_S_MAX)
    if told != [None]:
        raise ConnectionError(told)


def by_kafka_python(kafka: Kafka, topic: str, provider: MSKTokenProvider, body: bytes) -> None:
    with warnings.catch_warnings():
        # kafka-python 3.0 reads its files in a way that Python 3.11 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        library = importlib.import_module("kafka")
        importlib.import_module("kafka.net.sasl.oauth")
        producer = library.KafkaProducer(
            bootstrap_servers=kafka.address("iam"),
            security_protocol="SASL_SSL",
            sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_provider=provider.for_kafka_python(),
            ssl_cafile=str(kafka.ca_file),
            bootstrap_timeout_ms=8_000,
        )
        try:
            producer.send(topic, body).get(CALL_S_MAX)
        finally:
            producer.close(timeout=1)


def by_aiokafka(kafka: Kafka, topic: str, provider: MSKTokenProvider, body: bytes) -> None:
    async def send() -> None:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=kafka.address("iam"),
            security_protocol="SASL_SSL",
            sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_provider=provider.for_aiokafka(),
            ssl_context=ssl.create_default_context(cafile=str(kafka.ca_file)),
            request_timeout_ms=8_000,
        )
        try:
            await producer.start()
            await asyncio.wait_for(producer.send_and_wait(topic, body), CALL_S_MAX)
        finally:
            await producer.stop()

    asyncio.run(send())


CLIENTS: dict[str, Send] = {
    "confluent-kafka": by_confluent,
    "kafka-python": by_kafka_python,
    "aiokafka": by_aiokafka,
}


def provider_of(key: IamKey) -> MSKTokenProvider:
    return MSKTokenProvider(
        REGION,
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
        session_token=key.session_token or "",
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_signs_in(kafka: Kafka, client: str) -> None:
    """Its record is stored: the broker found signature, session token and times good."""
    key = kafka.add_key(session_token="a/session+token==")
    topic = make_topic(kafka)

    CLIENTS[client](kafka, topic, provider_of(key), b"a song")

    assert stored(kafka, topic) == [b"a song"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_revoked_key_opens_nothing(kafka: Kafka, client: str) -> None:
    """The same client with a key that the broker does not know stores nothing."""
    key = kafka.add_key(session_token="a/session+token==")
    kafka.revoke(key)
    topic = make_topic(kafka)

    with warnings.catch_warnings():
        # kafka-python leaves its sockets to the collector when it cannot begin.
        warnings.simplefilter("ignore", ResourceWarning)
        with suppress(Exception):  # each has its own
            CLIENTS[client](kafka, topic, provider_of(key), b"a song")
        gc.collect()

    assert stored(kafka, topic) == []


def stored(kafka: Kafka, topic: str) -> list[bytes | None]:
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": kafka.address("plain"), "group.id": topic}
    )
    place = confluent_kafka.TopicPartition(topic, 0, 0)
    try:
        end = consumer.get_watermark_offsets(place, CALL_S_MAX)[1]
        consumer.assign([place])
        return [record.value() for record in consumer.consume(end, CALL_S_MAX)] if end else []
    finally:
        consumer.close()
