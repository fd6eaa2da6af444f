"""The lease engine: what holds a queue's messages for whoever works on them.

Layer: queues. The deciding is in `book`, the carrying out in whatever runs it (`threads`); here are
the lock, the calls to the queue, and what callers see.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Protocol, assert_never

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.queues.interfaces import Queue, Received
from eventpost.queues.leases.book import Book
from eventpost.queues.leases.commands import (
    Change,
    Command,
    Extend,
    Page,
    Receive,
    Release,
    Result,
    Role,
    Settle,
)
from eventpost.queues.leases.lease import Fate, Lease
from eventpost.queues.leases.limits import LeaseLimits
from eventpost.queues.leases.listening import Listener
from eventpost.queues.leases.stats import Left, Stats
from eventpost.queues.leases.threads import ThreadRunner

log = logging.getLogger("eventpost.queues")

WAKE_EVERY_S = 0.05
"""A wake that comes before its receive has begun to wait is forgotten: it is repeated."""
JOIN_S_MAX = 2.0
"""How long a closed engine waits for calls that are under way; its threads are daemons."""

Known = Callable[[Sequence[str]], Collection[str]]
"""Which of these ids are finished: a source's store, or a ledger. May block; it is called on a
thread of the engine, before a page is given out. When it raises, receiving pauses as after a
failure, and then it is asked about the same page again."""


def nothing_is_known(_ids: Sequence[str]) -> Collection[str]:
    return ()


class Runner(Protocol):
    """Whose hands carry out what the book wants: they ask `Leases.next` and call `Leases.run`."""

    def kick(self, role: Role) -> None:
        """These hands may have something to do. Within the lock."""
        ...

    def stop(self) -> None:
        """No command is begun any more. Within the lock."""
        ...

    def join(self, seconds: float) -> None:
        """Wait for what is under way. Without the lock."""
        ...


class Leases:
    """Messages of one queue under lease. Safe to call from any thread; no call waits for a server.

    `open_queue` makes the queue, on the first `start` or `take` of each process: a forked child
    begins with an engine that holds nothing, and what its parent holds stays the parent's.
    `on_ready` is told, on a thread of the engine, that there is something to take.
    """

    def __init__(
        self,
        open_queue: Callable[[], Queue],
        *,
        limits: LeaseLimits | None = None,
        known: Known = nothing_is_known,
        listener: Listener | None = None,
        on_ready: Callable[[], None] | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        new_runner: "Callable[[Leases], Runner]" = ThreadRunner,
    ) -> None:
        self.limits = limits or LeaseLimits()
        self._open_queue = open_queue
        self._known = known
        self._listener = listener or Listener()
        self._on_ready = on_ready
        self._monotonic_s = monotonic_s
        self._random = random or Random()
        self._new_runner = new_runner
        self._reset()
        _engines.add(self)

    def _reset(self) -> None:
        self.lock = threading.RLock()
        self._ready = threading.Condition(self.lock)
        self._changed = threading.Condition(self.lock)
        """A lease has ended, or the engine is closing."""
        self._queue: Queue | None = None
        self._book: Book | None = None
        self._runner: Runner | None = None
        self._is_paused = False
        self._is_closed = False

    # --- for whoever works on messages ------------------------------------------------------------

    def start(self) -> None:
        """Begin to receive. Raises what opening the queue raises; nothing is connected yet."""
        with self.lock:
            if self._book is not None or self._is_closed:
                return
            self._queue = self._open_queue()
            book = Book(self._queue.traits, self.limits, self._random, self._listener)
            book.held.is_paused = self._is_paused
            self._book = book
            self._runner = self._new_runner(self)
            self._runner.kick(Role.RECEIVE)

    def take(self, wait_s: float = 0.0) -> Lease | None:
        """The next message, or None when there is none within `wait_s`, or when paused or closed.

        Whoever takes it says `finish` or `release` in the end; until then its lease is kept alive.
        """
        self.start()
        until_s = self._monotonic_s() + wait_s
        while True:
            with self.lock:
                taken = self._take(1)
                rest_s = until_s - self._monotonic_s()
                is_over = bool(taken) or rest_s <= 0 or self._is_closed
                if not is_over:
                    self._ready.wait(rest_s)
            self.tell()
            if is_over:
                return taken[0] if taken else None

    def take_many(self, count_max: int) -> list[Lease]:
        """What there is, at most so many. Never waits."""
        self.start()
        with self.lock:
            taken = self._take(count_max)
        self.tell()
        return taken

    def finish(self, lease: Lease, wait_s: float = 0.0) -> bool:
        """The work on a message is done: settle it, again and again if need be.

        Returns at once; with `wait_s`, when the server has settled it, or when that time is over.
        True when the server has. A message that is not at work here any more is left alone.
        """
        with self.lock:
            book = self._book
            if book is None or not book.finish(lease, self._monotonic_s()):
                return lease.fate is Fate.SETTLED
            self._stir()
            if wait_s:
                self._changed.wait_for(lambda: lease.fate is not None, wait_s)
        self.tell()
        return lease.fate is Fate.SETTLED

    def finish_many(self, leases: Sequence[Lease]) -> None:
        """As `finish` for each, waiting for nothing: they are settled together where that goes."""
        with self.lock:
            if self._book is not None:
                now_s = self._monotonic_s()
                for lease in leases:
                    self._book.finish(lease, now_s)
                self._stir()
        self.tell()

    def release(self, lease: Lease, delay_s: float = 0.0) -> None:
        """A message is not done and shall come again after `delay_s`. Returns at once."""
        with self.lock:
            if self._book is not None and self._book.release(lease, delay_s, self._monotonic_s()):
                self._stir()
        self.tell()

    def nudge(self) -> None:
        """There is reason to think that the queue is not empty any more: look soon."""
        with self.lock:
            if self._book is not None:
                self._book.nudge(self._monotonic_s())
                self._stir()

    # --- for whoever owns it ----------------------------------------------------------------------

    @property
    def queue(self) -> Queue:
        """The queue of this process. Not to be received from beside the engine."""
        self.start()
        assert self._queue is not None, "the engine is closed"
        return self._queue

    def pause(self) -> None:
        """Give nothing out and receive nothing until `resume`; give back what was not taken."""
        with self.lock:
            self._is_paused = True
            if self._book is not None:
                self._book.pause(self._monotonic_s())
                self._stir()
        self._wake()

    def resume(self) -> None:
        with self.lock:
            self._is_paused = False
            if self._book is not None:
                self._book.resume(self._monotonic_s())
                self._stir()
        self.tell()

    def stats(self) -> Stats:
        with self.lock:
            if self._book is None:
                return Stats(is_paused=self._is_paused)
            return self._book.stats(self._monotonic_s())

    def begin_close(self) -> None:
        """Stop receiving, give back what was not taken, and settle what is finished."""
        with self.lock:
            self._is_closed = True
            if self._book is not None:
                self._book.begin_close(self._monotonic_s())
                self._stir()
            self._ready.notify_all()
        self._wake()

    @property
    def is_drained(self) -> bool:
        """Whether nothing is held any more, after `begin_close`."""
        with self.lock:
            return self._book is None or self._book.is_drained

    def end_close(self) -> Left:
        """Let go of what is left, and of the queue. Calls under way are waited for a moment."""
        with self.lock:
            book, runner, queue = self._book, self._runner, self._queue
            left = Left() if book is None else book.end_close()
            self._runner = self._queue = None
            if runner is not None:
                runner.stop()
            self._changed.notify_all()
        self.tell()
        if queue is not None:
            queue.close()
        if runner is not None:
            runner.join(JOIN_S_MAX)
        return left

    def close(self, drain_s: float = 0.0) -> Left:
        """Stop receiving, give back what was not taken, wait up to `drain_s` until what is at work
        is finished and what is finished is settled, and say what is left. Idempotent."""
        until_s = self._monotonic_s() + drain_s
        self.begin_close()
        while not self.is_drained and (rest_s := until_s - self._monotonic_s()) > 0:
            self._wake()
            with self.lock:
                self._changed.wait(min(WAKE_EVERY_S, rest_s))
        return self.end_close()

    # --- for its runner ---------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether `tell` has something to tell. Within the lock."""
        return self._book is not None and self._book.has_news

    def next(self, role: Role) -> tuple[Command | None, float]:
        """A command to `run` without the lock, or None, and in how many seconds to ask again.
        Within the lock."""
        assert self._book is not None
        now_s = self._monotonic_s()
        command = self._book.next(role, now_s)
        self._stir()
        return command, max(0.0, self._book.wake_s(role) - now_s)

    def due_s(self, role: Role) -> float:
        """When to ask `next` again, by the clock of the engine. Within the lock."""
        assert self._book is not None
        return self._book.wake_s(role)

    def run(self, command: Command) -> None:
        """Carry it out, and draw the consequences."""
        self.answer(command, self.carry_out(command))

    def carry_out(self, command: Command) -> Result:
        """Make the call. Neither a queue nor a look-up of ids may end a thread of the engine."""
        queue = self._queue
        if queue is None:
            return _closed(command)
        try:
            if isinstance(command, Receive):
                return self._receive(queue, command)
            return _change(queue, command)
        except Exception as error:  # noqa: BLE001 - a border: code of third parties
            return unexpected(error, queue.traits.system, _OPERATIONS[type(command)])

    def answer(self, command: Command, result: Result) -> None:
        """Draw the consequences of a command."""
        with self.lock:
            assert self._book is not None
            self._book.done(command, result, self._monotonic_s())
            self._stir()
            self._changed.notify_all()
        self.tell()

    def tell(self) -> None:
        """Make the calls that are due to listeners. Without the lock."""
        book = self._book
        if book is None or not book.has_news:
            return
        with self.lock:
            news = book.take_news()
            ready_count = book.take_ready_count()
            self._ready.notify(ready_count)
        if ready_count and self._on_ready is not None:
            news.append(self._on_ready)
        for call in news:
            try:
                call()
            except Exception:
                log.exception(
                    "What hears the lease engine failed unexpectedly; the engine goes on."
                )
                with self.lock:
                    book.held.tally.listener_errors += 1

    # --- inside -----------------------------------------------------------------------------------

    def _receive(self, queue: Queue, receive: Receive) -> Page | Failed:
        page: Sequence[Received] | Failed = receive.again
        if not page:
            page = queue.receive(receive.count_max, receive.wait_s, receive.lease_s)
        if isinstance(page, Failed):
            return page
        ids = [one.id for one in page if one.id]
        try:
            return Page(page, frozenset(self._known(ids)) if ids else ())
        except Exception as error:  # noqa: BLE001 - a border: a ledger or a store that fails
            return Page(page, failed=unexpected(error, queue.traits.system, "known"))

    def _take(self, count_max: int) -> list[Lease]:
        if self._book is None:
            return []
        taken = self._book.take(self._monotonic_s(), count_max)
        self._stir()
        return taken

    def _stir(self) -> None:
        """Within the lock: wake whom a change concerns."""
        assert self._book is not None
        if self._runner is not None:
            for role in self._book.take_stirred():
                self._runner.kick(role)

    def _wake(self) -> None:
        queue = self._queue
        if queue is not None:
            queue.wake()

    def forget_parent(self) -> None:
        """In a forked child: begin anew. What was the parent's is neither used nor closed; it is
        kept from being collected, because that would close it."""
        _inherited.append((self._queue, self._book, self._runner, self.lock))
        self._random = Random(self._random.random() + os.getpid())
        self._reset()


