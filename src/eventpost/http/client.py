"""The HTTP/1.1 client for deliveries: origins, their pools, the sweep and the common bounds.

Layer: http. Redirects are never followed, answers are never retried; one fresh connection replaces
a kept one that turns out to be closed.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from eventpost.core.outcomes import Evidence
from eventpost.http.addresses import AddressGuard
from eventpost.http.answers import Answer
from eventpost.http.client_limits import ClientLimits, connections_max
from eventpost.http.exchange import Done, Exchange
from eventpost.http.names import Lookup, Resolver, system_lookup
from eventpost.http.opening import Opener, Origin
from eventpost.http.pool import Pool
from eventpost.http.proxies import NO_PROXIES, Proxies
from eventpost.http.trust import Trust
from eventpost.http.urls import Url, parse

__all__ = ["Answer", "ClientStats", "Evidence", "HttpClient", "Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats:
    """What the client holds now, and what it did since it was made."""

    connections: int
    idle: int
    waiting: int
    opened: int
    reconnects: int
    connections_max: int


class Target:
    """A URL to send to and the pool that leads there. Release it when it is no longer used."""

    __slots__ = ("_client", "pool", "url")

    def __init__(self, client: "HttpClient", url: Url, pool: Pool) -> None:
        self._client: HttpClient | None = client
        self.url = url
        self.pool = pool

    def head_start(self, method: bytes) -> bytes:
        """The request line and the headers that belong to the way: `Host`, and towards an http
        proxy the absolute form with `Proxy-Authorization`."""
        host = self.url.authority.encode()
        proxy = self.pool.origin.proxy
        if proxy is None or self.url.is_tls:
            return b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, self.url.path.encode(), host)
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b" % (
            method,
            str(self.url).encode(),
            host,
            proxy.headers,
        )

    def release(self) -> None:
        """Idle connections of the origin are closed with its last user. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.released(self.pool)


class HttpClient:
    """Sends requests over kept connections. All calls on the loop's thread.

    `now_s` is a monotonic clock in seconds; `lookup` answers a name with its addresses and runs on
    other threads. A test drives both, and calls `sweep()` itself.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        guard: AddressGuard,
        limits: ClientLimits | None = None,
        *,
        proxies: Proxies = NO_PROXIES,
        ca_file: str | None = None,
        now_s: Callable[[], float] = time.monotonic,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._loop = loop
        self._limits = limits or ClientLimits()
        self._proxies = proxies
        self._now_s = now_s
        self._resolver = Resolver(loop, lookup=lookup, now_s=now_s)
        self._opener = Opener(
            loop=loop,
            limits=self._limits,
            resolver=self._resolver,
            guard=guard,
            trust=Trust(ca_file),
            now_s=now_s,
        )
        self._pools: dict[Origin, Pool] = {}
        self._active: dict[Pool, None] = {}  # what the sweep has to look at: pools not empty
        self._opened_before = 0
        self._reconnects_before = 0
        self._connections_max = connections_max(self._limits)
        self._connection_count = 0
        self.starving: dict[Pool, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def target(self, url: str, *, is_insecure: bool = False) -> Target:
        """Where `url` leads. Raises InvalidRequest for a URL that cannot be one; connects nothing.

        `is_insecure` accepts any certificate.
        """
        parsed = parse(url)
        origin = Origin(
            scheme=parsed.scheme,
            host=parsed.host,
            port=parsed.port,
            is_insecure=is_insecure and parsed.is_tls,
            proxy=self._proxies.for_url(parsed),
        )
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self._opener, self)
        pool.user_count += 1
        return Target(self, parsed, pool)

    def request(
        self, target: Target, head: bytes, body: bytes, timeout_s: float, done: Done
    ) -> None:
        """Send one request: `head` complete with its blank line and `Content-Length`.

        `done` is called exactly once, later, with an Answer of whatever status or the Evidence of
        why there is none; unless the client is closed before. `timeout_s` runs while the request is
        on a connection; the bounds of connecting come on top.
        """
        now_s = self._now_s()
        exchange = Exchange(head, body, timeout_s, done, now_s)
        pool = target.pool
        if pool.idle:
            pool.idle.pop().send(exchange, now_s)
        else:
            self._active[pool] = None
            pool.wait(exchange)
        if self._timer is None:
            self._arm()

    def soon(self, callback: Callable[..., object], *args: object) -> None:
        """Call back in a later turn of the loop."""
        self._loop.call_soon(callback, *args)

    def sweep(self) -> None:
        """End what is past its deadline. Runs by itself every `sweep_s`."""
        now_s = self._now_s()
        for pool in list(self._active):
            pool.sweep(now_s)
            if pool.is_empty:
                self._active.pop(pool, None)
                self._forget_if_unused(pool)

    def stats(self) -> ClientStats:
        pools = self._pools.values()
        return ClientStats(
            connections=self._connection_count,
            idle=sum(len(pool.idle) for pool in pools),
            waiting=sum(len(pool.waiting) + len(pool.fresh_wanted) for pool in pools),
            opened=self._opened_before + sum(pool.opened_count for pool in pools),
            reconnects=self._reconnects_before + sum(pool.reconnect_count for pool in pools),
            connections_max=self._connections_max,
        )

    def close(self) -> None:
        """Let go of everything at once; requests in flight are never answered. Idempotent."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for pool in list(self._pools.values()):
            pool.close()
        self._pools.clear()
        self._active.clear()
        self._resolver.close()

    # --- for targets and pools ------------------------------------------------------------------

    def released(self, pool: Pool) -> None:
        pool.user_count -= 1
        if pool.user_count == 0:
            pool.close_idle()
            self._forget_if_unused(pool)

    def take(self) -> bool:
        """Whether one more connection may be opened; closes the longest idle one at the bound."""
        if self._connection_count >= self._connections_max and not self.make_room():
            return False
        self._connection_count += 1
        return True

    def make_room(self) -> bool:
        """Close the connection that is idle longest; False when none is."""
        idle = [pool.idle[0] for pool in self._active if pool.idle]
        if not idle:
            return False
        min(idle, key=lambda connection: connection.deadline_s).close()
        return True

    def give_back(self) -> None:
        self._connection_count -= 1
        if self.starving:
            pool = next(iter(self.starving))
            del self.starving[pool]
            self._loop.call_soon(pool.open_more)

    def starve(self, pool: Pool) -> None:
        self.starving[pool] = None

    # --- helpers --------------------------------------------------------------------------------

    def _forget_if_unused(self, pool: Pool) -> None:
        is_unused = pool.user_count == 0 and pool.is_empty
        if is_unused and self._pools.get(pool.origin) is pool:
            del self._pools[pool.origin]
            self._opened_before += pool.opened_count
            self._reconnects_before += pool.reconnect_count

    def _arm(self) -> None:
        if not self._is_closed:
            self._timer = self._loop.call_later(self._limits.sweep_s, self._swept)

    def _swept(self) -> None:
        self._timer = None
        self.sweep()
        if self._active:
            self._arm()
