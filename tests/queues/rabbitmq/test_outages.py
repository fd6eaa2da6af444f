"""RabbitMQ that restarts, dies, hangs, runs short or takes back what was held too long."""

import itertools
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from eventpost.core.outcomes import Delivered, Failed, Fault, Outcome
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Received, Settled
from eventpost.queues.rabbitmq.session import receipt_of
from eventpost.queues.rabbitmq.target import WAIT_S_MAX
from eventpost.testing.queue_conformance import nothing_comes, send, settle, take
from tests.conftest import Say
from tests.patience import PATIENCE_S
from tests.queues.rabbitmq.brokers import (
    HEARTBEAT_S_MAX,
    RabbitmqHarness,
    declare_lastingly,
    opened,
    settings,
)
from tests.services.rabbitmq import RabbitMQ
from tests.services.running import Running


def eventually(condition: Callable[[], bool], seconds_max: float = PATIENCE_S) -> None:
    end_s = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)


def declare(running: Running[RabbitMQ], name: str, kind: str) -> None:
    declare_lastingly(
        running, lambda: opened(settings(running.service), name, create=True, queue_type=kind)
    )


class Traffic:
    """Threads that send and threads that receive and settle, whatever the server does meanwhile.

    Each sender sends a message again until it is confirmed, as the grid does.
    """

    def __init__(self, server: RabbitMQ, name: str, kind: str) -> None:
        connection = settings(server, connect_timeout_s=2.0, request_timeout_s=3.0)
        self.queue = opened(connection, name, create=True, queue_type=kind)
        self.is_over = threading.Event()
        self.confirmed: set[int] = set()
        self.received: Counter[int] = Counter()
        self.settled_count = 0
        self.failures: Counter[str] = Counter()
        self.numbers = itertools.count()
        # Daemons, so that a test that fails does not keep the run from ending.
        self.senders = [threading.Thread(target=self.send, daemon=True) for _ in range(2)]
        self.receivers = [threading.Thread(target=self.receive, daemon=True) for _ in range(2)]
        for thread in [*self.senders, *self.receivers]:
            thread.start()

    def send(self) -> None:
        while not self.is_over.is_set():
            waiting = [next(self.numbers) for _ in range(10)]
            while waiting:
                outcomes = self.queue.send([Message(body=str(n).encode()) for n in waiting])
                self.note(outcomes)
                done = [isinstance(each, Delivered) for each in outcomes]
                self.confirmed |= set(itertools.compress(waiting, done))
                waiting = list(itertools.compress(waiting, [not each for each in done]))
                if waiting:
                    time.sleep(0.05)

    def receive(self) -> None:
        while self.senders_live() or not self.confirmed <= set(self.received):
            page = self.queue.receive(20, 0.2, 0)
            if isinstance(page, Failed):
                self.note([page])
                time.sleep(0.05)
                continue
            self.received.update(int(each.body) for each in page)
            # Where the answer is lost the server may have settled it all the same: no verdict but
            # DONE says that it comes again for certain.
            verdicts = self.queue.settle(page)
            self.settled_count += sum(each is Settled.DONE for each in verdicts)

    def senders_live(self) -> bool:
        return any(each.is_alive() for each in self.senders)

    def note(self, outcomes: Sequence[Outcome]) -> None:
        for each in outcomes:
            if isinstance(each, Failed):
                self.failures[classify(each.evidence)] += 1

    def wait_for_more(self, count: int = 100) -> None:
        """Until so many more were confirmed and settled."""
        confirmed, settled = len(self.confirmed), self.settled_count
        eventually(
            lambda: (
                len(self.confirmed) >= confirmed + count and self.settled_count >= settled + count
            )
        )

    def end(self) -> None:
        """Stop sending, and wait until everything that was confirmed has come."""
        self.is_over.set()
        end_s = time.monotonic() + PATIENCE_S
        for thread in [*self.senders, *self.receivers]:
            thread.join(max(0.0, end_s - time.monotonic()))
        missing = self.confirmed - set(self.received)
        self.queue.close()
        assert not missing, f"confirmed, and never received: {sorted(missing)[:20]}"
        assert not [each for each in self.receivers if each.is_alive()]


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_server_that_dies(own_rabbitmq: Running[RabbitMQ], kind: str, figures: Say) -> None:
    """A server that is killed and one that is restarted lose no confirmed message, and threads go
    on as before; what comes twice is what was held."""
    declare(own_rabbitmq, "songs", kind)
    traffic = Traffic(own_rabbitmq.service, "songs", kind)
    traffic.wait_for_more()

    own_rabbitmq.kill()
    eventually(lambda: traffic.failures.total() > 0)
    own_rabbitmq.start()
    traffic.wait_for_more()
    own_rabbitmq.restart()
    traffic.wait_for_more()
    traffic.end()

    twice = sum(count - 1 for count in traffic.received.values())
    told = ", ".join(f"{code} x {count}" for code, count in traffic.failures.most_common())
    figures(f"{kind}: {len(traffic.confirmed)} confirmed, 0 lost, {twice} came twice; {told}")
    assert "EP9001" not in traffic.failures


