"""Messages of Dramatiq moved between real systems: whole, on time, worked off at the other end."""

import json
import time
from pathlib import Path

import pytest
from dramatiq.message import Message as DramatiqMessage

from eventpost.workers.storagequeue import StorageQueueBroker
from tests.cli.running import Program
from tests.moving import ends
from tests.moving.actors import Studio
from tests.moving.conftest import NewStudio
from tests.services.azurite import Azurite
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow

HOUR_MS = 3_600_000


def test_messages_of_dramatiq_come_to_a_storage_queue_whole(
    shell: Program, tmp_path: Path, new_studio: NewStudio, rabbitmq: RabbitMQ, azurite: Azurite
) -> None:
    """Every message is in the Storage Queue as the broker wrote it, and delayed ones wait there
    for their time."""
    studio = new_studio()
    at_once = [
        studio.enqueue(studio.message(f"now-{n}", n, title="Ünïcode ♫", tags=[1, None, {"a": 2.5}]))
        for n in range(5)
    ]
    retried = studio.message("again").copy(options={"retries": 3, "traceback": "boom"})
    at_once.append(studio.enqueue(retried))
    later = studio.enqueue(studio.message("later"), delay_ms=HOUR_MS)
    target = ends.end(ends.azure(azurite), fresh_name("songs"))
    connections = {"radio": ends.rabbitmq(rabbitmq), "cloud": ends.azure(azurite)}
    ends.config(tmp_path, **connections)
    shell.environment["MOVE_TEST_AZURITE"] = azurite.connection_string

    done = shell.ok(
        *("move", "--from", f"radio/{studio.queue}", "--to", f"cloud/{target.queue}"),
        *("--to-option", "create=auto", "--format", "dramatiq", "--json"),
    )

    account = done.json
    assert (account["taken"], account["moved"], account["left"]) == (7, 7, 0), account
    assert studio.message_counts() == (0, 0, 0)
    assert ends.counted(target) == 7
    taken = [DramatiqMessage.decode(each.body) for each in ends.drained(target, 6)]
    assert sorted(taken, key=lambda each: each.message_id) == sorted(
        at_once, key=lambda each: each.message_id
    )
    assert later.options["eta"] - time.time() * 1000 > HOUR_MS / 2


def test_dramatiq_goes_from_system_to_system_and_is_worked_off(
    shell: Program,
    tmp_path: Path,
    new_studio: NewStudio,
    rabbitmq: RabbitMQ,
    elasticmq: ElasticMQ,
    kafka: Kafka,
) -> None:
    """From RabbitMQ over SQS and Kafka back to RabbitMQ, where a worker runs each message once,
    with its arguments, and a delayed one not before its time."""
    studio = new_studio()
    for n in range(20):
        studio.enqueue(studio.message(f"song-{n}", n, {"verse": ["♫", n]}, loud=True))
    later = studio.enqueue(studio.message("later", "encore"), delay_ms=8_000)
    eta_ms = later.options["eta"]
    ends.config(
        tmp_path,
        radio=ends.rabbitmq(rabbitmq),
        aws=ends.sqs(elasticmq),
        stream=ends.kafka(kafka),
    )
    queue, topic = fresh_name("songs"), fresh_name("songs")
    way = ("--format", "dramatiq", "--json", "--wait", "20s")

    first = shell.ok(
        *("move", "--from", f"radio/{studio.queue}", "--to", f"aws/{queue}"),
        *("--to-option", "create=true", *way),
    )
    second = shell.ok(
        *("move", "--from", f"aws/{queue}", "--to", f"stream/{topic}"),
        *("--to-option", "create=true", *way),
    )
    third = shell.ok("move", "--from", f"stream/{topic}", "--to", f"radio/{studio.queue}", *way)

    for done in (first, second, third):
        assert done.json["moved"] == done.json["taken"] == 21, done
        assert done.json["complete"]
    with studio.working():
        studio.wait_for("later", *(f"song-{n}" for n in range(20)))
    assert set(studio.counts.values()) == {1}
    assert studio.played["song-7"][:2] == ((7, {"verse": ["♫", 7]}), {"loud": True})
    assert studio.played["later"][0] == ("encore",)
    assert studio.played["later"][2] >= eta_ms


def test_workers_on_a_storage_queue_go_on_with_it(
    shell: Program, tmp_path: Path, new_studio: NewStudio, rabbitmq: RabbitMQ, azurite: Azurite
) -> None:
    """What was enqueued on RabbitMQ is worked off by eventpost's broker for Storage Queues: each
    message once, with its arguments, and a delayed one not before its time."""
    old = new_studio()
    for n in range(10):
        old.enqueue(old.message(f"song-{n}", n, loud=True))
    later = old.enqueue(old.message("later", "encore"), delay_ms=15_000)
    ends.config(tmp_path, radio=ends.rabbitmq(rabbitmq), cloud=ends.azure(azurite))
    shell.environment["MOVE_TEST_AZURITE"] = azurite.connection_string
    broker = StorageQueueBroker(
        connection_string=azurite.connection_string,
        ledger=tmp_path / "ledger",
        middleware=[],
    )
    new = Studio(broker, old.queue)

    done = shell.ok(
        *("move", "--from", f"radio/{old.queue}", "--to", f"cloud/{old.queue}"),
        *("--to-option", "create=auto", "--format", "dramatiq", "--json"),
    )

    assert done.json["moved"] == 11
    with new.working():
        new.wait_for("later", *(f"song-{n}" for n in range(10)))
    new.close()
    assert set(new.counts.values()) == {1}
    assert new.played["song-7"][:2] == ((7,), {"loud": True})
    assert new.played["later"][2] >= later.options["eta"]


def test_a_delayed_message_comes_into_the_queue_of_delayed_ones(
    shell: Program, tmp_path: Path, new_studio: NewStudio, rabbitmq: RabbitMQ
) -> None:
    """From one queue of Dramatiq's on RabbitMQ to another, what waits stays where its worker looks
    for it, and names its new queue when that is asked for."""
    old, new = new_studio(), new_studio()
    old.enqueue(old.message("now"))
    later = old.enqueue(old.message("later"), delay_ms=HOUR_MS)
    new.broker.declare_queue(new.queue, ensure=True)
    ends.config(tmp_path, radio=ends.rabbitmq(rabbitmq))

    shell.ok(
        *("move", "--from", f"radio/{old.queue}", "--to", f"radio/{new.queue}"),
        *("--format", "dramatiq", "--queue-name", new.queue),
    )

    assert old.message_counts() == (0, 0, 0)
    assert new.message_counts() == (1, 1, 0)
    (delayed,) = ends.drained(ends.end(ends.rabbitmq(rabbitmq), f"{new.queue}.DQ", create=False), 1)
    found = json.loads(delayed.body)
    assert found["queue_name"] == f"{new.queue}.DQ"
    assert found["options"]["eta"] == later.options["eta"]
    with new.working():
        new.wait_for("now")
