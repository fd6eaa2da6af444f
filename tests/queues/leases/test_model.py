"""The engine against a model, under every fault that a server and a network may have.

A machine sends, works, fails, kills and lets time pass as it likes. Whatever it does, every message
is worked on, none is given out while it is at work or after it is finished, and in the end nothing
is left: no slot, no pending settle, no message.
"""

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Message, Traits
from eventpost.queues.leases import Lease, LeaseLimits
from eventpost.queues.leases.commands import Command
from eventpost.queues.leases.lease import State
from eventpost.testing.clock import VirtualClock
from eventpost.testing.memory_queue import (
    BUSY,
    FORBIDDEN,
    HELD,
    LEASED,
    LOG,
    POLLED,
    RESET,
    MemoryServer,
    Mishap,
)
from tests.queues.leases.rig import NAME, Heard, Rig, check, rig_on

SMALL = {"message_bytes_max": 4_096, "receive_count_max": 4, "batch_count_max": 3}
HELD_WITH_IDS = dataclasses.replace(HELD, has_ids=True)
SYSTEMS = [
    dataclasses.replace(traits, **SMALL)  # type: ignore[arg-type]
    for traits in (LEASED, POLLED, HELD, HELD_WITH_IDS, LOG)
]
OPERATIONS = ("receive", "extend", "settle", "release")
DRAIN_S_MAX = 20_000.0


class Remembering(Heard):
    """Takes down released records of a log, as a worker does."""

    def __init__(self, ledger: set[str]) -> None:
        super().__init__()
        self.ledger = ledger

    def appended_anew(self, lease: Lease) -> None:
        self.ledger.add(lease.id)


