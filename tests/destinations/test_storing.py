"""Delivery into files: what a file holds, where it lies, and that nothing is there twice."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery, Schema
from eventpost.core.interfaces import Destination
from eventpost.core.outcomes import Delivered, Failed, Outcome
from eventpost.core.sources import MessageFormat
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint, Subscription
from eventpost.credentials import aws
from eventpost.credentials.aws import AwsConnection
from eventpost.destinations import kinds
from eventpost.diagnosis.classify import classify
from eventpost.testing.destination_conformance import (
    Behaviour,
    DestinationConformance,
    Harness,
    Recorder,
    delivery,
)
from eventpost.testing.receiver import CLOSE, HANG, Answer, Reaction, Receiver
from tests.destinations.receivers import services, topic
from tests.http.client.peers import Caller

pytestmark = pytest.mark.slow

SECRET = "EVENTPOST_TEST_SECRET"
DENIED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "secret")


def subscription(endpoint: Endpoint) -> Subscription:
    return Subscription(id=5, topic_id=3, name="blues", created_ms=0, endpoint=endpoint)


class S3Harness(Harness):
    """A local endpoint in the place of S3, which refuses, breaks off and hangs as it is told."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self.destination: Destination | None = None

    async def start(self, behaviour: Behaviour, *, batch_events_max: int = 1) -> Destination:
        reactions: dict[Behaviour, Reaction] = {
            Behaviour.REFUSE: Answer(403, DENIED, {"Content-Type": "application/xml"}),
            Behaviour.VANISH: CLOSE,
            Behaviour.HANG: HANG,
        }
        self.receiver.always = reactions.get(behaviour, Answer(200, b"", {"ETag": '"1"'}))
        if behaviour is Behaviour.ABSENT:
            await asyncio.to_thread(self.receiver.refuse)
        settings = AwsConnection(
            region="us-east-1",
            endpoint_url=f"http://127.0.0.1:{self.receiver.port}",
            access_key_id="AKIDEXAMPLE",
            secret_access_key=f"env:{SECRET}",
            request_timeout_s=1.0,
        )
        endpoint = Endpoint(
            type="s3", address="station/songs", max_events_per_batch=batch_events_max
        )
        loop = asyncio.get_running_loop()
        self.caller = Caller()
        lent = dataclasses.replace(
            services(self.caller),
            connection=lambda kind, name: settings,
            call_soon=loop.call_soon,
            call_soon_threadsafe=loop.call_soon_threadsafe,
        )
        self.destination = kinds.new_destination(topic(), subscription(endpoint), lent)
        return self.destination

    async def stop(self) -> None:
        if self.destination is not None:
            self.destination.close()
            self.caller.client.close()
        await asyncio.to_thread(self.receiver.close)
        aws.close_all()

    def received_ids(self) -> list[str]:
        return [event["id"] for request in self.receiver.requests for event in request.events]

    def pass_time(self, seconds: float) -> None:
        """The client's own timeout runs by the system's clock, and is short."""


class TestS3(DestinationConformance):
    def harness(self) -> Harness:
        return S3Harness()


Deliver = Callable[..., list[Outcome]]


def deliver_to(
    endpoint: Endpoint, *batches: list[Delivery], schema: Schema = Schema.EVENT_GRID
) -> list[Outcome]:
    """Deliver each batch over one destination; one outcome for each."""

    async def main() -> list[Outcome]:
        loop = asyncio.get_running_loop()
        with Caller() as caller:
            lent = dataclasses.replace(
                services(caller),
                call_soon=loop.call_soon,
                call_soon_threadsafe=loop.call_soon_threadsafe,
            )
            destination = kinds.new_destination(topic(schema), subscription(endpoint), lent)
            outcomes = []
            for batch in batches:
                recorder = Recorder()
                recorder.deliver(destination, batch)
                outcomes += await recorder.wait(1)
            destination.close()
            return outcomes

    return asyncio.run(main())


def files(folder: Path) -> dict[str, object]:
    return {
        path.relative_to(folder).as_posix(): json.loads(path.read_bytes())
        for path in sorted(folder.rglob("*.json"))
    }


