"""Dead letters: one notice each, their files, and the ways back and out."""

import itertools

import pytest

from eventpost.core.interfaces import DeadLetter, ReadFailed
from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Fault, Stage
from eventpost.core.subscriptions import RetryPolicy
from eventpost.formats import deadletters as formats
from eventpost.grid import catalogue
from tests.grid.conftest import NewRig
from tests.grid.rig import Rig, failed

NO_ROOM = Failed(Evidence(stage=Stage.WRITE, fault=Fault.UNEXPECTED, errno=28))
FOLDER = "folder:/dead"


@pytest.fixture
def rig(new_rig: NewRig) -> Rig:
    made = new_rig(export_events_max=4)
    made.topic()
    made.notices()
    return made


def kill(rig: Rig, count: int = 1, name: str = "handler") -> list[DeadLetter]:
    """Let so many events become dead letters at once."""
    rig.handler(name).react = lambda _: failed(400)
    known = {letter.id for letter in rig.letters()}
    rig.publish(count)
    rig.handler(name).react = lambda _: None
    rig.handler(name).attempts.clear()
    return [letter for letter in rig.letters() if letter.id not in known]


def notice_types(rig: Rig) -> list[str]:
    return [attempt.deliveries[0].event.type for attempt in rig.handler("onlooker").attempts]


def replay(rig: Rig, letters: list[DeadLetter]) -> int:
    counts: list[int] = []
    rig.ask(lambda done: counts.append(rig.engine.dead_letters.replay(letters, done)))
    return counts[0]


def purge(rig: Rig, letters: list[DeadLetter]) -> int:
    counts: list[int] = []
    rig.ask(lambda done: counts.append(rig.engine.dead_letters.purge(letters, done)))
    return counts[0]


def waiting(rig: Rig, name: str = "handler") -> int:
    return rig.engine.dead_letters.counts.get(rig.subscription(name).id, 0)


# --- falling --------------------------------------------------------------------------------------


def test_each_raises_one_notice(rig: Rig) -> None:
    """For each dead letter one event of the built-in topic becomes durable in the same commit."""
    rig.subscribe()
    rig.subscribe("onlooker", topic="eventpost.deadletters")

    letters = kill(rig, 3)

    assert len(letters) == 3
    assert notice_types(rig) == [formats.DEAD_LETTERED_EVENT] * 3
    with_letters = [commit for commit in rig.store.commits if commit.dead_put]
    assert [len(commit.dead_put) for commit in with_letters] == [
        sum(len(append.events) for append in commit.appends) for commit in with_letters
    ]


def test_a_notice_that_dies_raises_none(rig: Rig) -> None:
    """A dead letter of a built-in topic is a row and a count."""
    rig.subscribe()
    rig.subscribe("onlooker", topic="eventpost.deadletters")
    rig.handler("onlooker").react = lambda _: failed(400)

    kill(rig, 2)

    assert len(rig.letters()) == 4
    assert waiting(rig, "onlooker") == 2
    assert len(rig.handler("onlooker").attempts) == 2


def test_without_a_topic_for_notices(new_rig: NewRig) -> None:
    """A dead letter is kept, whether or not there is somewhere to tell of it."""
    rig = new_rig()
    rig.topic()
    rig.subscribe()

    assert len(kill(rig, 2)) == 2


def test_ids_rise_with_time(rig: Rig) -> None:
    """Ids are unique and follow the order in which dead letters fell, over restarts too."""
    rig.subscribe()
    first = kill(rig, 3)
    rig.restart()
    second = kill(rig, 3)

    ids = [letter.id for letter in first + second]
    assert ids == sorted(set(ids))


# --- replay ---------------------------------------------------------------------------------------


def test_a_replay_that_is_delivered(rig: Rig) -> None:
    """The dead letter is gone, and the books count a replay and a delivery."""
    rig.subscribe()
    letters = kill(rig, 3)

    assert replay(rig, letters) == 3
    rig.handler().always(DELIVERED)
    rig.advance(0.1)

    assert rig.letters() == []
    assert waiting(rig) == 0
    books = rig.books()
    assert (books.matched, books.replayed, books.delivered, books.pending) == (3, 3, 3, 0)


def test_a_replay_that_fails_again(rig: Rig) -> None:
    """It is the same dead letter again, told of again, with what was seen the last time."""
    rig.subscribe(retry=RetryPolicy(schedule=(1_000,), max_delivery_attempts=2))
    rig.subscribe("onlooker", topic="eventpost.deadletters")
    (letter,) = kill(rig)
    rig.handler().react = lambda _: failed(503)

    rig.advance(5.0)
    assert replay(rig, [letter]) == 1
    rig.advance(5.0)

    (again,) = rig.letters()
    assert (again.id, again.replayed_ms) == (letter.id, 0)
    assert (again.reason.value, again.attempts) == ("MaxDeliveryAttemptsExceeded", 2)
    assert again.dead_ms > letter.dead_ms
    assert again.published_ms == letter.published_ms
    assert waiting(rig) == 1
    assert len(notice_types(rig)) == 2
    assert rig.books().pending == 0