class Machine(RuleBasedStateMachine):
    """One engine at a time over one queue, and what must be true of it."""

    operations: Sequence[str] = OPERATIONS
    latencies_s: Sequence[float] = (0.0, 0.01, 1.0, 70.0)

    @initialize(
        traits=st.sampled_from(SYSTEMS),
        ignores_old_receipts=st.booleans(),
        slots_max=st.integers(1, 12),
        quick_s=st.sampled_from([0.0, 0.25, 100.0]),
        pending_max=st.integers(1, 12),
        calls_max=st.integers(1, 3),
        seed=st.integers(0, 2**32),
    )
    def begin(
        self,
        traits: Traits,
        ignores_old_receipts: bool,
        slots_max: int,
        quick_s: float,
        pending_max: int,
        calls_max: int,
        seed: int,
    ) -> None:
        self.traits = traits
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.server = MemoryServer(
            traits,
            monotonic_s=self.clock.monotonic_s,
            ignores_old_receipts=ignores_old_receipts,
        ).create(NAME)
        self.limits = LeaseLimits(
            slots_max=slots_max,
            quick_s=quick_s,
            pending_max=pending_max,
            receive_calls_max=calls_max,
            settle_calls_max=calls_max,
            hold_s_max=2_000.0,
        )
        self.sender = self.server.queue(NAME)
        self.sent: list[bytes] = []
        self.ledger: set[str] = set()
        self.finished: Counter[bytes] = Counter()
        self.unsure: set[bytes] = set()
        """Records of a log whose release was under way when the process ended: there may be a copy
        beside them, and nobody can know."""
        self.running: list[Lease] = []
        self.rig = self.new_rig()

    def new_rig(self) -> Rig:
        return rig_on(
            self.clock,
            self.server,
            limits=self.limits,
            known=self.known,
            latency=self.latency,
            seed=self.random.randrange(2**32),
            heard=Remembering(self.ledger),
        )

    def known(self, ids: Sequence[str]) -> Collection[str]:
        return self.ledger.intersection(ids)

    def latency(self, _command: Command) -> tuple[float, float]:
        return self.random.choice(self.latencies_s), self.random.choice(self.latencies_s)

    @property
    def can_tell(self) -> bool:
        """Whether a redelivery is known as such. Where it is not, losing a connection repeats what
        is not settled: there the machine loses none."""
        return self.traits.has_ids

    # --- what happens -----------------------------------------------------------------------------

    @rule(count=st.integers(1, 8))
    def send(self, count: int) -> None:
        bodies = [str(len(self.sent) + number).encode() for number in range(count)]
        self.sent += bodies
        self.sender.send([Message(body=body, message_id=f"s-{body.decode()}") for body in bodies])

    @rule(seconds=st.sampled_from([0.0, 0.05, 1.0, 15.0, 61.0, 500.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(count=st.integers(1, 8))
    def take(self, count: int) -> None:
        at_work = {lease.message.body for lease in self.running}
        for lease in self.rig.leases.take_many(count):
            body = lease.message.body
            is_at_work = body in at_work and body not in self.unsure
            assert not is_at_work, "given out while it is at work"
            is_finished = body in self.finished and body not in self.unsure
            assert not is_finished, "given out after it was finished"
            self.running.append(lease)
            at_work.add(body)

    @rule(which=st.integers(0, 20))
    def finish(self, which: int) -> None:
        if self.running:
            lease = self.running.pop(which % len(self.running))
            self.finished[lease.message.body] += 1
            if lease.id:
                self.ledger.add(lease.id)
            self.rig.leases.finish(lease)

    @rule(which=st.integers(0, 20), delay_s=st.sampled_from([0.0, 5.0, 100.0]))
    def release(self, which: int, delay_s: float) -> None:
        if self.running:
            self.rig.leases.release(self.running.pop(which % len(self.running)), delay_s)

    @rule(
        which=st.integers(0, 3),
        failed=st.sampled_from([BUSY, RESET, FORBIDDEN]),
        is_after=st.booleans(),
        ids=st.none() | st.sets(st.integers(1, 20), max_size=10),
    )
    def fail(self, which: int, failed: Failed, is_after: bool, ids: set[int] | None) -> None:
        operation = self.operations[which % len(self.operations)]
        prefix = "m" if self.traits.lease_s_max else "s"
        entries = None if ids is None else {f"{prefix}-{number}" for number in ids}
        if operation == "receive" and not self.can_tell:
            is_after = False  # a lost connection
        if operation == "release" and self.traits.is_log:
            is_after = False  # what was appended anew cannot be told from what was not
        self.server.fail(operation, Mishap(failed=failed, is_after=is_after, ids=entries))

    @rule(which=st.integers(0, 3))
    def mend(self, which: int) -> None:
        self.server.mend(self.operations[which % len(self.operations)])

    @rule()
    def pause(self) -> None:
        self.rig.leases.pause()

    @rule()
    def resume(self) -> None:
        self.rig.leases.resume()

    @rule()
    def nudge(self) -> None:
        self.rig.leases.nudge()

    @rule()
    def kill(self) -> None:
        """The process is killed: its connection ends, its calls get no answer, another begins."""
        if self.can_tell:
            runner = self.rig.leases._runner
            assert runner is not None
            runner.stop()
            self.look_for_unsure()
            self.rig.leases.queue.close()
            self.running.clear()
            self.rig = self.new_rig()

    @rule(drain_s=st.sampled_from([0.0, 1.0, 100.0]))
    def restart(self, drain_s: float) -> None:
        """The process ends in order, and another begins."""
        if self.can_tell:
            self.rig.leases.begin_close()
            self.clock.advance(drain_s)
            self.look_for_unsure()
            left = self.rig.leases.end_close()
            assert left.running == len(self.running)
            check(self.rig.leases)
            self.running.clear()
            self.rig = self.new_rig()

    def look_for_unsure(self) -> None:
        book = self.rig.leases._book
        if book is not None and self.traits.is_log:
            pending = book.held.pending.values()
            releasing = [one for one in pending if one.state is State.RELEASING and one.is_busy]
            self.unsure |= {one.message.body for one in releasing}

    # --- what is true -----------------------------------------------------------------------------

    @invariant()
    def books_balance(self) -> None:
        if hasattr(self, "rig"):
            check(self.rig.leases)

    def teardown(self) -> None:
        """When all works again, everything is done, once, and nothing is left."""
        if not hasattr(self, "rig"):
            return
        for operation in OPERATIONS:
            self.server.mend(operation)
        self.latencies_s = (0.0, 0.01)
        self.rig.leases.resume()
        end_s = self.clock.monotonic_s() + DRAIN_S_MAX
        while self.server.message_count(NAME) or self.rig.leases.stats().held:
            assert self.clock.monotonic_s() < end_s, self.rig.leases.stats()
            self.clock.advance(10.0)
            self.take(100)
            while self.running:
                self.finish(0)

        assert set(self.finished) == set(self.sent), "every message was worked on"
        twice = {body for body, count in self.finished.items() if count > 1}
        assert twice <= self.unsure, "and none was finished twice"
        stats = self.rig.stats()
        assert (stats.slots_used, stats.pending_settles, stats.pending_releases) == (0, 0, 0)


class SettlesFail(Machine):
    """Only settles fail; nothing is slower than a lease, and nobody is killed or paused."""

    operations = ("settle",)
    latencies_s = (0.0, 0.01, 1.0)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "rig"):
            stats = self.rig.stats()
            assert stats.lost_running == stats.lost_unstarted == 0


def explore(machine: type[Machine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_everything_fails() -> None:
    """Under every fault each message is worked on at least once, none is given out at work or when
    finished, no slot leaks, and all that is pending drains when the faults are over."""
    explore(Machine, examples=250, steps=50)


@pytest.mark.slow
def test_settles_fail() -> None:
    """While only settles fail, each message is given out exactly once, and no lease is lost."""
    explore(SettlesFail, examples=120, steps=50)
