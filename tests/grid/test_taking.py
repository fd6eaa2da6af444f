"""What a source takes: events, poison and the messages' ids become durable together, or not."""

from typing import Any

import msgspec
import pytest

from eventpost.core.errors import Overloaded
from eventpost.core.events import Event
from eventpost.core.interfaces import DeadLetter, Taken
from eventpost.core.sources import Source
from eventpost.grid import catalogue
from eventpost.grid.engine import Haul
from eventpost.testing import samples
from eventpost.testing.disk import Disk
from tests.grid.conftest import NewRig
from tests.grid.rig import Rig

QUEUE = 77


@pytest.fixture
def rig(new_rig: NewRig) -> Rig:
    """With a topic, the notices, and a source of the id 1."""
    made = new_rig(taken_kept_ms=60_000)
    made.topic()
    made.notices()
    declare(made)
    return made


def declare(rig: Rig) -> Source:
    source = Source(
        id=rig.engine.new_source_id(),
        topic_id=rig.topics["songs"].id,
        name="letters",
        created_ms=0,
        kind="sqs",
        queue="letters",
    )
    rig.ask(lambda done: catalogue.put_source(rig.engine, source, done))
    return source


def poison(rig: Rig, **changes: Any) -> DeadLetter:
    letter = samples.poison(
        rig.engine.dead_letters.new_id(), source_id=1, topic_id=rig.topics["songs"].id
    )
    return msgspec.structs.replace(letter, **changes)


def haul(rig: Rig, *ids: str, letters: list[DeadLetter] | None = None, events: int = 1) -> Haul:
    return Haul(
        topic_id=rig.topics["songs"].id,
        source="letters",
        events=[rig.event() for _ in range(events)],
        letters=letters or [],
        taken=Taken(QUEUE, list(ids), rig.clock.now_ms()),
    )


def take(rig: Rig, made: Haul) -> Overloaded | None:
    answers: list[Overloaded | None] = []
    rig.engine.take(made, answers.append)
    assert answers == []
    rig.settle()
    (answer,) = answers
    return answer


def known(rig: Rig, *ids: str) -> set[str]:
    found = rig.read(lambda done: rig.engine.store.taken(QUEUE, list(ids), done))
    assert isinstance(found, set)
    return found


def test_events_and_ids_are_taken_together(rig: Rig) -> None:
    """One commit holds the events and the ids; the events are delivered, the ids outlive it."""
    rig.subscribe()
    before = len(rig.store.commits)

    assert take(rig, haul(rig, "m-1", "m-2", events=3)) is None

    commits = [each for each in rig.store.commits[before:] if each.appends]
    assert [(len(each.appends[0].events), each.taken[0].ids) for each in commits] == [
        (3, ["m-1", "m-2"])
    ]
    assert rig.handler().ids == ["e0", "e1", "e2"]
    rig.crash()
    assert known(rig, "m-1", "m-2", "m-3") == {"m-1", "m-2"}


def test_ids_are_forgotten_when_the_message_is_gone(rig: Rig) -> None:
    """An id goes with a commit soon after its queue confirmed that the message is gone."""
    take(rig, haul(rig, "m-1", "m-2"))

    rig.engine.journal.forget(Taken(QUEUE, ["m-1"]))
    rig.advance(1.0)

    assert known(rig, "m-1", "m-2") == {"m-2"}


@pytest.mark.parametrize(("age_s", "is_known"), [(59.0, True), (61.0, False)])
def test_ids_are_forgotten_after_their_time(new_rig: NewRig, age_s: float, is_known: bool) -> None:
    """An id that nobody confirmed is remembered for the set time, and not for longer."""
    rig = new_rig(taken_kept_ms=60_000, retention_interval_s=1.0)
    rig.topic()
    take(rig, haul(rig, "m-1"))

    rig.advance(age_s)
    rig.publish()
    rig.publish()

    assert known(rig, "m-1") == ({"m-1"} if is_known else set())


def test_a_full_store_takes_nothing(rig: Rig) -> None:
    """At the byte limit messages are refused at once, and neither event nor id is kept."""
    rig.engine.is_full = True

    with pytest.raises(Overloaded) as refusal:
        rig.engine.take(haul(rig, "m-1"), lambda _: None)

    assert refusal.value.code == "EP3001"
    rig.settle()
    assert known(rig, "m-1") == set()
    assert rig.engine.partitions[rig.topics["songs"].id, 0].next == 0


