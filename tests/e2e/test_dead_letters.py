"""What is given up: the row, the file, the notice, and the way back."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from eventpost.core.errors import Conflict, InvalidRequest, NotFound
from eventpost.core.interfaces import DeadLetterQuery
from eventpost.testing import HANG, Grid, Receiver, VirtualClock
from eventpost.testing.receiver import NewReceiver

CLOUD = "cloudeventschemav1_0"
NOTICES = "eventpost.deadletters"
LISTED = DeadLetterQuery().limit
"""As many are read at once when nobody says how many."""
EXPORT_S = 1.0
"""Dead letters wait for company so long before their file is written."""


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def content(path: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(path.read_bytes())
    return loaded


def commit_count(grid: Grid) -> int:
    return grid.call(lambda: grid.app.grid.journal.commits)


def test_the_row_tells_the_whole_case(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """A dead letter keeps its event, when and why it fell, what was seen, and what to do."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(400)
    clock.advance(1)

    [event_id] = grid.publish("songs", {"subject": "genre/blues", "data": {"n": 1}})

    grid.settle()
    [listed] = grid.dead_letters()
    letter = grid.client.show_dead_letter(listed.id)
    assert (letter.topic, letter.subscription, letter.event_id) == ("songs", "handler", event_id)
    assert (letter.event_type, letter.subject) == ("Tests.Happened", "genre/blues")
    assert letter.dead_letter_reason == "UndeliverableDueToHttpBadRequest"
    assert (letter.last_delivery_outcome, letter.last_http_status_code) == ("BadRequest", 400)
    assert (letter.finding[:2], bool(letter.cause), bool(letter.fix)) == ("EP", True, True)
    assert letter.publish_time == "2026-01-01T00:00:01.000Z"
    assert json.loads(bytes(letter.event))["data"] == {"n": 1}


def test_files_have_event_grids_layout(
    grid: Grid, receiver: Receiver, clock: VirtualClock, tmp_path: Path
) -> None:
    """A dead letter's file lies where Event Grid puts it and holds what Event Grid writes."""
    folder = tmp_path / "letters"
    grid.topic("songs")
    grid.subscribe("songs", receiver, name="blues", deadletter=f"folder:{folder}")
    receiver.script(503)
    receiver.always = 403
    clock.advance(3_600 * 5)
    [event_id] = grid.publish("songs", {"data": {"n": 1}})

    clock.advance(33)
    grid.settle()
    clock.advance(EXPORT_S)

    [path] = files(folder)
    assert path.relative_to(folder).parts[:-1] == ("BLUES", "2026", "1", "1", "5")
    assert path.suffix == ".json"
    [letter] = content(path)
    assert letter["id"] == event_id
    assert letter["data"] == {"n": 1}
    assert letter["deadLetterReason"] == "UndeliverableDueToHttpForbidden"
    assert letter["deliveryAttempts"] == 2
    assert letter["lastDeliveryOutcome"] == "Forbidden"
    assert letter["lastHttpStatusCode"] == 403
    assert letter["publishTime"] == "2026-01-01T05:00:00.0000000Z"
    assert "2026-01-01T05:00:30" <= letter["lastDeliveryAttemptTime"] < "2026-01-01T05:00:34"
    assert letter["eventpostFinding"].startswith("EP")
    [row] = grid.dead_letters()
    assert row.exported_to == path.as_uri()


def test_cloud_events_get_lower_case_names(
    grid: Grid, receiver: Receiver, clock: VirtualClock, tmp_path: Path
) -> None:
    """What is added to a CloudEvent is in lower case, as its attributes have to be."""
    grid.topic("songs", input_schema=CLOUD)
    grid.subscribe("songs", receiver, deadletter=f"folder:{tmp_path / 'letters'}")
    receiver.refuse()
    grid.client.update_subscription("handler", {"retry": {"maxDeliveryAttempts": 1}})
    grid.publish("songs")

    clock.advance(EXPORT_S)

    [path] = files(tmp_path / "letters")
    [letter] = content(path)
    assert letter["deadletterreason"] == "MaxDeliveryAttemptsExceeded"
    assert letter["lastdeliveryoutcome"] == "SocketError"
    assert letter["eventpostfinding"].startswith("EP")
    assert "lasthttpstatuscode" not in letter, "there was no answer"


