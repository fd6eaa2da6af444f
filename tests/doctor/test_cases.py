"""The cases that people lost days to, from end to end: what they would have seen from the doctor.

(a) a queue of Azure Storage that answers 403, (b) a container without a usable role, (c) a function
that does not reach Amazon MSK, (d) webhooks. What no emulator can refuse is refused by a proxy in
front of one, with the bytes of the real service's answer (`eventpost.testing.service_refusals`).
What is told apart on a real Kafka and at a handshake is in `test_kafka` and `test_webhooks`.
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient

from eventpost.app.doctor.declarations import of_values
from eventpost.app.doctor.subjects import subjects
from eventpost.core.outcomes import Failed
from eventpost.credentials import aws
from eventpost.diagnosis.doctor.climbing import PARALLEL_MAX, SECONDS_MAX, examine
from eventpost.diagnosis.history import Attempt
from eventpost.diagnosis.ranking import Circumstances, rank
from eventpost.queues.storagequeue import StorageQueue
from eventpost.testing.aws_metadata import AwsMetadata
from eventpost.testing.fault_proxy import Choice, FaultProxy
from eventpost.testing.proxied_http import Asked
from eventpost.testing.service_refusals import azure_refusal
from tests.doctor.wards import (
    black_hole,
    connected,
    examined,
    names,
    peer,
    refused_port,
    saying,
    verdict,
)
from tests.queues.storagequeue.azure import queue_at, session_to
from tests.services.azurite import ACCOUNT, Azurite
from tests.services.kafka import Kafka
from tests.services.service import fresh_name

slow = pytest.mark.slow
FIREWALL = azure_refusal("AuthorizationFailure")
ROLE = azure_refusal("AuthorizationPermissionMismatch")
Rule = Callable[[Asked], bool]


# --- (a) 403 from a storage queue -----------------------------------------------------------------


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", azurite.ports["queue"]) as proxy:
        yield proxy


@pytest.fixture
def queue(azurite: Azurite) -> Iterator[str]:
    name = fresh_name("queue")
    with QueueClient.from_connection_string(azurite.connection_string, name) as client:
        client.create_queue()
        yield name


def behind(proxy: FaultProxy, azurite: Azurite, queue: str) -> dict[str, object]:
    key = azurite.connection_string.partition("AccountKey=")[2].partition(";")[0]
    os.environ["CASE_STORAGE"] = (
        f"AccountName={ACCOUNT};AccountKey={key};"
        f"QueueEndpoint=http://127.0.0.1:{proxy.port}/{ACCOUNT};BlobEndpoint={azurite.blob_url}"
    )
    at = {"connection": "patient", "topic": "songs"}
    return {
        "connections": {
            "patient": {"kind": "azure-storage", "connection_string": "env:CASE_STORAGE"}
        },
        "topics": {"songs": {}},
        "sources": {"jobs": {"kind": "storagequeue", "queue": queue, **at}},
    }


REFUSALS: dict[str, tuple[Choice, str | Rule, tuple[str, str]]] = {
    "the firewall, everything": (
        FIREWALL,
        lambda asked: True,
        ("authentication", "EP4201"),
    ),
    "the firewall, the delete only": (
        FIREWALL,
        "DeleteMessage",
        ("authorization", "EP6012"),
    ),
    "a role without the delete": (
        ROLE,
        "DeleteMessage",
        ("authorization", "EP4202"),
    ),
    "a role without the extension of leases": (
        ROLE,
        "UpdateMessage",
        ("authorization", "EP4202"),
    ),
    "a key that was rotated": (
        azure_refusal("AuthenticationFailed"),
        lambda asked: True,
        ("authentication", "EP4203"),
    ),
    "keys that are not permitted": (
        azure_refusal("KeyBasedAuthenticationNotPermitted"),
        lambda asked: True,
        ("authentication", "EP4212"),
    ),
    "a SAS for other addresses": (
        azure_refusal("AuthorizationSourceIPMismatch"),
        lambda asked: True,
        ("authentication", "EP4209"),
    ),
    "a SAS without the queue service": (
        azure_refusal("AuthorizationServiceMismatch"),
        lambda asked: True,
        ("authentication", "EP4211"),
    ),
    "an account that is disabled": (
        azure_refusal("AccountIsDisabled"),
        lambda asked: True,
        ("authentication", "EP4213"),
    ),
}


@slow
@pytest.mark.cites(
    "https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes",
    "https://github.com/microsoft/AzureStorageExplorer/issues/8769",
    "https://github.com/Azure/AI-Landing-Zones/issues/64",
)
@pytest.mark.parametrize("case", REFUSALS)
def test_a_storage_queue_that_answers_403(
    azurite: Azurite, proxy: FaultProxy, queue: str, case: str
) -> None:
    """Firewall, role, key, SAS and account are told apart, at the rung where each belongs."""
    answer, matches, wanted = REFUSALS[case]
    proxy.when(matches, answer)

    found = examined(behind(proxy, azurite, queue), "jobs")

    assert verdict(found) == wanted, found
    assert {"settings", "credentials", "name", "route"} <= set(found.proven)


@slow
@pytest.mark.cites("https://github.com/microsoft/AzureStorageExplorer/issues/8769")
def test_a_delete_that_is_refused_now_and_then(
    azurite: Azurite, proxy: FaultProxy, queue: str
) -> None:
    """A delete that is refused now and then, with the same key, is several egress addresses, and
    neither a role nor a key: seen over real requests, one after another."""
    proxy.when("DeleteMessage", FIREWALL, times=1)
    proxy.when("DeleteMessage", FIREWALL, times=1, skip=2)
    url = f"http://127.0.0.1:{proxy.port}/{ACCOUNT}"
    opened = queue_at(session_to(url, azurite.blob_url, account=ACCOUNT, key=azurite.key), queue)
    attempts = _settling(opened, azurite, queue, count=6)
    opened.close()

    failed = [each for each in attempts if each.evidence is not None]
    assert len(failed) == 2, attempts
    assert failed[0].evidence is not None
    found = rank(failed[0].evidence, Circumstances(attempts=tuple(attempts)))
    assert found.code == "EP6012", found
    assert {"EP4202", "EP4203"} <= {each.code for each in found.ruled_out}


def _settling(opened: StorageQueue, azurite: Azurite, queue: str, *, count: int) -> list[Attempt]:
    with QueueClient.from_connection_string(azurite.connection_string, queue) as client:
        for index in range(count):
            client.send_message(str(index))
    page = opened.receive(count, 0.0, 30.0)
    assert isinstance(page, list)
    attempts = []
    for index, each in enumerate(page):
        [verdict_of] = opened.settle([each])
        evidence = verdict_of.evidence if isinstance(verdict_of, Failed) else None
        attempts.append(Attempt(at_ms=index, operation="settle", evidence=evidence))
    return attempts


# --- (b) a container without a usable role --------------------------------------------------------


@pytest.fixture
def metadata() -> Iterator[AwsMetadata]:
    with AwsMetadata() as metadata:
        yield metadata


Surround = Callable[[pytest.MonkeyPatch, AwsMetadata, Path], None]


def _set(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def _hop_limit(monkeypatch: pytest.MonkeyPatch, metadata: AwsMetadata, _: Path) -> None:
    metadata.loses_token_replies = True
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    _set(monkeypatch, **metadata.instance())


def _unreadable_token(monkeypatch: pytest.MonkeyPatch, metadata: AwsMetadata, folder: Path) -> None:
    token = folder / "token"
    token.write_text("a token")
    _set(monkeypatch, **metadata.container(token_file=token))
    token.unlink()


def _refusing_agent(monkeypatch: pytest.MonkeyPatch, metadata: AwsMetadata, _: Path) -> None:
    variables = metadata.container(token="right")
    _set(monkeypatch, **{**variables, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "wrong"})


def _agent_that_is_away(monkeypatch: pytest.MonkeyPatch, metadata: AwsMetadata, _: Path) -> None:
    _set(monkeypatch, **metadata.container())
    metadata.refuse()


def _other_host(monkeypatch: pytest.MonkeyPatch, *_: object) -> None:
    _set(monkeypatch, AWS_CONTAINER_CREDENTIALS_FULL_URI="http://198.51.100.1/v1")


def _web_identity(monkeypatch: pytest.MonkeyPatch, _: AwsMetadata, folder: Path) -> None:
    _set(
        monkeypatch,
        AWS_WEB_IDENTITY_TOKEN_FILE=str(folder / "none"),
        AWS_ROLE_ARN="arn:aws:iam::123456789012:role/station",
    )


CONTAINERS: dict[str, tuple[Surround, str, str]] = {
    "no role at all": (lambda *_: None, "EP4501", "this is no task with a role"),
    "half-set keys": (
        lambda monkeypatch, *_: _set(monkeypatch, AWS_ACCESS_KEY_ID="AKIAEXAMPLE0000000"),
        "EP4502",
        "AWS_SECRET_ACCESS_KEY is missing",
    ),
    "a secret without its key id": (
        lambda monkeypatch, *_: _set(monkeypatch, AWS_SECRET_ACCESS_KEY="x"),
        "EP4502",
        "AWS_ACCESS_KEY_ID is missing",
    ),
    "a hop limit of 1": (_hop_limit, "EP4508", "hop limit"),
    "a token file that is gone": (_unreadable_token, "EP4506", "FULL_URI is set"),
    "an agent that refuses the token": (_refusing_agent, "EP4504", "FULL_URI is set"),
    "an agent that is away": (_agent_that_is_away, "EP4503", "FULL_URI is set"),
    "an address that is none of an agent's": (_other_host, "EP4505", "FULL_URI is set"),
    "a web identity's file that is missing": (_web_identity, "EP4515", "is not there"),
    "a profile that is not there": (
        lambda monkeypatch, *_: _set(monkeypatch, AWS_PROFILE="staging"),
        "EP4513",
        "profile staging",
    ),
}


@slow
@pytest.mark.parametrize("case", CONTAINERS)
def test_a_container_without_a_usable_role(
    metadata: AwsMetadata, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    """Each way of having no credentials ends the climb at that rung, with what every link of the
    chain has to go by; the chain itself is left as it is."""
    surround, code, said = CONTAINERS[case]
    surround(monkeypatch, metadata, tmp_path)

    found = connected({"kind": "aws", "region": "eu-west-1"})

    assert verdict(found) == ("credentials", code), found
    assert found.broken is not None
    assert said in found.broken.detail
    assert "settings" in found.proven


@slow
def test_environment_keys_hide_the_role(
    metadata: AwsMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Static keys that were left in a task's definition answer before its role, and that is told;
    with the role alone, the link that answers is the container's, renewed in time."""
    _set(monkeypatch, **metadata.container())
    role = connected({"kind": "aws", "region": "eu-west-1", "endpoint_url": "http://127.0.0.1:9"})
    _set(monkeypatch, AWS_ACCESS_KEY_ID="AKIAEXAMPLE0000000", AWS_SECRET_ACCESS_KEY="x")
    aws.close_all()
    with refused_port() as port:
        url = f"http://127.0.0.1:{port}"
        hidden = connected({"kind": "aws", "region": "eu-west-1", "endpoint_url": url})

    assert role.rungs[1].detail.startswith("container-role (ASIA****"), role
    assert "renewed before that" in role.rungs[1].detail
    assert "env" in role.rungs[1].detail.partition("passed over: ")[2]
    assert hidden.rungs[1].detail.startswith("env (AKIA****"), hidden