def test_a_replay_has_its_time_again(rig: Rig) -> None:
    """Time to live runs from the replay on."""
    rig.subscribe(retry=RetryPolicy(event_ttl_ms=10_000))
    (letter,) = kill(rig)
    rig.advance(3_600.0)

    replay(rig, [letter])

    assert len(rig.handler().open) == 1


def test_a_replay_needs_no_segment(rig: Rig) -> None:
    """The dead letter's own bytes are sent, the event's are not looked for."""
    rig.subscribe()
    (letter,) = kill(rig)
    events = rig.store.calls["events"]

    replay(rig, [letter])

    assert rig.handler().open[0].deliveries[0].event.wire == letter.wire
    assert rig.store.calls["events"] == events


def test_nothing_is_replayed_twice(rig: Rig) -> None:
    """What is being replayed, and what belongs to a subscription that is gone, is passed over."""
    rig.subscribe()
    rig.subscribe("gone")
    (letter,) = kill(rig)
    rig.handler("gone").react = lambda _: failed(400)
    rig.handler("gone").answer(failed(400))
    (other,) = (each for each in rig.letters() if each.id != letter.id)
    number = rig.subscription("gone").id

    assert rig.engine.dead_letters.replay([letter, letter], lambda _: None) == 1
    assert replay(rig, [letter]) == 0
    assert replay(rig, rig.letters(subscription_id=letter.subscription_id)) == 0
    rig.ask(lambda done: catalogue.remove_subscription(rig.engine, number, done))
    assert replay(rig, [other]) == 0
    assert rig.books().replayed == 1
    assert len(rig.handler().open) == 1


def test_a_replay_goes_on_after_a_restart(rig: Rig) -> None:
    """What was put back on the ladder stays there."""
    rig.subscribe()
    (letter,) = kill(rig)
    replay(rig, [letter])

    rig.restart()
    rig.handler().react = lambda _: DELIVERED
    rig.advance(0.1)

    assert rig.letters() == []
    assert rig.books().delivered == 1
    assert waiting(rig) == 0


# --- purge ----------------------------------------------------------------------------------------


def test_a_purge(rig: Rig) -> None:
    """The rows are gone, but for those that a replay has in hand; the books stay as they are."""
    rig.subscribe()
    letters = kill(rig, 3)
    replay(rig, letters[:1])

    assert purge(rig, rig.letters()) == 2
    assert purge(rig, rig.letters()) == 0

    assert [letter.id for letter in rig.letters()] == [letters[0].id]
    assert waiting(rig) == 0
    assert rig.books().dead_lettered == {"UndeliverableDueToHttpBadRequest": 3}


def test_what_is_being_purged_is_not_replayed(rig: Rig) -> None:
    """Of a purge and a replay that meet in one commit, the first takes the dead letter."""
    rig.subscribe()
    letters = kill(rig, 2)

    assert rig.engine.dead_letters.purge(letters[:1], lambda _: None) == 1
    assert rig.engine.dead_letters.purge(letters[:1], lambda _: None) == 0
    assert rig.engine.dead_letters.replay(letters, lambda _: None) == 1
    rig.settle()
    assert rig.books().replayed == 1


# --- files ----------------------------------------------------------------------------------------


def test_files_wait_for_company(rig: Rig) -> None:
    """What falls within a second is written together, and told of."""
    rig.subscribe(deadletter=FOLDER)
    rig.subscribe("onlooker", topic="eventpost.deadletters")
    kill(rig, 2)
    rig.advance(0.9)
    kill(rig, 1)
    assert rig.files.written == []

    rig.advance(0.1)

    assert [len(each) for each in rig.files.events] == [3]
    assert rig.files.written[0][0] == FOLDER
    assert notice_types(rig)[3:] == [formats.WRITTEN_EVENT]
    assert {letter.export_due_ms for letter in rig.letters()} == {0}
    assert {letter.exported_to for letter in rig.letters()} == {
        f"file:///{rig.files.written[0][1]}"
    }
    rig.advance(3_600.0)
    assert len(rig.files.written) == 1


