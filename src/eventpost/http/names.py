"""Names to addresses: the system's resolver on a few threads, each name asked once at a time.

Layer: http.
"""

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

LOOKUPS_MAX = 16
"""Lookups at once. One that hangs in the C library holds its thread until the library gives up."""
CACHE_NAMES_MAX = 1_024
FOUND_S = 5.0
"""How long an answer is used again. Short: a moved receiver must be found at the next retry."""
FAILED_S = 1.0

Lookup = Callable[[str], list[str]]


def system_lookup(name: str) -> list[str]:
    """All stream addresses of `name` in the order to try them. Raises socket.gaierror."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class Resolver:
    """Looks names up without blocking the loop. All calls on the loop's thread.

    Not the loop's own `getaddrinfo`: uvloop runs two of those at once for the whole process, so one
    dead name server would hold up every other name, and asyncio's executor is joined at exit.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        lookup: Lookup = system_lookup,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._lookup = lookup
        self._now_s = now_s
        self._cache: dict[str, tuple[float, list[str] | Exception]] = {}
        self._waiting: dict[str, list[asyncio.Future[list[str]]]] = {}
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread_count = 0
        self._is_closed = False

    async def resolve(self, name: str) -> list[str]:
        """The addresses of `name`, at least one. Raises what the lookup raised (OSError)."""
        cached = self._cache.get(name)
        if cached is not None and self._now_s() < cached[0]:
            if isinstance(cached[1], Exception):
                raise cached[1]
            return cached[1]
        future: asyncio.Future[list[str]] = self._loop.create_future()
        waiting = self._waiting.get(name)
        if waiting is None:
            self._waiting[name] = [future]
            self._ask(name)
        else:
            waiting.append(future)
        return await future

    def close(self) -> None:
        """Let the threads end; lookups under way are never answered. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            for _ in range(self._thread_count):
                self._queue.put(None)

    def _ask(self, name: str) -> None:
        self._queue.put(name)
        if self._thread_count < min(LOOKUPS_MAX, len(self._waiting)):
            self._thread_count += 1
            # A daemon, so that a lookup that hangs does not keep the process from ending.
            threading.Thread(target=self._work, name="eventpost-names", daemon=True).start()

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            result: list[str] | Exception
            try:
                result = self._lookup(name) or socket.gaierror(
                    socket.EAI_NONAME, "no address for this name"
                )
            except (OSError, UnicodeError) as error:
                result = error
            try:
                self._loop.call_soon_threadsafe(self._answered, name, result)
            except RuntimeError:  # the loop is closed
                return

    def _answered(self, name: str, result: list[str] | Exception) -> None:
        is_found = isinstance(result, list)
        if len(self._cache) >= CACHE_NAMES_MAX:
            self._cache.clear()
        self._cache[name] = (self._now_s() + (FOUND_S if is_found else FAILED_S), result)
        for future in self._waiting.pop(name, ()):
            if not future.done():
                _settle(future, result)


def _settle(future: asyncio.Future[Any], result: list[str] | Exception) -> None:
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
