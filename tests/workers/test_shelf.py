"""`eventpost worker deadletters`: listing, a second chance, and throwing away, on real queues."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from eventpost.testing.brokers import BrokerHarness
from eventpost.testing.brokers.harness import Log
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.shelf import Letter, Selection, Shelf, ShelfError, paced
from tests.services.azurite import Azurite
from tests.services.kafka import Kafka
from tests.services.moto import Moto
from tests.workers.harnesses import (
    KafkaHarness,
    ProxiedHarness,
    SqsHarness,
    StorageQueueHarness,
)

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqs", "storagequeue", "kafka"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerHarness]:
    made: BrokerHarness
    if request.param == "sqs":
        moto: Moto = request.getfixturevalue("moto")
        made = SqsHarness(tmp_path, moto)
    elif request.param == "kafka":
        kafka: Kafka = request.getfixturevalue("kafka")
        made = KafkaHarness(tmp_path, kafka)
    else:
        azurite: Azurite = request.getfixturevalue("azurite")
        made = StorageQueueHarness(tmp_path, azurite)
    with made:
        yield made


def failing(harness: BrokerHarness, numbers: range) -> tuple[LeaseBroker, Log]:
    """A broker with so many dead letters of its actor `play`, and one that is no task."""
    broker, log = harness.new_broker(), Log()
    is_mended: list[bool] = []

    @dramatiq.actor(broker=broker, max_retries=0)
    def play(number: int) -> None:
        log.add(number)
        if not is_mended:
            raise ValueError(f"no song {number}")

    for number in numbers:
        play.send(number)
    harness.put(broker, "default", b"no task")
    with harness.working(broker):
        harness.join(broker)
    is_mended.append(True)
    return broker, log


def looked(broker: LeaseBroker, selection: Selection, count_max: int = 0) -> list[Letter]:
    with Shelf(broker, "default") as shelf:
        return list(shelf.letters(selection, count_max))


def test_letters_are_listed_and_stay(harness: BrokerHarness) -> None:
    """By reason, finding, actor, error and time; looking changes nothing."""
    broker, _ = failing(harness, range(5))

    for _ in range(2):
        assert len(looked(broker, Selection())) == 6
    assert len(looked(broker, Selection(reason="Failed"))) == 5
    assert len(looked(broker, Selection(finding="EP5010"))) == 1
    assert len(looked(broker, Selection(actor="play"))) == 5
    assert len(looked(broker, Selection(actor="sing"))) == 0
    [one] = looked(broker, Selection(error="no song 3"))
    assert one.letter.story is not None
    assert one.letter.story.error == "ValueError: no song 3"
    assert looked(broker, Selection(since_ms=one.at_ms, until_ms=one.at_ms + 1))
    assert looked(broker, Selection(until_ms=1)) == []
    assert len(looked(broker, Selection(ids=frozenset({one.id})))) == 1
    assert len(looked(broker, Selection(), 2)) == 2


def test_letters_get_a_second_chance(harness: BrokerHarness) -> None:
    """Those selected run again, each once, and are gone from the shelf; the others stay."""
    broker, log = failing(harness, range(4))

    with Shelf(broker, "default") as shelf:
        for one in shelf.letters(Selection(reason="Failed")):
            shelf.replay(one)
    with harness.working(broker):
        harness.join(broker)

    assert Counter(log.entries) == Counter([0, 0, 1, 1, 2, 2, 3, 3])
    [rest] = looked(broker, Selection())
    assert rest.letter.body == b"no task"


def test_letters_are_thrown_away(harness: BrokerHarness) -> None:
    """Those selected are gone for good."""
    broker, _ = failing(harness, range(3))

    with Shelf(broker, "default") as shelf:
        for one in shelf.letters(Selection(error="no song 1")):
            shelf.remove(one)
    assert len(looked(broker, Selection())) == 3


def test_a_queue_without_a_shelf_has_no_letters(harness: BrokerHarness) -> None:
    """Where nothing may be made and nothing ever failed, there are none, whatever the system calls
    a queue that is not there."""
    broker = harness.new_broker(create="never")
    assert looked(broker, Selection()) == []


def test_a_replay_that_cannot_be_sent_stays(harness: BrokerHarness) -> None:
    """It is told, and the letter is on the shelf as before."""
    broker, _ = failing(harness, range(1))
    if not isinstance(harness, ProxiedHarness):
        return

    with Shelf(broker, "default") as shelf, harness.refused("send"):
        one = next(shelf.letters(Selection()))
        with pytest.raises(ShelfError, match="EP4"):
            shelf.replay(one)
    assert len(looked(broker, Selection())) == 2


def test_a_rate_is_kept() -> None:
    """The pauses are what the rate leaves; without one there are none."""
    slept: list[float] = []
    letters: Any = [object()] * 4

    assert len(list(paced(iter(letters), 50.0, slept.append, lambda: 7.0))) == 4
    assert slept == pytest.approx([0.02, 0.04, 0.06])
    slept.clear()
    assert len(list(paced(iter(letters), 0.0, slept.append))) == 4
    assert slept == []


def test_the_command(azurite: Azurite, tmp_path: Path) -> None:
    """List, dry run, replay and purge as typed, with the program's own broker."""
    with StorageQueueHarness(tmp_path, azurite) as harness:
        broker, _ = failing(harness, range(3))
        program = tmp_path / "station.py"
        words = {**harness.words, "ledger": str(harness.ledger)}
        program.write_text(
            "from eventpost.workers.storagequeue import StorageQueueBroker\n"
            f"broker = StorageQueueBroker(**{words!r})\n"
            "other = 7\n"
        )

        def run(*arguments: str, status: int = 0) -> str:
            command = [sys.executable, "-m", "eventpost", "worker", "deadletters", *arguments]
            done = subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
            )
            assert done.returncode == status, done.stderr
            return done.stdout + done.stderr

        listed = json.loads(run("list", "--broker", "station", "--json"))
        assert Counter(one["reason"] for one in listed) == {"Failed": 3, "Undecodable": 1}
        table = run("list", "--broker", "station:broker", "--limit", "2")
        assert "The first 2 are shown" in table
        assert "would be replayed" in run(
            "replay", "--broker", "station", "--actor", "play", "--dry-run"
        )
        assert "3 dead letters sent again" in run(
            "replay", "--broker", "station", "--actor", "play", "--rate", "100/s"
        )
        assert "PurgeNotConfirmed" in run("purge", "--broker", "station", status=2)
        assert "1 dead letter purged" in run("purge", "--broker", "station", "--yes")
        assert "There are none" in run("list", "--broker", "station")
        assert "NoSuchModule" in run("list", "--broker", "nowhere", status=2)
        assert "NoSuchBroker" in run("list", "--broker", "station:other", status=2)
        queue = broker.open_queue("default")
        assert queue.count() == 3
        queue.close()