_OPERATIONS: dict[type[Command], str] = {
    Receive: "receive",
    Extend: "extend",
    Settle: "settle",
    Release: "release",
}
_engines: "weakref.WeakSet[Leases]" = weakref.WeakSet()
_inherited: list[object] = []


def _change(queue: Queue, change: Change) -> Result:
    match change:
        case Extend(_, held, lease_s):
            verdicts = queue.extend(held, lease_s)
        case Settle(_, held):
            verdicts = queue.settle(held)
        case Release(_, held, delay_s):
            verdicts = queue.release(held, delay_s)
        case _:
            assert_never(change)
    if len(verdicts) != len(held):
        raise ValueError(f"{len(verdicts)} verdicts on {len(held)} messages")
    return verdicts


def unexpected(error: Exception, system: str, operation: str) -> Failed:
    """What raised although it must not."""
    return Failed(
        Evidence(
            stage=Stage.SETTINGS,
            fault=Fault.UNEXPECTED,
            system=system,
            operation=operation,
            detail=f"{type(error).__name__}: {error}"[:1000],
        )
    )


def _closed(command: Command) -> Failed:
    return Failed(
        Evidence(stage=Stage.CONNECT, fault=Fault.CLOSED, operation=_OPERATIONS[type(command)])
    )


def _forget_parents() -> None:
    for engine in list(_engines):
        engine.forget_parent()


os.register_at_fork(after_in_child=_forget_parents)