@slow
def test_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue without a region is told by the missing region, not by the credentials."""
    _set(monkeypatch, AWS_ACCESS_KEY_ID="AKIAEXAMPLE0000000", AWS_SECRET_ACCESS_KEY="x")
    declared: dict[str, object] = {
        "connections": {"patient": {"kind": "aws"}},
        "topics": {"songs": {}},
        "sources": {
            "jobs": {"kind": "sqs", "connection": "patient", "queue": "jobs", "topic": "songs"}
        },
    }

    found, account = examined(declared, "jobs"), examined(declared, "patient")

    assert verdict(found) == ("endpoint", "EP4517"), found
    assert verdict(account) == ("", ""), account


# --- (c) a function that does not reach Amazon MSK ------------------------------------------------


@slow
def test_a_token_of_credentials_that_were_revoked(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker says the same for each reason not to let a token in; the ladder below it, and the
    clock, say what it is not."""
    key = kafka.add_key()
    _set(
        monkeypatch,
        AWS_ACCESS_KEY_ID=key.access_key_id,
        AWS_SECRET_ACCESS_KEY=f"{key.secret_access_key}x",
    )
    found = connected(
        {
            "kind": "kafka",
            "bootstrap": [kafka.address("iam")],
            "auth": "msk-iam",
            "region": kafka.region,
            "ca_file": str(kafka.ca_file),
        }
    )

    assert verdict(found) == ("authentication", "EP4402"), found
    assert {"credentials", "route", "tls", "protocol"} <= set(found.proven)


