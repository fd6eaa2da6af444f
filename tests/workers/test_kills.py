"""The real `dramatiq` command, killed at every moment: nothing is lost, nothing repeats."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import dramatiq
import httpx
import pytest

from eventpost.workers.broker import LeaseBroker
from tests.documentation import ROOT
from tests.services.azurite import Azurite
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.ports import free_ports
from tests.workers.environment import BROKER, STEPS, WORK_S
from tests.workers.harnesses import KafkaHarness, ProxiedHarness, SqsHarness, StorageQueueHarness

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]
LEASE_S = 2.0


@dataclass
class Station:
    """A queue on a real service, a ledger, and what programs said about their jobs."""

    harness: ProxiedHarness
    steps_file: Path
    work_s: float = 0.0
    drain_s: float = 5.0
    ledger: str = ""
    """Its URL, when it is not the harness' file."""
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def broker(self) -> LeaseBroker:
        return self.harness.new_broker()

    def send(self, numbers: range) -> None:
        broker = self.broker

        @dramatiq.actor(broker=broker)
        def work(number: int) -> None:
            raise AssertionError("it runs in another process")

        for number in numbers:
            work.send(number)

    def start(self, processes: int = 1, threads: int = 2) -> "subprocess.Popen[bytes]":
        """`dramatiq`, as a user types it. It leads a group of its own, with its workers."""
        given = {
            "kind": self.harness.kind,
            "words": {
                **self.harness.words,
                "ledger": self.ledger or str(self.harness.ledger),
                "lease_s": LEASE_S,
                "receives_max": 1_000,
            },
            "drain_s": self.drain_s,
        }
        command = [sys.executable, "-W", "error", "-m", "dramatiq", "tests.workers.program"]
        environment = {
            **os.environ,
            BROKER: json.dumps(given),
            STEPS: str(self.steps_file),
            WORK_S: str(self.work_s),
        }
        with self.steps_file.with_name("dramatiq.log").open("ab") as log:
            started = subprocess.Popen(
                [*command, "--processes", str(processes), "--threads", str(threads)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(started)
        return started

    def kill(self) -> None:
        """All of the newest group, at once."""
        process = self.processes[-1]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def stop(self) -> int:
        """As a service manager does."""
        process = self.processes[-1]
        process.send_signal(signal.SIGTERM)
        return process.wait(60)

    @property
    def steps(self) -> list[tuple[str, int]]:
        if not self.steps_file.exists():
            return []
        lines = self.steps_file.read_text().splitlines()
        return [(step, int(number)) for step, number in (line.split() for line in lines)]

    def count(self, step: str) -> int:
        return sum(1 for one, _ in self.steps if one == step)

    def numbers(self, step: str) -> Counter[int]:
        return Counter(number for one, number in self.steps if one == step)

    def join(self) -> None:
        broker = self.broker
        broker.declare_queue("default")
        self.harness.join(broker)

    def nothing_finished_repeats(self) -> None:
        """No job begins after it was said to be finished."""
        finished: set[int] = set()
        for step, number in self.steps:
            assert step != "begun" or number not in finished, f"{number} ran again"
            if step == "finished":
                finished.add(number)


@pytest.fixture(params=["sqs", "storagequeue", "kafka"])
def station(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Station]:
    with (
        _harness(request, tmp_path) as harness,
        stopped(Station(harness, tmp_path / "steps")) as station,
    ):
        yield station


@contextmanager
def stopped(station: Station) -> Iterator[Station]:
    """With none of its programs left in the end."""
    try:
        yield station
    finally:
        for process in station.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@contextmanager
def _harness(request: pytest.FixtureRequest, directory: Path) -> Iterator[ProxiedHarness]:
    made: ProxiedHarness
    if request.param == "sqs":
        elasticmq: ElasticMQ = request.getfixturevalue("elasticmq")
        made = SqsHarness(directory, elasticmq)
    elif request.param == "kafka":
        kafka: Kafka = request.getfixturevalue("kafka")
        made = KafkaHarness(directory, kafka)
    else:
        azurite: Azurite = request.getfixturevalue("azurite")
        made = StorageQueueHarness(directory, azurite)
    with made:
        yield made


def test_several_processes_share_the_work(station: Station) -> None:
    """Forked workers of one command run each job once, and end in good order."""
    station.send(range(40))
    station.start(processes=2)
    station.join()

    assert station.stop() == 0
    assert station.numbers("begun") == Counter(range(40))
    assert station.numbers("finished") == Counter(range(40))


def test_killed_between_the_ledger_and_the_delete(station: Station) -> None:
    """What was finished, and not deleted, does not run after a kill; it is deleted."""
    station.send(range(20))
    with station.harness.refused("settle"):
        station.start()
        station.harness.until(lambda: station.count("finished") >= 20)
        station.kill()

    station.start()
    station.join()
    assert station.numbers("begun") == Counter(range(20))


def test_killed_in_the_middle_of_work(station: Station) -> None:
    """A job that was under way runs again, as it must; each ends, and none that was finished runs
    again."""
    station.work_s = 0.5
    station.send(range(8))
    station.start()
    station.harness.until(lambda: station.count("finished") >= 2)
    station.harness.until(lambda: station.count("begun") > station.count("ended"))
    station.kill()
    interrupted = station.numbers("begun") - station.numbers("ended")

    station.start()
    station.join()
    assert interrupted
    assert set(station.numbers("finished")) == set(range(8))
    assert set(interrupted) <= {one for one, count in station.numbers("begun").items() if count > 1}
    station.nothing_finished_repeats()


def test_killed_while_it_drains(station: Station) -> None:
    """A worker that is told to stop while deletes are refused, and then killed, has finished what
    it finished."""
    station.drain_s = 60.0
    station.send(range(20))
    with station.harness.refused("settle"):
        station.start()
        station.harness.until(lambda: station.count("finished") >= 20)
        station.processes[-1].send_signal(signal.SIGTERM)
        log = station.steps_file.with_name("dramatiq.log")
        station.harness.until(lambda: b"Shutting down" in log.read_bytes())
        station.kill()

    station.start()
    station.join()
    assert station.numbers("begun") == Counter(range(20))


def test_a_drain_that_ends_leaves_the_rest_to_the_ledger(station: Station) -> None:
    """A worker whose deletes stay refused ends in its time and in good order; the next one deletes
    what it finished."""
    station.drain_s = 0.5
    station.send(range(10))
    with station.harness.refused("settle"):
        station.start()
        station.harness.until(lambda: station.count("finished") >= 10)
        assert station.stop() == 0

    station.start()
    station.join()
    assert station.numbers("begun") == Counter(range(10))


def test_killed_again_and_again(station: Station, random: Random) -> None:
    """At random moments under load: every job ends, and none that was finished begins again."""
    station.work_s = 0.05
    station.send(range(60))
    for _ in range(4):
        station.start(threads=4)
        before = station.count("begun")
        more = random.randrange(1, 15)
        station.harness.until(
            lambda goal=before + more: (  # type: ignore[misc]  # bound now
                station.count("begun") >= goal or len(station.numbers("finished")) == 60
            )
        )
        threading.Event().wait(random.uniform(0, 0.05))
        station.kill()

    station.start(threads=4)
    station.join()
    assert set(station.numbers("ended")) == set(range(60))
    station.nothing_finished_repeats()


@pytest.mark.parametrize("station", ["sqs"], indirect=True)
def test_both_kinds_of_metrics_are_served_together(
    station: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dramatiq's own exposition server serves what its middleware counts, and what ours does, of
    all processes of the real command."""
    [port] = free_ports(1)
    (tmp_path / "metrics").mkdir()
    for name, value in (("db", tmp_path / "metrics"), ("host", "127.0.0.1"), ("port", port)):
        monkeypatch.setenv(f"dramatiq_prom_{name}", str(value))

    def served() -> set[str]:
        try:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx.TransportError:
            return set()
        return set(text.splitlines())

    wanted = {
        'dramatiq_messages_total{actor_name="work",queue_name="default"} 6.0',
        'eventpost_worker_acks_total{queue_name="default"} 6.0',
    }
    station.send(range(6))
    station.start(processes=2)
    station.harness.until(lambda: wanted <= served())
    assert station.stop() == 0