@pytest.mark.parametrize(("count", "sizes"), [(3, [3]), (4, [4]), (5, [4, 1]), (9, [4, 4, 1])])
def test_files_of_so_many_events(rig: Rig, count: int, sizes: list[int]) -> None:
    """A file holds at most so many events; the rest follows at once."""
    rig.subscribe(deadletter=FOLDER)
    kill(rig, count)

    rig.advance(1.0)

    assert [len(each) for each in rig.files.events] == sizes


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_files_of_so_many_bytes(new_rig: NewRig, more: int) -> None:
    """A file is at most so large."""
    rig = new_rig()
    rig.topic()
    rig.subscribe(deadletter=FOLDER)
    kill(rig, 3)
    rig.advance(1.0)
    size = len(rig.files.written[0][2])
    rig.limits = rig.limits.__class__(outcome_delay_s=0.0, export_bytes_max=size - more)
    rig.restart()
    kill(rig, 3)

    rig.advance(1.0)

    sizes = [len(body) for _, _, body in rig.files.written[1:]]
    assert [len(each) for each in rig.files.events[1:]] == ([3] if more <= 0 else [2, 1])
    assert max(sizes) <= size - more


def test_an_event_above_the_size_of_a_file(new_rig: NewRig) -> None:
    """It has a file to itself."""
    rig = new_rig(export_bytes_max=10)
    rig.topic()
    rig.subscribe(deadletter=FOLDER)
    kill(rig, 2)

    rig.advance(1.0)

    assert [len(each) for each in rig.files.events] == [1, 1]


def test_a_file_that_cannot_be_written(rig: Rig) -> None:
    """It is tried again, later each time; nothing is lost, and what falls meanwhile goes along."""
    rig.subscribe(deadletter=FOLDER)
    rig.files.failure = NO_ROOM
    first = kill(rig, 2)
    rig.advance(60.0)
    second = kill(rig, 1)
    tries = [later - sooner for sooner, later in itertools.pairwise(rig.files.tries_ms)]
    assert tries == sorted(tries)
    assert len(rig.watcher.exports_failed) == len(rig.files.tries_ms) > 1
    assert all(letter.export_due_ms for letter in rig.letters())

    rig.files.failure = None
    rig.advance(3_600.0)

    written = [event["id"] for file in rig.files.events for event in file]
    assert sorted(written) == sorted(letter.event_id for letter in first + second)


def test_an_export_goes_on_after_a_restart(rig: Rig) -> None:
    """What was not written before the end is written after the start, also when the answer was on
    its way."""
    rig.subscribe(deadletter=FOLDER)
    kill(rig, 2)
    rig.files.is_holding = True
    rig.advance(1.0)
    assert len(rig.files.held) == 1

    rig.restart()
    rig.files.is_holding = False
    rig.advance(1.0)

    assert [len(each) for each in rig.files.events] == [2, 2]
    assert {letter.export_due_ms for letter in rig.letters()} == {0}


def test_a_slow_file_is_written_once(rig: Rig) -> None:
    """What falls while a file is being written goes into the next one, nothing into both."""
    rig.subscribe(deadletter=FOLDER)
    rig.files.is_holding = True
    kill(rig, 2)
    rig.advance(1.0)
    kill(rig, 2)
    rig.advance(5.0)
    assert len(rig.files.held) == 1

    rig.files.is_holding = False
    done, answer = rig.files.held.pop()
    done(answer)
    rig.advance(5.0)

    assert [len(each) for each in rig.files.events] == [2, 2]
    ids = [event["id"] for file in rig.files.events for event in file]
    assert len(set(ids)) == 4


def test_a_slow_commit_writes_no_file_twice(rig: Rig) -> None:
    """A file is not written again because it takes long to keep that it was."""
    rig.subscribe(deadletter=FOLDER)
    kill(rig, 1)
    rig.advance(0.999)
    rig.files.is_holding = True
    rig.advance(0.001)
    rig.executor.hold("write")
    done, answer = rig.files.held.pop()
    rig.files.is_holding = False
    done(answer)
    rig.advance(5.0)

    rig.executor.release("write")
    rig.advance(5.0)

    assert [len(each) for each in rig.files.events] == [1]


def test_what_is_replayed_before_its_export(rig: Rig) -> None:
    """A dead letter that is put back on the ladder in time is not written."""
    rig.subscribe(deadletter=FOLDER)
    letters = kill(rig, 2)

    replay(rig, letters[:1])
    rig.advance(1.0)

    assert [len(each) for each in rig.files.events] == [1]


def test_dead_letters_that_cannot_be_read_are_exported_later(rig: Rig) -> None:
    """When the disk does not answer the export asks again."""
    rig.subscribe(deadletter=FOLDER)
    kill(rig, 1)
    rig.executor.faults["scan"] = [ReadFailed("busy")]

    rig.advance(2.0)

    assert rig.watcher.read_failures == ["busy"]
    assert [len(each) for each in rig.files.events] == [1]


def test_an_export_whose_destination_goes(rig: Rig) -> None:
    """Without a destination nothing is written; named again, it gets what waited."""
    rig.subscribe(deadletter=FOLDER)
    kill(rig, 1)
    rig.change(deadletter=None)
    rig.advance(10.0)
    assert rig.files.written == []

    rig.change(deadletter="folder:/other")
    rig.advance(1.0)

    assert [destination for destination, _, _ in rig.files.written] == ["folder:/other"]
