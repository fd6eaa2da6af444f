"""Dead letters read back from where their copies lie, and delivered again."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.testing import HANG, Grid, Receiver, VirtualClock
from tests.destinations.storages import (
    blob_settings,
    blobs,
    new_bucket,
    new_container,
    s3_client,
    s3_settings,
)
from tests.services.azurite import Azurite
from tests.services.moto import Moto

pytestmark = pytest.mark.slow

EXPORT_S = 1.0
CLOUD = "cloudeventschemav1_0"


def replayed(grid: Grid, place: str, **selection: Any) -> int:
    *_, last = grid.client.replay(place=place, **selection)
    assert last.is_finished
    return last.done


def lost(grid: Grid) -> None:
    """What the store had of dead letters is gone."""
    list(grid.client.purge())
    assert grid.dead_letters() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "letters"


def letters_in(grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path) -> list[str]:
    """Three dead letters, whose copies lie in the folder."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, name="blues", deadletter=f"folder:{folder}")
    receiver.always = 400
    ids = grid.publish("songs", *({"data": {"n": number}} for number in range(3)))
    clock.advance(EXPORT_S)
    receiver.always = 200
    receiver.requests.clear()
    return ids


def test_what_the_store_lost_is_delivered(
    grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path
) -> None:
    """Events whose rows are gone are delivered from their copies, byte for byte; the books count
    them as replayed, and the copies stay."""
    receiver_sees: list[dict[str, Any]] = []
    ids = letters_in(grid, receiver, clock, folder)
    lost(grid)

    assert replayed(grid, f"folder:{folder}") == 3

    grid.settle()
    receiver_sees = [request.event for request in receiver.requests]
    assert sorted(event["id"] for event in receiver_sees) == sorted(ids)
    assert not [name for event in receiver_sees for name in event if "etter" in name]
    assert sorted(event["data"]["n"] for event in receiver_sees) == [0, 1, 2]
    books = grid.books("blues")
    assert (books.replayed, books.delivered, books.pending, books.dead_letters) == (3, 3, 0, 0)
    assert len(list(folder.rglob("*.json"))) == 1
    grid.check_books()
    grid.check_kept()


def test_what_still_waits_is_replayed_once(
    grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path
) -> None:
    """A copy whose dead letter still waits is that dead letter: it is delivered once, and is one no
    more."""
    ids = letters_in(grid, receiver, clock, folder)

    assert replayed(grid, f"folder:{folder}") == 3

    grid.settle()
    assert sorted(receiver.ids) == sorted(ids)
    assert grid.dead_letters() == []


def test_what_is_on_its_way_is_left_alone(
    grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path
) -> None:
    """A replay that is started again while the first one is under way sends nothing twice."""
    letters_in(grid, receiver, clock, folder)
    lost(grid)
    receiver.always = HANG
    assert replayed(grid, f"folder:{folder}") == 3
    receiver.wait_for_held(3)

    assert replayed(grid, f"folder:{folder}") == 0

    receiver.release(200)
    receiver.always = 200
    grid.settle()
    assert len(receiver.requests) == 3


def test_what_fails_again_is_a_dead_letter_again(
    grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path
) -> None:
    """A letter that was read back and fails again falls as any other, with a copy of its own, and
    survives a crash on the way."""
    ids = letters_in(grid, receiver, clock, folder)
    lost(grid)
    receiver.always = HANG
    replayed(grid, f"folder:{folder}")
    receiver.wait_for_held(3)
    receiver.always = 403
    grid.crash()
    grid.settle()

    assert sorted(letter.event_id for letter in grid.dead_letters()) == sorted(ids)
    clock.advance(EXPORT_S)
    assert len(list(folder.rglob("*.json"))) > 1
    assert all(letter.exported_to for letter in grid.dead_letters())


def test_only_what_is_asked_for(
    grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path
) -> None:
    """Subscription, reason, finding and time choose among copies as among rows; a dry run counts,
    and moves nothing."""
    letters_in(grid, receiver, clock, folder)
    receiver.always = 403
    clock.advance(3_600)
    [late] = grid.publish("songs")
    clock.advance(EXPORT_S)
    lost(grid)
    place = f"folder:{folder}"

    def counted(**selection: Any) -> int:
        *_, last = grid.client.replay(place=place, dry_run=True, **selection)
        assert (last.done, last.is_finished) == (0, True)
        return last.total

    assert counted() == 4
    assert counted(reason="UndeliverableDueToHttpForbidden") == 1
    assert counted(finding="EP2400") == 3
    assert counted(since="30m") == 1
    assert counted(until="30m") == 3
    assert counted(subscription="blues") == 4
    receiver.always = 200
    receiver.requests.clear()
    assert replayed(grid, place, finding="EP2403") == 1
    grid.settle()
    assert receiver.ids == [late]


