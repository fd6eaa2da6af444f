"""Drives a store from a plain test: calls wait for their answer, in threads or without."""

import queue
import time
from collections.abc import Callable
from typing import TypeVar

from eventpost.core.interfaces import Commit, CommitFailed, Committed, Recovered, Store, Timer

T = TypeVar("T")
ANSWER_S_MAX = 120.0


class PumpClock:
    """A clock whose callbacks run when a test pumps them; `now_ms` is what the test sets."""

    def __init__(self, now_ms: int = 1_767_225_600_000) -> None:
        self._now_ms = now_ms
        self._turns: queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = (
            queue.SimpleQueue()
        )

    def now_ms(self) -> int:
        return self._now_ms

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self._turns.put((callback, args))

    call_soon_threadsafe = call_soon

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: object) -> Timer:
        raise NotImplementedError("a store sets no timers")

    def pump(self) -> None:
        """Run one callback, waiting for it."""
        callback, args = self._turns.get(timeout=ANSWER_S_MAX)
        callback(*args)


class Driver:
    """A store whose calls return their answers.

    `ask(store.read, 1, 0, 0, 1_000)` is what `store.read(1, 0, 0, 1_000, done)` answers.
    """

    def __init__(self, store: Store, clock: PumpClock) -> None:
        self.store = store
        self.clock = clock
        self.recovered: Recovered = store.open()

    def ask(self, question: Callable[..., object], *arguments: object) -> object:
        answers: list[object] = []
        question(*arguments, answers.append)
        assert not answers, "an answer came before the call had returned"
        deadline = time.monotonic() + ANSWER_S_MAX
        while not answers:
            assert time.monotonic() < deadline
            self.clock.pump()
        assert len(answers) == 1
        return answers[0]

    def answer(self, kind: type[T], question: Callable[..., object], *arguments: object) -> T:
        """`ask`, and the answer must be of `kind`."""
        found = self.ask(question, *arguments)
        assert isinstance(found, kind), found
        return found

    def commit(self, commit: Commit) -> Committed:
        return self.answer(Committed, self.store.commit, commit)

    def failed(self, commit: Commit) -> CommitFailed:
        return self.answer(CommitFailed, self.store.commit, commit)

    def sweep(self) -> int:
        """Commit nothing until no leftovers remain; how many commits that took."""
        count = 1
        while self.commit(Commit()).has_leftovers:
            count += 1
            assert count < 10_000, "leftovers never end"
        return count
