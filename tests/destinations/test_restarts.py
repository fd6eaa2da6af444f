"""Queue systems that restart while events go out to them, through the whole server.

Kafka's broker, as source and destination at once, is in `tests/sources/test_kafka.py`.
"""

import itertools
import json
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Say
from tests.queues.leases import places
from tests.queues.leases.places import Place
from tests.queues.rabbitmq.brokers import declare_lastingly
from tests.server.running import EVENT, Served, served, until
from tests.services.azurite import Azurite
from tests.services.elasticmq import ElasticMQWithStorage
from tests.services.fixtures import OwnServices
from tests.services.rabbitmq import RabbitMQ
from tests.services.running import Running
from tests.sources.station import QUICK

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(600)]

PATIENCE_S = 200.0
MORE = 30
"""Events that are delivered before each restart."""


def own_place(kind: str, own_service: OwnServices, opened: ExitStack) -> tuple[Running[Any], Place]:
    """A queue on a server of its own, which keeps what it has when it restarts."""
    if kind == "sqs":
        elasticmq = own_service(ElasticMQWithStorage)
        return elasticmq, opened.enter_context(places.sqs(elasticmq.service)).place
    if kind == "storagequeue":
        azurite = own_service(Azurite)
        return azurite, opened.enter_context(places.storagequeue(azurite.service)).place
    rabbitmq = own_service(RabbitMQ)
    place = opened.enter_context(places.rabbitmq(rabbitmq.service)).place
    declare_lastingly(rabbitmq, place.open)
    return rabbitmq, place


class Publishing:
    """Events from a thread, one request after the other; `taken` are those that the server has."""

    def __init__(self, server: Served) -> None:
        self._server = server
        self._is_over = threading.Event()
        self.taken: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Publishing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        key = {"aeg-sas-key": self._server.key("songs")}
        with self._server.http() as client:
            for number in itertools.count():
                events = [EVENT | {"id": str(number)}]
                told = client.post("/topics/songs/api/events", json=events, headers=key)
                assert told.status_code == 200, told.text
                self.taken.append(str(number))
                if self._is_over.wait(0.01):
                    return


@pytest.mark.parametrize("kind", ["sqs", "storagequeue", "rabbitmq"])
def test_the_queue_of_a_destination_restarts_in_mid_stream(
    kind: str, own_service: OwnServices, tmp_path: Path, say: Say
) -> None:
    """The queue system is killed and started again while events go out: in the end each of them is
    in the queue, none is given up, and publishers notice nothing."""
    with (
        ExitStack() as opened,
        served(tmp_path / "data", QUICK) as server,
        server.admin() as admin,
    ):
        running, place = own_place(kind, own_service, opened)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in place.secrets.items():
                patch.setenv(name, value)
            for path, body in (
                ("/topics", {"name": "songs"}),
                (
                    "/connections",
                    {"name": "home", "kind": place.connection_kind, "settings": place.connection},
                ),
                ("/subscriptions", subscription(place)),
            ):
                told = admin.post(path, json=body)
                assert told.status_code == 201, told.text
            with Publishing(server) as publishing:
                until(lambda: books(server)["delivered"] >= MORE, **PATIENT)
                # Azurite, unlike the service, writes what it has confirmed only now and then.
                end = running.stop if kind == "storagequeue" else running.kill
                end()
                failed = books(server)["attemptsFailed"]
                until(lambda: books(server)["attemptsFailed"] > failed, **PATIENT)
                running.start()
                more = books(server)["delivered"] + MORE
                until(lambda: books(server)["delivered"] >= more, **PATIENT)
            until(lambda: books(server)["pending"] == 0, **PATIENT)
            count = books(server)["delivered"]
            found = arrived(place, set(publishing.taken))

    say(f"{len(publishing.taken)} published, {sum(found.values()) - len(found)} came again")
    assert count == len(publishing.taken)
    assert set(found) == set(publishing.taken)


PATIENT = {"patience_s": PATIENCE_S}


def subscription(place: Place) -> dict[str, Any]:
    return {
        "name": "out",
        "topic": "songs",
        "endpointType": place.kind,
        "endpoint": place.name,
        "endpointOptions": place.options,
        "connection": "home",
        "retry": {"schedule": ["1s", "5s"], "maxDeliveryAttempts": 30},
    }


def books(server: Served) -> dict[str, Any]:
    with server.admin() as admin:
        shown = admin.get("/subscriptions/out", params={"topic": "songs"}).json()
    found: dict[str, Any] = shown["books"]
    return found


def arrived(place: Place, wanted: set[str]) -> Counter[str]:
    """How often each event is in the queue, once all of these are."""
    found: Counter[str] = Counter()
    with closing(place.open()) as queue:
        end_s = time.monotonic() + PATIENCE_S / 2
        while set(found) < wanted:
            assert time.monotonic() < end_s, f"lost: {sorted(wanted - set(found))}"
            page = queue.receive(100, 5.0, 60.0)
            assert isinstance(page, list), page
            found.update(json.loads(one.body)["id"] for one in page)
            queue.settle(page)
    return found