def test_too_much_at_once_is_refused(new_rig: NewRig) -> None:
    """Beyond the bound of a commit group messages are refused, as publishing is."""
    rig = new_rig(group_events_max=2)
    rig.topic()

    assert take(rig, haul(rig, "m-1", events=2)) is None
    with pytest.raises(Overloaded):
        rig.engine.take(haul(rig, "m-2", events=3), lambda _: None)
    rig.settle()

    assert known(rig, "m-1", "m-2") == {"m-1"}


@pytest.mark.parametrize("events", [0, 2])
def test_a_failed_commit_is_told(new_rig: NewRig, faulty: Disk, events: int) -> None:
    """When the commit fails the source is told, whether there were events in it or only poison."""
    rig = new_rig(vfs=faulty.name)
    rig.topic()
    faulty.fail_sync_at = faulty.syncs + 1

    answer = take(rig, haul(rig, "m-1", events=events, letters=[poison(rig)]))

    assert isinstance(answer, Overloaded)
    assert answer.code == "EP3003"
    assert rig.failures


def test_poison_is_kept_with_its_id_and_told(rig: Rig) -> None:
    """A message of which no event can be made is a dead letter with its bytes, its id is taken, and
    one notice tells of it."""
    rig.subscribe("onlooker", topic="eventpost.deadletters")
    letter = poison(rig)

    assert take(rig, haul(rig, "m-1", letters=[letter], events=0)) is None

    assert rig.letters(source_id=1) == [letter]
    assert known(rig, "m-1") == {"m-1"}
    assert rig.engine.dead_letters.source_counts == {1: 1}
    (attempt,) = rig.handler("onlooker").attempts
    notice = msgspec.json.decode(attempt.deliveries[0].event.wire)
    assert notice["eventType"] == "Eventpost.EventDeadLettered"
    assert notice["subject"] == "/topics/songs/sources/letters"
    assert notice["data"] | {"deadLetterId": ""} == {
        "topic": "songs",
        "source": "letters",
        "deadLetterId": "",
        "reason": "Poison",
        "finding": letter.finding,
        "detail": "",
        "messageId": letter.event_id,
        "receiveCount": 11,
        "size": len(letter.wire),
        "base64": "/yBub3QgSlNPTg==",
    }
    rig.crash()
    assert rig.engine.dead_letters.source_counts == {1: 1}


def test_a_dead_letter_that_became_events_is_gone(rig: Rig) -> None:
    """Events that were made of a dead letter after all are published in the commit that removes
    it; whoever comes second finds it taken."""
    rig.subscribe()
    letter = poison(rig)
    take(rig, haul(rig, "m-1", letters=[letter], events=0))
    events: list[Event] = [rig.event(), rig.event()]
    counts: list[int] = []

    def twice(done: Any) -> None:
        counts.append(rig.engine.dead_letters.republish([(letter, events)], done))
        counts.append(rig.engine.dead_letters.republish([(letter, events)], lambda _: None))

    rig.ask(twice)

    assert counts == [1, 0]
    assert rig.handler().ids == [event.id for event in events]
    assert rig.letters() == []
    assert rig.engine.dead_letters.source_counts == {1: 0}


def test_a_sources_dead_letters_are_purged(rig: Rig) -> None:
    """Purging counts a source's dead letters off the source, and no subscription's."""
    letters = [poison(rig), poison(rig)]
    take(rig, haul(rig, "m-1", "m-2", letters=letters, events=0))

    rig.ask(lambda done: rig.engine.dead_letters.purge(letters[:1], done))

    assert rig.letters() == letters[1:]
    assert rig.engine.dead_letters.source_counts == {1: 1}
    assert rig.engine.dead_letters.counts == {}


def test_a_sources_dead_letters_do_not_go_to_a_ladder(rig: Rig) -> None:
    """Replaying onto the ladder passes over what no subscription gave up."""
    rig.subscribe()
    letter = poison(rig)
    take(rig, haul(rig, "m-1", letters=[letter], events=0))
    counts: list[int] = []

    rig.ask(lambda done: counts.append(rig.engine.dead_letters.replay([letter], done)))

    assert counts == [0]
    assert rig.letters() == [letter]


def test_a_source_goes_with_its_dead_letters(rig: Rig) -> None:
    """Removing a source removes its dead letters; what it took stays taken."""
    take(rig, haul(rig, "m-1", letters=[poison(rig)], events=0))

    rig.ask(lambda done: catalogue.remove_source(rig.engine, 1, done))

    assert rig.letters() == []
    assert rig.engine.dead_letters.source_counts == {}
    assert known(rig, "m-1") == {"m-1"}
    rig.crash()
    assert rig.engine.sources == {}
