"""What is wrong with a Kafka connection is told in seconds, by its cause, on a real broker."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, AclPermissionType

from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Delivered, Failed, Outcome
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Address, Message, Received
from eventpost.queues.kafka import KafkaConnection, KafkaQueue, new_queue
from eventpost.queues.kinds import Services
from tests.queues.kafka.groups import eventually
from tests.services.kafka import PASSWORD, USER, Kafka
from tests.services.kafka_clients import (
    add_rules,
    group_rule,
    make_topic,
    remove_rules,
    topic_rule,
)
from tests.services.ports import free_ports
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow

SECONDS_MAX = 20.0
New = Callable[[Kafka, Path], KafkaConnection]


@contextmanager
def opened(connection: KafkaConnection, topic: str) -> Iterator[KafkaQueue]:
    address = Address(name=topic, options={"group": fresh_name("group")})
    queue = new_queue(connection, address, Services())
    try:
        yield queue
    finally:
        queue.close()


def connection(kafka: Kafka, entrance: str, **more: object) -> KafkaConnection:
    brokers = (kafka.address(entrance),)
    return KafkaConnection(bootstrap=brokers, request_timeout_ms=4_000, **more)  # type: ignore[arg-type]


def password(tmp_path: Path, text: str) -> str:
    file = tmp_path / "password"
    file.write_text(text)
    return f"file:{file}"


CASES: dict[str, tuple[str, New]] = {
    "plain text to a TLS port": ("EP4404", lambda kafka, _: connection(kafka, "tls")),
    "TLS to a plain port": ("EP2109", lambda kafka, _: connection(kafka, "plain", tls=True)),
    "unknown authority": ("EP2107", lambda kafka, _: connection(kafka, "tls", tls=True)),
    "wrong password": (
        "EP4402",
        lambda kafka, folder: connection(
            kafka,
            "password",
            auth="plain",
            username=USER,
            password=password(folder, "wrong"),
            tls=True,
            ca_file=str(kafka.ca_file),
        ),
    ),
    "mechanism not offered": (
        "EP4403",
        lambda kafka, folder: connection(
            kafka,
            "iam",
            auth="plain",
            username=USER,
            password=password(folder, PASSWORD),
            tls=True,
            ca_file=str(kafka.ca_file),
        ),
    ),
    "no SASL here": (
        "EP4405",
        lambda kafka, folder: connection(
            kafka,
            "plain",
            auth="plain",
            username=USER,
            password=password(folder, PASSWORD),
            tls=False,
        ),
    ),
    "refused": (
        "EP2004",
        lambda *_: KafkaConnection(
            bootstrap=(f"127.0.0.1:{free_ports(1)[0]}",), request_timeout_ms=4_000
        ),
    ),
    "no such name": (
        "EP2001",
        lambda *_: KafkaConnection(bootstrap=("nosuch.invalid:9092",), request_timeout_ms=4_000),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_cause_is_told(kafka: Kafka, tmp_path: Path, case: str) -> None:
    """Sending, receiving and probing fail within seconds, each with the finding of the cause."""
    code, new = CASES[case]
    topic = make_topic(kafka)

    with opened(new(kafka, tmp_path), topic) as queue:
        [sent] = queue.send([Message(body=b"lost?")])
        received = queue.receive(1, SECONDS_MAX, 60.0)
        *good, rung = queue.probe()

    assert isinstance(sent, Failed)
    assert isinstance(received, Failed)  # and not nothing, when its seconds were over
    assert rung.failed is not None
    assert not [one for one in good if one.failed]
    found = [classify(failed.evidence) for failed in (sent, received, rung.failed)]
    assert found == [code] * 3, (sent, received, rung)


def test_a_missing_topic(kafka: Kafka) -> None:
    """A topic that is not there is named as such, and not made by the way."""
    topic = fresh_name("missing")

    with opened(connection(kafka, "plain"), topic) as queue:
        [sent] = queue.send([Message(body=b"lost?")])
        again = queue.probe()[-1]

    assert isinstance(sent, Failed)
    assert classify(sent.evidence) == "EP4408"
    assert again.failed is not None


@pytest.mark.parametrize(
    ("what", "code"), [("write", "EP4406"), ("read", "EP4406"), ("group", "EP4407")]
)
def test_a_missing_permission(kafka: Kafka, tmp_path: Path, what: str, code: str) -> None:
    """Who may not write, read or join the group is told so by the topic's or the group's finding;
    once it is allowed the same queue goes on, and what was there is received."""
    topic, user = make_topic(kafka), f"User:{USER}"
    settings = connection(
        kafka,
        "password",
        auth="plain",
        username=USER,
        password=password(tmp_path, PASSWORD),
        tls=True,
        ca_file=str(kafka.ca_file),
    )
    group = fresh_name("group")
    address = Address(name=topic, options={"group": group})
    with opened(connection(kafka, "plain"), topic) as sender:
        assert isinstance(sender.send([Message(body=b"there")])[0], Delivered)
    deny = AclPermissionType.DENY
    rule = {
        "write": topic_rule(topic, user, deny, AclOperation.WRITE),
        "read": topic_rule(topic, user, deny, AclOperation.READ),
        "group": group_rule(group, user, deny, AclOperation.READ),
    }[what]
    add_rules(kafka, rule)

    with closing(new_queue(settings, address, Services())) as queue:

        def attempt() -> Outcome | list[Received]:
            if what == "write":
                [outcome] = queue.send([Message(body=b"lost?")])
                return outcome
            page = queue.receive(1, SECONDS_MAX, 60.0)
            return page if isinstance(page, Failed) else list(page)

        failed = attempt()
        remove_rules(kafka, rule)
        eventually(lambda: not isinstance(attempt(), Failed))

    assert isinstance(failed, Failed)
    assert classify(failed.evidence) == code, failed


def test_a_topic_is_made_when_asked(kafka: Kafka) -> None:
    """With the option `create` a missing topic is made at its first use."""
    topic = fresh_name("made")
    address = Address(name=topic, options={"create": True, "group": fresh_name("group")})
    queue = new_queue(connection(kafka, "plain"), address, Services())

    outcomes = queue.send([Message(body=b"first")])
    page = queue.receive(1, SECONDS_MAX, 60.0)
    queue.close()

    assert not [one for one in outcomes if isinstance(one, Failed)]
    assert isinstance(page, list)
    assert [one.body for one in page] == [b"first"]


def test_half_a_password() -> None:
    """A user name without a password is refused before anything is tried, and says what lacks."""
    with pytest.raises(EventpostError, match="lacks its password"):
        KafkaConnection(bootstrap=("localhost:9092",), auth="plain", username="dj")


@pytest.mark.parametrize("name", ["sasl.password", "group.id", "ssl.key.password"])
def test_what_config_may_not_hold(name: str) -> None:
    """Secrets have fields of their own, and what is committed is not the user's to change."""
    with pytest.raises(ValueError, match=name):
        KafkaConnection(bootstrap=("localhost:9092",), config={name: "x"})