def test_azures_own_files(grid: Grid, receiver: Receiver, folder: Path) -> None:
    """A file that Azure's Event Grid wrote is replayed: without a finding, with another topic, and
    with reasons that it does not list."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, name="blues")
    file = folder / "BLUES/2026/8/8/5/1.json"
    file.parent.mkdir(parents=True)
    written = {
        "id": "100",
        "eventTime": "2026-08-08T05:42:20.0000000+00:00",
        "eventType": "type",
        "dataVersion": "",
        "metadataVersion": "1",
        "topic": "/subscriptions/1/resourceGroups/2/providers/Microsoft.EventGrid/topics/songs",
        "subject": "testsubject",
        "deadLetterReason": "UndeliverableDueToProbationCausedByClientError",
        "deliveryAttempts": 1,
        "lastDeliveryOutcome": "Probation",
        "publishTime": "2026-08-08T05:42:20.1234567Z",
        "lastDeliveryAttemptTime": "2026-08-08T05:42:21.1234567Z",
        "data": {"something": "data"},
    }
    file.write_text(json.dumps([written]))

    assert replayed(grid, f"folder:{folder}") == 1

    grid.settle()
    [request] = receiver.requests
    assert request.event["id"] == "100"
    assert request.event["data"] == {"something": "data"}
    assert request.event["topic"].endswith("/topics/songs")
    assert set(request.event) == {
        *("id", "topic", "subject", "eventType", "eventTime", "data", "dataVersion"),
        "metadataVersion",
    }


def test_cloud_events(grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path) -> None:
    """CloudEvents come back with their extension attributes, and nothing else."""
    grid.topic("songs", input_schema=CLOUD)
    grid.subscribe("songs", receiver, name="blues", deadletter=f"folder:{folder}")
    receiver.always = 400
    grid.publish("songs", {"genre": "blues", "data": {"n": 1}})
    clock.advance(EXPORT_S)
    before = receiver.requests[0].event
    lost(grid)
    receiver.always = 200

    assert replayed(grid, f"folder:{folder}") == 1

    grid.settle()
    assert receiver.requests[1].event == before


def test_what_was_pulled(grid: Grid, clock: VirtualClock, folder: Path) -> None:
    """Letters of a pulled subscription, which lie as a namespace's do, are handed out again one by
    one, and what is acknowledged is done."""
    grid.topic("songs", input_schema=CLOUD)
    declared = {"topic": "songs", "name": "puller", "endpointType": "pull"}
    grid.client.create_subscription(declared | {"deadletter": f"folder:{folder}"})
    headers = {"Authorization": f"SharedAccessKey {grid.key('songs')}"}
    at = f"{grid.url}/topics/songs/eventsubscriptions/puller"

    def received() -> list[dict[str, Any]]:
        answer = httpx.post(f"{at}:receive?maxEvents=10&maxWaitTime=0", headers=headers, timeout=60)
        found: list[dict[str, Any]] = answer.json()["value"]
        return found

    def settled(verb: str, handed: list[dict[str, Any]]) -> None:
        tokens = [each["brokerProperties"]["lockToken"] for each in handed]
        answer = httpx.post(
            f"{at}:{verb}", headers=headers, json={"lockTokens": tokens}, timeout=60
        )
        assert answer.json()["failedLockTokens"] == []

    ids = grid.publish("songs", count=2)
    settled("reject", received())
    clock.advance(EXPORT_S)
    lost(grid)

    assert replayed(grid, f"folder:{folder}") == 2

    grid.settle()
    handed = received()
    assert sorted(each["event"]["id"] for each in handed) == sorted(ids)
    settled("acknowledge", handed)
    assert received() == []
    books = grid.books("puller")
    assert (books.replayed, books.delivered, books.pending) == (2, 2, 0)


def test_from_a_container_and_a_bucket(
    grid: Grid,
    receiver: Receiver,
    clock: VirtualClock,
    azurite: Azurite,
    moto: Moto,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Containers and buckets are read back as folders are."""
    container, bucket = new_container(azurite), new_bucket(moto)
    for name, kind, settings in (
        ("account", "azure-storage", blob_settings(azurite, monkeypatch)),
        ("cloud", "aws", s3_settings(moto, monkeypatch)),
    ):
        grid.client.create_connection({"name": name, "kind": kind, "settings": settings})
    place = f"azureblob://account/{container}"
    grid.topic("songs")
    grid.subscribe("songs", receiver, name="blues", deadletter=place)
    receiver.always = 400
    [event_id] = grid.publish("songs")
    clock.advance(EXPORT_S)
    ((name, body),) = blobs(azurite, container).items()
    client = s3_client(moto)
    client.put_object(Bucket=bucket, Key=f"dead/{name}", Body=body)
    client.close()
    lost(grid)
    receiver.always = 200
    receiver.requests.clear()

    assert replayed(grid, place, subscription="blues") == 1
    assert replayed(grid, f"s3://{bucket}/dead", place_connection="cloud") == 1

    grid.settle()
    assert receiver.ids == [event_id, event_id]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no json", "not a JSON array"),
        (b'{"id": "1"}', "not a JSON array"),
        (b'[{"id": "1"}]', "number 1"),
        (b'[{"id": "1", "subject": "s", "eventType": "t", "eventTime": "soon"}]', "number 1"),
        (
            b'[{"id":"1","subject":"s","eventType":"t","eventTime":"2026-01-01","publishTime":"x"}]',
            "number 1",
        ),
        (b"\xff\xfe", "not a JSON array"),
        (b"[" * 50_000, "not a JSON array"),
    ],
)
def test_a_file_that_is_none(
    grid: Grid, receiver: Receiver, folder: Path, content: bytes, says: str
) -> None:
    """A file that cannot be read ends the replay, which names it and its finding; nothing moves."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, name="blues")
    file = folder / "BLUES/2026/8/8/5/1.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)

    with pytest.raises(EventpostError) as refused:
        replayed(grid, f"folder:{folder}")

    assert refused.value.code == "EP3330"
    assert says in refused.value.what
    assert file.as_uri() in refused.value.what
    assert grid.books("blues").replayed == 0


@pytest.mark.grid(import_bytes_max=100)
def test_a_file_has_its_bound(
    grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path
) -> None:
    """A file larger than its bound is not read."""
    letters_in(grid, receiver, clock, folder)

    with pytest.raises(EventpostError) as refused:
        replayed(grid, f"folder:{folder}")

    assert refused.value.code == "EP3331"


def test_other_files_are_passed_over(
    grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path
) -> None:
    """What lies elsewhere than dead letters do is none."""
    letters_in(grid, receiver, clock, folder)
    (folder / "readme.json").write_text("no")
    (folder / "BLUES/2026/notes.json").write_text("no")

    assert replayed(grid, f"folder:{folder}") == 3


def test_whose_they_are(grid: Grid, receiver: Receiver, clock: VirtualClock, folder: Path) -> None:
    """Letters of nobody are refused by name; those of two subscriptions of one name, until the
    topic is named."""
    letters_in(grid, receiver, clock, folder)
    grid.topic("news")
    grid.subscribe("news", receiver, name="blues")
    place = f"folder:{folder}"

    with pytest.raises(InvalidRequest, match="Several topics"):
        replayed(grid, place)
    assert replayed(grid, place, topic="songs") == 3
    grid.settle()
    grid.client.delete_subscription("blues", topic="songs")
    grid.client.delete_subscription("blues", topic="news")
    with pytest.raises(InvalidRequest, match="BLUES, which is no event subscription"):
        replayed(grid, place)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"place": "folder:dead"}, "RelativeFolder"),
        ({"place": "ftp://x"}, "InvalidDeadLetterEndpoint"),
        ({"place": "folder:/not/there"}, "EP3302"),
        ({"place": "s3://bucket", "place_connection": "nobody"}, "ConnectionNotFound"),
        ({"place": "folder:/dead", "ids": ["1"]}, "InvalidField"),
    ],
)
def test_places_that_cannot_be(grid: Grid, arguments: dict[str, Any], code: str) -> None:
    """A place that cannot be read is refused with what to do."""
    with pytest.raises(EventpostError) as refused:
        list(grid.client.replay(**arguments))

    assert refused.value.code == code
    assert refused.value.fix
