"""A source from its queue to the log: every message is taken once, and settled after it is kept."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from eventpost.testing.memory_queue import BUSY, HELD, LOG, POLLED, MemoryServer, Mishap, refusal
from tests.server.running import until
from tests.sources.station import QUICK, SOURCE, Station, station

pytestmark = [pytest.mark.usefixtures("pigeon"), pytest.mark.slow]

FORBIDDEN = refusal("AccessDenied")


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[Station]:
    """A station without its source, so that a test may declare it as it likes."""
    with station(tmp_path) as made:
        yield made


def bodies(count: int) -> list[str]:
    return [str(number) for number in range(count)]


# --- taking ---------------------------------------------------------------------------------------


def test_messages_become_events_and_are_settled(letters: Station) -> None:
    """Every message becomes one event, its queue is empty in the end, and nothing is remembered."""
    letters.send(*bodies(60))
    letters.declare()
    letters.send(*[str(number) for number in range(60, 100)])

    letters.until_published(*bodies(100))
    letters.until_idle()

    counts = letters.counts()
    assert (counts["taken"], counts["events"], counts["settled"]) == (100, 100, 100)
    assert (counts["held"], counts["unsettled"], counts["redelivered"]) == (0, 0, 0)
    assert letters.shown()["state"] == "running"


@pytest.mark.parametrize("traits", [POLLED, HELD, LOG], ids=["polled", "held", "log"])
def test_every_kind_of_queue(tmp_path: Path, traits: object) -> None:
    """A queue without batches, one without leases and ids, and a log are taken in the same way."""
    with station(tmp_path, traits=traits) as letters:  # type: ignore[arg-type]
        letters.send(*bodies(50))
        letters.declare()

        letters.until_published(*bodies(50))
        letters.until_idle()


def test_several_events_of_one_message(letters: Station) -> None:
    """A message with several events is settled once all of them are kept."""
    event = {"subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}
    letters.declare(format="event")

    letters.send(json.dumps([event | {"id": str(n), "data": n} for n in range(3)]))

    letters.until_published("0", "1", "2")
    letters.until_idle()
    assert letters.counts()["taken"] == 1
    assert letters.counts()["events"] == 3


def test_attributes_reach_the_event(letters: Station) -> None:
    """What is mapped from a message's attributes stands in the event."""
    letters.declare(inputMappingFields={"eventtype": "attributes.kind"})
    letters.send("1", attributes={"kind": "Letter"})
    letters.until_published("1")

    told = letters.admin.get("/topics/songs").json()["name"]
    stories = letters.server.loop.run(letters.server.app.trace("m-1", told, 0))
    assert [story.event_type for story in stories] == ["Letter"]


# --- a delete that fails --------------------------------------------------------------------------


def test_a_message_whose_delete_failed_is_not_taken_twice(letters: Station) -> None:
    """While deletes are refused, messages come again and again and are taken once; once deletes
    work, the queue is emptied with fresh receipts."""
    letters.queue.fail("settle", FORBIDDEN)
    letters.queue.fail("extend", BUSY)
    letters.declare(lease="1s")
    letters.send(*bodies(10))
    letters.until_published(*bodies(10))
    until(lambda: "settle" in failing(letters))

    until(lambda: letters.counts()["redelivered"] >= 10)
    assert letters.left == 10
    letters.queue.mend("settle")
    letters.queue.mend("extend")

    letters.until_idle()
    assert letters.published() == Counter(bodies(10))
    until(lambda: "settle" not in failing(letters))


def failing(letters: Station) -> set[str]:
    return {each["operation"] for each in letters.shown()["failures"]}


def test_a_lost_answer_to_a_delete_does_no_harm(letters: Station) -> None:
    """A delete that was done, and whose answer was lost, is tried again and counts as done."""
    lost = Mishap(failed=FORBIDDEN, is_after=True)
    letters.queue.fail("settle", lost)
    letters.declare()
    letters.send(*bodies(5))
    letters.until_published(*bodies(5))
    until(lambda: letters.left == 0)

    letters.queue.mend("settle")

    letters.until_idle()
    assert letters.published() == Counter(bodies(5))


