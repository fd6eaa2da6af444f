"""Networks that lose, hold up and cut what goes between us and RabbitMQ."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from eventpost.core.outcomes import Delivered, Failed, Fault
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Queue, Settled
from eventpost.queues.leases import LeaseLimits, Leases
from eventpost.queues.rabbitmq.target import WAIT_S_MAX
from eventpost.testing.fault_proxy import FaultProxy
from eventpost.testing.queue_conformance import nothing_comes, send, settle, take
from tests.patience import PATIENCE_S, TEST_S_MAX
from tests.queues.rabbitmq.brokers import HEARTBEAT_S_MAX, RabbitmqHarness, opened, settings
from tests.services.ports import free_ports
from tests.services.rabbitmq import RabbitMQ

pytestmark = pytest.mark.slow


class Proxied(RabbitmqHarness):
    """A queue whose clients go through a proxy, with short timeouts."""

    def __init__(self, server: RabbitMQ) -> None:
        super().__init__(server, queue_type="classic")
        self.proxy = FaultProxy("127.0.0.1", server.ports["amqp"], speaks="tcp")
        self.settings = settings(
            server,
            port=self.proxy.port,
            heartbeat_s=2,
            connect_timeout_s=3.0,
            request_timeout_s=3.0,
        )

    def stop(self) -> None:
        self.proxy.thaw()
        super().stop()
        self.proxy.close()


@pytest.fixture
def harness(rabbitmq: RabbitMQ) -> Iterator[Proxied]:
    with Proxied(rabbitmq) as harness:
        yield harness


def eventually(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.02)


def test_a_line_that_goes_dead(harness: Proxied) -> None:
    """A half-open connection costs a send its timeout, is given up, and the next send goes over a
    new one."""
    # No heartbeat tells of it: the send's own time alone ends it while the line is dead.
    harness.settings = replace(harness.settings, heartbeat_s=HEARTBEAT_S_MAX)
    queue = harness.new_queue()
    send(queue, Message(body=b"1"))
    harness.proxy.freeze()

    [outcome] = queue.send([Message(body=b"2")])

    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) in ("EP4318", "EP4329")
    harness.proxy.thaw()
    eventually(lambda: isinstance(queue.send([Message(body=b"3")])[0], Delivered))


def test_waiting_on_a_dead_line(harness: Proxied) -> None:
    """A receive that waits on a half-open connection learns of it by the heartbeats."""
    queue = harness.new_queue()
    send(queue, Message(body=b"1"))
    settle(queue, take(harness, queue, 1))
    harness.proxy.freeze()

    page = queue.receive(1, WAIT_S_MAX, 0)

    assert isinstance(page, Failed)  # and not nothing, when the wait was over
    assert page.evidence.fault is Fault.CLOSED
    # The line that is sent on is another one: it may not know yet that it is dead, and the server
    # that it is, so that a send on it fails. Cut, nothing of that send can still arrive.
    harness.proxy.cut()
    harness.proxy.thaw()
    eventually(lambda: isinstance(queue.send([Message(body=b"2")])[0], Delivered))
    eventually(lambda: bodies(queue) == [b"2"])


def bodies(queue: Queue) -> list[bytes]:
    page = queue.receive(10, 1, 0)
    return [each.body for each in page] if isinstance(page, list) else []


def test_settling_on_a_dead_line(harness: Proxied) -> None:
    """A settle on a half-open connection is never said to be done; what was held comes again."""
    queue = harness.new_queue()
    send(queue, *(Message(body=str(number).encode()) for number in range(3)))
    held = take(harness, queue, 3)
    harness.proxy.freeze()

    verdicts = queue.settle(held)
    assert Settled.DONE not in verdicts
    eventually(lambda: list(queue.settle(held)) == [Settled.LOST] * 3)

    harness.proxy.cut()  # what is on its way is lost
    harness.proxy.thaw()
    eventually(lambda: bool(bodies(queue)))


@pytest.mark.parametrize("latency_s", [0.1, 0.2])
def test_a_slow_line(harness: Proxied, latency_s: float) -> None:
    """Over a line with latency everything works, and a batch does not wait for each of its
    messages to come and go: so many would take longer than a test may."""
    count = round(TEST_S_MAX / (2 * latency_s))
    queue = harness.new_queue()
    send(queue, Message(body=b"0"))
    settle(queue, take(harness, queue, 1))
    harness.proxy.latency_s = latency_s

    send(queue, *(Message(body=str(number).encode()) for number in range(count)))
    held = take(harness, queue, count)
    settle(queue, held)

    nothing_comes(harness, queue)


def test_a_line_that_is_cut_again_and_again(harness: Proxied) -> None:
    """Messages that were confirmed come through any number of cuts, each at least once."""
    queue = harness.new_queue()
    confirmed: set[bytes] = set()
    received: set[bytes] = set()
    is_over = threading.Event()

    def sending() -> None:
        for number in range(300):
            message = Message(body=str(number).encode())
            while not isinstance(queue.send([message])[0], Delivered):
                time.sleep(0.01)
            confirmed.add(message.body)

    def receiving() -> None:
        while not (is_over.is_set() and confirmed <= received):
            page = queue.receive(10, 0.2, 0)
            if isinstance(page, list):
                received.update(each.body for each in page)
                queue.settle(page)

    with ThreadPoolExecutor(3) as pool:
        senders = [pool.submit(sending)]
        receiver = pool.submit(receiving)
        while not senders[0].done():
            harness.proxy.cut()
            time.sleep(0.1)
        senders[0].result()
        is_over.set()
        receiver.result(PATIENCE_S)

    assert confirmed == {str(number).encode() for number in range(300)}
    assert confirmed <= received


def test_many_callers_and_one_dead_server(rabbitmq: RabbitMQ) -> None:
    """Callers that wait for the same connection wait together, for its timeout: one after the other
    they would take longer than a test may."""
    with FaultProxy("127.0.0.1", rabbitmq.ports["amqp"], speaks="tcp") as proxy:
        proxy.freeze()
        connection = settings(rabbitmq, port=proxy.port, connect_timeout_s=1.0)
        queue = opened(connection, "songs")

        def call(number: int) -> Any:
            if number % 2:
                return queue.send([Message(body=b"x")])[0]
            return queue.receive(1, 5, 0)

        count = round(TEST_S_MAX / connection.connect_timeout_s)
        with ThreadPoolExecutor(count) as pool:
            outcomes = list(pool.map(call, range(count)))

        queue.close()
        proxy.thaw()
    assert all(isinstance(each, Failed) for each in outcomes)
    assert {each.evidence.fault for each in outcomes} == {Fault.TIMED_OUT}


def test_a_server_that_comes_later(rabbitmq: RabbitMQ) -> None:
    """A queue can be made before its server is there, and works once it is."""
    [port] = free_ports(1)
    connection = settings(rabbitmq, port=port)
    with RabbitmqHarness(rabbitmq, queue_type="classic") as harness:
        harness.settings = connection
        queue = harness.new_queue()
        assert isinstance(queue.send([Message(body=b"1")])[0], Failed)
        with FaultProxy("127.0.0.1", rabbitmq.ports["amqp"], speaks="tcp", at_port=port):
            send(queue, Message(body=b"2"))
            settle(queue, take(harness, queue, 1))


def test_under_the_lease_engine(harness: Proxied) -> None:
    """The lease engine on top, with cuts and pauses in between, finishes every message, and in the
    end nothing is left in the queue."""
    count = 400
    sender = harness.new_queue()
    limits = LeaseLimits(slots_max=20, wait_s=1.0, receive_delay_s_max=0.5, settle_delay_s_max=0.5)
    leases = Leases(harness.new_queue, limits=limits)
    leases.start()
    finished: set[bytes] = set()
    cuts = threading.Event()

    def disturb() -> None:
        for _ in range(6):
            harness.proxy.cut()
            cuts.wait(0.3)

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    waiting = [Message(body=str(number).encode()) for number in range(count)]
    end_s = time.monotonic() + 2 * PATIENCE_S
    while len(finished) < count:
        assert time.monotonic() < end_s, f"only {len(finished)} were finished"
        batch, rest = waiting[:20], waiting[20:]
        outcomes = sender.send(batch)
        lost = [not isinstance(each, Delivered) for each in outcomes]
        waiting = [*itertools.compress(batch, lost), *rest]
        while (lease := leases.take(wait_s=0.05)) is not None:
            finished.add(lease.message.body)
            leases.finish(lease)
    cuts.set()
    disturbing.join()
    left = leases.close(drain_s=PATIENCE_S)

    assert not left
    other = harness.new_queue()
    eventually(lambda: not drained(other))


def drained(queue: Queue) -> list[bytes]:
    """What still came, settled; a cut may have kept an acknowledgement from arriving."""
    page = queue.receive(50, 0.5, 0)
    assert isinstance(page, list)
    queue.settle(page)
    return [each.body for each in page]