@slow
def test_everything_hangs() -> None:
    """A network that drops every packet costs seconds, and the whole examination less than 15 s,
    whatever is declared."""
    with black_hole() as port:
        at = {"topic": "songs"}
        declared: dict[str, object] = {
            "connections": {
                "cluster": {"kind": "kafka", "bootstrap": [f"127.0.0.1:{port}"]},
                "rabbit": {"kind": "rabbitmq", "host": "127.0.0.1", "port": port},
                "station": {
                    "kind": "azure-storage",
                    "account_url": f"http://127.0.0.1:{port}/{ACCOUNT}",
                    "sas": "env:CASE_SAS",
                },
            },
            "topics": {"songs": {}},
            "sources": {
                "jobs": {"kind": "rabbitmq", "connection": "rabbit", "queue": "jobs", **at},
                "logs": {"kind": "kafka", "connection": "cluster", "queue": "logs", **at},
            },
            "subscriptions": {
                "blues": {"endpoint": f"http://127.0.0.1:{port}/", **at},
                "out": {
                    "endpoint_type": "storagequeue",
                    "endpoint": "out",
                    "connection": "station",
                    **at,
                },
            },
        }
        os.environ["CASE_SAS"] = "sv=2024-11-04&sig=secret"
        found = examine(subjects(of_values(declared)))

    broken = {each.name: verdict(each) for each in found if not each.is_healthy}
    assert broken == dict.fromkeys(broken, ("route", "EP2006")), broken
    assert len(broken) == 7
    # All are climbed at once, and none had to be left when its 15 s were over (EP6001).
    assert len(found) <= PARALLEL_MAX
    assert SECONDS_MAX == 15.0


