"""Dead letters in containers and buckets: as in a folder, whatever the service does."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.blob import BlobServiceClient

from eventpost.core.errors import InvalidRequest
from eventpost.testing import HANG, Grid, Receiver, VirtualClock
from eventpost.testing.receiver import NewReceiver
from tests.destinations.storages import (
    blob_settings,
    blobs,
    new_bucket,
    new_container,
    new_name,
    objects,
    s3_settings,
)
from tests.server.running import EVENT, served, until
from tests.services.azurite import ACCOUNT, KEY, Azurite
from tests.services.moto import Moto

pytestmark = pytest.mark.slow

NOTICES = "eventpost.deadletters"
EXPORT_S = 1.0
CONNECTION = "bluesradio"


class Place:
    """A container or a bucket, the connection to it, and what lies in it."""

    def __init__(self, address: str, settings: dict[str, object], kind: str) -> None:
        self.address = address
        self.connection = {"name": CONNECTION, "kind": kind, "settings": settings}

    def files(self) -> dict[str, bytes]:
        raise NotImplementedError


class ContainerPlace(Place):
    def __init__(self, service: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
        self._service = service
        self.container = new_container(service)
        address = f"azureblob://{CONNECTION}/{self.container}"
        super().__init__(address, blob_settings(service, monkeypatch), "azure-storage")

    def files(self) -> dict[str, bytes]:
        return blobs(self._service, self.container)


class BucketPlace(Place):
    def __init__(self, service: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
        self._service = service
        self.bucket = new_bucket(service)
        super().__init__(f"s3://{self.bucket}/dead", s3_settings(service, monkeypatch), "aws")

    def files(self) -> dict[str, bytes]:
        found = objects(self._service, self.bucket)
        return {name.removeprefix("dead/"): body for name, body in found.items()}


@pytest.fixture(params=["azureblob", "s3"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "azureblob":
        return ContainerPlace(request.getfixturevalue("azurite"), monkeypatch)
    return BucketPlace(request.getfixturevalue("moto"), monkeypatch)


def subscribe(grid: Grid, receiver: Receiver, place: Place, **declared: Any) -> None:
    grid.topic("songs")
    grid.client.create_connection(place.connection)
    grid.subscribe(
        *("songs", receiver),
        name="blues",
        deadletter=place.address,
        deadletter_connection=CONNECTION,
        **declared,
    )


def content(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [event for body in files.values() for event in json.loads(body)]


def has_delivered(admin: httpx.Client, name: str) -> bool:
    delivered: int = admin.get(f"/subscriptions/{name}").json()["books"]["delivered"]
    return delivered == 1


def test_the_same_as_in_a_folder(
    grid: Grid, receiver: Receiver, clock: VirtualClock, tmp_path: Path, place: Place
) -> None:
    """A container and a bucket hold the same files as a folder: the same names but for the last
    part, and the same bytes."""
    subscribe(grid, receiver, place)
    folder = tmp_path / "letters"
    clock.advance(3_600 * 5)
    receiver.always = 400
    grid.publish("songs", count=3)
    clock.advance(EXPORT_S)
    grid.client.update_subscription(
        "blues", {"deadletter": f"folder:{folder}", "deadletterConnection": None}
    )
    list(grid.client.replay())
    clock.advance(EXPORT_S)

    ((name, body),) = place.files().items()

    (path,) = (each for each in folder.rglob("*") if each.is_file())
    assert name.split("/")[:-1] == ["BLUES", "2026", "1", "1", "5"]
    assert list(path.relative_to(folder).parts[:-1]) == name.split("/")[:-1]
    attempted = [one.pop("lastDeliveryAttemptTime") for one in json.loads(body)]
    assert attempted == ["2026-01-01T05:00:00.0000000Z"] * 3
    there, here = json.loads(body), json.loads(path.read_bytes())
    for event in (*there, *here):
        event.pop("lastDeliveryAttemptTime")
    assert there == here


def test_a_notice_after_the_file(
    grid: Grid,
    receiver: Receiver,
    new_receiver: NewReceiver,
    clock: VirtualClock,
    place: Place,
) -> None:
    """Once a file is there its notice is raised: what a storage account sends for a blob, and
    `DeadLetterWritten` for any other file. The dead letter's row says where its copy is."""
    watcher = new_receiver()
    subscribe(grid, receiver, place)
    is_blob = isinstance(place, ContainerPlace)
    wanted = "Microsoft.Storage.BlobCreated" if is_blob else "Eventpost.DeadLetterWritten"
    grid.subscribe(NOTICES, watcher, name="watcher", filter={"includedEventTypes": [wanted]})
    seen: list[dict[str, bytes]] = []

    def look(_: object) -> int:
        seen.append(place.files())
        return 200

    watcher.choose = look
    receiver.always = 400
    grid.publish("songs", count=2)

    clock.advance(EXPORT_S)

    notice = watcher.wait_for(1)[0].event
    ((name, body),) = place.files().items()
    assert seen[0] == {name: body}, "the file is there before its notice is delivered"
    assert notice["data"]["contentLength"] == len(body)
    assert notice["data"]["url"].endswith(f"/{name}")
    if isinstance(place, ContainerPlace):
        at = f"/blobServices/default/containers/{place.container}/blobs/{name}"
        assert notice["subject"] == at
        assert (notice["dataVersion"], notice["metadataVersion"]) == ("", "1")
        assert set(notice["data"]) == {
            *("api", "clientRequestId", "requestId", "eTag", "contentType", "contentLength"),
            *("blobType", "url", "sequencer", "storageDiagnostics"),
        }
        assert all(notice["data"].values())
        assert '"' not in notice["data"]["eTag"]
    else:
        assert notice["data"]["eventCount"] == 2
    assert {letter.exported_to for letter in grid.dead_letters()} == {notice["data"]["url"]}


