"""Messages of which no event can be made: dead letters with their bytes, and their way back."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventpost.testing import Receiver
from eventpost.testing.memory_queue import BUSY
from tests.server.running import problem, until
from tests.sources.station import SOURCE, Station, station

pytestmark = [pytest.mark.usefixtures("pigeon"), pytest.mark.slow]

JOB = {
    "queue_name": "default",
    "actor_name": "play",
    "args": [1],
    "kwargs": {},
    "options": {},
    "message_id": "job-1",
    "message_timestamp": 1_767_323_045_007,
}


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[Station]:
    with station(tmp_path) as made:
        yield made


def only(letters: Station) -> dict[str, Any]:
    """The one dead letter that there is, once it is there."""
    until(lambda: len(letters.letters()) == 1)
    (letter,) = letters.letters()
    return letter


# --- what is poison -------------------------------------------------------------------------------


def test_an_undecodable_message(letters: Station) -> None:
    """A message of another format is a dead letter with its bytes and what its queue said, and is
    settled then; what comes after it is taken."""
    letters.declare(format="dramatiq")
    letters.send(b"\xff\x00oops", attributes={"kind": "letter", "raw": b"\x01"}, content_type="x/y")
    letters.send(json.dumps(JOB))

    letter = only(letters)

    assert letter["deadLetterReason"] == "Poison"
    assert letter["finding"] == "EP4010"
    assert (letter["source"], letter["subscription"], letter["topic"]) == (SOURCE, "", "songs")
    assert (letter["eventId"], letter["deliveryAttempts"]) == ("m-1", 1)
    assert letter["event"] is None
    assert letter["evidence"]["system"] == "pigeon"
    assert "neither a JSON object nor base64" in letter["evidence"]["detail"]
    message = letter["message"]
    assert message["body"] is None
    assert base64.b64decode(message["bodyBase64"]) == b"\xff\x00oops"
    assert message["attributes"] == {"kind": "letter"}
    assert base64.b64decode(message["binaryAttributes"]["raw"]) == b"\x01"
    assert message["contentType"] == "x/y"
    letters.until_idle()
    assert letters.published() == Counter([json.dumps(JOB)])
    counts = letters.counts()
    assert (counts["taken"], counts["poison"], counts["deadLetters"]) == (1, 1, 1)


def test_a_message_that_is_too_large(letters: Station) -> None:
    """A message that makes an event above the bound is poison, with that reason."""
    letters.declare()
    letters.send(json.dumps("x" * 1_100_000))

    letter = only(letters)

    assert letter["finding"] == "EP4011"
    assert letter["lastDeliveryOutcome"] == "PayloadTooLarge"
    assert len(base64.b64decode(letter["message"]["bodyBase64"])) == 1_100_002


@pytest.mark.parametrize(("receives", "is_poison"), [(2, False), (3, True)])
def test_a_message_that_came_too_often(letters: Station, receives: int, is_poison: bool) -> None:
    """A message is taken up to the bound of receives, and is poison beyond it."""
    letters.send("1")
    other = letters.queue.queue(SOURCE)
    for _ in range(receives - 1):
        page = other.receive(1, 0.0, 30.0)
        assert isinstance(page, list)
        other.release(page, 0.0)

    letters.declare(receivesMax=2)

    if is_poison:
        letter = only(letters)
        assert letter["finding"] == "EP4012"
        assert letter["deliveryAttempts"] == 3
        assert letter["message"]["body"] == "1"
        assert letters.published() == Counter()
    else:
        letters.until_published("1")
        assert letters.letters() == []
    letters.until_idle()


def test_what_was_taken_is_no_poison(letters: Station) -> None:
    """A message that was taken and comes again and again, because it cannot be deleted, is settled
    in the end, however often it came."""
    letters.queue.fail("settle", BUSY)
    letters.queue.fail("extend", BUSY)
    letters.declare(receivesMax=1, lease="1s")
    letters.send("1")
    until(lambda: letters.counts()["redelivered"] >= 2)

    letters.queue.mend("settle")

    letters.until_idle()
    assert letters.letters() == []
    assert letters.published() == Counter(["1"])


def test_poison_whose_delete_fails_is_one_dead_letter(letters: Station) -> None:
    """Poison that comes again, because it cannot be deleted, is no second dead letter."""
    letters.queue.fail("settle", BUSY)
    letters.queue.fail("extend", BUSY)
    letters.declare(format="dramatiq", lease="1s")
    letters.send("oops")
    until(lambda: letters.counts()["redelivered"] >= 2)

    letters.queue.mend("settle")

    letters.until_idle()
    assert len(letters.letters()) == 1


def test_poison_is_told(letters: Station) -> None:
    """Each raises a notice on the built-in topic, for whoever subscribes there."""
    receiver = Receiver()
    try:
        subscription = {
            "name": "notices",
            "topic": "eventpost.deadletters",
            "endpoint": receiver.url,
        }
        assert letters.admin.post("/subscriptions", json=subscription).status_code == 201
        letters.declare(format="dramatiq")
        letters.send("oops")

        (event,) = receiver.wait_for_events(1)
    finally:
        receiver.close()

    assert event["eventType"] == "Eventpost.EventDeadLettered"
    assert event["subject"] == "/topics/songs/sources/letters"
    assert event["data"]["text"] == "oops"
    assert event["data"]["reason"] == "Poison"


# --- the ways back and out ------------------------------------------------------------------------


def replayed(letters: Station, **selection: Any) -> list[dict[str, Any]]:
    answer = letters.admin.post("/deadletters/replay", json=selection)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_repaired_source_replays_its_poison(letters: Station) -> None:
    """Once the source reads the message rightly, a replay publishes it, and the dead letter is
    gone; with attributes as they came."""
    letters.declare(format="dramatiq")
    letters.send('{"a": 1}', attributes={"kind": "letter"})
    letters.send("[2]")
    until(lambda: len(letters.letters()) == 2)
    assert replayed(letters, source=SOURCE)[-1] == {"done": 0, "total": 2, "isFinished": True}
    assert len(letters.letters()) == 2
    mapping = {"eventtype": "attributes.kind"}
    letters.admin.patch(f"/sources/{SOURCE}", json={"format": "raw", "inputMappingFields": mapping})

    told = replayed(letters, source=SOURCE)

    assert told[-1] == {"done": 2, "total": 2, "isFinished": True}
    letters.until_published('{"a": 1}', "[2]")
    assert letters.letters() == []
    assert letters.counts()["deadLetters"] == 0
    stories = letters.server.loop.run(letters.server.app.trace("m-1", "songs", 0))
    assert [story.event_type for story in stories] == ["letter"]


def test_poison_is_purged(letters: Station) -> None:
    """Dead letters of a source are chosen by it, and thrown away for good."""
    letters.declare(format="dramatiq")
    letters.send("1", "2")
    until(lambda: len(letters.letters(source=SOURCE)) == 2)
    assert letters.letters(reason="Poison", finding="EP4011") == []
    assert problem(letters.admin.get("/deadletters", params={"source": "nobody"}), 404)

    answer = letters.admin.post("/deadletters/purge", json={"source": SOURCE})

    assert json.loads(answer.text.splitlines()[-1])["done"] == 2
    assert letters.letters() == []
    assert letters.counts()["deadLetters"] == 0


def test_poison_goes_with_its_source(letters: Station) -> None:
    """Deleting a source deletes its dead letters."""
    letters.declare(format="dramatiq")
    letters.send("oops")
    only(letters)

    letters.admin.delete(f"/sources/{SOURCE}")

    assert letters.letters() == []


def test_poison_outlives_a_restart(tmp_path: Path) -> None:
    """A dead letter of a source, and how many there are, is there after the next start."""
    with station(tmp_path) as letters:
        letters.declare(format="dramatiq")
        letters.send(b"\xff")
        before = only(letters)

    with station(tmp_path, loft=letters.loft) as again:
        assert again.letters() == [before]
        assert again.counts()["deadLetters"] == 1
