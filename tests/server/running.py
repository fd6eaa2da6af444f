"""A real server on a real socket in its own thread, for tests that speak HTTP to it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from eventpost.http.server.server import HttpServer
from eventpost.server import api
from eventpost.server.data_plane import DataPlane
from eventpost.server.limits import ApiLimits
from eventpost.server.ports import AppPort

T = TypeVar("T")


class Served:
    """Where the server is, and a way to run something on its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self.loop = loop
        self.url = url

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)


@contextmanager
def served(make_app: Callable[[], AppPort], limits: ApiLimits | None = None) -> Iterator[Served]:
    """Serve the application that `make_app` builds on the loop's thread, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[HttpServer, str]:
        app = make_app()
        server = HttpServer(loop, DataPlane(app), api.build(app, limits))
        await server.start("127.0.0.1", 0)
        app.public_url = f"http://127.0.0.1:{server.port}"
        return server, app.public_url

    server, url = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield Served(loop, url)
    finally:
        asyncio.run_coroutine_threadsafe(server.drain(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
