"""The engine with its threads, in real time."""

import asyncio
import dataclasses
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from eventpost.queues.interfaces import Message, Queue, Received, Traits, Verdict
from eventpost.queues.leases import Lease, LeaseLimits, Leases, Left
from eventpost.queues.leases.commands import Command, Role
from eventpost.testing.memory_queue import (
    FORBIDDEN,
    HELD,
    LEASED,
    LOG,
    POLLED,
    MemoryQueue,
    MemoryServer,
)
from tests.patience import NEVER_S, PATIENCE_S
from tests.queues.leases.rig import Heard, check

NAME = "songs"
Open = Callable[..., Leases]


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def engine_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("eventpost-leases")]


@pytest.fixture
def new_leases() -> Iterator[Open]:
    """Makes engines, and sees that closing leaves no thread behind."""
    made: list[Leases] = []
    others = engine_threads()  # of a test before this one that did not end well

    def new(open_queue: Callable[[], Queue], **arguments: object) -> Leases:
        made.append(Leases(open_queue, **arguments))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for leases in made:
        leases.close()
        check(leases)
    until(lambda: set(engine_threads()) <= set(others))


def server(traits: Traits = LEASED, count: int = 0) -> MemoryServer:
    made = MemoryServer(traits).create(NAME)
    made.queue(NAME).send([Message(body=str(number).encode()) for number in range(count)])
    return made


def work(leases: Leases, taken: list[bytes], *, is_over: Callable[[], bool]) -> None:
    while not is_over():
        lease = leases.take(0.05)
        if lease is not None:
            taken.append(lease.message.body)
            leases.finish(lease)


@pytest.mark.slow
@pytest.mark.parametrize("traits", [LEASED, POLLED, HELD, LOG])
def test_many_workers(new_leases: Open, traits: Traits) -> None:
    """Many threads work through many messages: each is given out once, and all are settled."""
    count = 3_000
    memory = server(traits, count)
    leases = new_leases(lambda: memory.queue(NAME), limits=LeaseLimits(settle_linger_s=0.5))
    taken: list[bytes] = []
    workers = [
        threading.Thread(
            target=work, args=(leases, taken), kwargs={"is_over": lambda: len(taken) >= count}
        )
        for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)

    assert len(taken) == len(set(taken)) == count
    assert leases.close(PATIENCE_S) == Left()
    assert memory.message_count(NAME) == 0
    stats = leases.stats()
    assert stats.settled == count
    if traits.batch_count_max > 1:
        assert stats.requests["settle"] < count / 3


