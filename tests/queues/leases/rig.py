"""A lease engine over the queue server in memory, both on a clock in the test's hand."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Message, Traits
from eventpost.queues.leases import Lease, LeaseLimits, Leases, Listener, LostReason, Stats
from eventpost.queues.leases.lease import State
from eventpost.testing.clock import VirtualClock
from eventpost.testing.lease_steps import Latency, StepRunner, no_latency
from eventpost.testing.memory_queue import LEASED, MemoryServer

SEED = 20260101
NAME = "songs"


class Heard(Listener):
    """Remembers what was told, as (name, arguments)."""

    def __init__(self) -> None:
        self.all: list[tuple[str, tuple[Any, ...]]] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.all if name not in ("received", "settled")]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for heard, arguments in self.all if heard == name]

    def received(self, count: int) -> None:
        self.all.append(("received", (count,)))

    def redelivered_finished(self, lease: Lease) -> None:
        self.all.append(("redelivered_finished", (lease,)))

    def lease_lost(self, lease: Lease, reason: LostReason) -> None:
        self.all.append(("lease_lost", (lease, reason)))

    def lease_regained(self, lease: Lease) -> None:
        self.all.append(("lease_regained", (lease,)))

    def receive_failed(self, failed: Failed, count: int, delay_s: float) -> None:
        self.all.append(("receive_failed", (failed, count, delay_s)))

    def receive_recovered(self, outage_s: float) -> None:
        self.all.append(("receive_recovered", (outage_s,)))

    def extend_failed(self, failed: Failed, count: int) -> None:
        self.all.append(("extend_failed", (failed, count)))

    def extend_forbidden(self, failed: Failed, lease_s: float) -> None:
        self.all.append(("extend_forbidden", (failed, lease_s)))

    def extend_allowed(self) -> None:
        self.all.append(("extend_allowed", ()))

    def settled(self, leases: Sequence[Lease]) -> None:
        self.all += [("settled", (lease,)) for lease in leases]

    def settle_failed(self, failed: Failed, count: int, pending_count: int) -> None:
        self.all.append(("settle_failed", (failed, count, pending_count)))

    def settle_recovered(self, outage_s: float, pending_count: int) -> None:
        self.all.append(("settle_recovered", (outage_s, pending_count)))

    def settle_abandoned(self, lease: Lease) -> None:
        self.all.append(("settle_abandoned", (lease,)))

    def appended_anew(self, lease: Lease) -> None:
        self.all.append(("appended_anew", (lease,)))

    def release_failed(self, failed: Failed, count: int) -> None:
        self.all.append(("release_failed", (failed, count)))


@dataclass
class Rig:
    """Everything that a test of the engine needs."""

    clock: VirtualClock
    server: MemoryServer
    leases: Leases
    heard: Heard

    def send(self, *bodies: str, delay_s: float = 0.0) -> None:
        messages = [Message(body=body.encode(), delay_s=delay_s) for body in bodies]
        for outcome in self.server.queue(NAME).send(messages):
            assert not isinstance(outcome, Failed)

    def take(self, count_max: int = 1_000) -> list[Lease]:
        self.clock.advance(0.0)
        return self.leases.take_many(count_max)

    def take_one(self) -> Lease:
        [lease] = self.take()
        return lease

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @property
    def stored_count(self) -> int:
        return self.server.message_count(NAME)

    def stats(self) -> Stats:
        """The books, which must balance."""
        stats = self.leases.stats()
        check(self.leases)
        return stats


def new_rig(
    traits: Traits = LEASED,
    *,
    limits: LeaseLimits | None = None,
    known: Callable[[Sequence[str]], Collection[str]] = lambda _: (),
    latency: Latency = no_latency,
    on_ready: Callable[[], None] | None = None,
    seed: int = SEED,
    ignores_old_receipts: bool = False,
    is_started: bool = True,
) -> Rig:
    clock = VirtualClock()
    server = MemoryServer(
        traits, monotonic_s=clock.monotonic_s, ignores_old_receipts=ignores_old_receipts
    ).create(NAME)
    return rig_on(
        clock,
        server,
        limits=limits,
        known=known,
        latency=latency,
        on_ready=on_ready,
        seed=seed,
        is_started=is_started,
    )


def rig_on(
    clock: VirtualClock,
    server: MemoryServer,
    *,
    limits: LeaseLimits | None = None,
    known: Callable[[Sequence[str]], Collection[str]] = lambda _: (),
    latency: Latency = no_latency,
    on_ready: Callable[[], None] | None = None,
    seed: int = SEED,
    heard: Heard | None = None,
    is_started: bool = True,
) -> Rig:
    """Another engine, as of another process, on the same server."""
    heard = heard or Heard()
    leases = Leases(
        lambda: server.queue(NAME),
        limits=limits,
        known=known,
        listener=heard,
        on_ready=on_ready,
        monotonic_s=clock.monotonic_s,
        random=Random(seed),
        new_runner=lambda engine: StepRunner(engine, clock, latency=latency),
    )
    if is_started:
        leases.start()
    return Rig(clock, server, leases, heard)


def check(leases: Leases) -> None:
    """What holds at every moment: the books balance, and no slot is held for nothing."""
    stats = leases.stats()
    ended = stats.settled + stats.released + stats.lost + stats.replaced + stats.abandoned
    assert stats.received == ended + stats.left + stats.held, stats
    book = leases._book
    if book is None:
        return
    held, limits = book.held, book.limits
    by_state = {
        state: {k for k, one in held.leases.items() if one.state is state} for state in State
    }
    assert not by_state[State.OVER]
    assert held.slots == by_state[State.BUFFERED] | by_state[State.RUNNING] | by_state[State.TWIN]
    assert set(held.pending) == by_state[State.FINISHED] | by_state[State.RELEASING]
    assert {one.key for one in held.buffer} == by_state[State.BUFFERED]
    assert held.held_bytes == sum(one.bytes for one in held.leases.values())
    more = book.traits.receive_count_max if limits.quick_s else 0
    assert len(held.slots) + book.receiving.asked_count <= limits.slots_max + more
    for one in held.leases.values():
        waits = (one in held.settling) + (one in held.releasing)
        assert waits == (one.is_pending and not one.is_busy), one
        assert not (one.state is State.FINISHED and not one.is_busy and one.held.body)
    assert not held.tally.listener_errors
