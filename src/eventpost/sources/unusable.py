"""In the place of a source that cannot be made: it pulls nothing, and says why.

Layer: sources. It was accepted once; since then a package was removed.
"""

from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.sources import Source, SourceFailure, SourceReport, SourceState
from eventpost.core.subscriptions import Topic
from eventpost.http.failures import bounded
from eventpost.sources.kinds import Services
from eventpost.sources.telling import OPEN, Telling


class UnusableSource:
    """Implements `core.interfaces.Puller`."""

    def __init__(
        self, topic: Topic, source: Source, error: EventpostError, services: Services
    ) -> None:
        self._source = source
        self._topic = topic.name
        self._is_paused = source.is_paused
        self._telling = Telling(source, topic.name, services)
        self._evidence = Evidence(
            stage=Stage.SETTINGS, fault=Fault.MALFORMED, operation=OPEN, detail=bounded(str(error))
        )

    def start(self) -> None:
        self._telling.fails(OPEN, self._evidence, 0.0)

    def pause(self, *, is_paused: bool) -> None:
        self._is_paused = is_paused

    def begin_close(self) -> None:
        return

    def end_close(self, drain_s: float) -> None:
        return

    def report(self) -> SourceReport:
        failures: tuple[SourceFailure, ...] = self._telling.current({})
        return SourceReport(
            source=self._source.name,
            topic=self._topic,
            state=SourceState.PAUSED if self._is_paused else SourceState.FAILING,
            failures=failures,
            is_paused=self._is_paused,
        )
