"""The connections to one origin: kept, reused last in first out, opened as many as are needed.

Layer: http. A request takes `idle.pop()`, the connection used last, when there is one; else it
waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.http.client_limits import ClientLimits
from eventpost.http.connection import Connection
from eventpost.http.exchange import Exchange, Repeated
from eventpost.http.opening import Opener, Opening, Origin


class Allowance(Protocol):
    """The client's share of the process's descriptors, common to all pools."""

    def take(self) -> bool:
        """Whether one more connection may be opened; it counts as opened then."""
        ...

    def make_room(self) -> bool:
        """Close the connection that is idle longest, of whatever pool; False when none is."""
        ...

    def give_back(self) -> None: ...

    def starve(self, pool: "Pool") -> None:
        """`pool` has requests waiting and was refused: tell it when a connection ends."""
        ...

    @property
    def starving(self) -> dict["Pool", None]:
        """The pools that were refused; while there are some, idle connections are better closed."""
        ...


class Pool:
    """All connections to one origin and the requests that wait for one. The loop's thread only."""

    def __init__(self, origin: Origin, opener: Opener, allowance: Allowance) -> None:
        self.origin = origin
        self.limits: ClientLimits = opener.limits
        self.now_s: Callable[[], float] = opener.now_s
        self.proxy_name = None if origin.proxy is None else str(origin.proxy)
        self.repeated: Repeated | None = None
        self._opener = opener
        self._allowance = allowance
        self._starving = allowance.starving
        self.connections: set[Connection] = set()
        self.idle: list[Connection] = []
        self.openings: set[Opening] = set()
        self.waiting: deque[Exchange] = deque()
        self.fresh_wanted: deque[Exchange] = deque()
        self._is_closed = False
        self.user_count = 0
        self.opened_count = 0
        self.reconnect_count = 0

    def wait(self, exchange: Exchange) -> None:
        """Nothing is idle: wait for a connection to be opened or to become free."""
        if self._is_closed:
            return
        exchange.waiting_until_s = exchange.started_s + self.limits.waiting_s_max
        self.waiting.append(exchange)
        self.open_more()

    def open_more(self) -> None:
        """Open connections for what waits, a few at a time and within the bounds."""
        limits, openings = self.limits, self.openings
        wanted_count = len(self.fresh_wanted) + len(self.waiting)
        while len(openings) < min(wanted_count, limits.openings_per_origin_max):
            if len(self.connections) + len(openings) >= limits.connections_per_origin_max:
                return
            if not self._allowance.take():
                self._allowance.starve(self)
                return
            self._open_one()

    def sweep(self, now_s: float) -> None:
        """End whatever is past its deadline."""
        for opening in [opening for opening in self.openings if opening.deadline_s <= now_s]:
            opening.expire()
        for connection in [one for one in self.connections if one.deadline_s <= now_s]:
            if connection.deadline_s <= now_s:  # a callback may have given it new work
                connection.expire(now_s)
        for queue in (self.fresh_wanted, self.waiting):
            while queue and queue[0].waiting_until_s <= now_s:
                queue.popleft().fail(self._waited_in_vain(), now_s)

    def close(self) -> None:
        """Let go of everything; requests in flight or waiting are never answered."""
        self._is_closed = True
        self.waiting.clear()
        self.fresh_wanted.clear()
        for opening in list(self.openings):
            if opening.task is not None:
                opening.task.cancel()
        for connection in list(self.connections):
            connection.abort()

    def close_idle(self) -> None:
        """Close what is not in use."""
        for connection in list(self.idle):
            connection.close()

    @property
    def is_empty(self) -> bool:
        return not (self.connections or self.openings or self.waiting or self.fresh_wanted)

    # --- from the connections -----------------------------------------------------------------

    def released(self, connection: Connection, now_s: float) -> None:
        if self.waiting:
            connection.send(self.waiting.popleft(), now_s)
        elif self.user_count == 0 or self._starving:
            connection.close()
        else:
            self.idle.append(connection)

    def lost(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
            self._allowance.give_back()
        if connection in self.idle:
            self.idle.remove(connection)
        if self.waiting or self.fresh_wanted:
            self.open_more()

    def unanswered(self, exchange: Exchange, evidence: Evidence) -> None:
        if evidence.fault not in (Fault.CLOSED, Fault.RESET):
            exchange.fail(evidence, self.now_s())
            return
        self.reconnect_count += 1
        exchange.reconnect_count = 1
        exchange.waiting_until_s = self.now_s() + self.limits.waiting_s_max
        self.fresh_wanted.append(exchange)
        self.open_more()

    # --- opening ------------------------------------------------------------------------------

    def _open_one(self) -> None:
        now_s = self.now_s()
        opening = Opening(now_s, now_s + self.limits.name_s_max)
        self.openings.add(opening)
        opening.task = self._opener.loop.create_task(self._run(opening))

    async def _run(self, opening: Opening) -> None:
        result: Connection | Evidence
        try:
            result = await self._opener.open(self.origin, opening, self._make)
        except asyncio.CancelledError:
            self.openings.discard(opening)
            self._allowance.give_back()
            if not opening.is_expired:
                raise
            self._failed(opening, opening.timed_out())
            return
        self.openings.discard(opening)
        if isinstance(result, Evidence):
            self._allowance.give_back()
            self._failed(opening, result)
        else:
            self._opened(opening, result)

    def _make(self, address: str) -> Connection:
        return Connection(self, address)

    def _opened(self, opening: Opening, connection: Connection) -> None:
        if connection.is_lost:  # it ended in the very turn in which it was made
            self._allowance.give_back()
            evidence = Evidence(stage=Stage.WAIT, fault=Fault.CLOSED, address=connection.address)
            self._failed(opening, evidence)
            return
        self.opened_count += 1
        self.connections.add(connection)
        now_s = self.now_s()
        if self.fresh_wanted:
            connection.send(self.fresh_wanted.popleft(), now_s)
        else:
            self.released(connection, now_s)
        self.open_more()

    def _failed(self, opening: Opening, evidence: Evidence) -> None:
        """One opening that failed fails one request: the one that waits longest, if it waited when
        the opening began. A later one gets an opening of its own."""
        if evidence.fault is Fault.NO_DESCRIPTORS:
            self._allowance.make_room()
        queue = self.fresh_wanted or self.waiting
        if queue and queue[0].waiting_until_s <= opening.started_s + self.limits.waiting_s_max:
            queue.popleft().fail(evidence, self.now_s())
        self.open_more()

    def _waited_in_vain(self) -> Evidence:
        proxy = self.proxy_name
        if self.openings:
            opening = min(self.openings, key=lambda opening: opening.deadline_s)
            return Evidence(
                stage=opening.stage, fault=Fault.TIMED_OUT, address=opening.address, proxy=proxy
            )
        busy = f"{len(self.connections)} to {self.origin.url.authority} are busy"
        return Evidence(
            stage=Stage.CONNECT,
            fault=Fault.NO_DESCRIPTORS,
            detail=f"no connection became free within the bounds on connections: {busy}",
        )
