"""One run: act, break, recover, calm down, drain, and hold everything against the ledger."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eventpost.testing.simulation import plan as kinds
from eventpost.testing.simulation.books import require
from eventpost.testing.simulation.consumers import GAP_S as CONSUMERS_GAP_S
from eventpost.testing.simulation.consumers import Consumers
from eventpost.testing.simulation.ledger import BrokenPromiseError
from eventpost.testing.simulation.plan import Plan
from eventpost.testing.simulation.process import Process
from eventpost.testing.simulation.quiet import check_duplicates, check_quiet, is_quiet, unquiet
from eventpost.testing.simulation.recovered import check_recovered
from eventpost.testing.simulation.running import check_running
from eventpost.testing.simulation.workload import Workload
from eventpost.testing.simulation.world import World

CHECK_GAP_S = 0.2
DRAIN_STEP_S = 10.0
DRAIN_STEPS_MAX = 1_000
"""Almost three hours: every schedule has ended by then."""
RUN_S_MAX = 24 * 3_600.0


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did."""

    seed: int
    events: int
    acknowledged: int
    taken: int
    """Events that receivers took, repeated ones included."""
    duplicates: int
    duplicates_max: int
    ends: int
    virtual_s: float
    faults: Counter[str]

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        return (
            f"seed {self.seed}: {self.events} events, {self.acknowledged} acknowledged, "
            f"{self.taken} taken, {self.duplicates} duplicates (at most {self.duplicates_max}), "
            f"{self.ends} ends, {self.virtual_s:.0f} virtual s; {faults}"
        )


def simulate(plan: Plan, directory: Path) -> Report:
    """Carry the plan out in an empty directory. Raises BrokenPromiseError; nothing stays open."""
    world = World(plan, directory)
    try:
        return _Run(world).report()
    except BrokenPromiseError as broken:
        raise BrokenPromiseError(f"seed {plan.seed}: {broken}") from broken
    except Exception as error:
        raise BrokenPromiseError(f"seed {plan.seed}: {type(error).__name__}: {error}") from error
    finally:
        world.close()


class _Run:
    """All of one run. Everything happens in timers of the world's clock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._workload = Workload(world)
        self._consumers = Consumers(world)
        world.on_started = lambda process, recovered: check_recovered(world, process, recovered)

    def report(self) -> Report:
        world = self._world
        self._live()
        books = self._drain()
        self._check_restart(books)
        entries = world.ledger.by_id.values()
        return Report(
            seed=world.plan.seed,
            events=world.ledger.handed_over,
            acknowledged=sum(entry.is_acknowledged for entry in entries),
            taken=world.taken,
            duplicates=sum(account.duplicates() for account in world.ledger.accounts.values()),
            duplicates_max=world.duplicates_max,
            ends=world.ends,
            virtual_s=world.clock.monotonic_s() - world.started_s,
            faults=+world.faults,
        )

    # --- living -----------------------------------------------------------------------------------

    def _live(self) -> None:
        """Until everything is published."""
        world, plan = self._world, self._world.plan
        world.boot()
        self._again(plan.action_gap_s, self._workload.act)
        self._again(plan.end_gap_s, self._end)
        self._again(plan.disk_fault_gap_s, world.arm_disk)
        self._again(plan.mood_gap_s, self._change_mood)
        self._again(CHECK_GAP_S, self._check)
        self._consume()
        until_s = world.clock.monotonic_s() + RUN_S_MAX
        while not self._workload.is_done and world.clock.monotonic_s() < until_s:
            world.clock.step()

    def _again(self, gap_s: float, action: Callable[[], None]) -> None:
        """Do it again and again, at random times, until the calm."""

        def act() -> None:
            if not self._world.is_calm:
                action()
                self._again(gap_s, action)

        self._world.clock.call_later(self._world.draw.expovariate(1 / gap_s), act)

    def _consume(self) -> None:
        """Consumers come for events as long as there is somebody to ask, in the calm too."""
        self._consumers.act()
        gap_s = self._world.draw.expovariate(1 / CONSUMERS_GAP_S)
        self._world.clock.call_later(gap_s, self._consume)

    def _end(self) -> None:
        kind = self._world.draw.choice(kinds.ENDS)
        if kind == kinds.STOPPED:
            self._world.stop()
        else:
            self._world.end(kind)

    def _change_mood(self) -> None:
        receivers = self._world.receivers()
        if receivers:
            self._world.draw.choice(receivers).change_mood()

    def _check(self) -> None:
        process = self._world.process
        if process is not None:
            check_running(self._world, process)

    # --- the end ----------------------------------------------------------------------------------

    def _drain(self) -> "Books":
        """Without faults everything settles; the books are balanced then."""
        world = self._world
        world.calm()
        set_back_s = (world.clock_ahead_ms_max - world.clock_offset_ms) / 1_000
        for _ in range(DRAIN_STEPS_MAX + round(set_back_s / DRAIN_STEP_S)):
            world.clock.advance(DRAIN_STEP_S)
            process = world.process
            if process is None:
                continue
            self._workload.finish(process)
            check_duplicates(world)  # a grid that never rests keeps sending
            if not is_quiet(process):
                continue
            # What has just settled may be on its way to the disk, and begin something there.
            world.clock.advance(DRAIN_STEP_S)
            if is_quiet(process):
                check_quiet(world, process)
                return books(process)
        assert world.process is not None
        raise BrokenPromiseError(f"does not come to rest: {unquiet(world.process)}")

    def _check_restart(self, before: "Books") -> None:
        """The books are the same after a restart."""
        world = self._world
        world.stop()
        world.clock.advance(DRAIN_STEP_S)
        process = world.process
        assert process is not None
        after = books(process)
        require(after == before, f"books before a restart {before}, after it {after}")
        check_quiet(world, process)
        damage: list[object] = []
        process.store.verify(damage.append)
        world.clock.advance(DRAIN_STEP_S)
        require(damage == [[]], f"damaged: {damage}")


Books = dict[int, list[object]]


def books(process: Process) -> Books:
    """The tallies by subscription id."""
    engine = process.engine
    return {
        subscription_id: lane.total().packed()
        for subscription_id in engine.subscriptions
        for lane in engine.lanes_of(subscription_id)
    }
