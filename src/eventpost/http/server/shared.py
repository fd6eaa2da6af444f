"""What all connections of one server have in common.

Layer: http.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from eventpost.http.server.handler import ASGIApp, FastHandler
from eventpost.http.server.heads import KnownHeads
from eventpost.http.server.limits import HttpLimits

if TYPE_CHECKING:
    from eventpost.http.server.connection import Connection


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The two ends of a connection as (host, port)."""

    client: tuple[str, int]
    server: tuple[str, int]
    is_tls: bool

    @property
    def peer(self) -> str:
        """The client as `host:port`."""
        host, port = self.client
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(slots=True, eq=False)
class Shared:
    """Made by the server; read and counted in by its connections, on the loop's thread."""

    loop: asyncio.AbstractEventLoop
    fast: FastHandler
    app: ASGIApp
    limits: HttpLimits
    closed: Callable[[], None]
    """Called after a connection has gone, or a task: it may outlive its connection."""
    connections: set["Connection"] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """ASGI requests under way."""
    state: dict[str, Any] = field(default_factory=dict)
    """What the ASGI application's lifespan left for its requests."""
    known_heads: KnownHeads = field(default_factory=KnownHeads)
    bodies_bytes: int = 0
    """Unfinished bodies in memory."""
    is_draining: bool = False
    _date: bytes = b""
    _date_s: int = 0

    def task_ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.closed()

    def date(self) -> bytes:
        """The present time as a `Date` header has it."""
        now_s = int(time.time())
        if now_s != self._date_s:
            self._date_s = now_s
            self._date = formatdate(now_s, usegmt=True).encode()
        return self._date
