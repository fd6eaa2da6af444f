"""The HTTP server: listeners, lifespan, the sweep over all connections, and draining.

Layer: http.
"""

import asyncio
import logging
import socket
import ssl
from functools import partial
from typing import Any

from eventpost.http.server.connection import Connection
from eventpost.http.server.handler import ASGIApp, FastHandler
from eventpost.http.server.lifespan import Lifespan
from eventpost.http.server.limits import HttpLimits, connections_max
from eventpost.http.server.listener import Listener, bind
from eventpost.http.server.phases import limits_by_phase
from eventpost.http.server.shared import Endpoints, Shared

log = logging.getLogger("eventpost.http")


class HttpServer:
    """HTTP/1.1 for a fast handler and an ASGI application behind the same listeners.

    All calls on the loop's thread. Works on uvloop and on plain asyncio.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fast: FastHandler,
        asgi: ASGIApp,
        limits: HttpLimits | None = None,
    ) -> None:
        self._loop = loop
        self._limits = limits or HttpLimits()
        self._connections_max = connections_max(self._limits)
        self._shared = Shared(loop, fast, asgi, self._limits, self._connection_closed)
        self._lifespan: Lifespan | None = None
        self._listeners: list[Listener] = []
        self._renewed: ssl.SSLContext | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._all_gone: asyncio.Event = asyncio.Event()

    # --- serving ---------------------------------------------------------------------------------

    async def start(self, host: str, port: int, ssl_context: ssl.SSLContext | None = None) -> None:
        """Listen on `host` and `port` (0 takes a free one), with TLS when there is a context.

        Connections are accepted once the ASGI application has started. May be called again for
        another address. Raises OSError when it cannot listen there, and LifespanFailed when the
        application cannot start; then nothing listens.
        """
        sockets = await self._bound(host, port)
        try:
            await self._begin()
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        for sock in sockets:
            accepted = partial(self._open, ssl_context)
            listener = Listener(self._loop, sock, accepted, self._limits.accept_pause_s)
            self._listeners.append(listener)
            listener.resume()

    def renew(self, ssl_context: ssl.SSLContext) -> None:
        """Use this context for connections to come on every listener that has TLS. Those that are
        open go on with what they began with."""
        self._renewed = ssl_context

    async def _bound(self, host: str, port: int) -> list[socket.socket]:
        found = await self._loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
        return bind(addresses, self._limits.backlog)

    async def _begin(self) -> None:
        """What is done once, however many listeners there are."""
        if self._lifespan is None:
            self._lifespan = Lifespan(self._shared.app)
            await self._lifespan.start()
            self._shared.state = self._lifespan.state
            self._sweep_later()

    @property
    def port(self) -> int:
        """Of the first listener."""
        return self._listeners[0].port

    @property
    def connection_count(self) -> int:
        """Open connections, those in their TLS handshake included."""
        return len(self._shared.connections) + len(self._opening)

    async def drain(self) -> None:
        """Stop: accept nothing more, finish the requests under way, close what is idle.

        Returns when all connections are gone, after `drain_timeout_s` at the latest; what is left
        then is dropped. Then the ASGI application ends. May be called again.
        """
        self._shared.is_draining = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._shared.connections):
            connection.drain()
        try:
            async with asyncio.timeout(self._limits.drain_timeout_s):
                while self.connection_count or self._shared.tasks:
                    self._all_gone.clear()
                    await self._all_gone.wait()
        except TimeoutError:
            log.warning("http.drain_timed_out connections=%d", self.connection_count)
            await self._drop_all()
        self.pause_sweeps()
        if self._lifespan is not None:
            await self._lifespan.stop(self._limits.drain_timeout_s)

    async def _drop_all(self) -> None:
        for connection in list(self._shared.connections):
            connection.abort()
        left = [*self._opening, *self._shared.tasks]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # --- connections -----------------------------------------------------------------------------

    def _open(self, ssl_context: ssl.SSLContext | None, sock: socket.socket, address: Any) -> None:
        task = self._loop.create_task(self._connect(ssl_context, sock, address))
        self._opening.add(task)
        task.add_done_callback(self._opened)
        if self.connection_count >= self._connections_max:
            for listener in self._listeners:
                listener.pause()

    async def _connect(
        self, ssl_context: ssl.SSLContext | None, sock: socket.socket, address: Any
    ) -> None:
        """Give an accepted socket its transport. A failed TLS handshake is the client's trouble."""
        is_tls = ssl_context is not None
        if is_tls:
            ssl_context = self._renewed or ssl_context
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            endpoints = Endpoints(address[:2], sock.getsockname()[:2], is_tls)
        except OSError:
            sock.close()  # it was reset while it waited
            return
        try:
            await self._loop.connect_accepted_socket(
                partial(Connection, self._shared, endpoints),
                sock,
                ssl=ssl_context,
                ssl_handshake_timeout=self._limits.head_s if is_tls else None,
                ssl_shutdown_timeout=self._limits.linger_s if is_tls else None,
            )
        except OSError as error:
            log.debug("http.connection_failed peer=%s error=%s", address[0], type(error).__name__)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("http.accept_failed", exc_info=error)
        self._connection_closed()

    def _connection_closed(self) -> None:
        if self._shared.is_draining:
            self._all_gone.set()
        elif self.connection_count < self._connections_max:
            for listener in self._listeners:
                listener.resume()

    # --- the sweep -------------------------------------------------------------------------------

    def sweep(self, now_s: float) -> None:
        """Look at every connection once, and end what has waited too long. `now_s` is the loop's
        time. Called by a timer of its own."""
        is_full = self.connection_count >= self._connections_max
        limit_s = limits_by_phase(self._limits, is_full=is_full)
        for connection in list(self._shared.connections):
            phase, progress = connection.phase()
            if connection.watch.waited_s((phase, progress), now_s) >= limit_s[phase]:
                connection.expire(phase)

    def pause_sweeps(self) -> None:
        """Leave it to the caller to sweep, so that a test decides what time it is."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def _sweep_later(self) -> None:
        self._sweeping = self._loop.call_later(self._limits.sweep_s, self._sweep_now)

    def _sweep_now(self) -> None:
        self.sweep(self._loop.time())
        self._sweep_later()
