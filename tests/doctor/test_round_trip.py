"""The scratch message of `--round-trip`, on real services: there, back, and gone."""

from pathlib import Path

import pytest
from azure.storage.queue import QueueClient
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from eventpost.app.doctor.round_trip import EVENT_TYPE
from eventpost.core.outcomes import DELIVERED
from eventpost.diagnosis.doctor.ladder import Examination
from eventpost.queues.interfaces import Depth, Measurable, Message
from tests.doctor.test_rabbitmq import password, plain, pulled, pushed
from tests.doctor.wards import examined, names, verdict
from tests.queues.rabbitmq.brokers import administer, opened
from tests.queues.rabbitmq.brokers import settings as administrator
from tests.services.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.aws_clients import client
from tests.services.azurite import Azurite
from tests.services.kafka import Kafka
from tests.services.moto import Moto
from tests.services.rabbitmq import READER, RabbitMQ
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow
GONE = "a message was stored, came back and is gone"


def both(kind: str, connection: dict[str, object], queue: str) -> dict[str, object]:
    at = {"connection": "patient", "topic": "songs"}
    return {
        "connections": {"patient": connection},
        "topics": {"songs": {}},
        "sources": {"jobs": {"kind": kind, "queue": queue, **at}},
        "subscriptions": {"out": {"endpoint_type": kind, "endpoint": queue, **at}},
    }


def tripped(declared: dict[str, object], name: str) -> Examination:
    return examined(declared, name, is_round_trip=True)


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_sqs(moto: Moto, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """A queue of SQS, FIFO or not, is as it was afterwards, for sources and for destinations."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    name = fresh_name("queue") + suffix
    sqs = client(moto.url, "sqs")
    attributes = {"FifoQueue": "true"} if suffix else {}
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    declared = both("sqs", {"kind": "aws", "region": REGION, "endpoint_url": moto.url}, name)

    for each in ("jobs", "out"):
        found = tripped(declared, each)
        assert verdict(found) == ("", ""), found
        assert (names(found)[-1], found.rungs[-1].detail) == ("round trip", GONE)

    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_a_storage_queue(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in a queue besides is given back at once, and stays."""
    monkeypatch.setenv("CASE_STORAGE", azurite.connection_string)
    name = fresh_name("queue")
    with QueueClient.from_connection_string(azurite.connection_string, name) as plain_client:
        plain_client.create_queue()
        plain_client.send_message("a song")
        connection: dict[str, object] = {
            "kind": "azure-storage",
            "connection_string": "env:CASE_STORAGE",
        }

        found = tripped(both("storagequeue", connection, name), "jobs")

        assert verdict(found) == ("", ""), found
        assert found.rungs[-1].detail == GONE
        assert [each.content for each in plain_client.receive_messages()] == ["a song"]


def test_rabbitmq(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """Others' messages stay; who may not write is told so, as a source not by a fault."""
    name = fresh_name("queue")
    admin = opened(administrator(rabbitmq), name, create=True)
    assert isinstance(admin, Measurable)
    assert list(admin.send([Message(body=b"a song")])) == [DELIVERED]
    reader = plain(rabbitmq, user=READER, password=password(tmp_path, READER))

    found = tripped(pulled(plain(rabbitmq), name), "jobs")
    read_only = tripped(pulled(reader, name), "jobs")

    assert verdict(found) == ("", ""), found
    assert found.rungs[-1].detail == GONE
    assert verdict(read_only) == ("", ""), read_only
    assert read_only.rungs[-1].state.value == "unknown"
    assert read_only.rungs[-1].detail.startswith("we may not send to it")
    assert admin.depth() == Depth(total=1)
    admin.close()


def test_an_exchange_without_a_queue(rabbitmq: RabbitMQ) -> None:
    """What no queue takes is told with the finding of it, before an event is lost to it."""
    name = fresh_name("exchange")
    administer(rabbitmq, lambda channel: channel.declare_exchange(name, durable=True))

    found = tripped(pushed(plain(rabbitmq), f"{name}/blues"), "out")

    assert verdict(found) == ("round trip", "EP4312"), found


def test_kafka(kafka: Kafka) -> None:
    """A record is stored and read where it lies, without joining the group or moving its offset."""
    topic, group = fresh_name("songs"), fresh_name("group")
    bootstrap: dict[str, str | int | float | bool] = {"bootstrap.servers": kafka.address("plain")}
    admin = AdminClient(bootstrap)
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    declared = both("kafka", {"kind": "kafka", "bootstrap": [kafka.address("plain")]}, topic)
    declared["sources"]["jobs"]["options"] = {"group": group}  # type: ignore[index]  # made above

    source, out = tripped(declared, "jobs"), tripped(declared, "out")

    assert verdict(source) == ("", ""), source
    assert source.rungs[-1].detail == "a record was stored as 0/0 of the topic, and read there"
    assert verdict(out) == ("", ""), out
    assert out.rungs[-1].detail == "a record was stored as 0/1 of the topic"
    reading = Consumer({**bootstrap, "group.id": group, "enable.auto.commit": False})
    [place] = reading.committed([TopicPartition(topic, 0)], 30)
    reading.assign([TopicPartition(topic, 0, 0)])
    record = reading.poll(30)
    reading.close()
    assert place.offset < 0
    assert record is not None
    assert EVENT_TYPE.encode() in (record.value() or b"")


def test_nothing_is_written_without_being_asked(rabbitmq: RabbitMQ) -> None:
    """Without `--round-trip` there is no such rung, and the queue stays empty."""
    name = fresh_name("queue")
    admin = opened(administrator(rabbitmq), name, create=True)
    assert isinstance(admin, Measurable)
    assert admin.receive(1, 0.0, 30.0) == []

    found = examined(pulled(plain(rabbitmq), name), "jobs")

    assert "round trip" not in names(found)
    assert admin.depth() == Depth(total=0)
    admin.close()
