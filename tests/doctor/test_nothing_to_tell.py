"""A set-up that works has no finding anywhere: one on each queue system, under a load of events."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost.config.settings import AlertSettings, Settings
from eventpost.core.outcomes import Failed
from eventpost.credentials import aws, azure
from eventpost.testing.aws_metadata import AwsMetadata
from eventpost.testing.azure_identity import AzureIdentity
from eventpost.testing.receiver import Receiver
from tests.doctor.wards import examined, verdict
from tests.moving import ends
from tests.queues.kafka.roles import LIFE_S, Role
from tests.server.running import EVENT, Served, served, until
from tests.services.aws import REGION
from tests.services.azurite import AzuriteWithTokens
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow

SERVICES: dict[str, Callable[[Any], dict[str, object]]] = {
    "rabbitmq": ends.rabbitmq,
    "azurite": ends.azure,
    "elasticmq": ends.sqs,
    "kafka": ends.kafka,
}
REQUESTS, EVENTS = 10, 10
PATIENCE_S = 120.0
ALWAYS_DUE_S = 660.0
"""Within 15 minutes of their end the SDK renews keys at every use, and may fail at it before 10."""
NEVER_REVOKED = 1_000
TOKEN_LIFE_S = 240.0
"""Within five minutes of its end a token is due for renewal, with us and with the SDK."""


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    """Where the events end, and who is told of the server's health."""
    last, onlooker = Receiver(), Receiver(path="/health")
    yield last, onlooker
    last.close()
    onlooker.close()


def declared(
    settings: dict[str, object], queue: str, last: Receiver, onlooker: Receiver
) -> dict[str, dict[str, dict[str, Any]]]:
    """Events go from one topic into a queue, out of it into another topic, and to a handler."""
    system = ends.SYSTEMS[str(settings["kind"])]
    at = {"connection": "station", "options": ends.CREATE[str(settings["kind"])]}
    return {
        "connections": {"station": settings},
        "topics": {"songs": {}, "heard": {}},
        "sources": {"jobs": {"kind": system, "queue": queue, "topic": "heard", **at}},
        "subscriptions": {
            "out": {
                "topic": "songs",
                "endpoint_type": system,
                "endpoint": queue,
                "connection": "station",
            },
            "handler": {"topic": "heard", "endpoint": last.url},
            "onlooker": {"topic": "eventpost.health", "endpoint": onlooker.url},
        },
    }


def declare(admin: httpx.Client, config: dict[str, dict[str, dict[str, Any]]]) -> None:
    for what in ("connections", "topics", "sources", "subscriptions"):
        for name, fields in config[what].items():
            body = {_camel(key): value for key, value in fields.items()} | {"name": name}
            if what == "connections":
                given = {key: value for key, value in fields.items() if key != "kind"}
                body = {"name": name, "kind": fields["kind"], "settings": given}
            created = admin.post(f"/{what}", json=body)
            assert created.status_code == 201, created.text


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(each.title() for each in rest)


@pytest.mark.parametrize("system", SERVICES)
def test_a_healthy_set_up(
    system: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    receivers: tuple[Receiver, Receiver],
) -> None:
    """While hundreds of events pass through, neither the doctor nor the management API nor the
    topic of the server's health tells a finding."""
    settings = SERVICES[system](request.getfixturevalue(system))

    check_that_nothing_is_told(settings, tmp_path, receivers)


