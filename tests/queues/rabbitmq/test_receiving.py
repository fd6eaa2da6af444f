"""Receiving from RabbitMQ: what is asked for and no more, and what becomes of it in the end."""

import asyncio
import dataclasses
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import aiormq
import pytest
from aio_pika.abc import AbstractChannel
from pamqp import commands

from eventpost.core.outcomes import Delivered, Failed
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Queue, Received, Settled
from eventpost.queues.rabbitmq.target import WAIT_S_MAX
from eventpost.testing.queue_conformance import let_go, nothing_comes, send, settle, take
from tests.queues.rabbitmq.brokers import RabbitmqHarness, administer
from tests.services.rabbitmq import RabbitMQ

pytestmark = pytest.mark.slow


@pytest.fixture(params=["classic", "quorum"])
def harness(rabbitmq: RabbitMQ, request: pytest.FixtureRequest) -> Iterator[RabbitmqHarness]:
    with RabbitmqHarness(rabbitmq, queue_type=request.param) as harness:
        yield harness


@pytest.fixture
def quorum(rabbitmq: RabbitMQ) -> Iterator[RabbitmqHarness]:
    with RabbitmqHarness(rabbitmq, queue_type="quorum") as harness:
        yield harness


def songs(count: int, start: int = 0) -> list[Message]:
    return [Message(body=str(number).encode()) for number in range(start, start + count)]


def numbers(page: list[Received]) -> list[int]:
    return sorted(int(each.body) for each in page)


def eventually(condition: Callable[[], bool], seconds_max: float = 120.0) -> None:
    end_s = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.02)


def ready_count(harness: RabbitmqHarness) -> int:
    """How many messages the queue could hand to somebody else now."""

    async def count(channel: AbstractChannel) -> int:
        queue = await channel.declare_queue(harness.name, passive=True)
        return queue.declaration_result.message_count or 0

    return administer(harness.server, count)


# --- fairness -------------------------------------------------------------------------------------


def test_no_more_than_was_asked_for(harness: RabbitmqHarness) -> None:
    """Who asks for one message holds one: all others can be taken by others at once."""
    send(harness.new_queue(), *songs(20))

    [one] = take(harness, harness.new_queue(), 1)
    others = take(harness, harness.new_queue(), 19)

    assert numbers([one, *others]) == list(range(20))


def test_what_nobody_asks_for_goes_back(harness: RabbitmqHarness) -> None:
    """Who settles and asks no more keeps nothing that the server handed ahead."""
    queue = harness.new_queue(unclaimed_s=0.2)
    send(queue, *songs(20))
    settle(queue, take(harness, queue, 5))

    others = take(harness, harness.new_queue(), 15)

    assert len({*numbers(others)}) == 15


def test_what_comes_later_is_not_kept(harness: RabbitmqHarness) -> None:
    """A message that comes when nobody asks any more can be taken by somebody else."""
    queue = harness.new_queue(unclaimed_s=0.2)
    send(queue, Message(body=b"1"))
    [one] = take_some(queue, 10)

    send(harness.new_queue(), Message(body=b"2"))

    [other] = take(harness, harness.new_queue(), 1)
    assert (one.body, other.body) == (b"1", b"2")


def take_some(queue: Queue, count_max: int) -> list[Received]:
    page = queue.receive(count_max, 10, 0)
    assert isinstance(page, list)
    assert page
    return page


def test_a_full_holder_gets_one_for_one(quorum: RabbitmqHarness) -> None:
    """Who holds as many as it wants gets one for each that it settles, and hoards none."""
    queue, other = quorum.new_queue(), quorum.new_queue()
    send(queue, *songs(30))
    held = take(quorum, queue, 10)
    seen = numbers(held)
    for _ in range(10):
        settle(queue, [held.pop(0)])
        fresh = take(quorum, queue, 1)
        held += fresh
        seen += numbers(fresh)

    rest = take(quorum, other, 10)
    assert sorted(seen + numbers(rest)) == list(range(30))
    assert {each.receive_count for each in rest} == {1}


