"""Where sources hand over: into whichever grid runs at the moment."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from eventpost.core.errors import Overloaded
from eventpost.core.events import Event
from eventpost.core.interfaces import DeadLetter, ReadFailed, Taken
from eventpost.core.retry import Reason
from eventpost.core.sources import Poison, Source
from eventpost.grid.engine import Haul

if TYPE_CHECKING:
    from eventpost.app.application import App
    from eventpost.grid.engine import Engine

OUTCOMES = {"EP4011": "PayloadTooLarge"}
"""`lastDeliveryOutcome` of a message, by its finding, where Event Grid has a word for it."""
OUTCOME = "GenericError"


class GridIntake:
    """Implements `core.interfaces.Intake`."""

    def __init__(self, app: "App") -> None:
        self._app = app

    def take(
        self,
        source: Source,
        events: list[Event],
        poison: list[Poison],
        taken: Taken,
        done: Callable[[Overloaded | None], None],
    ) -> None:
        grid = self._app.grid
        if source.id not in grid.sources:
            raise Overloaded("SourceNotFound", f"The source {source.name!r} was deleted.")
        haul = Haul(
            topic_id=source.topic_id,
            source=source.name,
            events=events,
            letters=[_letter(grid, source, each) for each in poison],
            taken=taken,
        )
        grid.take(haul, done)

    def taken(
        self, queue: int, ids: list[str], done: Callable[[set[str] | ReadFailed], None]
    ) -> None:
        grid = self._app.grid
        if grid.is_stopped:
            grid.clock.call_soon(done, ReadFailed("The store is being opened anew."))
        else:
            grid.store.taken(queue, ids, done)

    def forget(self, taken: Taken) -> None:
        if not self._app.grid.is_stopped:
            self._app.grid.journal.forget(taken)


def _letter(grid: "Engine", source: Source, poison: Poison) -> DeadLetter:
    now_ms = grid.clock.now_ms()
    original = poison.original
    return DeadLetter(
        id=grid.dead_letters.new_id(),
        topic_id=source.topic_id,
        subscription_id=0,
        source_id=source.id,
        original=original,
        partition=0,
        position=-1,
        event_id=original.message_id,
        event_type="",
        subject=source.queue,
        wire=poison.body,
        published_ms=original.sent_ms,
        dead_ms=now_ms,
        last_attempt_ms=now_ms,
        attempts=original.receive_count,
        reason=Reason.POISON,
        outcome=OUTCOMES.get(poison.finding, OUTCOME),
        finding=poison.finding,
        evidence=poison.evidence,
    )