# --- (d) webhooks ---------------------------------------------------------------------------------


STATUSES = {401: "EP2602", 403: "EP2602", 404: "EP2602", 413: "EP2602", 429: "EP2602"}
STATUSES |= {500: "EP2602", 503: "EP2602"}


@pytest.mark.parametrize("status", STATUSES)
def test_a_handshake_that_is_refused(status: int) -> None:
    """Whatever status a handler gives to the handshake, it is told with it."""
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    with peer(saying(answer)) as port:
        declared: dict[str, object] = {
            "topics": {"songs": {}},
            "subscriptions": {"blues": {"topic": "songs", "endpoint": f"http://127.0.0.1:{port}/"}},
        }
        found = examined(declared, "blues", is_round_trip=True)

    assert verdict(found) == ("round trip", STATUSES[status]), found
    assert found.broken is not None
    assert found.broken.evidence is not None
    assert found.broken.evidence.status == status
    assert names(found)[-2:] == ["protocol", "round trip"]


# --- a healthy set-up -----------------------------------------------------------------------------


@slow
def test_no_false_alarm_under_load(
    azurite: Azurite, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a queue is busy, it has no finding, however often it is examined."""
    monkeypatch.setenv("CASE_STORAGE", azurite.connection_string)
    at = {"connection": "patient", "topic": "songs"}
    declared: dict[str, object] = {
        "connections": {
            "patient": {"kind": "azure-storage", "connection_string": "env:CASE_STORAGE"}
        },
        "topics": {"songs": {}},
        "sources": {"jobs": {"kind": "storagequeue", "queue": queue, **at}},
    }
    is_over = threading.Event()

    def work() -> None:
        with QueueClient.from_connection_string(azurite.connection_string, queue) as client:
            while not is_over.is_set():
                client.send_message("busy")
                for message in client.receive_messages(messages_per_page=8):
                    client.delete_message(message)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        found = examine(subjects(of_values(declared)) * 6)
    finally:
        is_over.set()
        for worker in workers:
            worker.join()

    assert [verdict(each) for each in found] == [("", "")] * len(found), found
    assert not [each for each in found if each.warnings]


@slow
def test_no_false_alarm_while_keys_rotate(
    metadata: AwsMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that are renewed while somebody looks are good each time."""
    _set(monkeypatch, **metadata.container())
    seen = set()
    for _ in range(5):
        found = connected(
            {"kind": "aws", "region": "eu-west-1", "endpoint_url": "http://127.0.0.1:9"}
        )
        assert verdict(found) == ("", ""), found
        seen.add(found.rungs[1].detail.partition(",")[0])
        metadata.rotate()
        aws.close_all()

    assert all(each.startswith("container-role (ASIA****") for each in seen)
