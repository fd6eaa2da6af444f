"""Workers of several hosts on one ledger: nobody repeats what another one finished, and a ledger
that is away loses nothing."""

import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq import Broker, Middleware
from prometheus_client import REGISTRY

from eventpost.core.outcomes import Failed
from eventpost.queues.ledger import Ledger, LedgerError, LedgerLimits
from eventpost.queues.ledger_file import FilePlace
from eventpost.queues.ledger_rows import LedgerRows
from eventpost.workers.errors import LedgerUnusable
from eventpost.workers.limits import WorkerLimits
from eventpost.workers.metrics import Metrics
from tests.queues.test_ledger_places import ledger_name
from tests.services.elasticmq import ElasticMQ
from tests.services.postgresql import PostgreSQL
from tests.services.redis import ForgetfulRedis, Redis
from tests.workers.harnesses import SqsHarness
from tests.workers.test_kills import Station, stopped

LIMITS = WorkerLimits(tell_s=60.0, pending_lease_s=2.0, ledger_pause_s_max=0.2)


@pytest.fixture
def harness(elasticmq: ElasticMQ, tmp_path: Path) -> Iterator[SqsHarness]:
    with SqsHarness(tmp_path, elasticmq) as harness:
        yield harness


def pending_metric() -> float:
    labels = {"queue_name": "default"}
    return REGISTRY.get_sample_value("eventpost_worker_ledger_pending", labels) or 0.0


class Heard(Middleware):
    """What the broker told of its ledger."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.recovered: list[int] = []
        self.receive_errors: list[str] = []

    def on_receive_error(
        self, broker: Broker, queue_name: str, failed: Failed, count: int, delay_s: float
    ) -> None:
        self.receive_errors.append(failed.evidence.detail)

    def on_ledger_error(self, broker: Broker, queue_name: str, error: LedgerError) -> None:
        self.errors.append(error.code)

    def on_ledger_recovered(
        self, broker: Broker, queue_name: str, outage_s: float, count: int
    ) -> None:
        self.recovered.append(count)


class Frail:
    """A file's place that fails while it is told to."""

    def __init__(self, path: Path) -> None:
        self._place = FilePlace(path)
        self.is_away = False
        self.name = self._place.name

    def open(self, limits: LedgerLimits) -> LedgerRows:
        self.check()
        rows = self._place.open(limits)
        return _FrailRows(self, rows)

    def check(self) -> None:
        if self.is_away:
            raise LedgerError("EP5060", "The ledger cannot be reached.", fix="Wait.")


class _FrailRows:
    def __init__(self, place: Frail, rows: LedgerRows) -> None:
        self._place = place
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        if name != "close":
            self._place.check()
        return getattr(self._rows, name)


@pytest.mark.slow
def test_what_is_finished_waits_for_the_ledger(harness: SqsHarness, tmp_path: Path) -> None:
    """While the ledger is away, finished messages are not deleted, no worker is held up, nothing
    more is begun, and it is told once; when it is back they are written, deleted, and not run
    again."""
    place, heard = Frail(tmp_path / "frail"), Heard()
    broker = harness.new_broker(limits=LIMITS, middleware=[heard])
    broker.ledger = Ledger(place)
    is_away = threading.Event()
    begun: list[int] = []

    @dramatiq.actor(broker=broker)
    def work(number: int) -> None:
        begun.append(number)
        is_away.wait(harness.patience_s)

    for number in range(6):
        work.send(number)
    with harness.working(broker, threads=4):
        harness.until(lambda: len(begun) >= 4)
        place.is_away = True
        is_away.set()
        harness.until(lambda: heard.errors)
        for number in range(6, 9):
            work.send(number)
        harness.until(lambda: heard.receive_errors)
        assert not set(begun) & {6, 7, 8}
        assert [stats.settled for _, stats, _ in broker.books()] == [0]
        assert heard.errors == ["EP5060"]
        assert heard.recovered == []
        metrics = Metrics()
        metrics.look(broker)
        assert (waiting := pending_metric()) >= 4
        assert waiting <= len(begun)

        place.is_away = False
        harness.join(broker)
        metrics.look(broker)
        assert pending_metric() == 0
        assert sum(heard.recovered) >= 4
    assert Counter(begun) == Counter(range(9))


