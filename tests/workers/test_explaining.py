"""`ExplainFailures`: each kind of failure once per interval, with cause, fix and consequence."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.queue import QueueClient
from botocore.exceptions import ClientError
from dramatiq import Broker, Worker
from dramatiq.brokers.stub import StubBroker
from prometheus_client import REGISTRY

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.testing.fault_proxy import FaultProxy
from eventpost.testing.grid import Grid
from eventpost.testing.receiver import Receiver
from eventpost.testing.service_refusals import AZURE_FORBIDDEN, SQS_FORBIDDEN
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.explaining import Interval, Notice, notice
from eventpost.workers.middleware import ExplainFailures
from eventpost.workers.recognising import recognised
from tests.patience import PATIENCE_S
from tests.services.azurite import ACCOUNT, KEY, Azurite
from tests.services.mailserver import MailServer
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Moto
from tests.services.service import fresh_name
from tests.workers.harnesses import SqsHarness

REFUSED = Evidence(
    stage=Stage.ANSWER,
    fault=Fault.CODE,
    system="storagequeue",
    operation="settle",
    status=403,
    code="AuthorizationFailure",
)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "eventpost.workers"]


def test_a_notice_says_what_to_do() -> None:
    """Finding, what was seen, cause, check, fix, and what happens to the message, for people."""
    text = notice(REFUSED, "songs", "settle", "It stays.", 3).text()

    assert text.startswith("EP42")
    for part in ("songs: settle failed (3 times)", "403 AuthorizationFailure", "It stays."):
        assert part in text
    assert [line.split()[0] for line in text.splitlines()[1:]] == [
        "seen:",
        "cause:",
        "check:",
        "fix:",
        "message:",
    ]


def test_each_kind_is_told_once_per_interval() -> None:
    """The rest is counted, and told with the next; another kind is another matter."""
    now_s = 0.0
    interval = Interval(60.0, lambda: now_s)
    one = notice(REFUSED, "songs", "settle", "")
    other = notice(REFUSED, "letters", "settle", "")

    def counts(*notices: Notice) -> list[int | None]:
        due = [interval.due(each) for each in notices]
        return [None if each is None else each.count for each in due]

    assert counts(one, one, one, other, other) == [1, None, None, 1, None]
    now_s = 59.9
    assert counts(one) == [None]
    now_s = 60.0
    assert counts(one, other, one) == [4, 2, None]


def test_a_topic_without_its_key_is_refused() -> None:
    """Half of where alerts go is an error when it is given."""
    with pytest.raises(ValueError, match="both"):
        ExplainFailures(topic_endpoint="http://127.0.0.1:1")


def sqs_error() -> BaseException:
    answer = {"Error": {"Code": "ExpiredToken", "Message": "old"}}
    error: BaseException = ClientError(answer, "ReceiveMessage")
    return error


def wrapped(error: BaseException) -> BaseException:
    try:
        raise dramatiq.ConnectionFailed("broker says so") from error
    except dramatiq.ConnectionFailed as outer:
        return outer


@pytest.mark.parametrize(
    ("make", "stage", "code"),
    [
        (sqs_error, Stage.CREDENTIALS, "ExpiredToken"),
        (lambda: wrapped(sqs_error()), Stage.CREDENTIALS, "ExpiredToken"),
        (lambda: ConnectionRefusedError(111, "refused"), Stage.CONNECT, None),
        (lambda: TimeoutError("timed out"), Stage.CONNECT, None),
        (lambda: wrapped(ConnectionResetError(104, "reset")), Stage.CONNECT, None),
        (lambda: dramatiq.ConnectionClosed("gone"), Stage.CONNECT, None),
    ],
)
def test_failures_of_services_are_recognised(
    make: Callable[[], BaseException], stage: Stage, code: str | None
) -> None:
    """By what is at the bottom of the chain of exceptions."""
    found = recognised(make(), "receive")

    assert found is not None
    assert (found.stage, found.code, found.operation) == (stage, code, "receive")


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(2, "no"), KeyError("k")])
def test_errors_of_the_program_are_not(error: Exception) -> None:
    """What is the program's own is left to it."""
    assert recognised(error, "work") is None


