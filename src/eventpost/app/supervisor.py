"""Keeps an engine running on a store: opens it, and opens it anew after a commit failed.

A failed commit or sync is final for its group. The process does not retry it; it goes on from what
is on disk, and publishing answers 503 until then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from eventpost.core.errors import StoreError
from eventpost.core.interfaces import CommitFailed, Recovered, Store
from eventpost.grid.engine import Engine
from eventpost.grid.limits import GridLimits

REOPEN_WAIT_S = 0.5
REOPEN_WAIT_S_MAX = 10.0
DRAIN_LOOK_S = 0.01


class Supervisor:
    """Single owner of the store and the engine. All calls on the event loop's thread."""

    def __init__(
        self,
        store: Store,
        new_engine: Callable[[Store, Recovered, Callable[[CommitFailed], None]], Engine],
        log: Callable[..., None],
        *,
        drain_s: float = GridLimits().drain_s,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.store = store
        self._new_engine = new_engine
        self.on_reopened: Callable[[Engine], None] = lambda _: None
        self._log = log
        self._drain_s = drain_s
        self._sleep = sleep
        self.is_opening = False
        self._engine: Engine | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._is_closing = False
        self.failure: str | None = None
        """Why the store is not usable now; None while it is."""
        self.failures = 0

    @property
    def engine(self) -> Engine:
        assert self._engine is not None, "open() first"
        return self._engine

    async def open(self) -> Engine:
        """Open the store and start sending. Raises StoreError."""
        self.is_opening = True
        try:
            recovered = await asyncio.to_thread(self.store.open)
        finally:
            self.is_opening = False
        self._engine = self._new_engine(self.store, recovered, self._failed)
        self._engine.start()
        return self._engine

    def _failed(self, failure: CommitFailed) -> None:
        if self._is_closing:
            return
        self.failure = failure.reason
        self.failures += 1
        self._log(
            "store.failed",
            level=logging.ERROR,
            reason=failure.reason,
            is_full=failure.is_full,
        )
        self._reopening = asyncio.get_running_loop().create_task(self._reopen())

    async def _reopen(self) -> None:
        wait_s = REOPEN_WAIT_S
        while not self._is_closing:
            await self._sleep(wait_s)
            try:
                engine = await self.open()
            except StoreError as error:
                self.failure = str(error)
                self._log(
                    "store.reopen_failed", level=logging.ERROR, reason=str(error), wait_s=wait_s
                )
                wait_s = min(wait_s * 2, REOPEN_WAIT_S_MAX)
                continue
            self.failure = None
            self._log("store.reopened")
            self.on_reopened(engine)
            return

    async def close(self) -> None:
        """Commit what waits, stop sending, close the store."""
        self._is_closing = True
        if self._reopening is not None:
            if not self.is_opening:  # else the store is closed once it is open
                self._reopening.cancel()
            await asyncio.wait({self._reopening})
        engine = self._engine
        if engine is not None and not engine.is_stopped:
            await _drained(engine, self._drain_s)
            saved = asyncio.Event()
            engine.journal.wait(lambda _: saved.set())
            await saved.wait()
            engine.stop()
        await asyncio.to_thread(self.store.close)


async def _drained(engine: Engine, seconds_max: float) -> None:
    """Send nothing more and wait for what is out, so that a stop repeats as little as it can."""
    engine.drain()
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + seconds_max
    # Looked at only here, at the end: an event set by every outcome would cost the hot path.
    while engine.in_flight and not engine.is_stopped and loop.time() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(DRAIN_LOOK_S)