def test_growing_demand(harness: RabbitmqHarness) -> None:
    """Who first asks for one and then for more gets more: the first demand does not stay."""
    queue = harness.new_queue()
    send(queue, *songs(100))
    held = take(harness, queue, 1)

    page = queue.receive(50, 10, 0)
    assert isinstance(page, list)
    held += page
    eventually(lambda: more(queue, held) >= 100)

    assert numbers(held) == list(range(100))


def more(queue: Queue, held: list[Received]) -> int:
    page = queue.receive(50, 1, 0)
    assert isinstance(page, list)
    held += page
    return len(held)


def test_a_prefetch_is_kept(harness: RabbitmqHarness) -> None:
    """With a fixed prefetch the server hands so much ahead, and never more."""
    queue = harness.new_queue(prefetch=7)
    send(queue, *songs(20))

    take(harness, queue, 1)

    eventually(lambda: ready_count(harness) == 13)
    held = take(harness, queue, 6)
    nothing_comes(harness, queue)
    settle(queue, held)
    assert len(take(harness, queue, 6)) == 6


def test_two_waiters(harness: RabbitmqHarness) -> None:
    """Two receives that wait share what comes, and neither waits on with messages lying there."""
    queue = harness.new_queue()
    # Who declares a quorum queue while another does so finds it there before it has a leader, and
    # what is published then is refused (basic.nack), to be sent again.
    assert queue.receive(1, 0, 0) == []
    pages: list[list[Received] | Failed] = []
    threads = [
        threading.Thread(target=lambda: pages.append(queue.receive(1, WAIT_S_MAX, 0)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    send(harness.new_queue(), *songs(2))
    for thread in threads:
        thread.join(WAIT_S_MAX / 2)

    assert not [each for each in threads if each.is_alive()]
    assert numbers([each for page in pages if isinstance(page, list) for each in page]) == [0, 1]


def test_random_holders(harness: RabbitmqHarness) -> None:
    """Whatever clients ask for, settle, release and drop: in the end each message was settled once,
    and none is left."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    send(harness.new_queue(), *songs(150))
    clients = [harness.new_queue(unclaimed_s=0.1) for _ in range(3)]
    held: list[tuple[Queue, Received]] = []
    settled: Counter[int] = Counter()
    end_s = time.monotonic() + 60
    while len(settled) < 150:
        assert time.monotonic() < end_s, f"seed {seed}: only {len(settled)} were settled"
        queue = dice.choice(clients)
        page = queue.receive(dice.randint(1, 20), dice.choice([0, 0.05]), 0)
        assert isinstance(page, list), f"seed {seed}: {page}"
        held += [(queue, each) for each in page]
        dice.shuffle(held)
        for _ in range(dice.randint(0, len(held))):
            owner, one = held.pop()
            if dice.random() < 0.2:
                assert list(owner.release([one], 0)) == [Settled.DONE], f"seed {seed}"
            else:
                assert list(owner.settle([one])) == [Settled.DONE], f"seed {seed}"
                settled[int(one.body)] += 1

    assert set(settled.values()) == {1}, f"seed {seed}"
    for client in clients:
        client.close()
    nothing_comes(harness, harness.new_queue())


# --- settling in any order ------------------------------------------------------------------------


def test_settled_in_any_order(harness: RabbitmqHarness) -> None:
    """Messages are settled one by one and together, in any order, and only those."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    queue = harness.new_queue()
    send(queue, *songs(60))
    held = take(harness, queue, 60)
    dice.shuffle(held)
    kept, done = held[:10], held[10:]
    while done:
        size = dice.randint(1, 9)
        settle(queue, done[:size])
        del done[:size]

    queue = let_go(harness, queue, kept)
    again = take(harness, queue, 10)
    assert numbers(again) == numbers(kept), f"seed {seed}"
    settle(queue, again)
    nothing_comes(harness, queue)


def test_settling_beside_releasing(harness: RabbitmqHarness) -> None:
    """Threads that settle and threads that release at once never settle what was released."""
    queue = harness.new_queue()
    send(queue, *songs(200))
    held = sorted(take(harness, queue, 200), key=lambda one: int(one.body))
    released = held[::2]

    def work(call: Callable[[list[Received]], Any], mine: list[Received]) -> None:
        for start in range(0, len(mine), 5):
            assert list(call(mine[start : start + 5])) == [Settled.DONE] * 5

    threads = [
        threading.Thread(target=work, args=(queue.settle, held[1::4])),
        threading.Thread(target=work, args=(queue.settle, held[3::4])),
        threading.Thread(target=work, args=(lambda some: queue.release(some, 0), released)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    other = harness.new_queue()
    queue.close()
    assert numbers(take(harness, other, 100)) == numbers(released)


def test_settled_and_then_released(harness: RabbitmqHarness) -> None:
    """What is settled cannot be released, nor the other way: nothing is acknowledged twice."""
    queue = harness.new_queue()
    send(queue, *songs(2))
    done, back = take(harness, queue, 2)
    settle(queue, [done])
    assert list(queue.release([back], 0)) == [Settled.DONE]

    assert list(queue.release([done], 0)) == [Settled.DONE]
    assert list(queue.settle([back])) == [Settled.LOST]
    [again] = take(harness, queue, 1)
    assert again.body == back.body
    settle(queue, [again])
    assert list(queue.extend([again, back], 60)) == [Settled.LOST, Settled.LOST]


# --- channels that end ----------------------------------------------------------------------------


def cut(harness: RabbitmqHarness, queue: Queue) -> None:
    """End the queue's connections, as a broken network does."""
    core = queue._core  # type: ignore[attr-defined]  # there is no other way to reach its sockets

    async def abort() -> None:
        for line in (core._link.consuming, core._link.publishing):
            if line._opened is not None:
                line._opened.wire._transport.abort()

    core.thread.submit(abort()).result(60)


def test_a_connection_that_breaks(harness: RabbitmqHarness) -> None:
    """What was held on a broken connection is lost, comes again, and settles on the new one; the
    old receipts do no harm there."""
    queue = harness.new_queue()
    send(queue, *songs(3))
    old = take(harness, queue, 3)
    cut(harness, queue)

    assert list(queue.settle(old[:1])) == [Settled.LOST]
    failed = queue.receive(3, 10, 0)
    assert isinstance(failed, Failed)
    fresh = take(harness, queue, 3)
    assert list(queue.settle(old)) == [Settled.LOST] * 3
    assert list(queue.release(old, 0)) == [Settled.LOST] * 3
    settle(queue, fresh)
    send(queue, Message(body=b"4"))


def test_a_wait_on_a_connection_that_breaks(harness: RabbitmqHarness) -> None:
    """A receive that waits fails at once when its connection breaks, and the next one works."""
    queue = harness.new_queue()
    send(queue, *songs(1))
    settle(queue, take(harness, queue, 1))
    told: list[Any] = []
    thread = threading.Thread(target=lambda: told.append(queue.receive(1, WAIT_S_MAX, 0)))
    thread.start()
    core = queue._core  # type: ignore[attr-defined]  # whether it waits by now
    eventually(lambda: bool(core.consumer._waiters))
    cut(harness, queue)
    thread.join(WAIT_S_MAX / 2)

    assert not thread.is_alive()
    assert isinstance(told[0], Failed)
    send(queue, Message(body=b"2"))
    assert [each.body for each in take(harness, queue, 1)] == [b"2"]


def test_a_queue_that_is_deleted(harness: RabbitmqHarness) -> None:
    """When the queue is deleted a waiting receive is told at once, the next one why, and when it is
    there again it is used again."""
    queue = harness.new_queue()
    send(queue, Message(body=b"1"))
    settle(queue, take(harness, queue, 1))
    told: list[Any] = []
    thread = threading.Thread(target=lambda: told.append(queue.receive(1, 30, 0)))
    thread.start()
    core = queue._core  # type: ignore[attr-defined]  # whether the server pushes by now
    eventually(lambda: bool(core.consumer._waiters) and core.consumer._pushing.tag is not None)
    administer(harness.server, lambda channel: channel.queue_delete(harness.name))
    thread.join(30)

    [cancelled] = told
    gone = queue.receive(1, 1, 0)
    assert isinstance(cancelled, Failed)
    assert isinstance(gone, Failed)
    assert classify(cancelled.evidence) == "EP4316"
    assert classify(gone.evidence) == "EP4307"
    send(harness.new_queue(), Message(body=b"2"))
    assert [each.body for each in take(harness, queue, 1)] == [b"2"]


# --- counts, ids, delays --------------------------------------------------------------------------


def test_returns_are_counted(quorum: RabbitmqHarness) -> None:
    """A quorum queue counts every return, also through a delay queue and to another client."""
    queue = quorum.new_queue(delays_s=[0.1])
    try:
        send(queue, Message(body=b"again", attributes={"genre": "blues"}))
        counts = []
        for delay_s in (0.0, 0.1, 0.0, 0.05):
            [one] = take(quorum, queue, 1)
            counts.append(one.receive_count)
            assert one.attributes == {"genre": "blues"}
            assert list(queue.release([one], delay_s)) == [Settled.DONE]

        [last] = take(quorum, quorum.new_queue(), 1)
        assert [*counts, last.receive_count] == [1, 2, 3, 4, 5]
    finally:
        name = f"{quorum.name}.delay.100ms"
        administer(quorum.server, lambda channel: channel.queue_delete(name))


def test_a_delivery_limit(quorum: RabbitmqHarness) -> None:
    """A quorum queue with a delivery limit drops what was returned too often, and others stay."""
    queue = quorum.new_queue(arguments={"x-delivery-limit": 2})
    send(queue, Message(body=b"poison"))
    counts = []
    for _ in range(3):
        [one] = take(quorum, queue, 1)
        counts.append(one.receive_count)
        assert list(queue.release([one], 0)) == [Settled.DONE]

    assert counts == [1, 2, 3]
    nothing_comes(quorum, queue)


def test_a_delay_queue_that_is_missing(quorum: RabbitmqHarness) -> None:
    """A release into a delay queue that is not there fails, and the message stays held."""
    queue = quorum.new_queue()
    send(queue, Message(body=b"1"))
    other = quorum.new_queue(create=False, delays_s=[5])
    held = take(quorum, other, 1)

    [verdict] = other.release(held, 5)

    assert isinstance(verdict, Failed)
    assert classify(verdict.evidence) == "EP4312"
    assert verdict.evidence.operation == "release"
    nothing_comes(quorum, queue)
    settle(other, held)


def test_redeliveries_by_publishers_ids(harness: RabbitmqHarness) -> None:
    """With the publishers' ids a redelivery carries the same id, also after a delay queue."""
    queue = harness.new_queue(message_ids=True)
    send(queue, Message(body=b"1", message_id="m-1"))
    [one] = take(harness, queue, 1)
    queue.release([one], 0)

    [again] = take(harness, queue, 1)

    assert one.id == again.id == "m-1"
    assert again.system_attributes["redelivered"] == "true"


# --- messages that cannot be read -----------------------------------------------------------------


BAD = [
    commands.Basic.Properties(message_id="caf\u00e9", headers={"genre": "blues"}),
    commands.Basic.Properties(correlation_id="caf\u00e9"),
]


@pytest.mark.parametrize("properties", BAD)
def test_properties_that_cannot_be_read(
    rabbitmq: RabbitMQ, properties: commands.Basic.Properties
) -> None:
    """A message whose properties are no AMQP blocks no queue: it comes without them, its body
    whole, and what stands behind it comes too."""
    with RabbitmqHarness(rabbitmq, queue_type="classic") as harness:
        queue = harness.new_queue()
        send(queue, Message(body=b"before"))
        publish_raw(rabbitmq, harness.name, properties, b"caf\xff")
        send(queue, Message(body=b"after"))

        pages: list[Received] = []
        failures: list[Failed] = []
        end_s = time.monotonic() + 120
        while len({each.body for each in pages}) < 3:
            assert time.monotonic() < end_s, (pages, failures)
            page = queue.receive(10, 1, 0)
            if isinstance(page, Failed):
                failures.append(page)
            else:
                pages += page
                queue.settle(page)

    assert {each.body for each in pages} == {b"before", b"caf\xff", b"after"}
    assert [classify(each.evidence) for each in failures] == ["EP4327"]
    [mended] = [each for each in pages if each.body == b"caf\xff"]
    assert "message_id" not in mended.system_attributes


def publish_raw(
    server: RabbitMQ, name: str, properties: commands.Basic.Properties, body: bytes
) -> None:
    """Publish with properties that no honest library writes: two bytes of them are spoiled."""

    async def run() -> None:
        connection = await aiormq.connect(server.url)
        channel = await connection.channel()
        assert isinstance(channel, aiormq.channel.Channel)
        put = channel.write_queue.put

        async def spoil(item: Any) -> None:
            spoilt = item.payload.replace("\u00e9".encode(), b"\xff\xff")
            await put(dataclasses.replace(item, payload=spoilt))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(channel.write_queue, "put", spoil)
            await channel.basic_publish(body, routing_key=name, properties=properties)
        await connection.close()

    asyncio.run(run())


# --- processes ------------------------------------------------------------------------------------


def test_a_forked_child(harness: RabbitmqHarness) -> None:
    """A child of a fork has a thread and connections of its own, and leaves its parent's alone."""
    queue = harness.new_queue()
    send(queue, *songs(2))
    [held] = take(harness, queue, 1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            mine = harness.new_queue()
            page = mine.receive(1, 20, 0)
            is_good = isinstance(page, list) and list(mine.settle(page)) == [Settled.DONE]
            is_sent = isinstance(mine.send([Message(body=b"7")])[0], Delivered)
            mine.close()
            code = 0 if is_good and is_sent else 2
        finally:
            os._exit(code)

    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    settle(queue, [held])
    assert numbers(take(harness, queue, 1)) == [7]


THREADS = """
import sys
import threading

from eventpost.queues.interfaces import Message
from eventpost.queues.rabbitmq import RabbitmqConnection
from tests.queues.rabbitmq.brokers import opened

connection = RabbitmqConnection(host="127.0.0.1", port=int(sys.argv[1]))
name, kind = sys.argv[2:]
queues = [opened(connection, name, create=True, queue_type=kind) for _ in range(2)]
for queue in queues:
    queue.send([Message(body=b"1")])
for queue in queues:
    assert "eventpost-rabbitmq" in {each.name for each in threading.enumerate()}
    queue.close()
assert "eventpost-rabbitmq" not in {each.name for each in threading.enumerate()}

queue = opened(connection, name, create=True, queue_type=kind)
page = queue.receive(1, 100.0, 0)
print(*queue.settle(page))
queue.close()
"""


def test_the_thread_ends_with_the_last_queue(harness: RabbitmqHarness) -> None:
    """When every queue is closed no thread is left, and a queue made afterwards works. In a process
    of its own, which shares the thread with nobody."""
    kind, port = harness.options["queue_type"], str(harness.server.ports["amqp"])
    done = subprocess.run(
        [sys.executable, "-c", THREADS, port, harness.name, kind],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "Settled.DONE\n"), done.stderr
