"""The grid and the workers meet: events become tasks, and tasks publish events."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dramatiq
import httpx
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

from eventpost import Client
from eventpost.testing.brokers.harness import BrokerHarness, Log
from tests.server.running import EVENT, served, until
from tests.services.azurite import ACCOUNT, KEY, Azurite
from tests.services.kafka import Kafka
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Moto
from tests.services.rabbitmq import PASSWORD, USER, RabbitMQ
from tests.services.redis import Redis
from tests.services.service import fresh_name
from tests.workers.harnesses import KafkaHarness, SqsHarness, StorageQueueHarness

pytestmark = pytest.mark.slow

MAPPED = {"actor": "play", "args": ["data.title"], "kwargs": {"genre": "subject"}}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATION_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("STATION_SECRET", SECRET_ACCESS_KEY)
    monkeypatch.setenv("STATION_ACCOUNT_KEY", KEY)
    monkeypatch.setenv("STATION_MQ_PASSWORD", PASSWORD)


def ours(kind: str, request: pytest.FixtureRequest, directory: Path) -> tuple[BrokerHarness, Any]:
    """Workers on a service, and the connection by which the grid gets there."""
    if kind == "aws":
        moto: Moto = request.getfixturevalue("moto")
        return SqsHarness(directory, moto), {
            "region": REGION,
            "endpoint_url": moto.url,
            "access_key_id": "env:STATION_KEY_ID",
            "secret_access_key": "env:STATION_SECRET",
        }
    if kind == "kafka":
        kafka: Kafka = request.getfixturevalue("kafka")
        return KafkaHarness(directory, kafka), {"bootstrap": [kafka.address("plain")]}
    azurite: Azurite = request.getfixturevalue("azurite")
    return StorageQueueHarness(directory, azurite), {
        "account_url": f"http://127.0.0.1:{azurite.ports['queue']}/{ACCOUNT}",
        "account_key": "env:STATION_ACCOUNT_KEY",
    }


def subscribe(admin: httpx.Client, kind: str, settings: Any, **endpoint: Any) -> None:
    """A topic `songs`, and a subscription `work` whose endpoint is an actor's queue."""
    connection = {"name": "station", "kind": kind, "settings": settings}
    assert admin.post("/connections", json=connection).status_code == 201
    assert admin.post("/topics", json={"name": "songs"}).status_code == 201
    declared = {
        "name": "work",
        "topic": "songs",
        "endpointType": "dramatiq",
        "endpoint": "default",
        "connection": "station",
        **endpoint,
    }
    created = admin.post("/subscriptions", json=declared)
    assert created.status_code == 201, created.text


def publish(admin: httpx.Client, **members: Any) -> None:
    assert admin.post("/topics/songs/publish", json=[EVENT | members]).status_code == 200


@pytest.mark.parametrize("kind", ["aws", "azure-storage", "kafka"])
def test_an_event_becomes_a_task_of_our_workers(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """An endpoint `dramatiq` makes an event a task with the actor and the arguments that were
    mapped, in the queue that our broker of that namespace works on, delayed ones as well."""
    log = Log()
    harness, settings = ours(kind, request, tmp_path)
    with harness, served(tmp_path / "data") as server, server.admin() as admin:
        broker = harness.new_broker()

        @dramatiq.actor(broker=broker)
        def play(title: str, genre: str) -> None:
            log.add((title, genre))

        namespace = harness.namespace  # type: ignore[attr-defined]  # of each of these
        options = MAPPED | {"namespace": namespace}
        delay = {"name": "delay", "type": "dynamic", "sourceField": "data.delay"}
        subscribe(admin, kind, settings, endpointOptions=options, messageProperties=[delay])
        publish(admin)
        publish(admin, id="2", data={"title": "Later", "delay": "1.2"})
        with harness.working(broker):
            harness.until(lambda: len(log.entries) >= 2)
            harness.join(broker)

    assert set(log.entries) == {("Dust My Broom", "genre/blues"), ("Later", "genre/blues")}


@contextmanager
def stock_worker(broker: dramatiq.Broker) -> Iterator[None]:
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
    worker.start()
    try:
        yield
    finally:
        worker.stop()
        broker.close()


def actor(broker: dramatiq.Broker, queue: str, log: Log) -> None:
    @dramatiq.actor(broker=broker, queue_name=queue, max_retries=0)
    def play(title: str, genre: str) -> None:
        log.add((title, genre))


def eventually(log: Log, count: int) -> None:
    until(lambda: len(log.entries) >= count)


def rabbitmq_settings(rabbitmq: RabbitMQ) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": rabbitmq.ports["amqp"],
        "user": USER,
        "password": "env:STATION_MQ_PASSWORD",
    }


@pytest.mark.parametrize("is_first", [False, True])
def test_an_event_becomes_a_task_of_stock_workers_on_rabbitmq(
    rabbitmq: RabbitMQ, tmp_path: Path, is_first: bool
) -> None:
    """Dramatiq's own broker and worker take what the grid sends, from the queues that it or they
    declared first, delayed tasks as well."""
    log, queue = Log(), fresh_name("q")
    broker = RabbitmqBroker(url=rabbitmq.url, max_priority=4, confirm_delivery=True)
    actor(broker, queue, log)
    if is_first:
        broker.declare_queue(queue, ensure=True)
    with served(tmp_path / "data") as server, server.admin() as admin:
        # Where it is not first it does not have to know how the queues were declared.
        options = MAPPED | ({} if is_first else {"max_priority": 4})
        asked = [
            {"name": "delay", "type": "dynamic", "sourceField": "data.delay"},
            {"name": "priority", "type": "static", "value": "3"},
        ]
        subscribe(
            admin,
            "rabbitmq",
            rabbitmq_settings(rabbitmq),
            endpoint=queue,
            endpointOptions=options,
            messageProperties=asked,
        )
        publish(admin)
        publish(admin, id="2", data={"title": "Later", "delay": "0.5"})
        until(lambda: sum(broker.get_queue_message_counts(queue)) == 2)
        counts = broker.get_queue_message_counts(queue)
        with stock_worker(broker):
            eventually(log, 2)
            broker.join(queue, timeout=120_000)

    assert counts == (1, 1, 0)  # the queue, `.DQ`, `.XQ`
    assert set(log.entries) == {("Dust My Broom", "genre/blues"), ("Later", "genre/blues")}


