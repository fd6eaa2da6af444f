"""What people get wrong about their queues, on real services: a clear error, and nothing is lost.

For each queue system one server has a source for every mistake at once. What an emulator cannot
refuse (permissions, clocks, tokens), a proxy before it answers as the real service does.
"""

import os
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.queue import QueueClient, QueueSasPermissions, generate_queue_sas

from eventpost.testing.fault_proxy import FaultProxy
from eventpost.testing.proxied_http import Asked
from eventpost.testing.receiver import Answer
from eventpost.testing.service_refusals import (
    AZURE_NO_ROLE,
    SQS_FORBIDDEN,
    aws_refusal,
    azure_refusal,
)
from tests.queues.leases.places import Place
from tests.queues.rabbitmq.brokers import administer
from tests.queues.sqs.raw import RawServer, silent
from tests.server.running import EVENT, Served, served, until
from tests.services.aws_clients import client as aws_client
from tests.services.azurite import ACCOUNT, KEY, Azurite, AzuriteWithTokens
from tests.services.certificates import Authority
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Moto
from tests.services.rabbitmq import STRANGER, RabbitMQ
from tests.services.service import fresh_name
from tests.sources.station import QUICK, bodies_of

pytestmark = pytest.mark.slow

TEN_MINUTES = timedelta(minutes=10)
NOT_FOR_TLS = {"EP2204", "EP2205", "EP2211"}
"""Servers of TLS answer plain text with an alert, or hang up: it depends on the server."""


@dataclass(frozen=True)
class Mistake:
    """Settings that are wrong, and what is told of them. Mended by the settings of the place."""

    findings: set[str]
    told: str = ""
    """Stands in the evidence."""
    settings: Mapping[str, Any] | None = None
    """None: those of the place are right, and its queue is not there yet."""


@dataclass(frozen=True)
class Ground:
    """One queue system: right settings, mistakes by name, and how a queue is made there."""

    kind: str
    connection_kind: str
    settings: dict[str, Any]
    mistakes: dict[str, Mistake]
    make: Callable[[str], None]
    options: dict[str, Any]

    def place(self, name: str) -> Place:
        return Place(self.kind, self.settings, name, self.options)


# --- grounds --------------------------------------------------------------------------------------


@contextmanager
def tls_server(authority: Authority) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue())
    with RawServer(silent, context) as server:
        yield server.port


@contextmanager
def refusing(port: int, operation: str, answer: Any) -> Iterator[str]:
    """The address of a proxy that lets through what is not this operation."""
    with FaultProxy("127.0.0.1", port) as proxy:
        proxy.when(operation, answer)
        yield f"127.0.0.1:{proxy.port}"


@contextmanager
def sqs(request: pytest.FixtureRequest) -> Iterator[Ground]:
    moto: Moto = request.getfixturevalue("moto")
    client = aws_client(moto.url, "sqs")
    keys = {"access_key_id": "env:BAD_INPUT_KEY_ID", "secret_access_key": "env:BAD_INPUT_SECRET"}
    right = {"region": REGION, "endpoint_url": moto.url, **keys}
    now = datetime.now(UTC)
    times = [f"{each:%Y%m%dT%H%M%SZ}" for each in (now - TEN_MINUTES, now)]
    skewed = f"Signature expired: {times[0]} is now earlier than {times[1]}"
    unscoped = "Credential should be scoped to a valid region, not 'eu-west-3'."
    refusals = {
        "no-permission": ("EP4101", "sqs:ReceiveMessage", SQS_FORBIDDEN),
        "signed-for-elsewhere": (
            "EP4518",
            "eu-west-3",
            aws_refusal("SignatureDoesNotMatch", 403, unscoped),
        ),
        "clock": ("EP4519", times[0], aws_refusal("SignatureDoesNotMatch", 403, skewed)),
        "expired-token": ("EP4511", "expired", aws_refusal("ExpiredToken", 403, "It is expired.")),
    }
    with ExitStack() as opened:
        mistakes = {
            name: Mistake(
                {finding},
                told,
                right | {"endpoint_url": f"http://{opened.enter_context(_before(moto, answer))}"},
            )
            for name, (finding, told, answer) in refusals.items()
        }
        tls = opened.enter_context(tls_server(request.getfixturevalue("authority")))
        mistakes["no-queue"] = Mistake({"EP4106"})
        mistakes["another-region"] = Mistake({"EP4106"}, "", right | {"region": "eu-west-3"})
        mistakes["plain-to-tls"] = Mistake(
            NOT_FOR_TLS, "", right | {"endpoint_url": f"http://127.0.0.1:{tls}"}
        )
        mistakes["unknown-authority"] = Mistake(
            {"EP2105"}, "", right | {"endpoint_url": f"https://localhost:{tls}"}
        )
        os.environ.update(BAD_INPUT_KEY_ID=ACCESS_KEY_ID, BAD_INPUT_SECRET=SECRET_ACCESS_KEY)
        yield Ground("sqs", "aws", right, mistakes, lambda name: _make_sqs(client, name), {})
    client.close()


