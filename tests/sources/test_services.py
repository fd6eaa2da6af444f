"""Sources of real queue services: what these keep for themselves becomes known here."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from eventpost.core.outcomes import Delivered
from eventpost.queues.interfaces import Message
from eventpost.testing.fault_proxy import FaultProxy
from tests.queues.leases.places import Place
from tests.server.running import Served, served, until
from tests.services.aws_clients import client as aws_client
from tests.services.azurite import Azurite
from tests.services.moto import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Moto
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow

LARGE = b'{"song": "' + b"x" * 100_000 + b'"}'


def declare(admin: httpx.Client, place: Place, **changes: Any) -> None:
    admin.post("/topics", json={"name": "songs"})
    connection = {"name": "home", "kind": place.connection_kind, "settings": place.connection}
    assert admin.post("/connections", json=connection).status_code == 201
    declared = {
        "name": "letters",
        "topic": "songs",
        "kind": place.kind,
        "queue": place.name,
        "connection": "home",
        "options": place.options,
        "format": "raw",
    }
    created = admin.post("/sources", json=declared | changes)
    assert created.status_code == 201, created.text


def shown(admin: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = admin.get("/sources/letters").json()
    return found


def letters(server: Served) -> list[dict[str, Any]]:
    with server.admin() as admin:
        listed = admin.get("/deadletters").json()["value"]
        return [admin.get(f"/deadletters/{each['id']}").json() for each in listed]


@pytest.mark.parametrize(("receives_max", "is_warned"), [(3, False), (4, True)])
def test_sqs_moves_messages_away_before(
    tmp_path: Path,
    moto: Moto,
    monkeypatch: pytest.MonkeyPatch,
    receives_max: int,
    is_warned: bool,
) -> None:
    """A queue whose redrive policy takes messages before our own bound is reached works, and its
    source says so; one whose policy leaves them for us says nothing."""
    monkeypatch.setenv("STATION_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("STATION_SECRET", SECRET_ACCESS_KEY)
    name = fresh_name("letters")
    sqs = aws_client(moto.url, "sqs")
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    policy = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": "3"}
    attributes = {"RedrivePolicy": json.dumps(policy)}
    sqs.create_queue(QueueName=name, Attributes=attributes)
    proxy = FaultProxy("127.0.0.1", moto.ports["http"])
    connection = {
        "region": REGION,
        "endpoint_url": f"http://127.0.0.1:{proxy.port}",
        "access_key_id": "env:STATION_KEY_ID",
        "secret_access_key": "env:STATION_SECRET",
    }
    with served(tmp_path / "data") as server, server.admin() as admin:
        declare(admin, Place("sqs", connection, name, {}), receivesMax=receives_max)
        proxy.wait_for("GetQueueAttributes")
        if is_warned:
            until(lambda: bool(shown(admin)["warning"]))
            assert "give receives_max at most 3" in shown(admin)["warning"]
        until(lambda: shown(admin)["state"] == "running")
        assert bool(shown(admin)["warning"]) == is_warned
        assert shown(admin)["failures"] == []
    sqs.close()
    proxy.close()


def test_a_claim_check_that_cannot_be_redeemed(
    tmp_path: Path, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message whose body is gone is a dead letter with its pointer and the finding, and is taken
    out of the queue: it does not become an event, and does not come for ever."""
    monkeypatch.setenv("STATION_STORAGE", azurite.connection_string)
    name, container = fresh_name("letters"), fresh_name("claims")
    connection = {"connection_string": "env:STATION_STORAGE"}
    place = Place("storagequeue", connection, name, {"create": "auto", "claim_check": container})
    queue = place.open()
    outcomes = queue.send([Message(body=LARGE), Message(body=LARGE)])
    assert all(isinstance(each, Delivered) for each in outcomes)
    queue.close()
    with ContainerClient.from_connection_string(azurite.connection_string, container) as blobs:
        first, _ = [each.name for each in blobs.list_blobs()]
        blobs.delete_blob(first)
    with served(tmp_path / "data") as server, server.admin() as admin:
        declare(admin, place)
        until(lambda: len(letters(server)) == 1)
        until(lambda: shown(admin)["counts"]["settled"] == 2)
        counts = shown(admin)["counts"]
        (letter,) = letters(server)

    with QueueClient.from_connection_string(azurite.connection_string, name) as left:
        assert left.get_queue_properties().approximate_message_count == 0
    assert (counts["events"], counts["poison"]) == (1, 1)
    assert (letter["deadLetterReason"], letter["finding"]) == ("Poison", "EP4250")
    assert first in letter["message"]["body"]