def test_what_was_taken_is_known_after_a_restart(tmp_path: Path) -> None:
    """Messages whose delete failed before a restart are known after it: settled, not taken."""
    with station(tmp_path) as letters:
        letters.queue.fail("settle", FORBIDDEN)
        letters.declare(lease="1s")
        letters.send(*bodies(10))
        letters.until_published(*bodies(10))
        assert letters.remembered() == 10
        loft = letters.loft
    assert letters.left == 10
    letters.queue.mend("settle")

    with station(tmp_path, loft=loft) as again:
        again.until_idle()

        assert again.published() == Counter(bodies(10))
        assert again.counts()["taken"] == 0
        assert again.counts()["redelivered"] == 10


def test_a_queue_that_ignores_old_receipts(tmp_path: Path) -> None:
    """Where a late delete is answered as done and does nothing, as with SQS, the id is kept until
    the message is gone for good."""
    with station(tmp_path, ignores_old_receipts=True) as letters:
        letters.queue.fail("extend", BUSY)
        letters.queue.fail("settle", FORBIDDEN)
        letters.declare(lease="1s")
        letters.send("1")
        letters.until_published("1")
        other = letters.queue.queue(SOURCE)
        taken = []

        def stolen() -> bool:
            page = other.receive(1, 0.0, 2.0)
            assert isinstance(page, list)
            taken.extend(page)
            return bool(taken)

        letters.admin.post(f"/sources/{SOURCE}/pause")
        until(stolen)
        letters.queue.mend("settle")  # with the old receipt: answered as done, and not done
        letters.queue.mend("extend")
        until(lambda: letters.counts()["unsettled"] == 0)
        assert letters.left == 1
        assert letters.remembered() == 1

        letters.admin.post(f"/sources/{SOURCE}/resume")
        until(lambda: letters.left == 0)
        assert letters.published() == Counter(["1"])


# --- a queue that does not answer -----------------------------------------------------------------


def test_a_source_that_gets_nothing_says_so_and_goes_on(letters: Station) -> None:
    """While receives are refused the source is failing, with its finding, and nothing else is; once
    they work it goes on by itself."""
    letters.queue.fail("receive", FORBIDDEN)
    letters.declare()
    letters.send(*bodies(3))
    until(lambda: letters.shown()["state"] == "failing")

    failure = letters.shown()["failures"][0]
    assert failure["operation"] == "receive"
    assert failure["finding"] == "EP4000"
    assert failure["evidence"]["code"] == "AccessDenied"
    assert failure["cause"]
    assert failure["fix"]
    checks = {each["name"]: each for each in letters.admin.get("/health").json()["checks"]}
    assert checks["source letters"]["ok"] is False
    assert "EP4000" in checks["source letters"]["detail"]
    assert letters.admin.get("../../readyz").status_code == 200
    metrics = letters.admin.get("../../metrics").text
    assert 'eventpost_source_failing{source="letters",topic="songs"} 1.0' in metrics

    letters.queue.mend("receive")

    letters.until_published(*bodies(3))
    until(lambda: letters.shown()["state"] == "running")
    assert letters.shown()["failures"] == []


def test_a_second_outage_shows_at_once(tmp_path: Path) -> None:
    """A failure that comes again soon after it was over is not logged again yet, and is shown."""
    rarely = replace(QUICK.leases, tell_s=3_600.0)
    with station(tmp_path, settings=msgspec.structs.replace(QUICK, leases=rarely)) as letters:
        letters.declare()
        for operation in ("receive", "receive", "settle", "settle"):
            letters.queue.fail(operation, FORBIDDEN)
            letters.send("1")
            until(lambda operation=operation: operation in failing(letters))  # type: ignore[misc]
            assert (letters.shown()["state"] == "failing") == (operation == "receive")

            letters.queue.mend(operation)

            until(lambda: letters.shown()["state"] == "running" and not failing(letters))


