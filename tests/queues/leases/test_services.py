"""The engine and the ledger on real services, with faults on the way and killed workers."""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eventpost.queues.leases import LeaseLimits, Left
from eventpost.queues.ledger import Ledger
from eventpost.testing.fault_proxy import RESET_AFTER, RESET_BEFORE, Slow
from tests.conftest import Say
from tests.documentation import ROOT
from tests.patience import PATIENCE_S
from tests.queues.leases.places import (
    Place,
    Site,
    Worker,
    kafka_place,
    rabbitmq,
    sqs,
    storagequeue,
    told,
)
from tests.services.azurite import Azurite
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.rabbitmq import RabbitMQ

pytestmark = pytest.mark.slow

QUICK = LeaseLimits(lease_s=2.0, pending_lease_s=2.0, slots_max=16, idle_s_max=0.5)
"""Short leases, so that what must not depend on them is seen to be lost when it does."""
BODIES = [f"{number}" for number in range(60)]


@pytest.fixture(params=["sqs", "storagequeue"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A service that is spoken to over HTTP, where single operations can be refused."""
    with ExitStack() as opened:
        if request.param == "sqs":
            elasticmq: ElasticMQ = request.getfixturevalue("elasticmq")
            yield opened.enter_context(sqs(elasticmq))
        else:
            azurite: Azurite = request.getfixturevalue("azurite")
            yield opened.enter_context(storagequeue(azurite))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def work(worker: Worker, is_over: Callable[[], bool], thread_count: int = 4) -> None:
    """Work on threads until it is over."""
    end_s = time.monotonic() + PATIENCE_S

    def run() -> None:
        while not is_over() and time.monotonic() < end_s:
            worker.work()

    threads = [threading.Thread(target=run) for _ in range(thread_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert is_over(), (len(worker.finished), worker.leases.stats())


def nothing_is_left(place: Place, ledger: Ledger) -> None:
    """Another worker, with all leases over, gets nothing."""
    worker = Worker(place, ledger, QUICK)
    end_s = time.monotonic() + 3.0
    while time.monotonic() < end_s:
        assert not worker.work()
    stats = worker.leases.stats()
    assert stats.redelivered_finished == 0, stats
    assert worker.leases.close(PATIENCE_S) == Left()


def test_nothing_fails(site: Site, ledger: Ledger, figures: Say) -> None:
    """Each message is worked on once and settled, at few requests."""
    site.place.send(BODIES)
    worker = Worker(site.place, ledger, QUICK)

    work(worker, lambda: len(worker.finished) >= len(BODIES))

    assert worker.leases.close(PATIENCE_S) == Left()
    assert Counter(worker.finished) == Counter(BODIES)
    requests = worker.leases.stats().requests
    figures(f"{site.place.kind}: {requests} for {len(BODIES)} messages")
    nothing_is_left(site.place, ledger)


def test_deletes_are_refused_for_several_leases(site: Site, ledger: Ledger) -> None:
    """While a firewall refuses deletes alone, every message is worked on, once, and stays held;
    when it lets them through, all are deleted."""
    site.place.send(BODIES)
    site.fail(site.settle, site.forbidden)
    worker = Worker(site.place, ledger, QUICK)

    work(worker, lambda: len(worker.finished) >= len(BODIES))
    begin_s = time.monotonic()
    work(worker, lambda: time.monotonic() > begin_s + 3 * QUICK.lease_s)

    assert Counter(worker.begun) == Counter(BODIES)
    stats = worker.leases.stats()
    assert (stats.pending_settles, stats.settled, stats.slots_used) == (len(BODIES), 0, 0)
    assert stats.last_failures["settle"].evidence.status == 403
    site.proxy.mend()
    until(lambda: worker.leases.stats().settled == len(BODIES))
    assert worker.leases.close(PATIENCE_S) == Left()
    nothing_is_left(site.place, ledger)


def test_neither_deletes_nor_extensions_are_allowed(site: Site, ledger: Ledger) -> None:
    """When a role may only receive, messages come again and again, are known, and are worked on
    once; when the role is granted, they are deleted with the receipts of that time."""
    site.place.send(BODIES)
    site.fail(site.settle, site.forbidden)
    site.fail(site.extend, site.no_role)
    limits = LeaseLimits(
        lease_s=2.0, unextended_lease_s=2.0, pending_lease_s=2.0, slots_max=16, idle_s_max=0.5
    )
    worker = Worker(site.place, ledger, limits)

    work(worker, lambda: len(worker.finished) >= len(BODIES))
    begin_s = time.monotonic()
    work(worker, lambda: time.monotonic() > begin_s + 3 * limits.lease_s)

    stats = worker.leases.stats()
    assert not stats.can_extend
    assert stats.redelivered_finished >= len(BODIES)
    assert Counter(worker.begun) == Counter(BODIES)
    site.proxy.mend()
    until(lambda: worker.leases.stats().settled >= len(BODIES))
    assert worker.leases.close(PATIENCE_S) == Left()
    assert Counter(worker.begun) == Counter(BODIES)
    nothing_is_left(site.place, ledger)


def test_another_process_takes_over(site: Site, ledger: Ledger) -> None:
    """What one process finished and could not delete, the next one deletes without doing it."""
    site.place.send(BODIES)
    site.fail(site.settle, site.forbidden)
    first = Worker(site.place, ledger, QUICK)
    work(first, lambda: len(first.finished) >= len(BODIES) // 2)
    left = first.leases.close(0.0)
    assert left.finished >= len(BODIES) // 2
    site.proxy.mend()

    second = Worker(site.place, Ledger(ledger.place), QUICK)
    work(second, lambda: len(first.finished + second.finished) >= len(BODIES))
    begin_s = time.monotonic()
    work(second, lambda: time.monotonic() > begin_s + 2 * QUICK.lease_s)

    assert second.leases.stats().redelivered_finished > 0
    assert second.leases.close(PATIENCE_S) == Left()
    assert Counter(first.finished + second.finished) == Counter(BODIES)
    nothing_is_left(site.place, ledger)


@pytest.mark.parametrize("reaction", [RESET_BEFORE, RESET_AFTER], ids=["before", "after"])
def test_connections_are_reset(site: Site, ledger: Ledger, reaction: object) -> None:
    """Deletes whose connection breaks, before the service knew or after it had acted, are repeated
    until it is sure, and nothing is worked on twice."""
    site.place.send(BODIES)
    for operation in site.settle:
        site.proxy.when(operation, reaction, times=10)  # type: ignore[arg-type]
    worker = Worker(site.place, ledger, QUICK)

    work(worker, lambda: len(worker.finished) >= len(BODIES))

    assert worker.leases.close(PATIENCE_S) == Left()
    assert Counter(worker.begun) == Counter(BODIES)
    nothing_is_left(site.place, ledger)


def test_latency_beyond_the_lease(site: Site, ledger: Ledger) -> None:
    """Pages that are under way for longer than their leases are not given out, and come again;
    settles that are as slow are known to be done in the end."""
    site.place.send(BODIES)
    slow = Slow(after_s=QUICK.lease_s * 1.2)
    for operation in ("ReceiveMessage", "GetMessages", *site.settle):
        site.proxy.when(operation, slow, times=3)
    worker = Worker(site.place, ledger, QUICK)

    work(worker, lambda: len(set(worker.finished)) >= len(BODIES))

    assert worker.leases.close(PATIENCE_S) == Left()
    assert Counter(worker.begun) == Counter(BODIES)
    nothing_is_left(site.place, ledger)


def test_a_silent_line(site: Site, ledger: Ledger) -> None:
    """When the network swallows everything for longer than a lease, work goes on afterwards; what
    was finished before is not done again, though it may come again: a receive that was held up
    takes messages for nobody, and makes the receipts void that they are settled with."""
    site.place.send(BODIES)
    worker = Worker(site.place, ledger, QUICK)
    work(worker, lambda: len(worker.finished) >= 10)
    site.proxy.freeze()
    begin_s = time.monotonic()
    work(worker, lambda: time.monotonic() > begin_s + 1.5 * QUICK.lease_s)
    site.proxy.thaw()

    work(worker, lambda: len(set(worker.finished)) >= len(BODIES))
    begin_s = time.monotonic()
    work(worker, lambda: time.monotonic() > begin_s + 2 * QUICK.lease_s)

    assert worker.leases.close(PATIENCE_S) == Left()
    assert Counter(worker.begun) == Counter(BODIES)
    nothing_is_left(site.place, ledger)


def test_rabbitmq_loses_its_connection(rabbitmq_site: Site, ledger: Ledger) -> None:
    """Each time the connection breaks the server gives everything out again; by the publisher's ids
    it is known what was finished, and none of that is done twice."""
    place, proxy = rabbitmq_site.place, rabbitmq_site.proxy
    place.send(BODIES)
    worker = Worker(place, ledger, QUICK)

    for count in (10, 25, 40):
        work(worker, lambda count=count: len(worker.finished) >= count)  # type: ignore[misc]
        proxy.cut()
    work(worker, lambda: len(set(worker.finished)) >= len(BODIES))

    assert worker.leases.close(PATIENCE_S) == Left()
    assert Counter(worker.finished) == Counter(BODIES)
    nothing_is_left(place, ledger)


@pytest.fixture
def rabbitmq_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    server: RabbitMQ = request.getfixturevalue("rabbitmq")
    with rabbitmq(server) as site:
        yield site


def test_kafka_is_taken_over(kafka: Kafka, ledger: Ledger) -> None:
    """What one member of a group finished above a gap the next one knows, by the offset's metadata
    or, when that did not come through, by the ledger: none of it is done twice."""
    place = kafka_place(kafka)
    place.send(BODIES)
    first = Worker(place, ledger, QUICK)
    kept = first.leases.take(PATIENCE_S)
    assert kept is not None
    work(first, lambda: len(first.finished) >= 20)
    assert first.leases.close(0.0).running == 1

    second = Worker(place, Ledger(ledger.place), QUICK)
    work(second, lambda: len(set(first.finished + second.finished)) >= len(BODIES))

    stats = second.leases.stats()
    assert stats.received - stats.redelivered_finished == len(BODIES) - len(first.finished)
    assert ledger.known(second.identity, [kept.id]) == {kept.id}
    assert second.leases.close(PATIENCE_S) == Left()
    assert Counter(first.finished + second.finished) == Counter(BODIES)
    nothing_is_left(place, ledger)


@pytest.mark.crash
def test_killed_again_and_again(site: Site, ledger: Ledger, say: Say) -> None:
    """Workers that are killed at moments of their own, while deletes fail now and then, lose
    nothing and repeat at most what was at work."""
    seed = random.randrange(2**32)
    say(f"seed {seed}")
    whim = random.Random(seed)
    site.place.send(BODIES)
    begun: Counter[str] = Counter()
    finished: Counter[str] = Counter()
    thread_count, kills = 4, 0
    end_s = time.monotonic() + PATIENCE_S
    while len(finished) < len(BODIES):
        assert time.monotonic() < end_s, f"{len(finished)} finished"
        if whim.random() < 0.5:
            site.fail(site.settle, site.forbidden)
        lines = killed(site.place, Path(ledger.place.name), whim.uniform(0.1, 1.5))
        kills += 1
        site.proxy.mend()
        for what, body in (line.split() for line in lines):
            if what == "begun":
                assert body not in finished, "begun after it was finished"
                begun[body] += 1
            else:
                finished[body] += 1

    say(f"{kills} kills, {sum(begun.values()) - len(BODIES)} repeated")
    assert set(begun) == set(finished) == set(BODIES)
    assert sum(begun.values()) - len(BODIES) <= kills * thread_count
    worker = Worker(site.place, ledger, QUICK)
    begin_s = time.monotonic()
    work(worker, lambda: time.monotonic() > begin_s + 3.0)
    assert worker.leases.close(PATIENCE_S) == Left()
    repeated = [body for body in worker.begun if body in finished]
    assert len(repeated) <= kills * thread_count
    nothing_is_left(site.place, ledger)


def killed(place: Place, ledger: Path, seconds: float) -> list[str]:
    """What a worker said until it was killed, so long after it began to work."""
    program = [sys.executable, "-m", "tests.queues.leases.places", told(place), str(ledger)]
    worker = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert worker.stdout is not None
    lines: list[str] = []
    is_begun = threading.Event()

    def read() -> None:
        assert worker.stdout is not None
        for line in worker.stdout:
            is_begun.set()
            if line.endswith("\n"):
                lines.append(line)

    reader = threading.Thread(target=read)
    reader.start()
    is_begun.wait(PATIENCE_S / 10)
    threading.Event().wait(seconds)
    worker.kill()
    worker.wait()
    reader.join()
    worker.stdout.close()
    return lines
