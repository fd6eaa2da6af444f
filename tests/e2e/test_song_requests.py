"""The radio station's story, as people build it on Azure: what nobody could play becomes a dead
letter in a container, whose creation tells a handler, who sends a mail for each of them."""

import json
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.storage.blob import BlobServiceClient

from eventpost.core.errors import InvalidRequest
from eventpost.testing import Grid, Receiver, VirtualClock
from eventpost.testing.receiver import NewReceiver, Received
from tests.destinations.storages import blob_settings, blobs, new_container
from tests.services.azurite import ACCOUNT, Azurite
from tests.services.mailserver import MailServer

pytestmark = pytest.mark.slow

NOTICES = "eventpost.deadletters"
BLOB_CREATED = "Microsoft.Storage.BlobCreated"
TO = "dj@bluesradio.example"


@pytest.fixture
def mailbox() -> Iterator[MailServer]:
    made = MailServer()
    yield made
    made.close()


class SongHandler:
    """Plays the blues, refuses anything else, and is too busy for a slow one."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, request: Received) -> int:
        subject = str(request.event["subject"])
        self.seen.append(subject)
        if subject == "genre/blues/slow":
            return 503
        return 200 if subject.startswith("genre/blues") else 400


class Workflow:
    """What the article builds of a logic app: triggered by `BlobCreated`, it gets the blob by the
    path in its URL, and sends a mail for each event in it."""

    def __init__(self, storage: Azurite, mailbox: MailServer) -> None:
        self._storage = storage
        self._mailbox = mailbox
        self.triggers: list[dict[str, Any]] = []

    def __call__(self, request: Received) -> int:
        event = request.event
        self.triggers.append(event)
        for undelivered in json.loads(self._content(event["data"]["url"])):
            self._send(undelivered)
        return 200

    def _content(self, url: str) -> bytes:
        path = urlsplit(url).path.removeprefix(f"/{ACCOUNT}").lstrip("/")
        container, _, name = path.partition("/")
        text = self._storage.connection_string
        with BlobServiceClient.from_connection_string(text) as client:
            return client.get_blob_client(container, name).download_blob().readall()

    def _send(self, undelivered: dict[str, Any]) -> None:
        message = EmailMessage()
        message["From"], message["To"] = "workflow@bluesradio.example", TO
        message["Subject"] = f"{undelivered['deadLetterReason']}: {undelivered['subject']}"
        message.set_content(json.dumps(undelivered["data"]))
        with smtplib.SMTP("127.0.0.1", self._mailbox.port) as client:
            client.send_message(message)


def publish(grid: Grid) -> None:
    grid.publish(
        "song-requests",
        {"subject": "genre/blues/1", "data": {"song": "Backwater Blues"}},
        {"subject": "genre/rock/1", "data": {"song": "Rocket 88"}},
        {"subject": "genre/blues/slow", "data": {"song": "Dust My Broom"}},
    )


def test_a_mail_for_each_event_that_was_not_delivered(
    grid: Grid,
    receiver: Receiver,
    new_receiver: NewReceiver,
    clock: VirtualClock,
    azurite: Azurite,
    mailbox: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With two attempts and a minute: a 400 is given up after one attempt, a 503 after two; each is
    in the container, its blob triggers the workflow, and the workflow mails each of them."""
    container = new_container(azurite)
    receiver.choose = songs = SongHandler()
    logic = new_receiver()
    logic.choose = workflow = Workflow(azurite, mailbox)
    grid.topic("song-requests")
    grid.client.create_connection(
        {
            "name": "bluesradio",
            "kind": "azure-storage",
            "settings": blob_settings(azurite, monkeypatch),
        }
    )
    grid.subscribe(
        *("song-requests", receiver),
        name="song-request-sub",
        retry={"maxDeliveryAttempts": 2, "eventTtlMinutes": 1},
        deadletter=f"azureblob://bluesradio/{container}",
    )
    grid.subscribe(
        *(NOTICES, logic),
        name="undelivered",
        filter={
            "includedEventTypes": [BLOB_CREATED],
            "subjectBeginsWith": f"/blobServices/default/containers/{container}",
        },
    )

    publish(grid)
    clock.advance(1)
    assert [taken.message["Subject"] for taken in mailbox.taken] == [
        "UndeliverableDueToHttpBadRequest: genre/rock/1"
    ]
    clock.advance(40)

    assert sorted(songs.seen) == [
        *("genre/blues/1", "genre/blues/slow", "genre/blues/slow", "genre/rock/1"),
    ]
    files = blobs(azurite, container)
    assert all(name.startswith("SONG-REQUEST-SUB/2026/1/1/0/") for name in files)
    letters = {each["subject"]: each for body in files.values() for each in json.loads(body)}
    assert {subject: each["deliveryAttempts"] for subject, each in letters.items()} == {
        "genre/rock/1": 1,
        "genre/blues/slow": 2,
    }
    assert letters["genre/blues/slow"]["lastHttpStatusCode"] == 503
    assert [each["eventType"] for each in workflow.triggers] == [BLOB_CREATED] * 2
    assert sorted(taken.message["Subject"] for taken in mailbox.taken) == [
        "MaxDeliveryAttemptsExceeded: genre/blues/slow",
        "UndeliverableDueToHttpBadRequest: genre/rock/1",
    ]
    assert '"Dust My Broom"' in mailbox.taken[1].text
    books = grid.books("song-request-sub")
    assert (books.delivered, books.dead_letters, books.pending) == (1, 2, 0)


