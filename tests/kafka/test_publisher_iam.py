"""A publisher that signs in to Amazon MSK by IAM, on a broker that verifies its tokens."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka.admin import AclOperation, AclPermissionType

from eventpost.core.outcomes import Stage
from eventpost.credentials import aws
from eventpost.credentials.msk import MSKTokenProvider
from eventpost.kafka import DeliveryFailed, KafkaPublisher
from eventpost.kafka.producers import Tokens
from eventpost.kafka.telling import Telling
from tests.kafka.refused import FAULTS, machine
from tests.kafka.scenes import EVENT, Clocks, Context, connections, record_count, records
from tests.services.aws import REGION
from tests.services.kafka import IamKey, Kafka
from tests.services.kafka_clients import add_rules, topic_rule


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which nobody is signed in."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    yield
    aws.close_all()


@pytest.fixture
def iam_key(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> IamKey:
    key = kafka.add_key(session_token="a/session+token==")
    use(key, monkeypatch)
    return key


def use(key: IamKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Lambda gives a function its role."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key.secret_access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", key.session_token or "")


def iam_publisher(kafka: Kafka, topic: str, **more: Any) -> KafkaPublisher:
    return KafkaPublisher(
        topic,
        bootstrap_servers=kafka.address("iam"),
        auth="msk-iam",
        region=REGION,
        ca_file=str(kafka.ca_file),
        config={"broker.address.family": "v4"},
        **more,
    )


@pytest.mark.slow
def test_a_role_opens_the_broker(
    kafka: Kafka, topic: str, iam_key: IamKey, told: pytest.LogCaptureFixture
) -> None:
    """With the keys of a function's environment the publisher signs in by IAM, and tells which
    link of the chain answered, never a key."""
    with iam_publisher(kafka, topic) as publisher:
        publisher.publish(EVENT)
        assert publisher.flush(Context(15_000)) == 1

    assert any(text.startswith("token by") for text in told.messages)
    assert iam_key.secret_access_key not in told.text
    assert iam_key.access_key_id not in told.text


@pytest.mark.slow
def test_a_refused_token_is_told(
    kafka: Kafka,
    topic: str,
    iam_key: IamKey,
    told: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that denies access is told of in the exception, with the link of the chain that was
    used, and once in the log; when there is a good key the same publisher goes on with it."""
    kafka.revoke(iam_key)
    with iam_publisher(kafka, topic) as publisher:
        publisher.publish(EVENT)
        with pytest.raises(DeliveryFailed, match=r"Access denied.*with the credentials of: env"):
            publisher.flush(Context(3_000))
        assert sum("connect failed" in text for text in told.messages) == 1

        use(kafka.add_key(session_token="another/session+token=="), monkeypatch)
        publisher.publish(EVENT)
        assert publisher.flush(Context(15_000)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_a_token_is_told(
    kafka: Kafka,
    topic: str,
    tmp_path: Path,
    told: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """A broker says "Access denied" to an expired session token and to a wrong clock alike: the
    publisher tells which, with the event that did not go; when that is mended the same publisher
    goes on, and nothing goes twice."""
    fault = FAULTS[name]
    with machine(kafka, tmp_path, monkeypatch) as here, iam_publisher(kafka, topic) as publisher:
        fault.begin(here)
        failure = refused(publisher, fault.code)
        assert [one["id"] for one in failure.events] == ["lost?"]
        assert failure.evidence.credential == "shared-credentials-file"
        assert "Access denied" in failure.evidence.detail
        assert sum(f"delivery failed: {fault.code}" in text for text in told.messages) == 1

        fault.mend(here)
        publisher.publish(EVENT | {"id": "lost?"})
        assert publisher.flush() == 1

    [record] = records(kafka, topic, 1)
    assert dict(record.headers())["ce_id"] == b"lost?"
    assert record_count(kafka, topic) == 1
    assert here.keys[0].secret_access_key not in told.text


def refused(publisher: KafkaPublisher, code: str) -> DeliveryFailed:
    """The failure that names the cause; before AWS was asked, Kafka's own refusal is told."""
    end_s = time.monotonic() + 60.0
    while True:
        publisher.publish(EVENT | {"id": "lost?"})
        with pytest.raises(DeliveryFailed) as failure:
            publisher.flush(Context(3_000))
        if failure.value.code == code:
            return failure.value
        assert time.monotonic() < end_s, failure.value


@pytest.mark.slow
def test_a_denied_topic_is_told(kafka: Kafka, topic: str, iam_key: IamKey) -> None:
    """A topic that the role may not write to is an answer of the broker, told at once."""
    add_rules(
        kafka,
        topic_rule(topic, iam_key.principal, AclPermissionType.DENY, AclOperation.WRITE),
        topic_rule(topic, "User:*", AclPermissionType.ALLOW, AclOperation.ALL),
    )
    with iam_publisher(kafka, topic) as publisher:
        publisher.publish(EVENT)
        with pytest.raises(DeliveryFailed) as failure:
            publisher.flush(Context(10_000))
        assert failure.value.evidence.code == "TOPIC_AUTHORIZATION_FAILED"
        assert failure.value.evidence.stage is Stage.ANSWER


@pytest.mark.slow
def test_missing_credentials_are_told_at_once(
    kafka: Kafka, topic: str, told: pytest.LogCaptureFixture
) -> None:
    """Without credentials the failure is theirs, and takes no ten seconds."""
    with iam_publisher(kafka, topic) as publisher:
        publisher.publish(EVENT)
        with pytest.raises(DeliveryFailed) as failure:
            publisher.flush()
        assert failure.value.code == "EP4501"
        assert failure.value.evidence.stage is Stage.CREDENTIALS
    assert sum("credentials failed: EP4501" in text for text in told.messages) == 1


@pytest.mark.slow
def test_keys_that_end_soon_cost_no_connection_each(
    kafka: Kafka, topic: str, iam_key: IamKey, told: pytest.LogCaptureFixture
) -> None:
    """While no token with a longer life is to be had, the connection is kept."""
    assert iam_key
    clocks = Clocks()
    with iam_publisher(kafka, topic, rest_s_max=10_000, now_s=clocks.now_s) as publisher:
        publisher.publish(EVENT)
        publisher.flush()
        clocks.jump_s = 790
        publisher.publish(EVENT)
        assert publisher.flush() == 1
    assert len(connections(told)) == 1


def test_a_token_that_ended_in_the_sleep_is_outdated() -> None:
    """A producer that has an old token is not trusted once there is a new one, nor one whose token
    is over while every new one is short; before it is."""
    given: list[tuple[str, float]] = [("first", 1_000.0)]
    session = SimpleNamespace(report=lambda: SimpleNamespace(link="environment"))
    provider = SimpleNamespace(oauth_cb=lambda _: given[-1], failure=None, session=session)
    tokens = Tokens(cast("MSKTokenProvider", provider), Telling(60, lambda: 0.0))
    tokens.oauth_cb("")

    assert not tokens.is_outdated(880.0)
    given.append(("short", 1_010.0))
    assert not tokens.is_outdated(999.0)
    tokens.oauth_cb("")
    given.append(("short again", 1_050.0))
    assert tokens.is_outdated(1_010.0)
    given.append(("first", 1_000.0))
    tokens.oauth_cb("")
    given.append(("second", 1_780.0))
    assert not tokens.is_outdated(880.0)
    assert tokens.is_outdated(881.0)
    assert not tokens.is_outdated(881.0)