def test_a_container_that_comes_late(
    grid: Grid,
    receiver: Receiver,
    clock: VirtualClock,
    azurite: Azurite,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While the container is missing dead letters stay rows, are tried again on the grid's own
    schedule, and are written once it is there; the record names the finding."""
    place = ContainerPlace(azurite, monkeypatch)
    missing = new_name()
    place.address = f"azureblob://{CONNECTION}/{missing}"
    subscribe(grid, receiver, place)
    receiver.always = 400
    ids = grid.publish("songs", count=2)
    clock.advance(EXPORT_S)
    assert {letter.exported_to for letter in grid.dead_letters()} == {""}
    failed = [each for each in caplog.records if each.message == "deadletter.export_failed"]
    shown = grid.client.show_subscription("blues").deadletter_failure
    assert shown is not None
    assert (shown.finding, bool(shown.cause), bool(shown.fix)) == ("EP3310", True, True)
    assert {each.fields["finding"] for each in failed} == {"EP3310"}  # type: ignore[attr-defined]

    with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
        client.create_container(missing)
    clock.advance(12)

    assert {event["id"] for event in content(blobs(azurite, missing))} == set(ids)
    assert all(letter.exported_to for letter in grid.dead_letters())
    assert grid.client.show_subscription("blues").deadletter_failure is None


def test_an_account_that_hangs_holds_up_nothing(
    tmp_path: Path, new_receiver: NewReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an account does not answer, deliveries go on, and dead letters go to folders."""
    account, handler = new_receiver(), new_receiver()
    account.always = HANG
    handler.choose = lambda request: 200 if b"genre/blues" in request.body else 400
    url = f"http://127.0.0.1:{account.port}/{ACCOUNT}"
    monkeypatch.setenv(
        "HANGING", f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={url};QueueEndpoint={url}"
    )
    hanging = {"kind": "azure-storage", "settings": {"connection_string": "env:HANGING"}}
    folder = tmp_path / "letters"
    with served(tmp_path / "data") as server, server.admin() as admin:
        admin.post("/connections", json={"name": CONNECTION, **hanging})
        admin.post("/topics", json={"name": "songs"})
        for name, place in (
            ("stuck", f"azureblob://{CONNECTION}/dead"),
            ("free", f"folder:{folder}"),
        ):
            declared = {"name": name, "topic": "songs", "endpoint": handler.url}
            answer = admin.post("/subscriptions", json=declared | {"deadletter": place})
            assert answer.status_code == 201, answer.text
        admin.post("/topics/songs/publish", json=[EVENT | {"subject": "genre/rock"}])

        account.wait_for_held(1)
        until(lambda: bool(list(folder.rglob("*.json"))))
        admin.post("/topics/songs/publish", json=[EVENT])
        for name in ("stuck", "free"):
            until(partial(has_delivered, admin, name))
        assert account.held_count == 1
        account.release(500)


def test_an_account_is_found_by_its_name(
    grid: Grid,
    receiver: Receiver,
    clock: VirtualClock,
    azurite: Azurite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`azureblob://ACCOUNT/CONTAINER` goes over the connection that names the account; two that do
    are refused until one is named."""
    place = ContainerPlace(azurite, monkeypatch)
    settings = {"one": place.connection["settings"]}
    settings |= {name: {"account": ACCOUNT} for name in ("first", "second")}
    grid.topic("songs")
    for name, each in settings.items():
        grid.client.create_connection({"name": name, "kind": "azure-storage", "settings": each})
    with pytest.raises(InvalidRequest, match="first and second"):
        grid.subscribe("songs", receiver, deadletter=f"azureblob://{ACCOUNT}/{place.container}")
    # A connection's name will do, too.
    grid.subscribe("songs", receiver, deadletter=f"azureblob://one/{place.container}")
    receiver.always = 400
    grid.publish("songs")

    clock.advance(EXPORT_S)

    assert len(content(place.files())) == 1


def test_a_restart_loses_none(
    grid: Grid, receiver: Receiver, clock: VirtualClock, place: Place
) -> None:
    """A dead letter that was not written before a crash is written after it."""
    subscribe(grid, receiver, place)
    receiver.always = 400
    [event_id] = grid.publish("songs")
    grid.settle()

    grid.crash()
    clock.advance(EXPORT_S)

    assert [event["id"] for event in content(place.files())] == [event_id]


def test_a_connection_that_changes(
    grid: Grid, receiver: Receiver, clock: VirtualClock, place: Place
) -> None:
    """What could not be written over a wrong connection is written when it is mended."""
    right = place.connection["settings"]
    assert isinstance(right, dict)
    name = next(iter(name for name in right if str(right[name]).startswith("env:")))
    wrong = right | {name: "env:NOT_THERE"}
    place.connection["settings"] = wrong
    subscribe(grid, receiver, place)
    receiver.always = 400
    grid.publish("songs")
    clock.advance(EXPORT_S)
    assert place.files() == {}

    grid.client.update_connection(CONNECTION, {"settings": right})
    clock.advance(12)

    assert len(content(place.files())) == 1