@pytest.mark.slow
def test_nobody_is_woken_for_nothing(new_leases: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hand that extends leases sleeps while messages are taken and finished long before their
    leases are due."""
    count = 1_000
    memory = server(LEASED, count)
    leases = new_leases(lambda: memory.queue(NAME))
    looks: Counter[Role] = Counter()
    look = leases.next

    def counted(role: Role) -> tuple[Command | None, float]:
        looks[role] += 1
        return look(role)

    monkeypatch.setattr(leases, "next", counted)
    taken: list[bytes] = []
    work(leases, taken, is_over=lambda: len(taken) >= count)
    assert leases.close(PATIENCE_S) == Left()

    assert looks[Role.EXTEND] <= 2  # at its start, and at the end


def test_take_waits(new_leases: Open) -> None:
    """A take returns with a message as soon as there is one, and with nothing when its time is
    over."""
    memory = server()
    leases = new_leases(lambda: memory.queue(NAME))
    assert leases.take(0.01) is None
    got: list[Lease | None] = []
    thread = threading.Thread(target=lambda: got.append(leases.take(PATIENCE_S)))
    thread.start()
    memory.queue(NAME).send([Message(body=b"1")])
    thread.join(PATIENCE_S)

    assert got[0] is not None
    assert got[0].message.body == b"1"


def test_closing_ends_every_wait(new_leases: Open) -> None:
    """Closing ends takes that wait, and a long poll of a server, however long they would be."""
    memory = server(dataclasses.replace(LEASED, wait_s_max=NEVER_S))
    leases = new_leases(lambda: memory.queue(NAME), limits=LeaseLimits(wait_s=NEVER_S))
    got: list[Lease | None] = []
    thread = threading.Thread(target=lambda: got.append(leases.take(NEVER_S)))
    thread.start()
    until(lambda: memory.requests["receive"])

    assert leases.close(NEVER_S) == Left()
    thread.join(PATIENCE_S)

    assert got == [None]
    assert leases.take(NEVER_S) is None


def test_finish_can_wait_for_a_moment(new_leases: Open) -> None:
    """Whoever wants to know waits until the message is settled, and no longer than it wants to,
    though no settle is ever done."""
    memory = server(count=2)
    leases = new_leases(lambda: memory.queue(NAME))
    first, second = leases.take(PATIENCE_S), leases.take(PATIENCE_S)
    assert first is not None
    assert second is not None
    assert leases.finish(first, PATIENCE_S) is True
    memory.fail("settle", FORBIDDEN)

    assert leases.finish(second, 0.05) is False

    assert leases.close(0.0) == Left(finished=1)


class Stuck(MemoryQueue):
    """Its settles hang until they are let go."""

    def __init__(self, memory: MemoryServer) -> None:
        super().__init__(memory, NAME)
        self.goes_on = threading.Event()

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        assert self.goes_on.wait(PATIENCE_S)
        return super().settle(held)

    def close(self) -> None:
        self.goes_on.set()
        super().close()


@pytest.mark.slow
def test_nobody_waits_for_a_settle_that_hangs(new_leases: Open) -> None:
    """While every settle hangs, messages are received, given out and finished, and their leases are
    kept; when the settles go on, all is settled."""
    memory = server(count=100)
    queue = Stuck(memory)
    heard = Heard()
    limits = LeaseLimits(slots_max=10, lease_s=1.5, pending_lease_s=1.5)
    leases = new_leases(lambda: queue, limits=limits, listener=heard)
    taken: list[bytes] = []

    work(leases, taken, is_over=lambda: len(taken) == 100)
    until(lambda: leases.stats().requests.get("extend", 0) >= 10)

    assert memory.message_count(NAME) == 100
    queue.goes_on.set()
    until(lambda: memory.message_count(NAME) == 0)
    assert len(set(taken)) == 100
    assert leases.close(PATIENCE_S) == Left()


@pytest.mark.slow
def test_heartbeats_in_real_time(new_leases: Open) -> None:
    """Work that takes three leases keeps its message, and nobody else gets it."""
    memory = server(count=3)
    leases = new_leases(lambda: memory.queue(NAME), limits=LeaseLimits(lease_s=1.5))
    other = memory.queue(NAME)
    held = [leases.take(PATIENCE_S) for _ in range(3)]
    end_s = time.monotonic() + 4.5
    while time.monotonic() < end_s:
        assert other.receive(1, 0.1, 30.0) == []

    for lease in held:
        assert lease is not None
        assert not lease.is_lost
        leases.finish(lease)
    assert leases.close(PATIENCE_S) == Left()
    assert memory.message_count(NAME) == 0


def test_handing_over_to_a_loop(new_leases: Open) -> None:
    """A loop is told when there is something to take, takes it without waiting, and finishes it."""
    memory = server(count=50)
    taken: Counter[bytes] = Counter()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        is_ready = asyncio.Event()
        leases = new_leases(
            lambda: memory.queue(NAME), on_ready=lambda: loop.call_soon_threadsafe(is_ready.set)
        )
        leases.start()
        async with asyncio.timeout(PATIENCE_S):
            while len(taken) < 50:
                await is_ready.wait()
                is_ready.clear()
                for lease in leases.take_many(100):
                    taken[lease.message.body] += 1
                    leases.finish(lease)
        assert await asyncio.to_thread(leases.close, PATIENCE_S) == Left()

    asyncio.run(main())

    assert set(taken.values()) == {1}
    assert memory.message_count(NAME) == 0


def test_pause_gives_back_at_once(new_leases: Open) -> None:
    """Pausing returns a long poll and hands what was not taken to others."""
    memory = server(count=5)
    leases = new_leases(lambda: memory.queue(NAME))
    leases.start()
    until(lambda: leases.stats().buffered == 5)

    leases.pause()
    until(lambda: leases.stats().held == 0)

    assert leases.take(0.01) is None
    other = memory.queue(NAME)
    page = other.receive(10, 0.0, 30.0)
    assert isinstance(page, list)
    assert len(page) == 5
    other.release(page, 0.0)
    leases.resume()
    assert leases.take(PATIENCE_S) is not None


def test_a_queue_that_cannot_be_opened(new_leases: Open) -> None:
    """What opening the queue raises reaches whoever starts, and starting again tries again."""
    memory = server(count=1)
    is_broken = True

    def open_queue() -> Queue:
        if is_broken:
            raise ValueError("no such region")
        return memory.queue(NAME)

    leases = new_leases(open_queue)
    with pytest.raises(ValueError, match="no such region"):
        leases.take()
    is_broken = False
    assert leases.take(PATIENCE_S) is not None


@pytest.mark.slow
def test_a_process_that_forgets_to_close() -> None:
    """A process that ends without closing its engine ends."""
    program = f"""
from eventpost.queues.leases import Leases
from eventpost.testing.memory_queue import MemoryServer
server = MemoryServer().create({NAME!r})
leases = Leases(lambda: server.queue({NAME!r}))
assert leases.take(0.1) is None
"""
    ended = subprocess.run([sys.executable, "-c", program], timeout=PATIENCE_S, check=False)

    assert ended.returncode == 0
