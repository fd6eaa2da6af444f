"""A whole server between two topics of Kafka, whose broker is killed and comes back."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from eventpost.config.settings import Settings
from eventpost.queues.leases import LeaseLimits
from tests.conftest import Say
from tests.queues.kafka.groups import Group, Sending, again_count, eventually
from tests.server.running import Served, served
from tests.services.kafka import Kafka
from tests.services.kafka_clients import make_topic
from tests.services.running import Running

pytestmark = pytest.mark.slow

QUICK = msgspec.structs.replace(
    Settings(),
    leases=LeaseLimits(
        receive_delay_s_max=1.0, settle_delay_s_max=0.5, settle_delay_s_late=0.5, tell_s=0.5
    ),
)


def declare(admin: httpx.Client, group: Group, out: str) -> None:
    settings = {
        "bootstrap": [group.kafka.address("plain")],
        "request_timeout_ms": 3_000,
        "connect_timeout_ms": 2_000,
    }
    source = {
        "name": "songs-in",
        "topic": "songs",
        "kind": "kafka",
        "queue": group.topic,
        "connection": "home",
        "format": "raw",
        "options": {"group": group.group, "session_timeout_ms": 6_000},
    }
    subscription = {
        "name": "songs-out",
        "topic": "songs",
        "endpointType": "kafka",
        "endpoint": out,
        "connection": "home",
        "messageFormat": "raw",
        "retry": {"schedule": ["1s"], "maxDeliveryAttempts": 30},
    }
    for path, body in (
        ("/topics", {"name": "songs"}),
        ("/connections", {"name": "home", "kind": "kafka", "settings": settings}),
        ("/subscriptions", subscription),
        ("/sources", source),
    ):
        answer = admin.post(path, json=body)
        assert answer.status_code == 201, answer.text


def source_of(admin: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = admin.get("/sources/songs-in").json()
    return found


@pytest.mark.crash
def test_the_broker_is_killed_in_mid_stream(
    own_kafka: Running[Kafka], tmp_path: Path, say: Say
) -> None:
    """With the broker of its source and its destination killed and started again, every record that
    was confirmed is taken once and comes out at least once, without a hand; the books balance."""
    out = make_topic(own_kafka.service, partitions=2)
    with (
        Group(own_kafka.service, partitions=3) as group,
        served(tmp_path / "data", QUICK) as server,
        server.admin() as admin,
    ):
        declare(admin, group, out)
        with Sending(group) as sending:
            eventually(lambda: source_of(admin)["counts"]["taken"] > 100)
            own_kafka.kill()
            eventually(lambda: source_of(admin)["state"] == "failing")
            own_kafka.start()
            taken = source_of(admin)["counts"]["taken"]
            eventually(lambda: source_of(admin)["counts"]["taken"] > taken + 200)
        eventually(group.is_finished)
        eventually(lambda: pending(server) == 0)
        found = arrived(group, out)
        counts, record_count = source_of(admin)["counts"], sum(group.ends().values())

    say(
        f"{len(sending.confirmed)} confirmed, {counts['taken']} taken, "
        f"{again_count(found)} came out again, {counts['redelivered']} redelivered"
    )
    assert set(found) >= set(sending.confirmed)
    # Each record in the log was taken once; what was sent twice is two records.
    assert counts["taken"] == record_count


def pending(server: Served) -> float:
    with server.http() as client:
        text = client.get("/metrics").text
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("eventpost_pending_events{")
    )


def arrived(group: Group, topic: str) -> Counter[int]:
    with Group(group.kafka, partitions=1) as reader:
        reader.topic = topic
        queue = reader.queue()
        wanted = sum(reader.ends(topic).values())
        found: list[int] = []
        while len(found) < wanted:
            page = queue.receive(500, 5.0, 60.0)
            assert isinstance(page, list), page
            found += [json.loads(one.body) for one in page]
            queue.settle(page)
    return Counter(found)
