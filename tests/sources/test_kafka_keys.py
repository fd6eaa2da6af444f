"""A whole server between two topics of an Amazon MSK that refuses who it says it is."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost.credentials import aws
from eventpost.queues.kafka import tokens
from tests.conftest import Say
from tests.kafka.refused import FAULTS, machine
from tests.queues.kafka.groups import Group, again_count, eventually
from tests.server.running import EVENT, served
from tests.services.aws import REGION
from tests.services.kafka import Kafka
from tests.services.kafka_clients import make_topic
from tests.sources.test_kafka import QUICK, arrived, pending, source_of

pytestmark = pytest.mark.slow
COUNT = 20


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No keys but those of the test, and a soon look for others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(tokens, "ASK_AGAIN_S", 1.0)
    aws.close_all()
    yield
    aws.close_all()


def declare(admin: httpx.Client, group: Group, out: str) -> None:
    settings = {
        "bootstrap": [group.kafka.address("iam")],
        "auth": "msk-iam",
        "region": REGION,
        "ca_file": str(group.kafka.ca_file),
        "request_timeout_ms": 3_000,
        "config": {"broker.address.family": "v4"},
    }
    source = {
        "name": "songs-in",
        "topic": "songs",
        "kind": "kafka",
        "queue": group.topic,
        "connection": "msk",
        "format": "raw",
        "options": {"group": group.group, "session_timeout_ms": 6_000},
    }
    subscription = {
        "name": "songs-out",
        "topic": "songs",
        "endpointType": "kafka",
        "endpoint": out,
        "connection": "msk",
        "messageFormat": "raw",
        "retry": {"schedule": ["1s"], "maxDeliveryAttempts": 30},
    }
    for path, body in (
        ("/topics", {"name": "songs"}),
        ("/topics", {"name": "others"}),
        ("/connections", {"name": "msk", "kind": "kafka", "settings": settings}),
        ("/subscriptions", subscription),
        ("/sources", source),
    ):
        answer = admin.post(path, json=body)
        assert answer.status_code == 201, answer.text


def failures(admin: httpx.Client) -> dict[str, dict[str, Any]]:
    """Of the source, by finding."""
    return {one["finding"]: one for one in source_of(admin)["failures"]}


def last_failure(admin: httpx.Client) -> dict[str, Any]:
    found: list[dict[str, Any]] = admin.get("/subscriptions/songs-out").json()["lastFailures"]
    return found[0] if found else {"finding": ""}


@pytest.mark.parametrize("name", FAULTS)
def test_a_token_that_is_refused(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say, name: str
) -> None:
    """With an expired session token, or a clock that is ten minutes off, source and destination say
    so with cause and fix, and whose keys they are; the grid keeps publishing; nothing is lost, and
    when it is mended both go on without a hand."""
    fault = FAULTS[name]
    out = make_topic(kafka, partitions=1)
    with (
        machine(kafka, tmp_path, monkeypatch) as here,
        Group(kafka, partitions=1) as group,
        served(tmp_path / "data", QUICK) as server,
        server.admin() as admin,
    ):
        fault.begin(here)
        group.send(*range(COUNT))
        declare(admin, group, out)
        events = [EVENT | {"id": str(one), "data": COUNT + one} for one in range(COUNT)]
        assert admin.post("/topics/songs/publish", json=events).status_code == 200

        eventually(lambda: fault.code in failures(admin))
        eventually(lambda: last_failure(admin)["finding"] == fault.code)
        told = [failures(admin)[fault.code], last_failure(admin)]
        for one in told:
            assert one["cause"]
            assert one["fix"]
            assert one["evidence"]["credential"] == "shared-credentials-file"
        eventually(lambda: source_of(admin)["state"] == "failing")
        assert admin.post("/topics/others/publish", json=[EVENT]).status_code == 200

        fault.mend(here)
        eventually(lambda: pending(server) == 0 and source_of(admin)["counts"]["taken"] == COUNT)
        eventually(group.is_finished)
        found = arrived(group, out)

    say(f"{again_count(found)} came out again")
    assert set(found) == set(range(2 * COUNT)), Counter(found)
    assert here.keys[0].secret_access_key not in json.dumps(told)
