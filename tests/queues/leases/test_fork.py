"""A forked child: its engine is its own, and its parent's is left alone."""

import os
import warnings
from collections.abc import Callable

from eventpost.queues.interfaces import Message
from eventpost.queues.leases import Leases
from eventpost.testing.memory_queue import MemoryServer
from tests.patience import PATIENCE_S

NAME = "songs"


def in_child(check: Callable[[], object]) -> str:
    """What went wrong with `check` in a forked child; "" when nothing did."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forking with threads; that it works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        said = ""
        try:
            check()
        except BaseException as error:  # noqa: BLE001 - told to the parent
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    return said


def test_a_child_begins_with_nothing() -> None:
    """The child opens a queue of its own, holds nothing of its parent's, leaves its parent's leases
    alone, and neither uses nor closes its parent's queue; the parent works on."""
    opened: list[tuple[int, str]] = []
    memory = MemoryServer().create(NAME).create("child")
    parent_pid = os.getpid()

    def open_queue() -> object:
        name = NAME if os.getpid() == parent_pid else "child"
        opened.append((os.getpid(), name))
        return memory.queue(name)

    memory.queue(NAME).send([Message(body=b"1"), Message(body=b"2")])
    memory.queue("child").send([Message(body=b"3")])
    leases = Leases(open_queue)  # type: ignore[arg-type]
    held = leases.take(PATIENCE_S)
    assert held is not None
    parents_queue = leases.queue

    def check() -> None:
        assert leases.stats().received == 0
        leases.finish(held)
        leases.release(held)
        lease = leases.take(PATIENCE_S)
        assert lease is not None
        assert lease.message.body == b"3"
        assert leases.queue is not parents_queue
        assert leases.finish(lease, PATIENCE_S)
        assert memory.message_count("child") == 0
        assert memory.message_count(NAME) == 2
        assert not leases.close(PATIENCE_S)
        assert parents_queue.receive(1, 0.0, 1.0) == [], "it is open still"

    assert in_child(check) == ""
    assert opened == [(parent_pid, NAME)]
    assert leases.finish(held, PATIENCE_S)
    other = leases.take(PATIENCE_S)
    assert other is not None
    leases.finish(other)
    assert not leases.close(PATIENCE_S)
    assert memory.message_count(NAME) == 0


def test_a_fork_while_the_engine_is_busy() -> None:
    """A child that is forked while the engine's lock is held does not wait for it."""
    memory = MemoryServer().create(NAME)
    memory.queue(NAME).send([Message(body=b"1")])
    leases = Leases(lambda: memory.queue(NAME))
    assert leases.take(PATIENCE_S) is not None

    def check() -> None:
        assert leases.stats().received == 0
        leases.pause()
        assert not leases.close()

    with leases.lock:
        said = in_child(check)

    assert said == ""
    leases.close()
