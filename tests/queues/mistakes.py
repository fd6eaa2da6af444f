"""What people get wrong about their queues, on real services, as a source and as a destination.

A ground is one queue system with every mistake that can be made there. What an emulator cannot
refuse (permissions, clocks, tokens), a proxy before it answers as the real service does.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any, Literal

import pytest
from azure.storage.queue import QueueClient, QueueSasPermissions, generate_queue_sas
from confluent_kafka.admin import AclOperation, AclPermissionType

from eventpost.credentials import aws
from eventpost.testing.aws_identity import AwsIdentity, refusal
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
from tests.services.aws_clients import client as aws_client
from tests.services.azurite import ACCOUNT, KEY, Azurite, AzuriteWithTokens
from tests.services.certificates import Authority
from tests.services.kafka import PASSWORD, USER, Kafka
from tests.services.kafka_clients import add_rules, make_topic, topic_rule
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Moto
from tests.services.rabbitmq import STRANGER, RabbitMQ
from tests.services.service import fresh_name

Wants = Literal["receive", "send"]
REQUEST_MS = 8_000
"""Of Kafka, which tells a cause only when a request's time is over: long enough for a busy machine
to find it."""
TEN_MINUTES = timedelta(minutes=10)
KEYS = {"access_key_id": "env:BAD_INPUT_KEY_ID", "secret_access_key": "env:BAD_INPUT_SECRET"}
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
    forbid: Callable[[str], None] = lambda _: None
    """Takes a right away from the queue of that name."""


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


def skewed_signature() -> tuple[str, str]:
    """What AWS says of a clock that is slow, and the time of it that it names."""
    now = datetime.now(UTC)
    signed, arrived = (f"{each:%Y%m%dT%H%M%SZ}" for each in (now - TEN_MINUTES, now))
    return f"Signature expired: {signed} is now earlier than {arrived}", signed


@contextmanager
def sqs(request: pytest.FixtureRequest, wants: Wants) -> Iterator[Ground]:
    moto: Moto = request.getfixturevalue("moto")
    client = aws_client(moto.url, "sqs")
    secret(request, BAD_INPUT_KEY_ID=ACCESS_KEY_ID, BAD_INPUT_SECRET=SECRET_ACCESS_KEY)
    right = {"region": REGION, "endpoint_url": moto.url} | KEYS
    skewed, signed = skewed_signature()
    unscoped = "Credential should be scoped to a valid region, not 'eu-west-3'."
    action = {"receive": "ReceiveMessage", "send": "SendMessage"}[wants]
    operation = {"receive": "ReceiveMessage", "send": "SendMessageBatch"}[wants]
    refusals = {
        "no-permission": ("EP4101", f"sqs:{action}", SQS_FORBIDDEN),
        "signed-for-elsewhere": (
            "EP4518",
            "eu-west-3",
            aws_refusal("SignatureDoesNotMatch", 403, unscoped),
        ),
        "clock": ("EP4519", signed, aws_refusal("SignatureDoesNotMatch", 403, skewed)),
        "expired-token": ("EP4511", "expired", aws_refusal("ExpiredToken", 403, "It is expired.")),
    }
    with ExitStack() as opened:
        mistakes = {
            name: Mistake(
                {finding},
                told,
                right
                | {
                    "endpoint_url": "http://"
                    + opened.enter_context(refusing(moto.ports["http"], operation, answer))
                },
            )
            for name, (finding, told, answer) in refusals.items()
        }
        tls = opened.enter_context(tls_server(request.getfixturevalue("authority")))
        mistakes["no-queue"] = Mistake({"EP4106"})
        mistakes["another-region"] = Mistake({"EP4106"}, "", right | {"region": "eu-west-3"})
        mistakes["misspelt-region"] = Mistake(
            {"EP4524"}, "us-east-1", KEYS | {"region": "us-east1"}
        )
        mistakes["plain-to-tls"] = Mistake(
            NOT_FOR_TLS, "", right | {"endpoint_url": f"http://127.0.0.1:{tls}"}
        )
        mistakes["unknown-authority"] = Mistake(
            {"EP2105"}, "", right | {"endpoint_url": f"https://localhost:{tls}"}
        )
        yield Ground("sqs", "aws", right, mistakes, lambda name: _make_sqs(client, name), {})
    client.close()


def secret(request: pytest.FixtureRequest, **values: str) -> None:
    """What settings name, until the test is over."""
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name, value in values.items():
        patch.setenv(name, value)


def _make_sqs(client: Any, name: str) -> None:
    client.create_queue(QueueName=name)


@contextmanager
def storagequeue(request: pytest.FixtureRequest, wants: Wants) -> Iterator[Ground]:
    azurite: Azurite = request.getfixturevalue("azurite")
    tokens: AzuriteWithTokens = request.getfixturevalue("azurite_with_tokens")

    def storage(name: str, queue_url: str, who: str = f"AccountKey={KEY}") -> dict[str, Any]:
        """Settings whose secret stands in the environment."""
        variable = f"BAD_INPUT_{name.upper().replace('-', '_')}"
        value = f"AccountName={ACCOUNT};{who};QueueEndpoint={queue_url}"
        secret(request, **{variable: value})
        return {"connection_string": f"env:{variable}"}

    def ahead(asked: Asked) -> Answer:
        refused = azure_refusal("AuthenticationFailed")(asked)
        date = format_datetime(datetime.now(UTC) - TEN_MINUTES, usegmt=True)
        return replace(refused, headers={**refused.headers, "Date": date})

    operation = {"receive": "GetMessages", "send": "PutMessage"}[wants]
    role = {"receive": "Storage Queue Data Message Processor", "send": "Message Sender"}[wants]
    refusals = {
        "no-permission": ("EP4202", role, AZURE_NO_ROLE),
        "clock": ("EP4205", "ahead of the service's", ahead),
        "keys-not-permitted": ("EP4212", "", azure_refusal("KeyBasedAuthenticationNotPermitted")),
    }
    with ExitStack() as opened:
        mistakes: dict[str, Mistake] = {}
        for name, (finding, told, answer) in refusals.items():
            before = opened.enter_context(refusing(azurite.ports["queue"], operation, answer))
            settings = storage(name, f"http://{before}/{ACCOUNT}")
            mistakes[name] = Mistake({finding}, told, settings)
        plain = tokens.queue_url.replace("https:", "http:")
        now = datetime.now(UTC)
        over = signature(now - 2 * TEN_MINUTES, now - TEN_MINUTES)
        early = signature(now + TEN_MINUTES, now + 2 * TEN_MINUTES)
        elsewhere = {
            "no-account": ({"EP2001"}, f"http://a.invalid/{ACCOUNT}", ""),
            "plain-to-tls": (NOT_FOR_TLS, plain, ""),
            "unknown-authority": ({"EP2105"}, tokens.queue_url, ""),
            "expired-sas": ({"EP4204"}, azurite.queue_url, over),
            "sas-of-a-fast-clock": ({"EP4206"}, azurite.queue_url, early),
        }
        for name, (findings, url, sas) in elsewhere.items():
            settings = storage(name, url, *([sas] if sas else []))
            mistakes[name] = Mistake(findings, "", settings)
        mistakes["no-queue"] = Mistake({"EP4220"})
        right = storage("right", azurite.queue_url)
        make = partial(_make_storage, azurite)
        yield Ground("storagequeue", "azure-storage", right, mistakes, make, {})


def signature(start: datetime, end: datetime) -> str:
    """A shared access signature whose times are all that is wrong: the queue's name is not looked
    at before them."""
    permission = QueueSasPermissions.from_string("raup")
    signed = generate_queue_sas(ACCOUNT, "any", KEY, permission=permission, start=start, expiry=end)
    return f"SharedAccessSignature={signed}"


def _make_storage(azurite: Azurite, name: str) -> None:
    with QueueClient.from_connection_string(azurite.connection_string, name) as client:
        client.create_queue()


@contextmanager
def rabbitmq(request: pytest.FixtureRequest, _wants: Wants) -> Iterator[Ground]:
    server: RabbitMQ = request.getfixturevalue("rabbitmq")
    authority: Authority = request.getfixturevalue("authority")
    right = {"host": "localhost", "port": server.ports["amqp"]}
    tls = {"host": "localhost", "port": server.ports["amqps"], "tls": True}
    trusted = tls | {"ca_file": str(server.ca_file)}
    me = str(authority.issue("client.example", file_name="bad-input.pem"))
    secret(request, BAD_INPUT_STRANGER=STRANGER, BAD_INPUT_WRONG="wrong")
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


@contextmanager
def kafka(request: pytest.FixtureRequest, wants: Wants) -> Iterator[Ground]:
    """Who comes in at `password` may do what no rule forbids; who comes in plainly, everything."""
    server: Kafka = request.getfixturevalue("kafka")
    quick = {"request_timeout_ms": REQUEST_MS}
    right = {"bootstrap": [server.address("plain")]} | quick
    tls = {"bootstrap": [server.address("tls")], "tls": True} | quick
    trusted = {"tls": True, "ca_file": str(server.ca_file)} | quick
    secret(request, BAD_INPUT_PASSWORD=PASSWORD, BAD_INPUT_WRONG="wrong")
    who = {"auth": "plain", "username": USER, "password": "env:BAD_INPUT_PASSWORD"}
    singer = trusted | who | {"bootstrap": [server.address("password")]}
    at_iam = trusted | {"bootstrap": [server.address("iam")]}
    iam = at_iam | {"auth": "msk-iam", "region": REGION}
    mistakes = {
        "no-queue": Mistake({"EP4408"}),
        "no-permission": Mistake({"EP4406"}, "", singer, partial(_forbid, server, wants)),
        "wrong-password": Mistake({"EP4402"}, "", singer | {"password": "env:BAD_INPUT_WRONG"}),
        "plain-to-tls": Mistake({"EP4404"}, "", right | {"bootstrap": tls["bootstrap"]}),
        "tls-to-plain": Mistake({"EP2109"}, "", right | {"tls": True}),
        "unknown-authority": Mistake({"EP2107"}, "", tls),
        "mechanism": Mistake({"EP4403"}, "", at_iam | who),
        # The broker says nothing of the cause, AWS itself does a moment later.
        "expired-token": Mistake({"EP4402", "EP4511"}, "", iam),
        "another-region": Mistake({"EP4402", "EP4511"}, "", iam | {"region": "eu-west-3"}),
    }
    options = {"group": fresh_name("group"), "session_timeout_ms": 6_000}
    with AwsIdentity() as sts:
        sts.caller_refusal = refusal("ExpiredToken", "The security token has expired", 403)
        secret(request, **sts.environment(), AWS_SESSION_TOKEN="over")
        secret(request, AWS_ACCESS_KEY_ID="ASIA0001EXAMPLE", AWS_SECRET_ACCESS_KEY="secret")
        yield Ground("kafka", "kafka", right, mistakes, partial(_make_topic, server), options)
    aws.close_all()


def _make_topic(server: Kafka, name: str) -> None:
    make_topic(server, name=name)


def _forbid(server: Kafka, wants: Wants, topic: str) -> None:
    operation = {"receive": AclOperation.READ, "send": AclOperation.WRITE}[wants]
    add_rules(server, topic_rule(topic, f"User:{USER}", AclPermissionType.DENY, operation))


GROUNDS = {"sqs": sqs, "storagequeue": storagequeue, "rabbitmq": rabbitmq, "kafka": kafka}