def _before(moto: Moto, answer: Any) -> Any:
    return refusing(moto.ports["http"], "ReceiveMessage", answer)


def _make_sqs(client: Any, name: str) -> None:
    client.create_queue(QueueName=name)


@contextmanager
def storagequeue(request: pytest.FixtureRequest) -> Iterator[Ground]:
    azurite: Azurite = request.getfixturevalue("azurite")
    tokens: AzuriteWithTokens = request.getfixturevalue("azurite_with_tokens")

    def through(address: str) -> dict[str, Any]:
        return _storage(f"http://{address}/{ACCOUNT}")

    def ahead(asked: Asked) -> Answer:
        refused = azure_refusal("AuthenticationFailed")(asked)
        date = format_datetime(datetime.now(UTC) - TEN_MINUTES, usegmt=True)
        return replace(refused, headers={**refused.headers, "Date": date})

    refusals = {
        "no-permission": ("EP4202", "Storage Queue Data Message Processor", AZURE_NO_ROLE),
        "clock": ("EP4205", "ahead of the service's", ahead),
        "keys-not-permitted": ("EP4212", "", azure_refusal("KeyBasedAuthenticationNotPermitted")),
    }
    with ExitStack() as opened:
        mistakes = {
            name: Mistake(
                {finding},
                told,
                through(
                    opened.enter_context(refusing(azurite.ports["queue"], "GetMessages", answer))
                ),
            )
            for name, (finding, told, answer) in refusals.items()
        }
        plain = tokens.queue_url.replace("https:", "http:")
        mistakes["no-queue"] = Mistake({"EP4220"})
        mistakes["no-account"] = Mistake({"EP2001"}, "", _storage(f"http://a.invalid/{ACCOUNT}"))
        mistakes["plain-to-tls"] = Mistake(NOT_FOR_TLS, "", _storage(plain))
        mistakes["unknown-authority"] = Mistake({"EP2105"}, "", _storage(tokens.queue_url))
        mistakes["expired-sas"] = Mistake({"EP4204"}, "", _storage(azurite.queue_url, sas="over"))
        right = _storage(azurite.queue_url)
        make = partial(_make_storage, azurite)
        yield Ground("storagequeue", "azure-storage", right, mistakes, make, {})


def _storage(queue_url: str, *, sas: str = "") -> dict[str, Any]:
    """Settings whose secret stands in the environment."""
    who = f"AccountKey={KEY}"
    if sas:
        # Times are all that is wrong: the queue's name is not looked at before them.
        signed = generate_queue_sas(
            ACCOUNT,
            "expired-sas",
            KEY,
            permission=QueueSasPermissions.from_string("raup"),
            expiry=datetime.now(UTC) - TEN_MINUTES,
        )
        who = f"SharedAccessSignature={signed}"
    name = f"BAD_INPUT_{abs(hash((queue_url, sas)))}"
    os.environ[name] = f"AccountName={ACCOUNT};{who};QueueEndpoint={queue_url}"
    return {"connection_string": f"env:{name}"}


def _make_storage(azurite: Azurite, name: str) -> None:
    with QueueClient.from_connection_string(azurite.connection_string, name) as client:
        client.create_queue()


