"""A Lambda function that publishes to a real Kafka: frozen, thawed, with brokers that go away.

The handler is the guide's. AWS's own runtime interface client runs it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from eventpost.testing import LambdaRuntime
from eventpost.testing.aws_metadata import AwsMetadata
from tests.documentation import ROOT, blocks
from tests.kafka.scenes import records
from tests.patience import PATIENCE_S
from tests.queues.kafka.lines import opened
from tests.services.aws import REGION
from tests.services.fixtures import OwnServices
from tests.services.kafka import IamKey, Kafka
from tests.services.kafka_clients import make_topic
from tests.services.running import Running
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow

GUIDE = ROOT / "docs/guides/kafka-from-lambda.md"
IDLE_MS_MAX = 1_500
CLOSE_WAIT = "08"
TOKEN_LIFE_S = 8.0
IAM_ARGUMENTS = (
    f'auth="msk-iam", region="{REGION}", ca_file="{{ca_file}}", '
    'config={{"broker.address.family": "v4"}},'
)


class ImpatientKafka(Kafka):
    """It closes connections that rest for a second and a half; others do after ten minutes."""

    def prepare(self) -> None:
        super().prepare()
        with (self.directory / "server.properties").open("a") as file:
            file.write(f"connections.max.idle.ms={IDLE_MS_MAX}\n")


Start = Callable[..., LambdaRuntime]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function with the guide's handler; `changed` has other arguments of the publisher."""
    (handler,) = [block.text for block in blocks(GUIDE) if "def handler" in block.text]
    with ExitStack() as started:

        def start_one(kafka: Kafka, topic: str, changed: str = "", **settings: Any) -> Any:
            name = fresh_name("radio").replace("-", "_")
            text = handler.replace('auth="msk-iam",', changed or 'auth="none",')
            (tmp_path / f"{name}.py").write_text(text)
            environment = {
                "BOOTSTRAP_SERVERS": kafka.address("iam" if "iam" in changed else "plain"),
                "TOPIC": topic,
                "AWS_REGION": REGION,
                **settings.pop("environment", {}),
            }
            function = LambdaRuntime(
                f"{name}.handler", tmp_path, environment=environment, **settings
            )
            return started.enter_context(function)

        yield start_one


def songs(kafka: Kafka, topic: str, count: int) -> list[bytes]:
    return [record.value() for record in records(kafka, topic, count)]


def connections(log: str) -> int:
    return log.count("connect to ")


def wait_until_the_broker_hung_up(kafka: Kafka) -> None:
    """A frozen function cannot close its end: the kernel keeps the half-closed connection."""
    until_s = time.monotonic() + PATIENCE_S
    while not has_half_closed(kafka.ports["plain"]):
        assert time.monotonic() < until_s, "the broker kept the connection"
        time.sleep(0.05)


def has_half_closed(port: int) -> bool:
    """Whether somebody has a connection to the port that the port's end has closed (proc(5))."""
    lines = [line for table in ("tcp", "tcp6") for line in open_connections(table)]
    return any(
        remote.endswith(f":{port:04X}") and state == CLOSE_WAIT for _, _, remote, state in lines
    )


def open_connections(table: str) -> list[list[str]]:
    text = Path(f"/proc/net/{table}").read_text()
    return [line.split()[:4] for line in text.splitlines()[1:]]


def test_one_connection_serves_many_invocations(kafka: Kafka, start: Start) -> None:
    """Each invocation's event is on the topic when it has answered, and one connection is made."""
    topic = make_topic(kafka)
    function = start(kafka, topic, timeout_s=10)

    invocations = [function.invoke({"song": str(number)}) for number in range(3)]

    assert [one.answer for one in invocations] == [{"published": 1}] * 3
    assert [connections(one.log) for one in invocations] == [1, 0, 0]
    assert songs(kafka, topic, 3) == [b'{"song":"0"}', b'{"song":"1"}', b'{"song":"2"}']


@pytest.mark.parametrize("rest_s_max", [1, 60])
def test_a_freeze_beyond_the_idle_limit_loses_nothing(
    own_service: OwnServices, start: Start, rest_s_max: int
) -> None:
    """Frozen for longer than the broker keeps a connection, the function publishes all the same:
    over a fresh one after a rest that is too long, and else over one that librdkafka mends."""
    kafka = own_service(ImpatientKafka).service
    topic = make_topic(kafka)
    function = start(kafka, topic, f'auth="none", rest_s_max={rest_s_max},', timeout_s=10)
    assert function.invoke({"song": "1"}).answer == {"published": 1}

    wait_until_the_broker_hung_up(kafka)
    thawed = function.invoke({"song": "2"})

    assert thawed.answer == {"published": 1}, thawed.log
    assert connections(thawed.log) == (1 if rest_s_max == 1 else 0)
    assert songs(kafka, topic, 2) == [b'{"song":"1"}', b'{"song":"2"}']