def test_what_falls_together_is_written_together(
    grid: Grid, receiver: Receiver, clock: VirtualClock, tmp_path: Path
) -> None:
    """Dead letters that fall within a second share a file; none is written before its second."""
    folder = tmp_path / "letters"
    grid.topic("songs")
    grid.subscribe("songs", receiver, deadletter=f"folder:{folder}")
    receiver.always = 400
    grid.publish("songs", count=3)

    clock.advance(EXPORT_S - 0.001)
    assert files(folder) == []
    clock.advance(0.001)

    [path] = files(folder)
    assert len(content(path)) == 3


@pytest.mark.grid(export_events_max=2)
def test_a_file_has_its_bound(
    grid: Grid, receiver: Receiver, clock: VirtualClock, tmp_path: Path
) -> None:
    """A file holds no more dead letters than its bound; the rest follow in further files."""
    folder = tmp_path / "letters"
    grid.topic("songs")
    grid.subscribe("songs", receiver, deadletter=f"folder:{folder}")
    receiver.always = 400
    ids = grid.publish("songs", count=5)

    clock.advance(EXPORT_S)

    written = [content(path) for path in files(folder)]
    assert sorted(len(letters) for letters in written) == [1, 2, 2]
    assert {letter["id"] for letters in written for letter in letters} == set(ids)


def test_a_folder_that_cannot_be_written(
    grid: Grid, receiver: Receiver, clock: VirtualClock, tmp_path: Path
) -> None:
    """While a file cannot be written its dead letters stay rows, and are tried again."""
    folder = tmp_path / "letters"
    folder.write_text("a file stands in the way")
    grid.topic("songs")
    grid.subscribe("songs", receiver, deadletter=f"folder:{folder}")
    receiver.script(400)
    grid.publish("songs")
    clock.advance(5)
    [letter] = grid.dead_letters()
    assert letter.exported_to == ""

    folder.unlink()
    clock.advance(12)

    [path] = files(folder)
    assert len(content(path)) == 1


def test_a_restart_loses_no_file(
    grid: Grid, receiver: Receiver, clock: VirtualClock, tmp_path: Path
) -> None:
    """A dead letter whose file was not written before a crash is written after it."""
    folder = tmp_path / "letters"
    grid.topic("songs")
    grid.subscribe("songs", receiver, deadletter=f"folder:{folder}")
    receiver.script(400)
    grid.publish("songs")
    grid.settle()

    grid.crash()
    clock.advance(EXPORT_S)

    [path] = files(folder)
    assert len(content(path)) == 1
    clock.advance(60)
    assert len(files(folder)) == 1


def test_no_dead_letter_replaces_another(grid: Grid, receiver: Receiver) -> None:
    """Dead letters of two lives are apart even if the clock was set back between them."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.always = 400
    ids = grid.publish("songs", count=3)
    grid.settle()

    grid.crash()
    ids += grid.publish("songs", count=3)

    grid.settle()
    assert {letter.event_id for letter in grid.dead_letters()} == set(ids)
    assert grid.books().dead_letters == 6


def test_every_dead_letter_gives_notice(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver, clock: VirtualClock, tmp_path: Path
) -> None:
    """A dead letter and its file are events of the built-in topic, to which anyone subscribes."""
    watcher = new_receiver()
    grid.topic("songs")
    grid.subscribe("songs", receiver, name="blues", deadletter=f"folder:{tmp_path / 'letters'}")
    grid.subscribe(NOTICES, watcher, name="watcher")
    receiver.script(400)
    [event_id] = grid.publish("songs")

    [request] = watcher.wait_for(1)

    notice = request.event
    assert notice["eventType"] == "Eventpost.EventDeadLettered"
    assert notice["subject"] == "/topics/songs/eventSubscriptions/blues"
    assert notice["data"]["event"]["id"] == event_id
    assert notice["data"]["reason"] == "UndeliverableDueToHttpBadRequest"
    assert notice["data"]["finding"].startswith("EP")
    clock.advance(EXPORT_S)
    written = watcher.wait_for(2)[1].event
    assert written["eventType"] == "Eventpost.DeadLetterWritten"
    [path] = files(tmp_path / "letters")
    assert written["data"]["url"] == path.as_uri()
    assert (written["data"]["eventCount"], written["data"]["contentLength"]) == (
        1,
        path.stat().st_size,
    )


def test_notices_do_not_feed_themselves(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver
) -> None:
    """A notice that becomes a dead letter itself is a row, and no further notice."""
    watcher = new_receiver()
    watcher.always = 400
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.subscribe(NOTICES, watcher, name="watcher")
    receiver.script(400)

    grid.publish("songs")

    watcher.wait_for(1)
    grid.settle()
    assert [letter.topic for letter in grid.dead_letters()] == ["songs", NOTICES]
    assert len(watcher.requests) == 1


def test_nobody_publishes_notices(grid: Grid) -> None:
    """The built-in topic takes no events from outside."""
    assert grid.post(NOTICES, []).status_code == 403


def test_replay_delivers_what_was_given_up(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """A replayed dead letter is delivered with its own bytes and is gone; the books count it."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(400)
    grid.publish("songs", {"data": {"n": 1}})
    grid.settle()
    clock.advance(48 * 3_600)

    *_, last = grid.client.replay()

    assert (last.done, last.total, last.is_finished) == (1, 1, True)
    grid.settle()
    assert receiver.requests[1].event == receiver.requests[0].event
    assert receiver.requests[1].attempt == 0
    assert grid.dead_letters() == grid.dead_letters(replayed=True) == []
    books = grid.books()
    assert (books.matched, books.replayed, books.delivered) == (1, 1, 1)
    assert (books.dead_letters, books.pending) == (0, 0)