@pytest.mark.slow
def test_a_queue_that_does_not_confirm(own_rabbitmq: Running[RabbitMQ]) -> None:
    """When the server speaks and the queue does not answer, that is told, and not that a handler is
    slow; when the queue goes on, so do we."""
    connection = settings(own_rabbitmq.service, request_timeout_s=8.0, heartbeat_s=4)
    queue = opened(connection, "songs", create=True, queue_type="quorum")
    send(queue, Message(body=b"1"))
    own_rabbitmq.service.control("eval", "sys:suspend('%2F_songs').")

    [outcome] = queue.send([Message(body=b"2")])

    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) == "EP4329"
    own_rabbitmq.service.control("eval", "sys:resume('%2F_songs').")
    eventually(lambda: isinstance(queue.send([Message(body=b"3")])[0], Delivered))
    queue.close()


@pytest.mark.slow
@pytest.mark.crash
def test_held_when_the_server_dies(own_rabbitmq: Running[RabbitMQ]) -> None:
    """What is held when the server dies is lost to its holder and comes again."""
    with RabbitmqHarness(own_rabbitmq.service, queue_type="quorum") as harness:
        declare(own_rabbitmq, harness.name, "quorum")
        queue = harness.new_queue()
        send(queue, *(Message(body=str(number).encode()) for number in range(5)))
        held = take(harness, queue, 5)
        settle(queue, held[:2])
        own_rabbitmq.kill()

        assert list(queue.settle(held[2:])) == [Settled.LOST] * 3
        [outcome] = queue.send([Message(body=b"6")])
        assert isinstance(outcome, Failed)
        assert classify(outcome.evidence) in ("EP2004", "EP2204", "EP2205", "EP2207")

        own_rabbitmq.start()
        bodies: set[bytes] = set()

        def all_came() -> bool:
            page = queue.receive(5, 1, 0)
            bodies.update(each.body for each in page) if isinstance(page, list) else None
            # What was settled just before may come too: the server had not written that yet.
            return {b"2", b"3", b"4"} <= bodies

        eventually(all_came)


@pytest.mark.slow
def test_a_server_that_hangs(own_rabbitmq: Running[RabbitMQ]) -> None:
    """A server that hangs costs each call its timeout and no more; when it goes on, so do we."""
    # Of one no heartbeat is missed while the test lasts, so that its calls' own time ends them; the
    # other asks nothing, so that only its heartbeats can tell it.
    bounds = {"request_timeout_s": 1.0, "connect_timeout_s": 1.0}
    connection = settings(own_rabbitmq.service, heartbeat_s=HEARTBEAT_S_MAX, **bounds)
    queue = opened(connection, "songs", create=True)
    listening = opened(settings(own_rabbitmq.service, heartbeat_s=1), "quiet", create=True)
    send(queue, *(Message(body=str(number).encode()) for number in range(2)))
    page = queue.receive(1, 10, 0)
    assert isinstance(page, list)
    assert listening.receive(1, 0.1, 0) == []
    own_rabbitmq.pause()

    started_s = time.monotonic()
    [outcome] = queue.send([Message(body=b"3")])
    sent_s = time.monotonic() - started_s
    [verdict] = queue.settle(page)

    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) in ("EP4329", "EP4318")
    assert sent_s > 0.9
    assert verdict is Settled.LOST or isinstance(verdict, Failed)
    waited = listening.receive(5, WAIT_S_MAX, 0)
    assert isinstance(waited, Failed)  # and not nothing, when the wait was over
    assert waited.evidence.fault is Fault.CLOSED

    own_rabbitmq.resume()
    # What failed is sent again. It may have been taken the first time, and the settle too: either
    # lay with the server when it went on.
    eventually(lambda: isinstance(queue.send([Message(body=b"3")])[0], Delivered))
    bodies = {each.body for each in page}

    def all_came() -> bool:
        more = queue.receive(5, 1, 0)
        if isinstance(more, list):
            bodies.update(each.body for each in more)
            queue.settle(more)
        return bodies >= {b"0", b"1", b"3"}

    eventually(all_came)
    queue.close()
    listening.close()


