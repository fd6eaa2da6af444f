"""Messages come, run and go: what Dramatiq asks of any broker.

Layer: testing.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq.errors import QueueJoinTimeout, QueueNotFound

from eventpost.core.errors import InvalidRequest
from eventpost.testing.brokers.harness import BrokerHarness, Log
from eventpost.workers.errors import MessageTooLarge


class Basics:
    @pytest.fixture
    def harness(self) -> Iterator[BrokerHarness]:
        raise NotImplementedError("define the fixture `harness`")

    def test_each_message_runs_once(self, harness: BrokerHarness) -> None:
        """What was sent runs once, with its arguments, and is gone afterwards."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker)
        def note(number: int, *, city: str) -> None:
            log.add((number, city))

        sent = [(number, "K\u00f6ln \U0001f3b8") for number in range(25)]
        for number, city in sent:
            note.send(number, city=city)
        with harness.working(broker):
            harness.join(broker)

        assert Counter(log.entries) == Counter(sent)
        with harness.working(broker):
            harness.join(broker)
        assert len(log.entries) == len(sent)

    def test_queues_are_told_apart(self, harness: BrokerHarness) -> None:
        """A worker of one queue takes nothing of another."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker, queue_name="blues")
        def play() -> None:
            log.add("blues")

        @dramatiq.actor(broker=broker, queue_name="jazz")
        def swing() -> None:
            log.add("jazz")

        play.send()
        swing.send()
        worker = dramatiq.Worker(broker, queues={"blues"}, worker_threads=2, worker_timeout=100)
        worker.start()
        harness.join(broker, "blues")
        worker.stop()
        assert log.entries == ["blues"]
        with harness.working(broker):
            harness.join(broker, "jazz")
        assert log.entries == ["blues", "jazz"]

    def test_priorities_hold_in_the_prefetch(self, harness: BrokerHarness) -> None:
        """What was fetched ahead runs by priority, lower numbers first."""
        broker, log = harness.new_broker(), Log()
        is_begun, go_on = threading.Event(), threading.Event()

        @dramatiq.actor(broker=broker, priority=0)
        def gate() -> None:
            is_begun.set()
            go_on.wait(harness.patience_s)

        @dramatiq.actor(broker=broker, priority=20)
        def low() -> None:
            log.add("low")

        @dramatiq.actor(broker=broker, priority=10)
        def high() -> None:
            log.add("high")

        gate.send()
        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
        worker.queue_prefetch = 10
        worker.start()
        harness.until(is_begun.is_set)
        low.send()
        high.send()
        harness.until(lambda: worker.work_queue.qsize() == 2)
        go_on.set()
        harness.join(broker)
        worker.stop()
        assert log.entries == ["high", "low"]

    def test_what_never_began_is_given_back(self, harness: BrokerHarness) -> None:
        """A worker that stops gives back what it fetched ahead, and another runs it at once."""
        broker, log = harness.new_broker(lease_s=60.0), Log()
        is_begun, go_on = threading.Event(), threading.Event()

        @dramatiq.actor(broker=broker)
        def note(number: int) -> None:
            is_begun.set()
            go_on.wait(harness.patience_s)
            log.add(number)

        for number in range(6):
            note.send(number)
        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
        worker.queue_prefetch = 4
        worker.start()
        harness.until(lambda: is_begun.is_set() and worker.work_queue.qsize() >= 1)
        stopping = threading.Thread(target=worker.stop)
        stopping.start()
        harness.until(lambda: not worker.workers[0].running)
        go_on.set()
        stopping.join(harness.patience_s)
        assert len(log.entries) < 6

        with harness.working(broker):
            harness.join(broker)
        assert Counter(log.entries) == Counter(range(6))

    def test_a_pause_ends(self, harness: BrokerHarness) -> None:
        """A paused worker begins nothing; when it goes on, everything runs."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker)
        def note(number: int) -> None:
            log.add(number)

        with harness.working(broker) as worker:
            note.send(1)
            harness.join(broker)
            worker.pause()
            note.send(2)
            with pytest.raises(QueueJoinTimeout):
                broker.join("default", timeout=500)
            assert log.entries == [1]
            worker.resume()
            harness.join(broker)
        assert log.entries == [1, 2]

    def test_flush_removes_everything(self, harness: BrokerHarness) -> None:
        """After a flush nothing runs, not even what was delayed."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker)
        def note(number: int) -> None:
            log.add(number)

        for number in range(5):
            note.send(number)
        note.send_with_options(args=(9,), delay=3_000)
        broker.flush_all()
        with harness.working(broker):
            harness.join(broker)
        assert log.entries == []

    def test_messages_of_other_brokers_are_read(self, harness: BrokerHarness) -> None:
        """Base64, and the queue's name and option of a delay that is over, are read as well."""
        broker, log = harness.new_broker(), Log()

        @dramatiq.actor(broker=broker)
        def note(number: int) -> None:
            log.add(number)

        plain = json.loads(note.message(1).encode())
        delayed = {**plain, "queue_name": "default.DQ", "args": [2], "options": {"eta": 1_000}}
        harness.put(broker, "default", _base64(plain))
        harness.put(broker, "default", json.dumps(delayed).encode())
        with harness.working(broker):
            harness.join(broker)
        assert Counter(log.entries) == Counter([1, 2])

    def test_what_cannot_be_sent_is_refused(self, harness: BrokerHarness) -> None:
        """An undeclared queue and a message above the bound are told to whoever sends."""
        broker = harness.new_broker()

        @dramatiq.actor(broker=broker)
        def note(text: str) -> None:
            pass

        with pytest.raises(QueueNotFound):
            broker.enqueue(note.message("x").copy(queue_name="nowhere"))
        with pytest.raises(QueueNotFound):
            broker.consume("nowhere")
        with pytest.raises(MessageTooLarge, match="EP5003"):
            note.send("x" * 2_000_000)

    def test_names_that_mean_the_same_queue_are_refused(self, harness: BrokerHarness) -> None:
        """Two queues never become one, and no queue the dead letters of another."""
        broker = harness.new_broker()
        broker.declare_queue("blues")
        broker.declare_queue("blues")
        with pytest.raises(InvalidRequest, match="blues-dead-letters"):
            broker.declare_queue("blues-dead-letters")

    def test_a_missing_queue_is_told(self, harness: BrokerHarness) -> None:
        """Without the right to create, an enqueue into a queue that is not there says so."""
        broker = harness.new_broker(create="never")

        @dramatiq.actor(broker=broker, queue_name="missing")
        def note() -> None:
            pass

        with pytest.raises(QueueNotFound, match="missing: EP"):
            note.send()


def _base64(message: object) -> bytes:
    import base64

    return base64.b64encode(json.dumps(message).encode())
