"""What was finished, kept durably: so that nothing is done twice because it could not be settled.

Layer: queues. Workers say `finish` when a message's work is done, before they settle it; a message
that comes again is looked up with `known`, and settled instead of being done again. The key is the
queue's identity and the transport's id, never the id that a library gives to a task, which its
retries share. A source keeps no ledger: its ids are committed with the events that they became.
"""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from eventpost.diagnosis import codes
from eventpost.queues.ledger_file import FilePlace
from eventpost.queues.ledger_rows import (
    Entry,
    LedgerError,
    LedgerLimits,
    LedgerPlace,
    LedgerRows,
    Risk,
)

__all__ = ["Ledger", "LedgerError", "LedgerLimits", "LedgerStats", "QueueLedger"]

REST_S = 0.0005
"""Between two commits of a process: one that commits all the time would keep others out."""


class LedgerStats(msgspec.Struct, frozen=True, kw_only=True):
    place: str
    rows: int
    finished: int = 0
    """By this process, since it began."""
    commits: int = 0
    forgotten: int = 0
    """Forgotten for want of room although neither settled nor old: each may be done twice."""
    trim_failures: int = 0


@dataclass(eq=False)
class _Group:
    """What one commit takes."""

    finished: list[Entry] = field(default_factory=list)
    waiting: deque[threading.Lock] = field(default_factory=deque)
    """Each of a thread that waits; it is released when the group is done, or is that thread's to
    write. To wake everybody at each commit would cost more than the commits do."""
    is_done: bool = False
    error: LedgerError | None = None


