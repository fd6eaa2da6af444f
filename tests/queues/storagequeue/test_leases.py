"""The lease engine on Azure Storage Queues: deletes that are refused after the work was done."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from eventpost.core.outcomes import Failed
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message
from eventpost.queues.leases import Lease, LeaseLimits, Leases, Listener
from eventpost.testing.fault_proxy import FaultProxy
from eventpost.testing.queue_conformance import nothing_comes, send
from eventpost.testing.service_refusals import AZURE_FORBIDDEN, AZURE_NO_ROLE
from tests.patience import PATIENCE_S
from tests.queues.storagequeue.azure import AzureHarness, session_on
from tests.services.azurite import Azurite

pytestmark = pytest.mark.slow
COUNT = 20
LEASE_S = 2.0
LIMITS = LeaseLimits(
    lease_s=LEASE_S, pending_lease_s=LEASE_S, settle_delay_s_max=0.5, unextended_lease_s=10.0
)


class Told(Listener):
    """Remembers what the engine tells of trouble."""

    def __init__(self) -> None:
        self.settle_failures: list[Failed] = []
        self.extend_failures: list[Failed] = []
        self.redelivered: list[str] = []
        self.recovered = threading.Event()

    def settle_failed(self, failed: Failed, count: int, pending_count: int) -> None:
        self.settle_failures.append(failed)

    def extend_forbidden(self, failed: Failed, lease_s: float) -> None:
        self.extend_failures.append(failed)

    def redelivered_finished(self, lease: Lease) -> None:
        self.redelivered.append(lease.id)

    def settle_recovered(self, outage_s: float, pending_count: int) -> None:
        self.recovered.set()


class Station:
    """A queue with messages, an engine that works on them, and a firewall in between."""

    def __init__(self, azurite: Azurite, proxy: FaultProxy, harness: AzureHarness) -> None:
        self.harness = harness
        self.proxy = proxy
        self.told = Told()
        self.worked: Counter[bytes] = Counter()
        url = f"http://127.0.0.1:{proxy.port}/{azurite.account}"
        self.leases = Leases(
            lambda: harness.at(session_on(azurite, queue_url=url)),
            limits=LIMITS,
            listener=self.told,
        )
        send(harness.new_queue(), *(Message(body=str(each).encode()) for each in range(COUNT)))

    def work(self, is_over: Callable[[], bool]) -> None:
        """Take and finish what comes, until it is over."""
        ends_s = time.monotonic() + PATIENCE_S
        while not is_over():
            assert time.monotonic() < ends_s, self.worked
            lease = self.leases.take(0.05)
            if lease is not None:
                self.worked[lease.message.body] += 1
                self.leases.finish(lease)


@pytest.fixture
def station(azurite: Azurite) -> Iterator[Station]:
    with (
        FaultProxy("127.0.0.1", azurite.ports["queue"]) as proxy,
        AzureHarness(azurite) as harness,
    ):
        station = Station(azurite, proxy, harness)
        yield station
        station.leases.close()


def once_each(station: Station) -> bool:
    return station.worked == Counter({str(each).encode(): 1 for each in range(COUNT)})


def test_deletes_are_refused_for_longer_than_a_lease(station: Station) -> None:
    """While deletes alone are refused, finished messages are held, and nobody gets one again; once
    the rule is mended all of them go."""
    rule = station.proxy.when("DeleteMessage", AZURE_FORBIDDEN)
    station.work(lambda: once_each(station))
    after_s = time.monotonic() + 2 * LEASE_S
    station.work(lambda: time.monotonic() > after_s)

    station.proxy.mend(rule)
    station.work(station.told.recovered.is_set)
    station.work(lambda: station.leases.stats().pending_settles == 0)

    assert once_each(station)
    assert {classify(one.evidence) for one in station.told.settle_failures} == {"EP4201"}
    nothing_comes(station.harness, station.harness.new_queue())


def test_neither_deletes_nor_extensions_are_let_through(station: Station) -> None:
    """When leases cannot be extended either, messages come again: each is known, deleted with its
    fresh receipt, and not worked on twice."""
    rules = [
        station.proxy.when("DeleteMessage", AZURE_FORBIDDEN),
        station.proxy.when("UpdateMessage", AZURE_NO_ROLE),
    ]
    station.work(lambda: once_each(station))
    station.work(lambda: len(set(station.told.redelivered)) == COUNT)

    for rule in rules:
        station.proxy.mend(rule)
    station.work(station.told.recovered.is_set)
    station.work(lambda: station.leases.stats().pending_settles == 0)

    assert once_each(station)
    assert {classify(one.evidence) for one in station.told.extend_failures} <= {"EP4202"}
    nothing_comes(station.harness, station.harness.new_queue())


def test_a_firewall_that_refuses_now_and_then(station: Station) -> None:
    """Deletes that fail now and then, as from a machine with several addresses: every message is
    worked on once, and the queue is empty in the end."""
    turn = 0

    def every_other(asked: object) -> bool:
        nonlocal turn
        turn += getattr(asked, "operation", "") == "DeleteMessage"
        return getattr(asked, "operation", "") == "DeleteMessage" and turn % 2 == 0

    station.proxy.when(every_other, AZURE_FORBIDDEN)

    station.work(lambda: once_each(station))
    station.work(lambda: station.leases.stats().pending_settles == 0)

    assert once_each(station)
    nothing_comes(station.harness, station.harness.new_queue())