@pytest.fixture
def metadata(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AwsMetadata]:
    """Whoever asks for credentials gets those of a task's role, and no others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    aws.close_all()
    with AwsMetadata() as metadata:
        for name, value in metadata.container().items():
            monkeypatch.setenv(name, value)
        yield metadata
    aws.close_all()


def test_keys_of_sqs_rotate(
    elasticmq: ElasticMQ,
    metadata: AwsMetadata,
    tmp_path: Path,
    receivers: tuple[Receiver, Receiver],
) -> None:
    """So it is while the keys of a role rotate: ones that are always due for renewal, and new ones
    before each request."""
    metadata.keys.life_s = ALWAYS_DUE_S
    settings: dict[str, object] = {
        "kind": "aws",
        "region": REGION,
        "endpoint_url": elasticmq.url,
    }

    check_that_nothing_is_told(settings, tmp_path, receivers, metadata.rotate)

    assert len(metadata.keys.issued) > 2 * REQUESTS


def test_keys_of_kafka_rotate(
    kafka: Kafka, metadata: AwsMetadata, tmp_path: Path, receivers: tuple[Receiver, Receiver]
) -> None:
    """So it is while the keys rotate that tokens for Kafka's brokers are signed with, which verify
    them; older keys are good a while beside the new ones, as a platform rotates them."""
    metadata.keys.life_s = LIFE_S
    metadata.rotate()
    role = Role(kafka, metadata)
    settings: dict[str, object] = {
        "kind": "kafka",
        "bootstrap": [kafka.address("iam")],
        "auth": "msk-iam",
        "region": REGION,
        "ca_file": str(kafka.ca_file),
        "config": {"broker.address.family": "v4"},
    }

    rotations = itertools.count(1)

    def rotate() -> None:
        asked = len(metadata.asked)
        role.rotate(left=NEVER_REVOKED)
        if next(rotations) % REQUESTS == 0:  # tokens are signed with new keys once they are due
            until(lambda: len(metadata.asked) > asked, patience_s=PATIENCE_S)

    check_that_nothing_is_told(settings, tmp_path, receivers, rotate)


def test_tokens_of_storage_rotate(
    azurite_with_tokens: AzuriteWithTokens,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    receivers: tuple[Receiver, Receiver],
) -> None:
    """So it is while the tokens of a managed identity rotate: ones that are always due for
    renewal."""
    azure.close_all()
    authority = str(azurite_with_tokens.ca_file)
    monkeypatch.setenv("SSL_CERT_FILE", authority)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority)
    with AzureIdentity(life_s=TOKEN_LIFE_S) as identity:
        for name, value in identity.app_service().items():
            monkeypatch.setenv(name, value)
        settings: dict[str, object] = {
            "kind": "azure-storage",
            "account_url": azurite_with_tokens.queue_url,
        }

        check_that_nothing_is_told(settings, tmp_path, receivers)

        assert len(identity.tokens) > REQUESTS
    azure.close_all()


def check_that_nothing_is_told(
    settings: dict[str, object],
    directory: Path,
    receivers: tuple[Receiver, Receiver],
    before_each: Callable[[], object] = lambda: None,
) -> None:
    """Events through a queue and out of it again, `before_each` request of them."""
    last, onlooker = receivers
    queue = fresh_name("healthy")
    with ends.opened(ends.end(settings, queue)) as made:
        assert not isinstance(made.receive(1, 0.0, 30.0), Failed)  # now it is there
    config = declared(settings, queue, last, onlooker)
    alerts = Settings(alerts=AlertSettings(interval_s=0))  # looked for when the test wants it
    with served(directory, alerts) as server, server.admin() as admin:
        declare(admin, config)
        publish(server, before_each)
        server.loop.run(server.app.alerts.look())
        found = [examined(dict(config), name) for name in ("station", "jobs", "out", "handler")]
        publish(server, before_each)
        until(lambda: len(last.ids) >= 2 * REQUESTS * EVENTS, patience_s=PATIENCE_S)
        server.loop.run(server.app.alerts.look())
        alerts_told = server.call(lambda: server.app.alerts.active)
        shown = [admin.get(f"/subscriptions/{name}").json() for name in config["subscriptions"]]
        source = admin.get("/sources/jobs").json()

    assert [verdict(each) for each in found] == [("", "")] * len(found), found
    assert not [each for each in found if each.warnings]
    assert [(each["findings"], each["lastFailures"]) for each in shown] == [([], [])] * len(shown)
    assert source["failures"] == []
    assert alerts_told == []
    assert onlooker.requests == []
    assert len(set(last.ids)) == 2 * REQUESTS * EVENTS


def publish(server: Served, before_each: Callable[[], object]) -> None:
    with server.http() as http:
        http.headers["aeg-sas-key"] = server.key("songs")
        for number in range(REQUESTS):
            before_each()
            events = [{**EVENT, "id": fresh_name(str(number))} for _ in range(EVENTS)]
            assert http.post("/topics/songs/api/events", json=events).status_code == 200