def test_a_replay_that_fails_again(grid: Grid, receiver: Receiver, clock: VirtualClock) -> None:
    """A replayed dead letter has all its attempts again, and the same place when they are used."""
    grid.topic("songs")
    grid.subscribe("songs", receiver, retry={"schedule": "1s", "maxDeliveryAttempts": 3})
    receiver.always = 500
    grid.publish("songs")
    clock.advance(5)
    [before] = grid.dead_letters()

    list(grid.client.replay())
    clock.advance(5)

    [after] = grid.dead_letters()
    assert after.id == before.id
    assert after.delivery_attempts == 3
    assert len(receiver.requests) == 6
    assert grid.books().dead_letters == 1


def test_a_replay_survives_a_crash(grid: Grid, receiver: Receiver) -> None:
    """What was put back on the ladder is delivered after a crash."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(400, HANG)
    grid.publish("songs")
    grid.settle()
    list(grid.client.replay())
    receiver.wait_for_held(1)

    grid.crash()

    receiver.wait_for(3)
    grid.settle()
    books = grid.books()
    assert (books.replayed, books.delivered, books.dead_letters) == (1, 1, 0)


def test_replay_takes_what_is_asked_for(grid: Grid, receiver: Receiver) -> None:
    """Replay takes the dead letters of the subscription and the reason that are named; a dry run
    only counts."""
    grid.topic("songs")
    grid.topic("news")
    for topic in ("songs", "news"):
        grid.subscribe(topic, receiver, name=topic)
    receiver.script(400, 403, 400)
    grid.publish("songs")
    receiver.wait_for(1)
    grid.publish("songs")
    receiver.wait_for(2)
    grid.publish("news")
    grid.settle()
    reason = "UndeliverableDueToHttpBadRequest"

    *_, dry = grid.client.replay(subscription="songs", reason=reason, dry_run=True)
    assert (dry.total, len(grid.dead_letters())) == (1, 3)
    *_, last = grid.client.replay(subscription="songs", reason=reason)

    assert last.done == 1
    grid.settle()
    left = {(letter.subscription, letter.dead_letter_reason) for letter in grid.dead_letters()}
    assert left == {("songs", "UndeliverableDueToHttpForbidden"), ("news", reason)}


def test_nothing_is_replayed_twice(grid: Grid, receiver: Receiver) -> None:
    """A dead letter that is on its way already is not put back again."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(400, HANG)
    grid.publish("songs")
    grid.settle()
    list(grid.client.replay())
    receiver.wait_for_held(1)

    *_, last = grid.client.replay()

    assert last.done == 0
    assert len(grid.dead_letters(replayed=True)) == 1
    receiver.release()
    grid.settle()
    assert grid.books().delivered == 1


def test_purge_removes_for_good(grid: Grid, receiver: Receiver) -> None:
    """A purged dead letter is gone, and its delivery stays counted as dead-lettered."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(400, 400)
    grid.publish("songs", count=2)
    grid.settle()
    [first, second] = grid.dead_letters()

    *_, last = grid.client.purge(ids=[first.id])

    assert last.done == 1
    assert [letter.id for letter in grid.dead_letters()] == [second.id]
    books = grid.books()
    assert (sum(books.dead_lettered.values()), books.dead_letters) == (2, 1)


def test_what_is_being_replayed_is_not_purged(grid: Grid, receiver: Receiver) -> None:
    """A purge leaves alone what a replay has in hand."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(400, HANG)
    grid.publish("songs")
    grid.settle()
    list(grid.client.replay())
    receiver.wait_for_held(1)

    list(grid.client.purge(replayed=True))

    receiver.release(500)
    grid.settle()
    assert grid.books().ladder == 1


