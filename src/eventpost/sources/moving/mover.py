"""Moves one queue into another: takes, sends, writes down, deletes; in this order for each message.

Layer: sources. One thread calls `run`; the lease engine receives and deletes on threads of its own.
"""

import threading
import time
from collections.abc import Callable, Sequence

from eventpost.core.outcomes import Delivered, Evidence, Failed, Outcome, Stage
from eventpost.queues.interfaces import Measurable, Message, Queue
from eventpost.queues.leases import Lease, Leases
from eventpost.queues.leases.lease import State
from eventpost.sources.moving.account import Account
from eventpost.sources.moving.deleting import Deleting
from eventpost.sources.moving.ending import Ending, Look
from eventpost.sources.moving.hearing import Hearing
from eventpost.sources.moving.journal import Confirmed, Journal, JournalError
from eventpost.sources.moving.limits import MoveLimits
from eventpost.sources.moving.pace import Pace
from eventpost.sources.moving.parcels import (
    Lane,
    Manner,
    Parcel,
    Unmovable,
    is_one_of_a_kind,
    is_redelivery,
    key_of,
    pack,
)
from eventpost.sources.moving.result import Ended, Result

Going = list[tuple[Lease, str, Parcel]]

WAIT_S = 0.05
"""How often the end is looked for while nothing comes."""
_UNSURE = frozenset({Stage.WRITE, Stage.WAIT, Stage.READ})
"""A failure at these stages may have been stored all the same."""


