"""Kafka behaves as tests of it and of Amazon MSK need it."""

import base64
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AclOperation, AclPermissionType

from tests.services.aws import REGION
from tests.services.iam_tokens import iam_token
from tests.services.kafka import IamKey, Kafka
from tests.services.kafka_clients import (
    CALL_S_MAX,
    add_rules,
    add_scram_user,
    iam_settings,
    make_topic,
    password_settings,
    plain_settings,
    tls_settings,
    topic_rule,
)
from tests.services.running import Running
from tests.services.service import fresh_name

REFUSED_S_MAX = 5.0


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return make_topic(kafka)


def produce(
    settings: dict[str, Any], topic: str, text: str, *, within_s: float = REFUSED_S_MAX
) -> int:
    """Return the message's offset, or raise why there is none."""
    results: list[tuple[KafkaError | None, int | None]] = []
    errors: list[KafkaError] = []
    timeout = {"message.timeout.ms": int(within_s * 1000)}
    producer = Producer(settings | timeout | {"error_cb": errors.append})
    producer.produce(
        topic, text, on_delivery=lambda error, message: results.append((error, message.offset()))
    )
    while not results and not any(error.code() == KafkaError._AUTHENTICATION for error in errors):
        producer.poll(0.05)
    if not results:
        producer.purge()
        producer.flush()
        raise KafkaException(errors[0])
    ((error, offset),) = results
    if error is not None:
        raise KafkaException(error)
    assert offset is not None
    return offset


def read(settings: dict[str, Any], topic: str) -> str:
    """The first message of the topic."""
    consumer = Consumer(settings | {"group.id": fresh_name("group")})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        message = consumer.poll(CALL_S_MAX)
    finally:
        consumer.close()
    assert message is not None
    assert message.error() is None
    value = message.value()
    assert isinstance(value, bytes)
    return value.decode()


@pytest.mark.slow
def test_a_message_goes_through_a_topic(kafka: Kafka, topic: str) -> None:
    """What is produced to a topic is read from it, over TLS too."""
    for settings in (plain_settings(kafka), tls_settings(kafka)):
        produce(settings, topic, "a song")
        assert read(settings, topic) == "a song"


@pytest.mark.slow
def test_passwords_count(kafka: Kafka, topic: str) -> None:
    """Users come in by PLAIN and by SCRAM with their password, and with no other."""
    user = fresh_name("user")
    add_scram_user(kafka, user, "its password")

    produce(password_settings(kafka), topic, "a song")
    produce(password_settings(kafka, user, "its password", mechanism="SCRAM-SHA-512"), topic, "b")
    with pytest.raises(KafkaException, match="SASL authentication error"):
        produce(password_settings(kafka, password="another"), topic, "a song")
    with pytest.raises(KafkaException, match="SASL authentication error"):
        produce(password_settings(kafka, user, "x", mechanism="SCRAM-SHA-512"), topic, "a song")


def token_of_botocore(key: IamKey) -> str:
    """As Amazon's own libraries make it."""
    url = f"https://kafka.{REGION}.amazonaws.com/?Action=kafka-cluster%3AConnect"
    request = AWSRequest("GET", url)
    credentials = Credentials(key.access_key_id, key.secret_access_key, key.session_token)
    SigV4QueryAuth(credentials, "kafka-cluster", REGION, expires=900).add_auth(request)
    signed = f"{request.url}&User-Agent=somebody%2F1.0"
    return base64.urlsafe_b64encode(signed.encode()).rstrip(b"=").decode()


@pytest.mark.slow
def test_a_signed_token_opens_the_broker(kafka: Kafka, topic: str) -> None:
    """Tokens that a key signed are good, ours and the official library's, with a session too."""
    for session_token in (None, "a/session+token=="):
        key = kafka.add_key(session_token=session_token)
        produce(iam_settings(kafka, key), topic, "a song")
        produce(iam_settings(kafka, partial(token_of_botocore, key)), topic, "a song")


def in_base64(url: str) -> str:
    return base64.urlsafe_b64encode(url.encode()).rstrip(b"=").decode()


ODD_TOKENS: dict[str, Callable[[IamKey], str]] = {
    "wrong secret": lambda key: iam_token(replace(key, secret_access_key="another")),
    "unknown key": lambda key: iam_token(replace(key, access_key_id="AKIANOBODY")),
    "no session token": lambda key: iam_token(replace(key, session_token=None)),
    "other session token": lambda key: iam_token(replace(key, session_token="another")),
    "other region": lambda key: iam_token(key, region="eu-west-1"),
    "other host": lambda key: iam_token(key, host="kafka.eu-west-1.amazonaws.com"),
    "other action": lambda key: iam_token(key, action="kafka-cluster:ReadData"),
    "expired": lambda key: iam_token(key, expires_s=60, signed_at=time.time() - 65),
    "longer than tokens may last": lambda key: iam_token(
        key, expires_s=86_400, signed_at=time.time() - 905
    ),
    "from the future": lambda key: iam_token(key, signed_at=time.time() + 330),
    "no url": lambda _key: in_base64("what is this"),
    "of another form": lambda _key: "e30.e30.e30",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ODD_TOKENS)
def test_an_odd_token_is_refused(kafka: Kafka, topic: str, case: str) -> None:
    """Whatever is wrong with a token, the broker says that access is denied, and no more."""
    key = kafka.add_key(session_token="a/session+token==")

    with pytest.raises(KafkaException, match=r"\[[0-9a-f-]{36}\]: Access denied"):
        produce(iam_settings(kafka, lambda: ODD_TOKENS[case](key)), topic, "a song")


@pytest.mark.slow
def test_a_revoked_key_opens_nothing(kafka: Kafka, topic: str) -> None:
    """A key that was good is refused once it is revoked."""
    key = kafka.add_key()
    produce(iam_settings(kafka, key), topic, "a song")

    kafka.revoke(key)
    with pytest.raises(KafkaException, match="Access denied"):
        produce(iam_settings(kafka, key), topic, "a song")


@pytest.mark.slow
def test_rules_count(kafka: Kafka, topic: str) -> None:
    """A key's principal may not do what a rule denies it, and others may."""
    denied, allowed = kafka.add_key(), kafka.add_key()
    add_rules(
        kafka,
        topic_rule(topic, "User:*", AclPermissionType.ALLOW, AclOperation.ALL),
        topic_rule(topic, denied.principal, AclPermissionType.DENY, AclOperation.WRITE),
    )

    produce(iam_settings(kafka, allowed), topic, "a song")
    with pytest.raises(KafkaException, match="Topic authorization failed"):
        produce(iam_settings(kafka, denied), topic, "a song")


@pytest.mark.slow
def test_messages_outlive_the_broker(own_kafka: Running[Kafka]) -> None:
    """A topic outlives a kill of its broker, a broker that hangs takes nothing, and it can stop."""
    settings = plain_settings(own_kafka.service)
    topic = make_topic(own_kafka.service)
    assert produce(settings, topic, "a song") == 0

    own_kafka.pause()
    with pytest.raises(KafkaException, match="timed out"):
        produce(settings, topic, "a lost song", within_s=1)
    own_kafka.kill()
    own_kafka.start()
    assert produce(settings, topic, "one more song") >= 1
    assert read(settings, topic) == "a song"

    own_kafka.stop()
    with pytest.raises(KafkaException, match="timed out"):
        produce(settings, topic, "a lost song", within_s=0.1)
