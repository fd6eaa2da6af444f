"""One process of the grid on the simulated machine, from its start to its end."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from eventpost.core.interfaces import Commit, CommitFailed, Committed, Recovered
from eventpost.grid.engine import Engine, Surroundings
from eventpost.stores.sqlite.settings import SqliteSettings
from eventpost.stores.sqlite.store import SqliteStore
from eventpost.testing.simulation.executor import ProcessClock, TimedExecutor
from eventpost.testing.simulation.ledger import BrokenPromiseError, Ledger
from eventpost.testing.simulation.wire import Attempts

if TYPE_CHECKING:
    from eventpost.testing.simulation.world import World

T = TypeVar("T")


class ObservedStore(SqliteStore):
    """Enters into the ledger what is committed, before anybody is answered."""

    def __init__(
        self,
        ledger: Ledger,
        directory: Path,
        clock: ProcessClock,
        settings: SqliteSettings,
        *,
        executor: TimedExecutor,
        vfs: str,
    ) -> None:
        super().__init__(directory, clock, settings, executor=executor, vfs=vfs)
        self._ledger = ledger

    def commit(self, commit: Commit, done: Callable[[Committed | CommitFailed], None]) -> None:
        def observed(result: Committed | CommitFailed) -> None:
            if isinstance(result, Committed):
                for append, first in zip(commit.appends, result.firsts, strict=True):
                    for offset, event in enumerate(append.events):
                        self._ledger.seen(append.topic_id, first + offset, event)
            done(result)

        super().commit(commit, observed)


class Process:
    """One process of the grid, from its start to its end."""

    def __init__(self, world: "World") -> None:
        self.clock = ProcessClock(world.clock, world.clock_offset_ms)
        self.executor = TimedExecutor(
            self.clock,
            world.draw,
            after_work=world.look_at_power,
            read_fault=world.is_read_failing,
        )
        self.store = ObservedStore(
            world.ledger,
            world.directory / "data",
            self.clock,
            world.plan.store,
            executor=self.executor,
            vfs=world.disk.name,
        )
        self.attempts: dict[int, Attempts] = {}
        """By subscription id."""
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        assert self._engine is not None
        return self._engine

    @property
    def is_serving(self) -> bool:
        return self._engine is not None and not self._engine.is_stopped

    def begin(self, surroundings: Surroundings, recovered: Recovered) -> Engine:
        self.attempts.clear()
        self._engine = Engine(surroundings, recovered)
        return self._engine

    def ask(self, question: Callable[..., object], *arguments: object, kind: type[T]) -> T:
        """What the store holds at this instant."""
        answers: list[object] = []
        with self.executor.at_once():
            question(*arguments, answers.append)
        (answer,) = answers
        if not isinstance(answer, kind):
            raise BrokenPromiseError(f"the store answered {answer}")
        return answer