class Mover:
    """One move. `open_target` gives the queue of a lane; it is called when that is first needed,
    and raises what opening a queue raises.

    `show` is told, now and then, how the books stand; `tell` what goes wrong and comes right again.
    """

    def __init__(
        self,
        source: Callable[[], Queue],
        open_target: Callable[[Lane], Queue],
        manner: Manner,
        journal: Journal,
        *,
        limits: MoveLimits | None = None,
        count_max: int | None = None,
        rate_per_s: float | None = None,
        classify: Callable[[Evidence], str],
        show: Callable[[Account], None] = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._limits = limits or MoveLimits()
        self._open_target = open_target
        self._manner = manner
        self._journal = journal
        self._count_max = count_max
        self._pace = None if rate_per_s is None else Pace(rate_per_s, monotonic_s)
        self._classify = classify
        self._show = show
        self._tell = tell
        self._monotonic_s = monotonic_s
        self._now_ms = now_ms
        self.result = Result()
        self._targets: dict[Lane, Queue] = {}
        self._stirred = threading.Event()
        self._is_stopping = False
        self._hearing = Hearing(monotonic_s)
        self._leases = Leases(
            source,
            limits=self._limits.leases,
            known=self._known,
            listener=self._hearing,
            on_ready=self._stirred.set,
            monotonic_s=monotonic_s,
        )
        self._deleting = Deleting(journal, self.result.account)
        self._page: list[Lease] = []
        """What is at work."""
        self._returned: list[Lease] = []
        """What is not sent any more."""
        self._is_log = False
        self._drain_s = self._limits.drain_s
        self._skipped: dict[str, Lease] = {}
        self._skipped_bytes = 0
        self._ending = Ending(self._limits, monotonic_s())

    def stop(self) -> None:
        """Finish what is being sent, and end. From any thread, and from a signal's handler."""
        self._is_stopping = True
        self._stirred.set()

    def run(self) -> Result:
        """Move until the queue is empty, or something ends it. Raises what opening a queue raises;
        everything else is in the result."""
        try:
            self._leases.start()
            self._is_log = self._leases.queue.traits.is_log
            self._ending.came_s = self._monotonic_s()
            while not self._is_over():
                self._page = self._next_page()
                if self._page:
                    self._move(self._page)
                    self._page = []
                self._look_around()
        except JournalError as error:
            self.result.ended, self.result.error = Ended.JOURNAL_FAILS, error
        except KeyboardInterrupt:  # who cannot wait; the journal knows what arrived
            self._drain_s = 0.0
            raise
        finally:
            self._end()
        return self.result

    # --- when it is over --------------------------------------------------------------------------

    def _is_over(self) -> bool:
        ended = self._why_over()
        if ended is not None:
            self.result.ended = ended
        return ended is not None

    def _why_over(self) -> Ended | None:
        account = self.result.account
        if self.result.failed is not None:
            return Ended.TARGET_FAILS
        if self._is_stopping:
            return Ended.STOPPED
        if self._count_max is not None and account.taken - account.skipped >= self._count_max:
            return Ended.COUNTED
        limits = self._limits
        is_much = self._skipped_bytes >= limits.skipped_bytes_max
        if len(self._skipped) >= limits.skipped_max or is_much:
            return Ended.SKIPPED
        outage = self._hearing.outage()
        if outage is not None and outage[0] > limits.patience_s:
            self.result.failed = outage[1]
            return Ended.SOURCE_FAILS
        return self._why_empty()

    def _why_empty(self) -> Ended | None:
        now_s = self._monotonic_s()
        stats = self._leases.stats()
        if stats.buffered or self._hearing.outage() is not None:
            return None
        look = self._ending.look(now_s, stats.empty_receives)
        if look is Look.COUNT:
            self._ending.counted(self._remaining(stats.held), now_s, stats.empty_receives)
            look = self._ending.look(now_s, stats.empty_receives)
        if look is Look.HIDDEN:
            self.result.hidden = self._ending.remaining or 0
            return Ended.HIDDEN
        return Ended.EMPTY if look is Look.EMPTY else None

    def _remaining(self, held: int) -> int | None:
        """Messages that are in the source and not in our hands; None when it cannot say."""
        queue = self._leases.queue
        counted = queue.depth() if isinstance(queue, Measurable) else None
        if counted is None or isinstance(counted, Failed):
            return None
        return max(0, counted.total - held) if counted.includes_held else counted.total

    # --- from the source --------------------------------------------------------------------------

    def _known(self, ids: Sequence[str]) -> set[str]:
        """Those of these that the target has. On a thread of the engine."""
        known = self._journal.known(f"id:{one}" for one in ids)
        return {one.removeprefix("id:") for one in known}

    def _next_page(self) -> list[Lease]:
        """What is sent next; [] after a moment in which nothing came, or nothing is due."""
        room = self._limits.page_max
        if self._count_max is not None:
            account = self.result.account
            room = min(room, self._count_max - account.taken + account.skipped)
        if self._pace is not None:
            room = min(room, self._pace.due())
        page: list[Lease] = []
        size = 0
        while len(page) < room and size < self._limits.page_bytes_max:
            taken = self._leases.take_many(1)
            if not taken:
                break
            page += taken
            size += len(taken[0].message.body)
        if page:
            self._ending.came(self._monotonic_s(), self._leases.stats().empty_receives)
        else:
            self._stirred.wait(WAIT_S)
            self._stirred.clear()
        return page

    def _move(self, page: Sequence[Lease]) -> None:
        going: Going = []
        for lease in page:
            key = key_of(lease.message)
            if self._is_settled_again(lease, key):
                continue
            self.result.account.taken += 1
            made = pack(lease.message, self._manner, key, self._now_ms())
            if isinstance(made, Unmovable):
                self._skip(lease, key, made.finding, made.detail)
            else:
                going.append((lease, key, made))
        for lane in Lane:
            self._deliver([one for one in going if one[2].lane is lane], lane)

    def _is_settled_again(self, lease: Lease, key: str) -> bool:
        """Whether it came again and needs nothing but its deletion; also keeps the books of what
        came again otherwise. What has an id was known to the engine already."""
        message = lease.message
        if message.id or not is_redelivery(message):
            return False
        skipped = self._skipped.get(key)
        if skipped is not None and (skipped.is_lost or skipped.fate is not None):
            self._leases.release(skipped)
            self._skipped[key] = lease
            return True
        if not self._journal.is_open(key):
            return False
        if is_one_of_a_kind(message, self._manner):
            self._leases.finish(lease)
            self._deleting.add(lease, key)
            return True
        # Alike to the last byte is not the same: it is sent, and may be there twice.
        self.result.account.twice += 1
        if self._journal.settle(key) is Confirmed.NOW:
            self.result.account.taken -= 1
        return False

    def _skip(self, lease: Lease, key: str, finding: str, detail: str) -> None:
        """It stays in the source. It is held until the end: given back now, it came at once."""
        self.result.account.skip(finding)
        self.result.examples.setdefault(finding, detail)
        if key in self._skipped:  # another one, alike to the last byte
            key = f"{key}/{len(self._skipped)}"
        self._skipped[key] = lease
        self._skipped_bytes += len(lease.message.body)

    # --- to the target ----------------------------------------------------------------------------

    def _deliver(self, going: Going, lane: Lane) -> None:
        """Send until each has arrived, can never arrive, or the move is to end."""
        delay_s, failing_since_s = self._limits.retry_s_min, None
        unsure: set[Lease] = set()
        while going:
            going = self._without_lost(going)
            outcomes = self._send([parcel.message for _, _, parcel in going], lane)
            failed = self._consequences(going, outcomes, unsure)
            going = [
                one
                for one, outcome in zip(going, outcomes, strict=True)
                if isinstance(outcome, Failed) and not outcome.final
            ]
            if failed is None:
                continue
            now_s = self._monotonic_s()
            if failing_since_s is None or len(going) < len(outcomes):
                failing_since_s, delay_s = now_s, self._limits.retry_s_min
                self._tell(f"The target refuses: {self._said(failed)}. It is tried again.")
            if self._is_stopping or now_s - failing_since_s >= self._limits.patience_s:
                if not self._is_stopping:
                    self.result.failed = failed
                self._return([lease for lease, _, _ in going])
                return
            self._pause(delay_s)
            delay_s = min(delay_s * 2, self._limits.retry_s_max)

    def _without_lost(self, going: Going) -> Going:
        """Those whose lease holds. The others come again, and are taken then."""
        lost = [lease for lease, _, _ in going if lease.is_lost]
        self.result.account.taken -= len(lost)
        for lease in lost:
            self._leases.release(lease)
        return [one for one in going if not one[0].is_lost]

    def _send(self, messages: Sequence[Message], lane: Lane) -> Sequence[Outcome]:
        if not messages:
            return []
        target = self._targets.get(lane)
        if target is None:
            target = self._targets[lane] = self._open_target(lane)
        return target.send(messages)

    def _consequences(
        self, going: Going, outcomes: Sequence[Outcome], unsure: set[Lease]
    ) -> Failed | None:
        """Write down and delete what arrived; the first failure that may pass. `unsure` are those
        that may have been stored before: a message is counted once, however often that happens."""
        arrived: list[tuple[Lease, str]] = []
        passing: Failed | None = None
        for (lease, key, _), outcome in zip(going, outcomes, strict=True):
            if isinstance(outcome, Delivered):
                arrived.append((lease, key))
            elif outcome.final:
                self._skip(lease, key, self._classify(outcome.evidence), self._said(outcome))
            else:
                passing = passing or outcome
                if outcome.evidence.stage in _UNSURE and lease not in unsure:
                    unsure.add(lease)
                    self.result.account.twice += 1
        self._arrived(arrived)
        return passing

    def _arrived(self, arrived: Sequence[tuple[Lease, str]]) -> None:
        if not arrived:
            return
        if self._pace is not None:
            self._pace.sent(len(arrived))
        try:
            self._journal.confirm([key for _, key in arrived])
        finally:  # they are in the target, whatever the journal says
            for lease, key in arrived:
                self._leases.finish(lease)
                self._deleting.add(lease, key)

    def _pause(self, seconds: float) -> None:
        until_s = self._monotonic_s() + seconds
        while not self._is_stopping and (rest_s := until_s - self._monotonic_s()) > 0:
            self._look_around()
            self._stirred.wait(min(WAIT_S, rest_s))
            self._stirred.clear()

    def _look_around(self) -> None:
        """What has happened meanwhile: deletions, and failures of the source."""
        self._deleting.look(self._hearing.take_again())
        while self._hearing.news:
            operation, failed = self._hearing.news.popleft()
            self._tell(
                f"The source refuses to {operation}: {self._said(failed)}. It is tried again."
            )
        self._show(self.result.account)

    def _said(self, failed: Failed) -> str:
        evidence = failed.evidence
        code = evidence.code or f"{evidence.stage.value} {evidence.fault.value}"
        detail = f", {evidence.detail}" if evidence.detail else ""
        return f"{self._classify(evidence)} ({code}{detail})"

    # --- the end ---------------------------------------------------------------------------------

    def _give_back(self) -> int:
        """What is not moved; how many of it stay in hand. A log is read again from where it was
        committed, and a release might append a copy."""
        not_moved = (*self._skipped.values(), *self._page, *self._returned)
        if self._is_log:
            return len({lease for lease in not_moved if lease.state is State.RUNNING})
        for lease in not_moved:
            self._leases.release(lease)
        return 0

    def _is_drained(self, kept: int) -> bool:
        return self._leases.is_drained or (kept > 0 and self._leases.stats().held <= kept)

    def _return(self, leases: Sequence[Lease]) -> None:
        self.result.account.returned += len(leases)
        self._returned += leases

    def _end(self) -> None:
        """Give back what was not moved, wait for deletions, and close the books."""
        account = self.result.account
        kept = self._give_back()
        until_s = self._monotonic_s() + self._drain_s
        self._leases.begin_close()
        while not self._is_drained(kept) and self._monotonic_s() < until_s:
            self._stirred.wait(WAIT_S)
            self._stirred.clear()
        self._leases.end_close()
        try:
            self._deleting.end(self._hearing.take_again())
        except JournalError as error:
            self.result.ended, self.result.error = Ended.JOURNAL_FAILS, error
        account.undeleted = self._journal.now.total()
        account.returned += account.in_hand
        for target in self._targets.values():
            target.close()
        self._journal.close(is_over=self.result.ended is Ended.EMPTY and not account.undeleted)
        self._show(account)