@contextmanager
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[Ground]:
    server: RabbitMQ = request.getfixturevalue("rabbitmq")
    authority: Authority = request.getfixturevalue("authority")
    right = {"host": "localhost", "port": server.ports["amqp"]}
    tls = {"host": "localhost", "port": server.ports["amqps"], "tls": True}
    trusted = tls | {"ca_file": str(server.ca_file)}
    me = str(authority.issue("client.example", file_name="bad-input.pem"))
    os.environ.update(BAD_INPUT_STRANGER=STRANGER, BAD_INPUT_WRONG="wrong")
    stranger = {"user": STRANGER, "password": "env:BAD_INPUT_STRANGER"}
    external = {"auth": "external", "certificate_file": me}
    mistakes = {
        "no-queue": Mistake({"EP4307"}),
        "no-permission": Mistake({"EP4306"}, "", right | stranger),
        "wrong-password": Mistake(
            {"EP4301"}, "", right | stranger | {"password": "env:BAD_INPUT_WRONG"}
        ),
        "no-virtual-host": Mistake({"EP4303"}, "radio", right | {"vhost": "radio"}),
        "plain-to-tls": Mistake({"EP4319"}, "", right | {"port": server.ports["amqps"]}),
        "tls-to-plain": Mistake({"EP4320"}, "", tls | {"port": server.ports["amqp"]}),
        "unknown-authority": Mistake({"EP2105"}, "", tls),
        "mechanism": Mistake({"EP4302"}, "PLAIN", trusted | external),
    }

    def make(name: str) -> None:
        async def declare(channel: Any) -> None:
            await channel.declare_queue(name, durable=True)

        administer(server, declare)

    yield Ground("rabbitmq", "rabbitmq", right, mistakes, make, {})


GROUNDS = {"sqs": sqs, "storagequeue": storagequeue, "rabbitmq": rabbitmq}


# --- the test -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GROUNDS)
def test_every_mistake_is_told_and_mended(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each mistake makes its own source fail, with its finding, its cause and its fix, while the
    grid takes events; when it is mended the message that waited becomes an event, once."""
    with (
        GROUNDS[kind](request) as ground,
        served(tmp_path / "data", QUICK) as server,
        server.admin() as admin,
    ):
        queues = {name: fresh_name(name) for name in ground.mistakes}
        waiting = [name for name, one in ground.mistakes.items() if one.settings is not None]
        for name in waiting:
            ground.make(queues[name])
            ground.place(queues[name]).send([f'"{name}"'])
        admin.post("/topics", json={"name": "songs"})
        for name, mistake in ground.mistakes.items():
            declare(admin, ground, name, queues[name], mistake.settings or ground.settings)

        for name, mistake in ground.mistakes.items():
            until(lambda name=name: shown(admin, name)["state"] == "failing")  # type: ignore[misc]
            check(mistake, shown(admin, name)["failures"][0], name)
        check_grid_goes_on(server)

        for name, mistake in ground.mistakes.items():
            if mistake.settings is None:
                ground.make(queues[name])
                ground.place(queues[name]).send([f'"{name}"'])
            else:
                right = dict.fromkeys(mistake.settings) | ground.settings  # null takes out
                told = admin.patch(f"/connections/{name}", json={"settings": right})
                assert told.status_code == 200, told.text
        expected = Counter(f'"{name}"' for name in ground.mistakes)
        until(lambda: published(server) >= expected)
        for name in ground.mistakes:
            until(lambda name=name: shown(admin, name)["counts"]["settled"] == 1)  # type: ignore[misc]
            assert shown(admin, name)["failures"] == []
        assert all(count == 1 for body, count in published(server).items() if body in expected)


def declare(
    admin: httpx.Client, ground: Ground, name: str, queue: str, settings: Mapping[str, Any]
) -> None:
    connection = {"name": name, "kind": ground.connection_kind, "settings": dict(settings)}
    told = admin.post("/connections", json=connection)
    assert told.status_code == 201, told.text
    source = {
        "name": name,
        "topic": "songs",
        "kind": ground.kind,
        "queue": queue,
        "connection": name,
        "options": ground.options,
        "format": "raw",
    }
    told = admin.post("/sources", json=source)
    assert told.status_code == 201, told.text


def check(mistake: Mistake, failure: dict[str, Any], name: str) -> None:
    assert failure["finding"] in mistake.findings, (name, failure)
    assert mistake.told in failure["evidence"].get("detail", ""), (name, failure)
    assert failure["cause"], name
    assert failure["fix"], name


def check_grid_goes_on(server: Served) -> None:
    """An event is taken, and the process is ready."""
    with server.http() as client:
        assert client.get("/readyz").status_code == 200
        told = client.post(
            "/topics/songs/api/events",
            json=[EVENT],
            headers={"aeg-sas-key": server.key("songs")},
        )
        assert told.status_code == 200, told.text


def shown(admin: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(f"/sources/{name}").json()
    return found


def published(server: Served) -> Counter[str]:
    return server.loop.run(bodies_of(server, "songs"))