def test_no_file_is_forgotten(
    grid: Grid, receiver: Receiver, clock: VirtualClock, tmp_path: Path
) -> None:
    """A dead letter that falls while the one before it is being written gets its file too."""
    folder = tmp_path / "letters"
    grid.topic("songs")
    grid.subscribe("songs", receiver, deadletter=f"folder:{folder}")
    receiver.always = 400
    ids = grid.publish("songs")
    grid.settle()
    receiver.script(HANG)
    ids += grid.publish("songs")
    receiver.wait_for_held(1)

    with grid.holding_commits() as held:
        advancing = threading.Thread(target=clock.advance, args=[EXPORT_S])
        advancing.start()  # writes the first file, and commits that it is written
        held.wait()
        with grid.holding_scans():  # then looks for further ones, and waits for the answer
            commits = commit_count(grid)
            while commit_count(grid) == commits:
                held.let()
            receiver.release(400)
            grid.wait_until(lambda engine: engine.dead_letters.counts.get(1, 0) == 2)
        assert len(grid.dead_letters()) == 1, "the second one has fallen and is not committed"
    advancing.join()
    clock.advance(60)

    written = {letter["id"] for path in files(folder) for letter in content(path)}
    assert written == set(ids)


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_all_that_are_selected_are_meant(grid: Grid, receiver: Receiver, verb: str) -> None:
    """However many dead letters there are, all of them are replayed or purged, not a page."""
    count = 3 * LISTED + 1
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.always = 400
    grid.publish("songs", count=count)
    grid.settle()
    assert grid.client.count_dead_letters() == count
    receiver.always = 200

    last = list(getattr(grid.client, verb)())[-1]

    assert (last.done, last.total, last.is_finished) == (count, count, True)
    assert grid.client.count_dead_letters() == 0
    grid.settle()
    assert grid.books().delivered == (count if verb == "replay" else 0)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"deadletter": "folder:dead"}, "folder:"),
        ({"deadletter": "azureblob://account"}, "azureblob://ACCOUNT/CONTAINER"),
        ({"deadletter": "azureblob://account/Upper"}, "azureblob://ACCOUNT/CONTAINER"),
        ({"deadletter": "s3://no"}, "s3://BUCKET/PREFIX"),
        ({"deadletter": "s3://bucket/a//b"}, "s3://BUCKET/PREFIX"),
        ({"deadletter": "folder:/dead", "deadletter_connection": "pigeons"}, "Leave it out"),
        ({"deadletter": "s3://bucket", "deadletter_connection": "pigeons"}, ""),
        ({"deadletter_connection": "pigeons"}, "Name the place too"),
        (
            {"deadletter": "azureblob://other/dead", "deadletter_connection": "station"},
            "connection of that account",
        ),
    ],
)
@pytest.mark.usefixtures("pigeon")
def test_a_place_that_nothing_writes_to_is_refused(
    grid: Grid, receiver: Receiver, declared: dict[str, str], says: str
) -> None:
    """A relative folder, what is no container or bucket, and a connection of another kind are
    refused before the handshake: nobody finds out with the first dead letter."""
    grid.topic("songs")
    grid.client.create_connection({"name": "pigeons", "kind": "pigeon"})
    station = {"kind": "azure-storage", "settings": {"account": "bluesradio"}}
    grid.client.create_connection({"name": "station", **station})

    with pytest.raises(InvalidRequest) as refused:
        grid.subscribe("songs", receiver, **declared)

    assert says in refused.value.fix
    assert receiver.handshakes == []


def test_a_connection_that_dead_letters_need(grid: Grid, receiver: Receiver) -> None:
    """A connection that there is not is refused; one that is used is not deleted."""
    grid.topic("songs")
    place = "s3://station-dead/letters"
    with pytest.raises(NotFound):
        grid.subscribe("songs", receiver, deadletter=place, deadletter_connection="station")
    grid.client.create_connection({"name": "station", "kind": "aws"})
    grid.subscribe("songs", receiver, deadletter=place, deadletter_connection="station")

    with pytest.raises(Conflict, match="subscription handler of songs"):
        grid.client.delete_connection("station")

    grid.client.update_subscription("handler", {"deadletter": None, "deadletterConnection": None})
    grid.client.delete_connection("station")
