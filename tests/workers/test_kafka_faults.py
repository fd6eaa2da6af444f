"""What a Kafka cluster refuses, loses or takes away from a worker: nothing is lost, nothing that is
finished runs again."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dramatiq
import pytest

from eventpost.credentials import aws
from eventpost.queues.kafka import tokens
from eventpost.testing.brokers.faults import Hearing
from eventpost.testing.brokers.harness import Log
from eventpost.testing.fault_proxy import RESET_AFTER
from eventpost.testing.service_refusals import KAFKA_FORBIDDEN
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.kafka import KafkaBroker
from tests.kafka.refused import FAULTS, machine
from tests.services.aws import REGION
from tests.services.kafka import Kafka
from tests.services.running import Running
from tests.workers.harnesses import QUICK, KafkaHarness

pytestmark = pytest.mark.slow
JOBS = range(20)


@pytest.fixture
def harness(kafka: Kafka, tmp_path: Path) -> Iterator[KafkaHarness]:
    with KafkaHarness(tmp_path, kafka) as harness:
        yield harness


class Jobs:
    """Jobs that say when they begin and end, and wait for a signal in between."""

    def __init__(self, *brokers: LeaseBroker) -> None:
        self.log = Log()
        self.may_end = threading.Event()
        self.may_end.set()
        self.hearing = Hearing()
        for broker in brokers:
            broker.add_middleware(self.hearing)  # type: ignore[arg-type]  # by its hooks alone
            self._declare(broker)

    def _declare(self, broker: LeaseBroker) -> None:
        @dramatiq.actor(broker=broker)
        def note(number: int) -> None:
            self.log.add(("begun", number))
            assert self.may_end.wait(60)
            self.log.add(("ended", number))

        self.note = note

    def send(self, numbers: range = JOBS) -> None:
        for number in numbers:
            self.note.send(number)

    def count(self, what: str) -> Counter[int]:
        return Counter(number for step, number in self.log.entries if step == what)


def test_a_lost_answer_to_a_commit(harness: KafkaHarness) -> None:
    """Commits that were carried out, and whose answers were lost by a reset, repeat nothing."""
    broker = harness.new_broker()
    jobs = Jobs(broker)
    jobs.send()
    rule = harness.proxy.when("OffsetCommit", RESET_AFTER)
    with harness.working(broker):
        harness.until(lambda: len(jobs.count("ended")) == len(JOBS))
        harness.proxy.wait_for_hits(rule, 2)
        harness.proxy.mend(rule)
        harness.join(broker)
    assert jobs.count("begun") == Counter(JOBS)


def test_a_lost_answer_to_an_enqueue(harness: KafkaHarness) -> None:
    """A record whose answer was lost is there once: the producer's sequence tells it."""
    broker = harness.new_broker()
    jobs = Jobs(broker)
    rule = harness.proxy.when("Produce", RESET_AFTER, times=1)
    jobs.send()
    with harness.working(broker):
        harness.join(broker)
    assert len(rule.hits) == 1
    assert jobs.count("begun") == Counter(JOBS)


def test_nothing_can_be_written(harness: KafkaHarness) -> None:
    """When neither a retry nor the copy of what is given back can be written, a failed task stays
    where it is, and is tried again as soon as the cluster takes writes."""
    broker = harness.new_broker()
    tried = Log()
    hearing = Hearing()
    broker.add_middleware(hearing)  # type: ignore[arg-type]  # by its hooks alone

    @dramatiq.actor(broker=broker, min_backoff=100, max_backoff=100)
    def unsure() -> None:
        tried.add("tried")
        if len(tried.entries) < 2:
            raise ValueError("not yet")

    unsure.send()
    rule = harness.proxy.when("Produce", KAFKA_FORBIDDEN)
    with harness.working(broker):
        harness.until(lambda: "on_held_back" in hearing.names())
        harness.proxy.wait_for_hits(rule, 3)
        harness.proxy.mend(rule)
        harness.until(lambda: len(tried.entries) == 2)
        harness.join(broker)
    assert tried.entries == ["tried"] * 2


