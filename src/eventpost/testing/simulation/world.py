"""The simulated machine: a disk, a clock, and the processes of the grid that come and go on it."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from eventpost.core.errors import StoreError
from eventpost.core.interfaces import CommitFailed, Recovered
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.formats import topics
from eventpost.grid.engine import Surroundings
from eventpost.testing.clock import VirtualClock
from eventpost.testing.disk import Disk
from eventpost.testing.simulation import plan as kinds
from eventpost.testing.simulation.ledger import BrokenPromiseError, Ledger
from eventpost.testing.simulation.outside import Files, Onlooker
from eventpost.testing.simulation.plan import Plan
from eventpost.testing.simulation.process import Process
from eventpost.testing.simulation.receivers import Receiver
from eventpost.testing.simulation.wire import Wire

REOPEN_S = 0.5
"""After a commit failed, as the server waits."""
BOOT_S_MAX = 2.0
CLOCK_STEP_MS_MAX = 5 * 60_000


class World:
    """Everything there is in one run. `on_started` is called when a process has recovered, before
    it sends anything."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.directory = directory
        self.draw = random.Random(plan.seed)
        self.clock = VirtualClock()
        self.started_s = self.clock.monotonic_s()
        self.clock_offset_ms = 0
        self.clock_ahead_ms_max = 0
        """The furthest that the wall clock ever was ahead."""
        self.disk = Disk(directory / "disk", plan.seed)
        self.ledger = Ledger()
        self.files = Files(self)
        self.faults: Counter[str] = Counter()
        self.ends = 0
        self.taken = 0
        self.duplicates_max = 0
        """What the ends so far may have brought."""
        self.is_calm = False
        """No faults any more."""
        self.on_started: Callable[[Process, Recovered], None] = lambda *_: None
        self._receivers: dict[int, Receiver] = {}
        self._process: Process | None = None
        self._cuts = 0
        self._is_opening = False
        self._ids = 0

    @property
    def process(self) -> Process | None:
        """The process that serves; None while there is none, or while it opens its store anew."""
        process = self._process
        return process if process is not None and process.is_serving else None

    def receiver(self, subscription_id: int) -> Receiver:
        if subscription_id not in self._receivers:
            self._receivers[subscription_id] = Receiver(self.draw)
        return self._receivers[subscription_id]

    def receivers(self) -> Sequence[Receiver]:
        return list(self._receivers.values())

    def new_id(self) -> str:
        self._ids += 1
        return f"event-{self._ids}"

    # --- processes --------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start a process on what is on the disk."""
        assert self._process is None
        self._cuts = self.disk.cuts
        self._process = Process(self)
        self._open()

    def _open(self) -> None:
        process = self._process
        assert process is not None
        before = (self.disk.syncs, self.disk.writes)
        self._is_opening = True
        try:
            recovered = process.store.open()
        except StoreError as error:
            recovered = None
            if not self._has_disk_failed(*before):
                raise BrokenPromiseError(f"the store does not open: {error}") from error
        self._is_opening = False
        if self.disk.cuts != self._cuts:
            self.look_at_power()
        elif recovered is None:
            process.clock.call_later(REOPEN_S, self._open)
        else:
            engine = process.begin(self._surroundings(process), recovered)
            self.on_started(process, recovered)
            engine.start()

    def _has_disk_failed(self, syncs: int, writes: int) -> bool:
        """Since there had been so many syncs and writes."""
        disk = self.disk
        if disk.cuts != self._cuts:
            return True
        failed_sync, failed_write = disk.fail_sync_at or 0, disk.full_at_write or 0
        return syncs < failed_sync <= disk.syncs or writes < failed_write <= disk.writes

    def _surroundings(self, process: Process) -> Surroundings:
        def new_destination(_topic: Topic, subscription: Subscription) -> Wire:
            return Wire(self, process, subscription)

        return Surroundings(
            store=process.store,
            clock=process.clock,
            random=self.draw,
            new_event_id=self.new_id,
            new_destination=new_destination,
            topic_resource=topics.resource,
            files=self.files,
            classify=lambda evidence: f"{evidence.stage}-{evidence.fault}",
            finding_expired=lambda evidence: "expired",
            limits=self.plan.limits,
            watcher=Onlooker(),
            on_failed=self._store_failed,
        )

    def _store_failed(self, failure: CommitFailed) -> None:
        """As the server does: the process goes on from what is on the disk."""
        process = self._process
        assert process is not None
        if self.disk.cuts == self._cuts:
            if "IOERR" not in failure.reason and not failure.is_full:
                raise BrokenPromiseError(f"a commit failed: {failure.reason}")
            self.faults[kinds.DISK_FULL if failure.is_full else kinds.SYNC_FAILED] += 1
        self._count_duplicates()
        process.clock.call_later(REOPEN_S, self._open)

    def end(self, kind: str) -> None:
        """The process is killed, or the power goes; another one is started after a while."""
        if self._process is None:
            return
        if kind == kinds.POWER_CUT:
            self.disk.cut_power()
        elif kind == kinds.KILL:
            self.disk.kill()
        self._ended(kind)

    def stop(self) -> None:
        """End the process as the server does when it is told to: what came of it is kept."""
        process = self.process
        if process is None:
            return

        process.engine.journal.wait(lambda _: process.clock.call_soon(self._stop, process))

    def _stop(self, process: Process) -> None:
        if process is self.process:
            self.disk.disarm()
            self.end(kinds.STOPPED)

    def look_at_power(self) -> None:
        """Called after the store did something: the power may have gone within."""
        if self.disk.cuts != self._cuts and self._process is not None and not self._is_opening:
            self._ended(self._armed)

    def _ended(self, kind: str) -> None:
        process = self._process
        assert process is not None
        self.faults[kind] += 1
        self.ends += 1
        self._process = None
        if process.is_serving:
            self._count_duplicates()
            process.engine.stop()
        process.clock.is_alive = False
        process.store.close()
        self._cuts = self.disk.cuts
        self._step_clock()
        self.clock.call_later(self.draw.random() * BOOT_S_MAX, self.boot)

    def close(self) -> None:
        """Let go of the files; the run is over."""
        if self._process is not None:
            self._process.clock.is_alive = False
            self._process.store.close()
            self._process = None
        self.disk.close()

    def _count_duplicates(self) -> None:
        """What was in flight, and what was not saved yet, may be sent again."""
        accounts = self.ledger.accounts.values()
        windows = sum(account.window_max for account in accounts if not account.is_removed)
        self.duplicates_max += windows + self.plan.limits.outcomes_unsaved_max

    def _step_clock(self) -> None:
        if self.is_calm or self.draw.random() >= self.plan.clock_step_chance:
            return
        step_ms = self.draw.randint(-CLOCK_STEP_MS_MAX, CLOCK_STEP_MS_MAX)
        self.clock_offset_ms += step_ms
        self.clock_ahead_ms_max = max(self.clock_ahead_ms_max, self.clock_offset_ms)
        self.faults[kinds.CLOCK_FORWARD if step_ms > 0 else kinds.CLOCK_BACK] += 1

    # --- faults -----------------------------------------------------------------------------------

    _armed = kinds.POWER_CUT

    def arm_disk(self) -> None:
        """Let the disk fail soon."""
        disk, soon = self.disk, self.draw.randrange(1, 12)
        kind = self.draw.choice(kinds.DISK_FAULTS)
        if self.is_calm or self._process is None:
            return
        if kind == kinds.POWER_CUT_AT_SYNC:
            disk.cut_at_sync = disk.syncs + soon
            self._armed = kind
        elif kind == kinds.POWER_CUT_AT_WRITE:
            disk.cut_at_write = disk.writes + soon * 3
            self._armed = kind
        elif kind == kinds.SYNC_FAILED:
            disk.fail_sync_at = disk.syncs + soon
        else:
            disk.full_at_write = disk.writes + soon * 3

    def is_read_failing(self) -> bool:
        is_failing = not self.is_calm and self.draw.random() < self.plan.read_fault_chance
        self.faults[kinds.READ_FAILED] += is_failing
        return is_failing

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self.is_calm = True
        self.disk.disarm()
        for receiver in self._receivers.values():
            receiver.heal()