def test_an_event_becomes_a_task_of_stock_workers_on_redis(redis: Redis, tmp_path: Path) -> None:
    """The same of Dramatiq's own broker and worker for Redis, over its own keys and scripts."""
    log, namespace = Log(), fresh_name("n")
    broker = RedisBroker(url=redis.url, namespace=namespace)
    actor(broker, "default", log)
    with served(tmp_path / "data") as server, server.admin() as admin:
        subscribe(
            admin,
            "redis",
            {"host": "127.0.0.1", "port": redis.ports["plain"]},
            endpointOptions=MAPPED | {"namespace": namespace},
            messageProperties=[{"name": "delay", "type": "dynamic", "sourceField": "data.delay"}],
        )
        publish(admin)
        publish(admin, id="2", data={"title": "Later", "delay": "0.5"})
        with stock_worker(broker):
            eventually(log, 2)
            broker.join("default", timeout=120_000)

    assert set(log.entries) == {("Dust My Broom", "genre/blues"), ("Later", "genre/blues")}


def test_a_task_waits_for_its_queue(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """Where no queue may be made and there is none, the delivery fails with its finding, is tried
    again, and arrives once the workers have declared it."""
    log, queue = Log(), fresh_name("q")
    broker = RabbitmqBroker(url=rabbitmq.url)
    with served(tmp_path / "data") as server, server.admin() as admin:
        subscribe(
            admin,
            "rabbitmq",
            rabbitmq_settings(rabbitmq),
            endpoint=queue,
            endpointOptions=MAPPED | {"create": "never"},
            retry={"schedule": "200ms"},
        )
        publish(admin)
        until(lambda: findings(admin) == {"EP4307"})
        actor(broker, queue, log)
        broker.declare_queue(queue, ensure=True)
        with stock_worker(broker):
            eventually(log, 1)
            broker.join(queue, timeout=120_000)

    assert log.entries == [("Dust My Broom", "genre/blues")]


def findings(admin: httpx.Client) -> set[str]:
    shown = admin.get("/subscriptions/work").json()
    return {failure["finding"] for failure in shown["lastFailures"]}


def test_an_event_becomes_a_task(
    moto: Moto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue endpoint with the format `dramatiq` sends a task for the actor of the event's type,
    with the event's data as its argument, to the very queue of a worker."""
    monkeypatch.setenv("STATION_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("STATION_SECRET", SECRET_ACCESS_KEY)
    log = Log()
    with (
        SqsHarness(tmp_path, moto) as harness,
        served(tmp_path / "data") as server,
        server.admin() as admin,
    ):
        broker = harness.new_broker()

        @dramatiq.actor(broker=broker, actor_name=str(EVENT["eventType"]))
        def requested(data: dict[str, Any]) -> None:
            log.add(data)

        settings = {
            "region": REGION,
            "endpoint_url": moto.url,
            "access_key_id": "env:STATION_KEY_ID",
            "secret_access_key": "env:STATION_SECRET",
        }
        connection = {"name": "station", "kind": "aws", "settings": settings}
        assert admin.post("/connections", json=connection).status_code == 201
        assert admin.post("/topics", json={"name": "songs"}).status_code == 201
        with harness.working(broker):
            harness.join(broker)
            created = admin.post(
                "/subscriptions",
                json={
                    "name": "work",
                    "topic": "songs",
                    "endpointType": "sqs",
                    "endpoint": f"{harness.namespace}-default",
                    "connection": "station",
                    "messageFormat": "dramatiq",
                },
            )
            assert created.status_code == 201, created.text
            event = {**EVENT, "data": {"song": "Cross Road Blues"}}
            assert admin.post("/topics/songs/publish", json=[event]).status_code == 200
            harness.until(lambda: log.entries)
            harness.join(broker)

    assert log.entries == [{"song": "Cross Road Blues"}]


def test_a_task_that_cannot_publish_is_not_finished(moto: Moto, tmp_path: Path) -> None:
    """An actor whose publish fails has failed: it is tried again until the event is durable."""
    log = Log()
    with SqsHarness(tmp_path, moto) as harness, served(tmp_path / "data") as server:
        broker = harness.new_broker()

        @dramatiq.actor(broker=broker, min_backoff=500, max_backoff=500)
        def announce(song: str) -> None:
            log.add("tried")
            with Client(server.url, token=server.token) as client:
                client.publish_events("songs", [{**EVENT, "subject": song}])
            log.add("published")

        announce.send("blues")
        with harness.working(broker), server.admin() as admin:
            harness.until(lambda: log.entries.count("tried") >= 2)
            assert "published" not in log.entries
            assert admin.post("/topics", json={"name": "songs"}).status_code == 201
            harness.join(broker)

    assert log.entries.count("published") == 1
