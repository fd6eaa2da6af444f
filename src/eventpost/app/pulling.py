"""Runs the sources that are declared: starts, exchanges, pauses and stops them."""

import asyncio
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from eventpost.app.intake import GridIntake
from eventpost.core.errors import EventpostError
from eventpost.core.interfaces import Puller
from eventpost.core.sources import Source, SourceFailure, SourceReport
from eventpost.core.subscriptions import Topic
from eventpost.diagnosis.classify import classify
from eventpost.sources.kinds import Opener, Services, new_source
from eventpost.sources.unusable import UnusableSource
from eventpost.telemetry.logs import log

if TYPE_CHECKING:
    from eventpost.app.application import App

THREADS_MAX = 64
"""Sources that are opened or stopped at the same time; a thread is there only while it has work."""


@dataclass(slots=True, eq=False)
class _Run:
    source: Source
    puller: Puller
    is_closing: bool = False


class Pulling:
    """All calls on the event loop's thread."""

    def __init__(self, app: "App", opener: Opener) -> None:
        self._app = app
        self._opener = opener
        self._threads = ThreadPoolExecutor(THREADS_MAX, "eventpost-source")
        self._runs: dict[int, _Run] = {}
        """By source id."""
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closing = False

    @cached_property
    def services(self) -> Services:
        """What sources are lent; leases run by the system's clock, whatever the grid's is."""
        settings = self._app.settings
        return Services(
            intake=GridIntake(self._app),
            opener=self._opener,
            clock=self._app.grid.clock,
            monotonic_s=time.monotonic,
            executor=self._threads,
            new_event_id=lambda: str(uuid.uuid4()),
            topic_resource=self._app.topic_resource,
            classify=classify,
            log=log,
            limits=settings.sources,
            leases=settings.leases,
        )

    def sync(self) -> None:
        """Run what is declared, and nothing else. A source whose declaration changed is stopped,
        and started again once it has settled what it took."""
        if self._is_closing:
            return
        declared = self._app.grid.sources
        for source_id, run in list(self._runs.items()):
            source = declared.get(source_id)
            if source is None or not _is_same(source, run.source):
                self._end(source_id, run)
            elif source.is_paused != run.source.is_paused:
                run.source = source
                run.puller.pause(is_paused=source.is_paused)
        for source in declared.values():
            if source.id not in self._runs:
                self._begin(source)

    def connection_changed(self, name: str) -> None:
        """What uses it goes on over a new one."""
        for source_id, run in list(self._runs.items()):
            if run.source.connection == name:
                self._end(source_id, run)

    def report(self, source: Source) -> SourceReport:
        """How a source is; one that is being exchanged is starting."""
        run = self._runs.get(source.id)
        topic = self._app.grid.topics[source.topic_id].name
        if run is None:
            found = SourceReport(source=source.name, topic=topic, is_paused=source.is_paused)
        else:
            found = run.puller.report()
        dead = self._app.grid.dead_letters.source_counts.get(source.id, 0)
        return msgspec.structs.replace(found, dead_letters=dead)

    async def close(self) -> None:
        """Receive no more, and settle what was taken, within the bound."""
        self._is_closing = True
        for source_id, run in list(self._runs.items()):
            self._end(source_id, run)
        while self._ending:
            await asyncio.wait(self._ending)
        self._threads.shutdown(wait=False)

    # --- one source -------------------------------------------------------------------------------

    def _begin(self, source: Source) -> None:
        topic = self._app.grid.topics[source.topic_id]
        run = self._runs[source.id] = _Run(source, self._new_puller(topic, source))
        run.puller.start()

    def _new_puller(self, topic: Topic, source: Source) -> Puller:
        try:
            return new_source(topic, source, self.services)
        except EventpostError as error:
            return UnusableSource(topic, source, error, self.services)

    def _end(self, source_id: int, run: _Run) -> None:
        if run.is_closing:
            return
        run.is_closing = True
        run.puller.begin_close()
        task = asyncio.get_running_loop().create_task(self._ended(source_id, run))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _ended(self, source_id: int, run: _Run) -> None:
        drain_s = self.services.limits.drain_s
        await asyncio.get_running_loop().run_in_executor(
            self._threads, run.puller.end_close, drain_s
        )
        await asyncio.sleep(0)  # what it said with its last breath
        del self._runs[source_id]
        self.sync()


def _is_same(one: Source, other: Source) -> bool:
    """But for whether it is paused."""
    return msgspec.structs.replace(one, is_paused=False) == msgspec.structs.replace(
        other, is_paused=False
    )


def told(failures: Iterable[SourceFailure]) -> str:
    """What is wrong with a source, on one line; "" when nothing is."""
    return "; ".join(
        f"{each.operation}: {each.finding} {each.evidence.detail}" for each in failures
    )