@pytest.mark.slow
def test_an_answer_of_azure_is_recognised(azurite: Azurite) -> None:
    """The SDK's own exception, as an actor would meet it behind a firewall."""
    with FaultProxy("127.0.0.1", azurite.ports["queue"]) as proxy:
        proxy.when(lambda _: True, AZURE_FORBIDDEN)
        endpoint = f"http://127.0.0.1:{proxy.port}/{ACCOUNT}"
        text = f"AccountName={ACCOUNT};AccountKey={KEY};QueueEndpoint={endpoint}"
        client = QueueClient.from_connection_string(text, "songs")
        with pytest.raises(HttpResponseError) as caught:
            client.peek_messages()
        client.close()

    found = recognised(caught.value, "work")
    assert found is not None
    assert (found.status, found.code, found.system) == (403, "AuthorizationFailure", "storagequeue")
    assert found.request_id
    assert notice(found, "q", "work", "").finding.startswith("EP42")


@pytest.mark.slow
def test_refused_deletes_are_explained_once(
    moto: Moto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On our broker: one notice, with the finding and what happens to the messages, and metrics of
    what waits and of what failed."""
    explain = ExplainFailures()
    with SqsHarness(tmp_path, moto) as harness, caplog.at_level(logging.INFO, "eventpost.workers"):
        # A lease that ends while deletes are refused would bring its message once more.
        broker = harness.new_broker(lease_s=PATIENCE_S)
        broker.add_middleware(explain)
        queue = fresh_name("explained")

        @dramatiq.actor(broker=broker, queue_name=queue)
        def note() -> None:
            pass

        failures = {"queue_name": queue, "operation": "settle", "code": "AccessDenied"}
        with harness.working(broker):
            with harness.refused("settle"):
                for _ in range(5):
                    note.send()
                harness.until(lambda: value("eventpost_worker_failures_total", **failures) >= 5)
                harness.until(lambda: pending(explain, broker, queue) == 5)
                assert value("eventpost_worker_oldest_pending_ack_seconds", queue_name=queue) > 0
            harness.join(broker, queue)
            explain.metrics.look(broker)
            assert value("eventpost_worker_acks_pending", queue_name=queue) == 0
            assert value("eventpost_worker_acks_total", queue_name=queue) == 5

    told = [text for text in texts(caplog) if "settle failed" in text]
    assert len(told) == 1
    assert "EP4101" in told[0]
    assert "do not run again on this ledger" in told[0]
    assert any("deleting works again" in text for text in texts(caplog))


def pending(explain: ExplainFailures, broker: LeaseBroker, queue: str) -> float:
    """How many finished messages are not deleted yet."""
    explain.metrics.look(broker)
    return value("eventpost_worker_acks_pending", queue_name=queue)


@pytest.mark.slow
def test_a_stock_broker_is_looked_at(moto: Moto, caplog: pytest.LogCaptureFixture) -> None:
    """On a broker that is not ours: what it raises from receive and enqueue is explained, and
    raised on; what cannot be seen is said when the worker starts."""
    import boto3
    from dramatiq_sqs import SQSBroker as StockBroker

    with FaultProxy("127.0.0.1", moto.ports["http"]) as proxy:
        broker: Broker = StockBroker(
            namespace=fresh_name("stock"),
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{proxy.port}",
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
        )
        explain = ExplainFailures()
        broker.add_middleware(explain)

        @dramatiq.actor(broker=broker)
        def note() -> None:
            pass

        note.send()
        worker = Worker(broker, worker_threads=1, worker_timeout=100)
        with caplog.at_level(logging.INFO, "eventpost.workers"):
            proxy.when("ReceiveMessage", SQS_FORBIDDEN)
            proxy.when("SendMessage", SQS_FORBIDDEN)
            worker.start()
            with pytest.raises(ClientError):
                note.send()
            rule_end = "receive failed"
            _until(lambda: any(rule_end in text for text in texts(caplog)))
        worker.stop()
        broker.close()
        assert boto3

    told = texts(caplog)
    assert sum("send failed" in text and "EP4101" in text for text in told) == 1
    assert sum("receive failed" in text and "EP4101" in text for text in told) == 1
    assert any("cannot see" in text for text in told)


def test_what_an_actor_runs_into_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    """A service's failure in a job is explained on any broker, a program's own is not."""
    broker = StubBroker()
    broker.add_middleware(ExplainFailures())

    @dramatiq.actor(broker=broker, max_retries=0)
    def call(kind: str) -> None:
        raise ConnectionRefusedError(111, "refused") if kind == "service" else ValueError("mine")

    worker = Worker(broker, worker_threads=1, worker_timeout=50)
    with caplog.at_level(logging.INFO, "eventpost.workers"):
        worker.start()
        call.send("service")
        call.send("own")
        broker.join("default", fail_fast=False)
        worker.stop()

    told = [text for text in texts(caplog) if "work failed" in text]
    assert len(told) == 1
    assert "EP2004 default, actor call" in told[0]


@pytest.fixture
def mailbox() -> Iterator[MailServer]:
    with closing(MailServer()) as mailbox:
        yield mailbox


@pytest.mark.slow
def test_a_failure_reaches_the_grid_and_people(
    moto: Moto, tmp_path: Path, grid: Grid, receiver: Receiver, mailbox: MailServer
) -> None:
    """A notice is an event on the topic that is named, and goes where that is subscribed to: to a
    webhook, and as an e-mail that says what to do."""
    settings = {"port": mailbox.port, "security": "none", "sender": "grid@station.example"}
    grid.client.create_connection({"name": "mail", "kind": "smtp", "settings": settings})
    grid.topic("alerts")
    grid.subscribe("alerts", receiver, name="hook")
    grid.subscribe(
        *("alerts", "dj@station.example"), name="mail", endpoint_type="email", connection="mail"
    )
    explain = ExplainFailures(
        topic_endpoint=f"{grid.url}/topics/alerts/api/events", topic_key=grid.key("alerts")
    )
    with SqsHarness(tmp_path, moto) as harness:
        broker = harness.new_broker()
        broker.add_middleware(explain)

        @dramatiq.actor(broker=broker)
        def note() -> None:
            pass

        note.send()
        with harness.working(broker), harness.refused("receive"):
            _until(lambda: arrived(grid, receiver) and mailbox.taken)

    assert "EP4101" in mailbox.taken[0].text
    assert mailbox.taken[0].recipients == ("dj@station.example",)
    event = receiver.requests[0].event
    assert event["eventType"] == "Eventpost.WorkerFailure"
    assert event["subject"] == "default/receive"
    data: dict[str, Any] = event["data"]
    assert (data["finding"], data["code"]) == ("EP4101", "AccessDenied")
    assert data["fix"]
    assert "stay in their queue" in data["effect"]


def arrived(grid: Grid, receiver: Receiver) -> bool:
    grid.settle()
    return bool(receiver.ids)


def _until(condition: Callable[[], object]) -> None:
    import time

    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.01)


@pytest.mark.slow
def test_what_a_shutdown_settles_is_counted(moto: Moto, tmp_path: Path) -> None:
    """Between two looks at the books a worker may end: what it settled at last is counted, too."""
    queue = fresh_name("q")
    with SqsHarness(tmp_path, moto) as harness:
        broker = harness.new_broker()
        broker.add_middleware(ExplainFailures())

        @dramatiq.actor(broker=broker, queue_name=queue)
        def work() -> None:
            return

        for _ in range(5):
            work.send()
        with harness.working(broker):
            harness.join(broker, queue)

    labels = {"queue_name": queue}
    assert value("eventpost_worker_acks_total", **labels) == 5
    assert value("eventpost_worker_acks_pending", **labels) == 0
