"""Long polls that can be left: what the server still answers is kept for the next receive.

Layer: queues. A poll that the server holds open cannot be taken back: botocore has no way to end a
request, and closing its socket would lose the messages that are on their way, until their leases
run out. So a poll runs on a thread of its own, and whoever waits for it may go.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Received

Page = list[Received] | Failed
Poll = Callable[[], Page]


class _Running:
    """One poll under way. `page` is None until it is answered."""

    def __init__(self, poll: Poll) -> None:
        self.poll = poll
        self.page: Page | None = None
        self.is_left = False


class Polls:
    """The polls of one queue. Safe to use from any thread.

    `release` gives messages back that arrive when nobody will ask any more; it is called on a
    thread of this object's own. Threads stay for the next poll, one for each that is waited for at
    the same time, and are daemons: a poll keeps no process from ending.
    """

    def __init__(
        self, monotonic_s: Callable[[], float], release: Callable[[Sequence[Received]], object]
    ) -> None:
        self._monotonic_s = monotonic_s
        self._release = release
        self._turn = threading.Condition()
        self._begun: queue.SimpleQueue[_Running | None] = queue.SimpleQueue()
        self._idle_count = 0
        self._left: list[_Running] = []
        self._late: deque[Received] = deque()
        self._wake_count = 0
        self._is_closed = False

    def late(self, count_max: int) -> list[Received]:
        """What polls brought that were left, as far as it is still under lease."""
        with self._turn:
            return self._taken(count_max)

    def wait(self, poll: Poll, count_max: int) -> Page:
        """The page of `poll`, or of one that was left and is still under way.

        [] when `wake` was called, or `close`; the poll goes on by itself then.
        """
        with self._turn:
            running = self._left.pop() if self._left else self._begin(poll)
            running.is_left = False
            wake_count = self._wake_count
            while running.page is None and self._wake_count == wake_count and not self._is_closed:
                self._turn.wait()
            if running.page is None:
                running.is_left = True
                self._left.append(running)
                return []
            return self._cut(running.page, count_max)

    def wake(self) -> None:
        with self._turn:
            self._wake_count += 1
            self._turn.notify_all()

    def close(self) -> None:
        """Let everybody go. What was not taken is given back, now and when it arrives."""
        with self._turn:
            if self._is_closed:
                return
            self._is_closed = True
            self._turn.notify_all()
            unwanted = self._taken(len(self._late))
            for _ in range(self._idle_count):
                self._begun.put(None)
        if unwanted:
            name = "eventpost-sqs-release"
            threading.Thread(target=self._release, args=(unwanted,), name=name, daemon=True).start()

    def _begin(self, poll: Poll) -> _Running:
        running = _Running(poll)
        self._begun.put(running)
        if self._idle_count:
            self._idle_count -= 1
        else:
            threading.Thread(target=self._work, name="eventpost-sqs-poll", daemon=True).start()
        return running

    def _work(self) -> None:
        while (running := self._begun.get()) is not None:
            page: Page = []
            try:
                page = running.poll()
            finally:  # whatever happens, nobody waits for ever
                is_last = self._answered(running, page)
            if is_last:
                return

    def _answered(self, running: _Running, page: Page) -> bool:
        """Whether there is nothing left to do for the thread."""
        with self._turn:
            running.page = page
            if running.is_left:
                self._left.remove(running)
                if isinstance(page, list):
                    self._late.extend(page)
            self._turn.notify_all()
            is_last = self._is_closed
            self._idle_count += not is_last
            unwanted = self._taken(len(self._late)) if is_last else []
        if unwanted:
            self._release(unwanted)
        return is_last

    def _cut(self, page: Page, count_max: int) -> Page:
        """A poll that was left may have been asked for more than is wanted now."""
        if isinstance(page, list):
            self._late.extend(page[count_max:])
            return page[:count_max]
        return page

    def _taken(self, count_max: int) -> list[Received]:
        now_s = self._monotonic_s()
        taken: list[Received] = []
        while self._late and len(taken) < count_max:
            message = self._late.popleft()
            if message.lease_until_s > now_s:
                taken.append(message)
        return taken