def test_work_longer_than_the_poll_interval(harness: KafkaHarness) -> None:
    """Work that takes longer than `max.poll.interval.ms` keeps its partition: another thread
    polls."""
    broker = harness.new_broker(config={"max.poll.interval.ms": 6_000})
    jobs = Jobs(broker)
    jobs.may_end.clear()
    jobs.send(range(2))
    with harness.working(broker, threads=2):
        harness.until(lambda: len(jobs.count("begun")) == 2)
        began = len(harness.proxy.asked_for("Heartbeat"))
        # One each 2 s, while the session and the poll interval last for 6 s.
        harness.proxy.wait_for("Heartbeat", began + 5)
        jobs.may_end.set()
        harness.join(broker)
    assert jobs.count("begun") == Counter(range(2))
    assert "on_lease_lost" not in jobs.hearing.names()


def test_a_worker_joins_in_the_middle_of_work(harness: KafkaHarness) -> None:
    """A rebalance repeats nothing that is finished, and loses nothing of what is not."""
    first, second = harness.new_broker(), harness.new_broker()
    jobs = Jobs(first, second)
    jobs.send()
    with harness.working(first):
        harness.until(lambda: len(jobs.count("ended")) >= 5)
        finished = jobs.count("ended")
        with harness.working(second):
            jobs.send(range(20, 60))
            harness.until(lambda: len(jobs.count("ended")) == 60)
        harness.join(first)
    begun = jobs.count("begun")
    assert set(begun) == set(range(60))
    assert all(begun[number] == 1 for number in finished)


@pytest.mark.crash
def test_the_broker_restarts(own_kafka: Running[Kafka], tmp_path: Path) -> None:
    """A cluster that is killed and started again costs time: each job ends, and none that was
    finished runs again."""
    with KafkaHarness(tmp_path, own_kafka.service) as harness:
        harness.patience_s = 120.0
        broker = harness.new_broker()
        jobs = Jobs(broker)
        jobs.may_end.clear()
        jobs.send()
        with harness.working(broker, threads=2):
            harness.until(lambda: len(jobs.count("begun")) >= 2)
            own_kafka.kill()
            jobs.may_end.set()
            harness.until(lambda: "on_receive_error" in jobs.hearing.names())
            own_kafka.start()
            harness.until(lambda: len(jobs.count("ended")) == len(JOBS))
            harness.join(broker)
        jobs.send(range(20, 25))
        finished = jobs.count("ended")
        with harness.working(broker):
            harness.until(lambda: len(jobs.count("ended")) == 25)
    assert all(jobs.count("begun")[number] == finished[number] for number in finished)


@contextmanager
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(tokens, "ASK_AGAIN_S", 1.0)
    aws.close_all()
    yield
    aws.close_all()


def test_a_token_is_refused_in_the_middle_of_work(
    kafka: Kafka, harness: KafkaHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the session token expires in the middle of work, what is finished is not run again, and
    what came meanwhile runs once there are new keys."""
    fault = FAULTS["session token expired"]
    harness.patience_s = 120.0
    with clean_environment(monkeypatch), machine(kafka, tmp_path, monkeypatch) as here:
        sender = harness.new_broker()
        broker = KafkaBroker(
            bootstrap=[kafka.address("iam")],
            auth="msk-iam",
            region=REGION,
            ca_file=str(kafka.ca_file),
            config={"broker.address.family": "v4"},
            namespace=harness.namespace,
            partitions=2,
            session_timeout_s=6.0,
            ledger=harness.ledger,
            limits=QUICK,
        )
        jobs = Jobs(sender, broker)
        jobs.send(range(10))
        with harness.working(broker, threads=2):
            harness.until(lambda: len(jobs.count("ended")) == 10)
            fault.begin(here)
            sender.get_actor("note").send(10)
            harness.until(lambda: "on_receive_error" in jobs.hearing.names())
            fault.mend(here)
            for number in range(11, 20):
                sender.get_actor("note").send(number)
            harness.until(lambda: len(jobs.count("ended")) == 20)
        broker.close()
    assert jobs.count("begun") == Counter(range(20))