def test_the_short_way(
    grid: Grid, receiver: Receiver, clock: VirtualClock, mailbox: MailServer
) -> None:
    """An e-mail endpoint on the built-in topic mails each dead letter without a workflow: what
    failed, why, and the command that delivers it again, which does."""
    receiver.choose = SongHandler()
    grid.topic("song-requests")
    grid.client.create_connection(
        {
            "name": "mail",
            "kind": "smtp",
            "settings": {
                "host": "127.0.0.1",
                "port": mailbox.port,
                "security": "none",
                "sender": "eventpost@bluesradio.example",
            },
        }
    )
    grid.subscribe(
        *("song-requests", receiver),
        name="song-request-sub",
        retry={"maxDeliveryAttempts": 2, "eventTtlMinutes": 1},
    )
    grid.subscribe(
        *(NOTICES, TO),
        name="mails",
        endpoint_type="email",
        connection="mail",
        filter={"includedEventTypes": ["Eventpost.EventDeadLettered"]},
    )

    publish(grid)
    mailbox.wait_for(1)
    clock.advance(40)
    rock, slow = mailbox.wait_for(2)

    assert rock.message["Subject"] == (
        "Undelivered: genre/rock/1 (song-request-sub, UndeliverableDueToHttpBadRequest)"
    )
    assert slow.message["Subject"] == (
        "Undelivered: genre/blues/slow (song-request-sub, MaxDeliveryAttemptsExceeded)"
    )
    assert "last outcome  Busy (503)" in slow.text
    assert '"song": "Dust My Broom"' in slow.text
    receiver.choose = None
    [command] = [line for line in slow.text.splitlines() if "deadletter replay 1" in line]
    list(grid.client.replay(ids=[command.split()[-1]]))
    grid.settle()
    assert grid.books("song-request-sub").delivered == 2
    [left] = grid.dead_letters()
    assert left.subject == "genre/rock/1"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"endpoint": "nobody"}, "no e-mail address"),
        ({"connection": None}, "need a connection"),
        ({"connection": "silent"}, "from whom the mails are"),
        ({"endpointOptions": {"subject": "${nothing}"}}, "options.subject"),
    ],
)
def test_mails_that_cannot_be(grid: Grid, change: dict[str, Any], says: str) -> None:
    """What could never be sent is refused when it is declared, with what to do."""
    for name, settings in (("mail", {"sender": "a@x.example"}), ("silent", {})):
        grid.client.create_connection({"name": name, "kind": "smtp", "settings": settings})
    declared = {
        "name": "mails",
        "topic": NOTICES,
        "endpoint": TO,
        "endpointType": "email",
        "connection": "mail",
    }

    with pytest.raises(InvalidRequest, match=says) as refused:
        grid.client.create_subscription(declared | change)

    assert refused.value.fix


def test_so_many_mails_at_most(grid: Grid, clock: VirtualClock, mailbox: MailServer) -> None:
    """A rate bounds the mails; what is more waits, and none is lost."""
    settings = {"port": mailbox.port, "security": "none", "sender": "a@x.example"}
    grid.client.create_connection({"name": "mail", "kind": "smtp", "settings": settings})
    grid.topic("songs")
    grid.subscribe("songs", TO, endpoint_type="email", connection="mail", rate="0.1/s")

    grid.publish("songs", count=3)
    mailbox.wait_for(1)
    clock.advance(9.9)
    assert len(mailbox.taken) == 1
    clock.advance(0.2)
    mailbox.wait_for(2)
    assert len(mailbox.taken) == 2
    clock.advance(10)

    mailbox.wait_for(3)
    grid.wait_until(lambda engine: not engine.in_flight)
    assert grid.books().delivered == 3


def test_a_stop_sends_what_waits_for_company(grid: Grid, mailbox: MailServer) -> None:
    """A server that stops sends the digest that waits, within its drain, and it is not sent again
    after the start."""
    settings = {"port": mailbox.port, "security": "none", "sender": "a@x.example"}
    grid.client.create_connection({"name": "mail", "kind": "smtp", "settings": settings})
    grid.topic("songs")
    grid.subscribe(
        *("songs", TO),
        endpoint_type="email",
        connection="mail",
        endpoint_options={"digest": "10m"},
    )
    grid.publish("songs", count=2)
    grid.settle()
    assert mailbox.taken == []

    grid.restart()

    [taken] = mailbox.wait_for(1)
    assert taken.message["Subject"].startswith("2 events of songs")
    assert grid.books().delivered == 2
