"""What one process has open of a broker's queues: what sends, and what receives.

Layer: workers. Everything opens on first use. A forked child begins with nothing of its parent's,
and neither uses nor closes what that has open.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

from eventpost.workers.forwarding import Forwarder
from eventpost.workers.outbox import Outbox
from eventpost.workers.reception import Reception
from eventpost.workers.transport import WorkQueue


@dataclass(eq=False)
class _Open:
    """Of one process."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    forwarder: Forwarder = field(default_factory=Forwarder)
    outboxes: dict[str, Outbox] = field(default_factory=dict)
    receptions: dict[str, Reception] = field(default_factory=dict)
    ended: list[Reception] = field(default_factory=list)
    """Those of the newest drain, kept for their books."""


class Channels:
    """Of one broker. From any thread."""

    def __init__(self, open_queue: Callable[[str], WorkQueue], send_calls_max: int) -> None:
        self._open_queue = open_queue
        self._send_calls_max = send_calls_max
        self._now = _Open()
        _all.add(self)

    @property
    def forwarder(self) -> Forwarder:
        return self._now.forwarder

    def outbox(self, name: str) -> Outbox:
        """What sends to a queue, by its name in the system. Raises what opening it raises."""
        now = self._now
        with now.lock:
            found = now.outboxes.get(name)
            if found is None:
                found = Outbox(self._open_queue(name), self._send_calls_max)
                now.outboxes[name] = found
            return found

    def reception(self, queue_name: str, make: Callable[[], Reception]) -> Reception:
        """What receives of a queue, going on if it was paused."""
        now = self._now
        with now.lock:
            found = now.receptions.get(queue_name)
            if found is None:
                found = now.receptions[queue_name] = make()
        found.resume()
        return found

    def receiving(self, queue_name: str) -> Reception | None:
        return self._now.receptions.get(queue_name)

    def receptions(self) -> list[Reception]:
        now = self._now
        with now.lock:
            return list(now.receptions.values())

    def ended(self) -> list[Reception]:
        """Those that the newest drain let go of: what they counted stands."""
        now = self._now
        with now.lock:
            return list(now.ended)

    def drain(self, drain_s: float) -> int:
        """Stop receiving, wait until what is finished is settled, and let go of it. How many
        finished messages were not settled: the ledger knows them."""
        now = self._now
        with now.lock:
            closing = list(now.receptions.values())
            now.receptions.clear()
            if closing:
                now.ended = closing
        until_s = time.monotonic() + drain_s
        for reception in closing:
            reception.begin_close()
        now.forwarder.drain(until_s)
        return sum(reception.end_close(until_s).finished for reception in closing)

    def close(self) -> None:
        """Close what sends. Later sends open it anew."""
        now = self._now
        with now.lock:
            outboxes = list(now.outboxes.values())
            now.outboxes.clear()
        for outbox in outboxes:
            outbox.queue.close()

    def forget_parent(self) -> None:
        """In a forked child."""
        _inherited.append(self._now)
        self._now = _Open()


_all: "weakref.WeakSet[Channels]" = weakref.WeakSet()
_inherited: list[_Open] = []
"""Kept from being collected, because that would close what is the parent's."""


def _forget_parents() -> None:
    for channels in list(_all):
        channels.forget_parent()


os.register_at_fork(after_in_child=_forget_parents)
