"""Finished messages that the ledger could not take down: they wait, and so do their deletes.

Layer: workers. While a ledger is away nobody is kept waiting for it: the first message that it
fails waits here with all that follow it, held under their leases, and a thread of its own tries
until the ledger has them all. Bounded by what the consumer holds.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from eventpost.queues.leases import Lease
from eventpost.queues.ledger import LedgerError

log = logging.getLogger("eventpost.workers")


class Unwritten:
    """Of one queue. From any thread."""

    def __init__(
        self,
        write: Callable[[Sequence[str]], None],
        written: Callable[[Lease], object],
        failed: Callable[[LedgerError], None],
        recovered: Callable[[float, int], None],
        pause_s: tuple[float, float],
    ) -> None:
        """`write` takes ids down and raises LedgerError, which `failed` is told; `written` is told
        each message that may be deleted; `recovered`, after how long and how many they were.
        `pause_s` is the first pause between two tries, and the longest."""
        self._write = write
        self._written = written
        self._failed = failed
        self._recovered = recovered
        self._pause_s_min, self._pause_s_max = pause_s
        self._changed = threading.Condition()
        self._waiting: list[Lease] = []
        self._thread: threading.Thread | None = None
        self._since_s = 0.0
        self._is_urgent = False
        self._is_nudged = False
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, lease: Lease) -> None:
        """Let it wait with the others. Returns at once."""
        with self._changed:
            self._waiting.append(lease)
            if self._thread is None and not self._is_closed:
                self._since_s = time.monotonic()
                name = "eventpost-workers-ledger"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()

    def hurry(self) -> None:
        """Try now, and without long pauses from now on."""
        with self._changed:
            self._is_urgent = self._is_nudged = True
            self._changed.notify_all()

    def close(self) -> int:
        """Try no more. How many are left: each is done again when it comes again."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            return len(self._waiting)

    def _run(self) -> None:
        pause_s = self._pause_s_min
        while self._wait(pause_s):
            try:
                if self._try():
                    return
            except LedgerError as error:
                self._failed(error)
            except Exception:
                log.exception("What waits for the ledger could not be written; it is tried again.")
            pause_s = self._pause_s_min if self._is_urgent else min(2 * pause_s, self._pause_s_max)

    def _wait(self, pause_s: float) -> bool:
        """Until the next try; False when there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._is_nudged, pause_s)
            self._is_nudged = False
            if self._is_closed:
                self._thread = None
            return not self._is_closed

    def _try(self) -> bool:
        """Whether nothing waits any more; then this thread is over."""
        page = list(self._waiting)
        self._write([lease.id for lease in page])
        for lease in page:
            self._written(lease)
        with self._changed:
            del self._waiting[: len(page)]
        # Before the thread is over: if this raises, it goes on, and there is never a second one.
        self._recovered(time.monotonic() - self._since_s, len(page))
        with self._changed:
            is_over = not self._waiting
            if is_over:
                self._thread = None
        return is_over