def test_a_file_for_each_delivery(tmp_path: Path) -> None:
    """Each delivery is a file where a dead letter would lie, at the hour of its event, and holds an
    array of what was delivered."""
    one, other = delivery(1), delivery(2)

    outcomes = deliver_to(Endpoint(type="folder", address=str(tmp_path)), [one], [other])

    assert all(isinstance(each, Delivered) for each in outcomes)
    found = files(tmp_path)
    assert {name.rpartition("/")[0] for name in found} == {"BLUES/2026/1/1/0"}
    wanted = [[json.loads(one.event.wire)], [json.loads(other.event.wire)]]
    assert sorted(found.values(), key=str) == sorted(wanted, key=str)


def test_a_batch_is_one_file(tmp_path: Path) -> None:
    """A batch lies in one file, in order, and as CloudEvents where these are asked for."""
    endpoint = Endpoint(
        type="folder",
        address=f"folder:{tmp_path}",
        max_events_per_batch=10,
        delivery_schema=Schema.CLOUD_EVENTS,
    )

    deliver_to(endpoint, [delivery(1), delivery(2)])

    (events,) = files(tmp_path).values()
    assert isinstance(events, list)
    assert [(each["specversion"], each["id"]) for each in events] == [
        ("1.0", "event-1"),
        ("1.0", "event-2"),
    ]


def test_an_attempt_made_again_leaves_one_file(tmp_path: Path) -> None:
    """The same events again replace their file; other events, and the same at another position,
    have one of their own."""
    endpoint = Endpoint(type="folder", address=str(tmp_path), max_events_per_batch=10)
    again = delivery(1)
    again.position = 7

    deliver_to(endpoint, [delivery(1)], [delivery(1, attempts=3)], [delivery(2)], [again])

    assert len(files(tmp_path)) == 3


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """A file in the way fails the attempt with its finding, and the attempt counts."""
    (tmp_path / "BLUES").write_text("in the way")

    (outcome,) = deliver_to(Endpoint(type="folder", address=str(tmp_path)), [delivery(1)])

    assert isinstance(outcome, Failed)
    assert outcome.is_counted
    assert classify(outcome.evidence) == "EP3302"


def test_a_connection_that_is_gone() -> None:
    """Settings that cannot be used fail the attempt without counting it."""

    def gone(*_: object) -> msgspec.Struct:
        raise InvalidRequest("ConnectionNotFound", "There is no connection 'station'.")

    async def main() -> list[Outcome]:
        loop = asyncio.get_running_loop()
        with Caller() as caller:
            lent = dataclasses.replace(
                services(caller), connection=gone, call_soon_threadsafe=loop.call_soon_threadsafe
            )
            endpoint = Endpoint(type="s3", address="station", connection="station")
            destination = kinds.new_destination(topic(), subscription(endpoint), lent)
            recorder = Recorder()
            recorder.deliver(destination, [delivery(1)])
            return await recorder.wait(1)

    (outcome,) = asyncio.run(main())

    assert isinstance(outcome, Failed)
    assert not outcome.is_counted
    assert "station" in outcome.evidence.detail


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        (Endpoint(type="folder", address="dead"), "no absolute path"),
        (Endpoint(type="folder", address="/dead", connection="x"), "no connection"),
        (Endpoint(type="azureblob", address="x"), "no place of the kind azureblob"),
        (Endpoint(type="azureblob", address="azureblob://a/dead"), "no place of the kind"),
        (Endpoint(type="s3", address="Upper"), "no place of the kind s3"),
        (Endpoint(type="s3", address="bucket", options={"acl": "x"}), "has no options"),
        (Endpoint(type="s3", address="bucket", format=MessageFormat.RAW), "no message format"),
        (
            Endpoint(
                type="folder",
                address="/dead",
                attributes=(DeliveryAttribute(name="X", type="static", value="1"),),
            ),
            "no delivery properties",
        ),
    ],
)
def test_endpoints_that_cannot_be(endpoint: Endpoint, says: str) -> None:
    """What could never be written to, and what a file has not, is refused when it is declared."""
    with pytest.raises(InvalidRequest, match=says):
        kinds.check(endpoint)


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("folder", "/dead"),
        ("folder", "folder:/dead"),
        ("azureblob", "container"),
        ("azureblob", "azureblob://bluesradio/$web/below/it"),
        ("s3", "bucket.with.dots"),
        ("s3", "s3://bucket/below/it/"),
    ],
)
def test_endpoints_that_can(kind: str, address: str) -> None:
    """A place may be written with or without what its kind says already."""
    kinds.check(Endpoint(type=kind, address=address))