@pytest.mark.slow
def test_a_server_that_is_short_of_memory(own_rabbitmq: Running[RabbitMQ]) -> None:
    """While the server takes nothing, sending fails with the reason, ended by its timeout alone;
    receiving and settling go on, and sending works again when the alarm is over."""
    server = own_rabbitmq.service
    connection = settings(server, request_timeout_s=1.0)
    queue = opened(connection, "songs", create=True, queue_type="classic")
    send(queue, *(Message(body=str(number).encode()) for number in range(3)))
    server.control("set_vm_memory_high_watermark", "0.00001")
    codes = []
    for _ in range(3):
        [outcome] = queue.send([Message(body=b"more")])
        assert isinstance(outcome, Failed)
        codes.append(classify(outcome.evidence))
    page = queue.receive(3, 10, 0)
    assert isinstance(page, list)
    settle(queue, page)

    server.control("set_vm_memory_high_watermark", "0.4")
    eventually(lambda: isinstance(queue.send([Message(body=b"again")])[0], Delivered))
    queue.close()

    assert set(codes) == {"EP4314"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_held_for_too_long(own_rabbitmq: Running[RabbitMQ], kind: str) -> None:
    """When the consumer timeout ends the channel, everything held there is lost, the next receive
    says why, and all of it comes again and settles."""
    server = own_rabbitmq.service
    timeout = "application:set_env(rabbit, consumer_timeout, 1000)"
    tick = "application:set_env(rabbit, channel_tick_interval, 200)"
    server.control("eval", f"{timeout}, {tick}.")
    with RabbitmqHarness(server, queue_type=kind) as harness:
        queue = harness.new_queue()
        send(queue, *(Message(body=str(number).encode()) for number in range(4)))
        held = take(harness, queue, 4)
        settle(queue, held[:1])
        session = receipt_of(held[1]).session
        eventually(lambda: not session.is_alive)

        assert list(queue.extend(held[1:], 60)) == [Settled.LOST] * 3
        assert list(queue.settle(held[1:])) == [Settled.LOST] * 3
        told = queue.receive(4, 1, 0)
        assert isinstance(told, Failed)
        assert classify(told.evidence) == "EP4315"
        again = take(harness, queue, 3)
        assert sorted(int(each.body) for each in again) == [1, 2, 3]
        settle(queue, again)
        nothing_comes(harness, queue)


@pytest.mark.slow
def test_connections_that_are_closed_by_hand(own_rabbitmq: Running[RabbitMQ]) -> None:
    """A connection that an administrator closes is told as that, and opened anew."""
    server = own_rabbitmq.service
    queue = opened(settings(server), "songs", create=True)
    send(queue, Message(body=b"1"))
    held = queue.receive(1, 10, 0)
    assert isinstance(held, list)
    server.control("close_all_connections", "the studio closes")

    told = queue.receive(1, 10, 0)
    assert isinstance(told, Failed)
    assert classify(told.evidence) == "EP4317"
    assert "the studio closes" in told.evidence.detail
    assert list(queue.settle(held)) == [Settled.LOST]
    send(queue, Message(body=b"2"))
    queue.close()


@pytest.mark.slow
def test_what_we_declared_is_declared_again(own_rabbitmq: Running[RabbitMQ]) -> None:
    """After a reconnect the queue that we declared is there again, should it be gone."""
    server = own_rabbitmq.service
    queue = opened(settings(server), "songs", create=True, exchange="radio", routing_key="a")
    send(queue, Message(body=b"1"))
    own_rabbitmq.stop()
    shutil.rmtree(server.directory / "data")
    own_rabbitmq.start()
    eventually(lambda: isinstance(queue.send([Message(body=b"2")])[0], Delivered))

    bodies: list[Received] = []

    def came() -> bool:
        page = queue.receive(5, 1, 0)
        bodies.extend(page if isinstance(page, list) else [])
        return bool(bodies)

    eventually(came)
    queue.close()
    assert [each.body for each in bodies] == [b"2"]


@pytest.mark.slow
def test_the_reason_is_told_whatever_was_under_way(own_rabbitmq: Running[RabbitMQ]) -> None:
    """When the server ends a channel just as something is asked on it, its reason is told, and not
    that the channel was closed."""
    server = own_rabbitmq.service
    timeout = "application:set_env(rabbit, consumer_timeout, 300)"
    tick = "application:set_env(rabbit, channel_tick_interval, 100)"
    server.control("eval", f"{timeout}, {tick}.")
    told = Counter[str]()
    with RabbitmqHarness(server, queue_type="classic") as harness:
        send(harness.new_queue(), *(Message(body=b"x") for _ in range(200)))
        queue = harness.new_queue()
        end_s = time.monotonic() + PATIENCE_S
        while told.total() < 5:
            assert time.monotonic() < end_s
            # Ever more is asked for, so that the consumer is made anew each time.
            page = queue.receive(1 + told.total(), 0.01, 0)
            if isinstance(page, Failed):
                told[classify(page.evidence)] += 1

    assert set(told) == {"EP4315"}