class Ledger:
    """Safe to call from any thread, and by several processes on one place: a file, given by its
    path, or a server.

    Opens on first use, and anew after a fork. Threads that finish at the same time share a commit.
    """

    def __init__(
        self,
        place: LedgerPlace | Path | str,
        *,
        limits: LedgerLimits | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.place = FilePlace(Path(place)) if isinstance(place, str | Path) else place
        self.limits = limits or LedgerLimits()
        self._now_s = now_s
        self._reset()
        _ledgers.add(self)

    def _reset(self) -> None:
        self._turn = threading.Condition()
        self._reading = threading.Lock()
        self._opening = threading.Lock()
        self._rows: LedgerRows | None = None
        self._open_group = _Group()
        self._settled: list[Entry] = []
        self._is_writing = False
        self._others_count = 0
        """Who waits for the place beside writers: they go first, or would never."""
        self._rested_at_s = 0.0
        self._finished_count = 0
        self._commit_count = 0
        self._forgotten_count = 0
        self._trim_failure_count = 0
        self._trim_at_s = 0.0
        self._rows_since_trim = 0

    def of(self, queue: str) -> "QueueLedger":
        """The part of one queue, by its identity."""
        return QueueLedger(self, queue)

    def finish(self, queue: str, *ids: str) -> None:
        """The work on these messages is done. Durable when this returns.

        Raises LedgerError when it may not be; then the message may be done again when it comes
        again.
        """
        if not all(ids):
            raise ValueError("a message without an id cannot be known again")
        self._commit([(queue, one) for one in ids])

    def settled(self, queue: str, *ids: str) -> None:
        """The server has settled them: they need not be remembered for long. Returns at once, and
        is written with one of the next commits."""
        with self._turn:
            self._settled += [(queue, one) for one in ids]
            is_much = len(self._settled) >= self.limits.settled_waiting_max
        if is_much:
            self._commit([])

    def known(self, queue: str, ids: Sequence[str]) -> set[str]:
        """Which of these messages are finished. Raises LedgerError."""
        with self._reading:
            return self._opened().known(queue, ids)

    def risks(self) -> Sequence[Risk]:
        """Why this place may forget what it was told. Opens it; raises LedgerError."""
        with self._reading:
            return self._opened().risks()

    def stats(self) -> LedgerStats:
        """Raises LedgerError."""
        with self._turn:
            self._wait_for_writer()
            return LedgerStats(
                place=self.place.name,
                rows=self._opened().count(),
                finished=self._finished_count,
                commits=self._commit_count,
                forgotten=self._forgotten_count,
                trim_failures=self._trim_failure_count,
            )

    def close(self) -> None:
        """Write what waits, and let go of the place. The next call opens it again."""
        if self._settled:
            self._commit([])
        with self._turn:
            self._wait_for_writer()
            with self._reading:
                self._drop_rows()

    # --- commits ----------------------------------------------------------------------------------

    def _commit(self, entries: list[Entry]) -> None:
        """Join the open group. One of it writes for all."""
        group = self._joined(entries)
        if not group.is_done:
            try:
                self._write(group, self._close_group())
            except BaseException as error:
                # Nobody may take for durable what nobody foresaw.
                group.error = LedgerError(codes.LEDGER_FAILED, f"{self.place.name}: {error!r}")
                raise
            finally:
                self._written(group)
        if group.error is not None:
            raise group.error

    def _joined(self, entries: list[Entry]) -> _Group:
        """The open group, with these, when it is done or is the caller's to write."""
        with self._turn:
            group = self._open_group
            group.finished += entries
            if self._is_free():
                self._is_writing = True
                return group
            woken = threading.Lock()
            woken.acquire()
            group.waiting.append(woken)
        try:
            woken.acquire()
        except BaseException:  # raised in this thread by another one, or Ctrl-C
            self._left(group, woken)
            raise
        return group

    def _left(self, group: _Group, woken: threading.Lock) -> None:
        """Who waited does not wait any more; its turn to write, if it had come, is another's."""
        with self._turn:
            if woken in group.waiting:
                group.waiting.remove(woken)
            elif not group.is_done:
                self._is_writing = False
                self._hand_on()

    def _written(self, group: _Group) -> None:
        with self._turn:
            self._rested_at_s = time.monotonic() + REST_S
            group.is_done = True
            self._is_writing = False
            for woken in group.waiting:
                woken.release()
            group.waiting.clear()
            self._hand_on()

    def _hand_on(self) -> None:
        """Whoever waits beside writers goes first; else the first of the open group writes it."""
        if self._others_count:
            self._turn.notify_all()
        elif self._open_group.waiting and self._is_free():
            self._is_writing = True
            self._open_group.waiting.popleft().release()

    def _is_free(self) -> bool:
        return not self._is_writing and not self._others_count

    def _wait_for_writer(self) -> None:
        """Until nobody writes; within the lock, before which the next writer then waits."""
        self._others_count += 1
        self._turn.wait_for(lambda: not self._is_writing)
        self._others_count -= 1
        self._hand_on()

    def _close_group(self) -> list[Entry]:
        """Begin the next group; the settled ids that go with this one. Between two commits there is
        a moment in which others join, and other processes get their turn."""
        rest_s = self._rested_at_s - time.monotonic()
        if rest_s > 0:
            time.sleep(rest_s)
        with self._turn:
            self._open_group = _Group()
            settled, self._settled = self._settled, []
        return settled

    def _write(self, group: _Group, settled: Sequence[Entry]) -> None:
        try:
            now_s = self._now_s()
            rows = self._opened()
            rows.write(group.finished, settled, now_s)
        except LedgerError as error:
            group.error = error
            with self._reading:
                self._drop_rows()
            return
        self._finished_count += len(group.finished)
        self._commit_count += 1
        try:
            self._trim(rows, len(group.finished), now_s)
        except LedgerError:
            # What was to be written is written. A ledger that cannot be trimmed grows, and is told.
            self._trim_failure_count += 1

    def _trim(self, rows: LedgerRows, count: int, now_s: float) -> None:
        limits = self.limits
        self._rows_since_trim += count
        if now_s < self._trim_at_s and self._rows_since_trim < max(1, limits.rows_max // 100):
            return
        self._trim_at_s = now_s + limits.trim_every_s
        self._rows_since_trim = 0
        _, forgotten = rows.trim(
            settled_before_s=now_s - limits.settled_age_s_max,
            before_s=now_s - limits.age_s_max,
            rows_max=limits.rows_max,
            count_max=max(limits.trim_rows_max, count),
        )
        self._forgotten_count += forgotten

    def _opened(self) -> LedgerRows:
        """The rows. Opened by a writer and a reader at once they are opened by one of them."""
        if self._rows is None:
            with self._opening:
                if self._rows is None:
                    self._rows = self.place.open(self.limits)
        return self._rows

    def _drop_rows(self) -> None:
        rows, self._rows = self._rows, None
        if rows is not None:
            rows.close()

    # --- forks ------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """SQLite keeps the locks of a process in its memory, per file and not per connection: a
        child would find those of its parent held for ever. So nothing is open when the process
        forks, and parent and child open it anew."""
        self._turn.acquire()
        self._wait_for_writer()
        self._reading.acquire()
        self._drop_rows()

    def after_fork_in_parent(self) -> None:
        self._reading.release()
        self._turn.release()

    def after_fork_in_child(self) -> None:
        """Those who hold the locks are not here any more."""
        self._reset()


@dataclass(frozen=True, slots=True)
class QueueLedger:
    """One queue's part of a ledger. `known` is what `Leases` asks."""

    ledger: Ledger
    queue: str

    def finish(self, *ids: str) -> None:
        self.ledger.finish(self.queue, *ids)

    def settled(self, *ids: str) -> None:
        self.ledger.settled(self.queue, *ids)

    def known(self, ids: Sequence[str]) -> set[str]:
        return self.ledger.known(self.queue, ids)


_ledgers: "weakref.WeakSet[Ledger]" = weakref.WeakSet()
_forking: list[Ledger] = []


def _before_fork() -> None:
    _forking[:] = sorted(_ledgers, key=id)
    for ledger in _forking:
        ledger.before_fork()


def _after_fork_in_parent() -> None:
    for ledger in _forking:
        ledger.after_fork_in_parent()
    _forking.clear()


def _after_fork_in_child() -> None:
    for ledger in _forking:
        ledger.after_fork_in_child()
    _forking.clear()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
