"""What lies around the engine: where dead letters are written, and who looks on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from eventpost.core.interfaces import DeadLetterPlace, FileWritten
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.grid.engine import Watcher
from eventpost.grid.lane import Lane
from eventpost.testing.simulation import plan as kinds
from eventpost.testing.simulation.ledger import BrokenPromiseError

if TYPE_CHECKING:
    from eventpost.testing.simulation.world import World


class Onlooker(Watcher):
    """Nothing that a lane still needs is ever trimmed."""

    def events_lost(self, lane: Lane, first: int, end: int, count: int) -> None:
        name = lane.subscription.name
        raise BrokenPromiseError(
            f"{name}: positions {first} to {end} were trimmed, {count} pending"
        )


class Files:
    """Implements core.interfaces.DeadLetterFiles: keeps what was written, in memory."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.bodies: dict[str, bytes] = {}

    def write(
        self,
        place: DeadLetterPlace,
        path: str,
        body: bytes,
        done: Callable[[FileWritten | Failed], None],
    ) -> None:
        world = self._world
        process = world.process
        assert process is not None
        url = f"{place.address}/{path}"
        result: FileWritten | Failed = FileWritten(url=url)
        if not world.is_calm and world.draw.random() < world.plan.export_fault_chance:
            world.faults[kinds.EXPORT_FAILED] += 1
            result = Failed(Evidence(stage=Stage.WRITE, fault=Fault.UNEXPECTED))
        else:
            self.bodies[url] = body
        process.clock.call_later(world.draw.random() * 0.05, done, result)