def test_a_line_that_was_forgotten_in_the_sleep(own_service: OwnServices, start: Start) -> None:
    """A connection that a load balancer forgot while the function slept, without a word to either
    end, is not waited for: the event goes over a fresh one, in time."""
    with opened(own_service) as line:
        topic = make_topic(line.kafka)
        function = start(line.kafka, topic, 'auth="none", rest_s_max=0.5,', timeout_s=10)
        assert function.invoke({"song": "1"}).answer == {"published": 1}

        line.proxy.strand()
        rest_until_s = time.monotonic() + 0.6
        while time.monotonic() < rest_until_s:
            time.sleep(0.05)
        thawed = function.invoke({"song": "2"}, timeout_s=5)

        assert thawed.answer == {"published": 1}, thawed.log
        assert connections(thawed.log) == 1
        assert songs(line.kafka, topic, 2) == [b'{"song":"1"}', b'{"song":"2"}']


def test_a_token_that_ended_in_the_sleep(kafka: Kafka, start: Start) -> None:
    """A function whose keys and token ended while it was frozen signs in with new ones, once, and
    says so; its event is there in time."""
    with AwsMetadata(life_s=TOKEN_LIFE_S) as metadata:
        admit(kafka, metadata)
        topic = make_topic(kafka)
        arguments = IAM_ARGUMENTS.format(ca_file=kafka.ca_file)
        function = start(kafka, topic, arguments, timeout_s=20, environment=metadata.container())
        assert function.invoke({"song": "1"}).answer == {"published": 1}
        ended_s = metadata.keys.current.expires_s
        while time.time() < ended_s + 1:
            time.sleep(0.1)
        metadata.rotate()
        admit(kafka, metadata)

        thawed = function.invoke({"song": "2"}, timeout_s=10)

        assert thawed.answer == {"published": 1}, thawed.log
        assert thawed.log.count("token by container-role until") == 1
        assert "failed" not in thawed.log
        assert songs(kafka, topic, 2) == [b'{"song":"1"}', b'{"song":"2"}']


def admit(kafka: Kafka, metadata: AwsMetadata) -> None:
    """The broker knows the keys that are handed out now."""
    keys = metadata.keys.current
    principal = "User:station"
    kafka.admit(IamKey(keys.access_key_id, keys.secret_access_key, keys.session_token, principal))


def test_a_broker_that_restarts_in_between_loses_nothing(
    own_kafka: Running[Kafka], start: Start
) -> None:
    """While the function is frozen the broker is killed and started again: the next event goes."""
    topic = make_topic(own_kafka.service)
    function = start(own_kafka.service, topic, timeout_s=15)
    assert function.invoke({"song": "1"}).answer == {"published": 1}

    own_kafka.kill()
    own_kafka.start()
    thawed = function.invoke({"song": "2"})

    assert thawed.answer == {"published": 1}, thawed.log
    assert songs(own_kafka.service, topic, 2) == [b'{"song":"1"}', b'{"song":"2"}']


def test_a_broker_that_is_away_is_told_before_the_time_is_up(
    own_kafka: Running[Kafka], start: Start
) -> None:
    """A function whose broker is away raises with finding, cause and events before Lambda ends
    it, logs the cause once, and serves again when the broker is back, without ghosts."""
    topic = make_topic(own_kafka.service)
    function = start(own_kafka.service, topic, timeout_s=15)
    assert function.invoke({"song": "1"}).answer == {"published": 1}
    pid = function.pid
    own_kafka.kill()

    failed = function.invoke({"song": "lost"}, timeout_s=3)

    assert failed.error is not None
    assert failed.error["errorType"] == "DeliveryFailed"
    assert "EP2004: 1 of 1 records did not go" in failed.error["errorMessage"]
    assert failed.log.count("connect failed: EP2004") == 1
    assert failed.log.count("delivery failed: EP2004") == 1
    assert '"song": "lost"' in failed.log
    own_kafka.start()
    assert function.invoke({"song": "2"}).answer == {"published": 1}
    assert function.pid == pid
    assert songs(own_kafka.service, topic, 2) == [b'{"song":"1"}', b'{"song":"2"}']


def test_a_role_opens_the_broker(kafka: Kafka, start: Start) -> None:
    """By IAM, with the keys of the function's environment, as on Amazon MSK; a key that is revoked
    is told as what the broker says."""
    key = kafka.add_key(session_token="a/session+token==")
    topic = make_topic(kafka)
    arguments = IAM_ARGUMENTS.format(ca_file=kafka.ca_file) + " rest_s_max=0,"
    keys = {
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_SESSION_TOKEN": key.session_token or "",
    }
    function = start(kafka, topic, arguments, timeout_s=20, environment=keys)

    first = function.invoke({"song": "1"})
    kafka.revoke(key)
    refused = function.invoke({"song": "2"}, timeout_s=5)

    assert first.answer == {"published": 1}, first.log
    assert "token by " in first.log
    assert refused.error is not None
    assert "Access denied" in refused.error["errorMessage"]
    assert key.secret_access_key not in first.log + refused.log