def test_a_source_that_cannot_be_opened_is_opened_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that is missing is named while it is, and the source begins once it is there."""
    import eventpost_pigeon  # type: ignore[import-not-found]

    from eventpost.core.errors import InvalidRequest

    real, missing = eventpost_pigeon.new_queue, [True]

    def new_queue(*arguments: object) -> object:
        if missing[0]:
            raise InvalidRequest("SecretMissing", "The environment variable WHISTLE is not set.")
        return real(*arguments)

    monkeypatch.setattr(eventpost_pigeon, "new_queue", new_queue)
    with station(tmp_path) as letters:
        letters.declare()
        letters.send("1")
        until(lambda: letters.shown()["state"] == "failing")
        failure = letters.shown()["failures"][0]
        assert (failure["operation"], failure["finding"]) == ("open", "EP2704")
        assert "WHISTLE is not set" in failure["evidence"]["detail"]

        missing[0] = False

        letters.until_published("1")
        until(lambda: letters.shown()["state"] == "running")


# --- a store that takes nothing -------------------------------------------------------------------


def test_messages_wait_for_a_full_store(letters: Station) -> None:
    """While the store is full, messages are held and none is given back; they are taken when there
    is room again."""
    letters.declare()
    until(lambda: letters.shown()["state"] == "running")
    letters.server.call(_fill, letters, True)
    letters.send(*bodies(50))
    until(lambda: letters.shown()["state"] == "holding")
    until(lambda: letters.counts()["held"] == 20)
    assert letters.published() == Counter()

    letters.server.call(_fill, letters, False)

    letters.until_published(*bodies(50))
    letters.until_idle()
    assert letters.counts()["released"] == 0


def _fill(letters: Station, is_full: bool) -> None:
    letters.server.app.grid.is_full = is_full


# --- its life -------------------------------------------------------------------------------------


def test_a_paused_source_receives_nothing(letters: Station) -> None:
    """Paused it takes nothing, also over a restart of the source; resumed it goes on."""
    letters.declare()
    assert letters.admin.post(f"/sources/{SOURCE}/pause").json()["state"] == "paused"
    letters.admin.patch(f"/sources/{SOURCE}", json={"prefetch": 7})
    letters.send(*bodies(5))
    assert letters.shown()["state"] == "paused"
    assert letters.published() == Counter()

    letters.admin.post(f"/sources/{SOURCE}/resume")

    letters.until_published(*bodies(5))


def test_a_deleted_source_lets_go(letters: Station) -> None:
    """A deleted source receives no more; what it took stays, what is in the queue stays there."""
    letters.declare()
    letters.send("1")
    letters.until_published("1")
    letters.until_idle()

    assert letters.admin.delete(f"/sources/{SOURCE}").status_code == 204
    until(lambda: letters.server.call(lambda: not letters.server.app.pulling._runs))
    letters.send("2")

    assert letters.published() == Counter(["1"])
    assert letters.left == 1
    letters.declare()
    letters.until_published("1", "2")


def test_a_changed_source_goes_on(letters: Station) -> None:
    """A change of its settings is in force for what comes then; nothing is lost or taken twice."""
    letters.declare()
    letters.send(*bodies(30))

    changed = letters.admin.patch(
        f"/sources/{SOURCE}", json={"inputMappingDefaultValues": {"eventtype": "Letter"}}
    )
    assert changed.status_code == 200
    letters.send(*[str(number) for number in range(30, 60)])

    letters.until_published(*bodies(60))
    letters.until_idle()


def test_a_changed_connection_is_used(letters: Station) -> None:
    """When its connection changes, the source goes on over the new one."""
    other: MemoryServer = _loft(f"{letters.loft}-other")
    letters.declare()
    letters.send("1")
    letters.until_published("1")

    changed = letters.admin.patch(
        "/connections/home", json={"settings": {"loft": f"{letters.loft}-other"}}
    )
    assert changed.status_code == 200
    from eventpost.queues.interfaces import Message

    other.create(SOURCE).queue(SOURCE).send([Message(body=b"2")])

    letters.until_published("1", "2")


def _loft(name: str) -> MemoryServer:
    from importlib import import_module

    made: MemoryServer = import_module("eventpost_pigeon").LOFTS[name]
    return made


def test_a_topic_goes_with_its_sources(letters: Station) -> None:
    """Deleting the topic stops its sources, and the server goes on."""
    letters.declare()
    letters.send("1")
    letters.until_published("1")

    letters.admin.delete("/topics/songs")

    until(lambda: letters.server.call(lambda: not letters.server.app.pulling._runs))
    assert letters.admin.get("/sources").json()["value"] == []


def test_a_stop_settles_what_was_taken(tmp_path: Path) -> None:
    """A server that is stopped has settled what it took, and gives back the rest."""
    with station(tmp_path) as letters:
        letters.declare()
        letters.send(*bodies(200))
        until(lambda: len(letters.published()) > 0)

    taken = 200 - letters.left
    with station(tmp_path, loft=letters.loft) as again:
        assert len(again.published()) >= taken
        again.until_published(*bodies(200))
        again.until_idle()
