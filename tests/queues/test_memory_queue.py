"""The in-process queue server: it conforms as each shape of system, and fails as it is told."""

from collections.abc import Iterator

import pytest

from eventpost.core.outcomes import DELIVERED, Failed
from eventpost.queues.interfaces import Message, Queue, Received, Settled, Traits
from eventpost.testing.clock import VirtualClock
from eventpost.testing.memory_queue import (
    FORBIDDEN,
    HELD,
    LEASED,
    LOG,
    POLLED,
    RESET,
    MemoryServer,
    Mishap,
)
from eventpost.testing.queue_conformance import QueueConformance, QueueHarness


class MemoryHarness(QueueHarness):
    lease_s = 0.3
    delay_s = 0.3
    quiet_s = 0.2
    keeps_content_type = True

    def __init__(self, traits: Traits, *, ignores_old_receipts: bool = False) -> None:
        self.server = MemoryServer(traits, ignores_old_receipts=ignores_old_receipts)
        self.server.create("songs")
        self.voids_old_receipts = not ignores_old_receipts
        self.queues: list[Queue] = []

    def new_queue(self) -> Queue:
        self.queues.append(self.server.queue("songs"))
        return self.queues[-1]

    def missing_queue(self) -> Queue:
        return self.server.queue("nowhere")

    def stop(self) -> None:
        for queue in self.queues:
            queue.close()


@pytest.mark.slow
class TestLeased(QueueConformance):
    @pytest.fixture
    def harness(self) -> Iterator[QueueHarness]:
        with MemoryHarness(LEASED) as harness:
            yield harness


@pytest.mark.slow
class TestPolled(QueueConformance):
    @pytest.fixture
    def harness(self) -> Iterator[QueueHarness]:
        with MemoryHarness(POLLED, ignores_old_receipts=True) as harness:
            yield harness


@pytest.mark.slow
class TestHeld(QueueConformance):
    @pytest.fixture
    def harness(self) -> Iterator[QueueHarness]:
        with MemoryHarness(HELD) as harness:
            yield harness


@pytest.mark.slow
class TestLog(QueueConformance):
    @pytest.fixture
    def harness(self) -> Iterator[QueueHarness]:
        with MemoryHarness(LOG) as harness:
            yield harness


def received(queue: Queue, count: int = 1, lease_s: float = 30.0) -> list[Received]:
    page = queue.receive(count, 0.0, lease_s)
    assert isinstance(page, list)
    return page


def test_a_refusal_does_nothing() -> None:
    """A request that is refused changes nothing, and works again when it is mended."""
    server = MemoryServer().create("songs")
    queue = server.queue("songs")
    queue.send([Message(body=b"1")])
    held = received(queue)
    server.fail("settle", FORBIDDEN)

    [verdict] = queue.settle(held)

    assert isinstance(verdict, Failed)
    assert verdict.evidence.code == "AccessDenied"
    assert verdict.evidence.operation == "settle"
    assert server.message_count("songs") == 1
    server.mend("settle")
    assert queue.settle(held) == [Settled.DONE]
    assert server.message_count("songs") == 0


def test_a_lost_answer() -> None:
    """A request whose answer was lost was carried out all the same."""
    server = MemoryServer().create("songs")
    queue = server.queue("songs")
    for operation in ("send", "receive", "extend", "settle"):
        server.fail(operation, Mishap(failed=RESET, is_after=True))

    [outcome] = queue.send([Message(body=b"1")])
    assert isinstance(outcome, Failed)
    assert server.message_count("songs") == 1
    assert isinstance(queue.receive(1, 0.0, 30.0), Failed)
    server.mend("receive")
    assert received(queue) == [], "it is hidden, though nobody got it"
    queue.send([Message(body=b"2")])
    [held] = received(queue)
    receipt = held.receipt
    assert isinstance(queue.extend([held], 30.0)[0], Failed)
    assert held.receipt == receipt
    server.mend("extend")
    assert queue.extend([held], 30.0) == [Settled.LOST], "the receipt was replaced"


def test_some_entries_fail() -> None:
    """Of a batch only the entries fail that were named."""
    server = MemoryServer().create("songs")
    queue = server.queue("songs")
    queue.send([Message(body=b"1"), Message(body=b"2")])
    first, second = received(queue, 2)
    server.fail("settle", Mishap(failed=FORBIDDEN, ids={first.id}))

    verdicts = queue.settle([first, second])

    assert isinstance(verdicts[0], Failed)
    assert verdicts[1] is Settled.DONE


def test_requests_are_counted() -> None:
    """Requests count as they would travel: batches are cut where the system cuts them."""
    server = MemoryServer().create("songs")
    queue = server.queue("songs")
    assert queue.send([Message(body=b"1")] * 21) == [DELIVERED] * 21
    held = [*received(queue, 10), *received(queue, 10), *received(queue, 10)]

    queue.settle(held)

    assert server.requests == {"send": 3, "receive": 3, "settle": 3}


def test_any_clock() -> None:
    """Leases and delays run by the clock that the server was given, and nothing waits for it."""
    clock = VirtualClock()
    server = MemoryServer(monotonic_s=clock.monotonic_s).create("songs")
    queue = server.queue("songs")
    queue.send([Message(body=b"1", delay_s=900.0)])

    assert queue.receive(1, 20.0, 30.0) == []
    clock.advance(900.0)
    [first] = received(queue)
    clock.advance(29.0)
    assert received(queue) == []
    clock.advance(1.0)
    [second] = received(queue)
    assert (first.id, first.receive_count + 1) == (second.id, second.receive_count)
    assert server.next_visible_s("songs") == second.lease_until_s
