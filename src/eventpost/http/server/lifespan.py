"""Start and end of an ASGI application (the specification's lifespan part).

Layer: http.
"""

import asyncio
import logging
from typing import Any

from eventpost.http.server.handler import ASGIApp, Message

log = logging.getLogger("eventpost.http")


class LifespanFailed(Exception):
    """The application said that it could not start."""


class Lifespan:
    """Tells the application when serving begins and ends. One that does not care may raise."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._is_started = False
        self.state: dict[str, Any] = {}
        """What the application left there for its requests."""

    async def start(self) -> None:
        """Return when the application is ready. Raises LifespanFailed if it says it cannot be."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        answer = await self._ask("lifespan.startup")
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            await self._task
            raise LifespanFailed(answer.get("message", "") or "The application did not start.")
        self._is_started = answer is not None

    async def stop(self, timeout_s: float) -> None:
        """Return when the application has ended; after `timeout_s` it is cancelled."""
        if self._task is None:
            return
        task, self._task = self._task, None
        await self._to_app.put({"type": "lifespan.shutdown"})
        _, running = await asyncio.wait([task], timeout=timeout_s)
        if running:
            log.warning("http.lifespan_timed_out timeout_s=%s", timeout_s)
            task.cancel()
            await asyncio.wait([task])

    async def _ask(self, message_type: str) -> Message | None:
        """The application's answer; None when it ended without one."""
        await self._to_app.put({"type": message_type})
        return await self._from_app.get()

    async def _run(self) -> None:
        scope: Message = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._to_app.get, self._from_app.put)
        except Exception as error:
            if self._is_started:
                log.exception("http.lifespan_failed")
            else:
                # The specification: the application knows no lifespan.
                log.debug("http.lifespan_unsupported error=%s", type(error).__name__)
        finally:
            self._from_app.put_nowait(None)
