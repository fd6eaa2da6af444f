"""An event loop in a thread of its own, for plain synchronous tests."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
ANSWER_S_MAX = 120.0


class BackgroundLoop:
    """Runs from when it is made until `close`. Its methods are for other threads."""

    def __init__(self, name: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop = new_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(ANSWER_S_MAX)

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """What the function returns or raises, called in one turn of the loop."""

        async def turn() -> T:
            return function(*arguments)

        return self.run(turn())

    def close(self) -> None:
        """End whatever still runs on it, and the thread. Idempotent."""
        if self.loop.is_closed():
            return
        self.run(_cancel_others())
        self.run(self.loop.shutdown_asyncgens())
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