@pytest.mark.slow
def test_a_worker_that_ends_while_its_ledger_is_away(
    harness: SqsHarness, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends in its time, and says how many finished messages run again; they do."""
    place = Frail(tmp_path / "frail")
    limits = WorkerLimits(tell_s=60.0, ledger_pause_s_max=0.1, drain_s=0.3)
    broker = harness.new_broker(limits=limits)
    broker.ledger = Ledger(place)
    done: list[int] = []

    @dramatiq.actor(broker=broker)
    def work(number: int) -> None:
        place.is_away = True
        done.append(number)

    work.send(1)
    with harness.working(broker, threads=1):
        harness.until(lambda: done)
    assert "did not take down 1 finished messages in time: they run again" in caplog.text
    assert "EP5060" in caplog.text

    place.is_away = False
    second = harness.new_broker(limits=LIMITS)
    second.ledger = Ledger(place)

    @dramatiq.actor(broker=second, actor_name="work")
    def work_again(number: int) -> None:
        done.append(number)

    with harness.working(second, threads=1):
        harness.join(second)
    assert done == [1, 1]


@pytest.mark.slow
def test_a_server_that_is_away_for_a_while(
    harness: SqsHarness, own_redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The same with a real server that is killed at work and started again."""
    broker = harness.new_broker(limits=LIMITS, ledger=own_redis.service.url)
    is_away = threading.Event()
    begun: list[int] = []

    @dramatiq.actor(broker=broker)
    def work(number: int) -> None:
        begun.append(number)
        is_away.wait(harness.patience_s)

    for number in range(8):
        work.send(number)
    with harness.working(broker, threads=4):
        harness.until(lambda: len(begun) >= 4)
        own_redis.kill()
        is_away.set()
        harness.until(lambda: "EP5060" in caplog.text)
        own_redis.start()
        harness.join(broker)
    assert Counter(begun) == Counter(range(8))
    assert "finished messages that waited for it" in caplog.text


@pytest.mark.slow
def test_at_the_start(
    harness: SqsHarness, own_service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker warns of a server that may forget, and does not start without it; a broker that was
    only made asks nobody."""
    server = own_service(ForgetfulRedis)
    warned = harness.new_broker(ledger=server.service.url)
    with caplog.at_level(logging.WARNING, "eventpost.workers"), harness.working(warned, threads=1):
        pass
    told = [one.getMessage() for one in caplog.records if "EP5065" in one.getMessage()]
    assert len(told) == 1
    assert "appendfsync everysec" in told[0]

    server.kill()
    broker = harness.new_broker(ledger=server.service.url)
    with pytest.raises(LedgerUnusable, match="EP5060"):
        dramatiq.Worker(broker).start()


# --- real workers of several hosts ----------------------------------------------------------------


@pytest.fixture(params=["postgresql", "redis"])
def station(
    request: pytest.FixtureRequest, harness: SqsHarness, tmp_path: Path
) -> Iterator[Station]:
    server: PostgreSQL | Redis = request.getfixturevalue(request.param)
    url = f"{server.url}?name={ledger_name()}"
    with stopped(Station(harness, tmp_path / "steps", ledger=url)) as station:
        yield station


@contextmanager
def standing_still(process: int) -> Iterator[None]:
    """A host that stands still, with all of its processes, and then goes on."""
    os.killpg(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process, signal.SIGCONT)


@pytest.mark.crash
def test_finished_by_another_host(station: Station) -> None:
    """What one host finished, and could not delete, comes to another one, which deletes it and does
    not run it; also when the first one goes on afterwards."""
    refusing = station.harness.refusing("settle")
    assert refusing is not None
    station.send(range(12))
    with ExitStack() as still:
        with refusing:
            first = station.start(processes=2)
            station.harness.until(lambda: station.count("finished") >= 12)
            still.enter_context(standing_still(first.pid))
        second = station.start()
        station.join()
    assert station.numbers("begun") == Counter(range(12))
    for process in (second, first):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    station.nothing_finished_repeats()


@pytest.mark.crash
def test_a_host_killed_between_the_ledger_and_the_delete(station: Station) -> None:
    """What a host finished, and had not deleted when it was killed, another one deletes."""
    refusing = station.harness.refusing("settle")
    assert refusing is not None
    station.send(range(12))
    with refusing:
        station.start()
        station.harness.until(lambda: station.count("finished") >= 12)
        station.kill()

    station.start(processes=2)
    station.join()
    assert station.numbers("begun") == Counter(range(12))
    assert station.stop() == 0
