"""Whoever wants the same at the same time shares one attempt, and its failure.

Layer: queues, on the loop's thread. Else ten callers would wait for ten timeouts in a row.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Attempt(Generic[Result]):
    """One attempt at a time at some work."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> None:
        self._work = work
        self._task: asyncio.Task[Result] | None = None

    async def result(self) -> Result:
        """What the attempt that is under way comes to, or a new one. Raises what it raises."""
        if self._task is None:
            self._task = asyncio.create_task(self._work())
            self._task.add_done_callback(self._over)
        return await asyncio.shield(self._task)

    async def cancel(self) -> None:
        """End the attempt that is under way; whoever waits for it is cancelled, too."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _over(self, task: asyncio.Task[Result]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # whoever waited has seen it
