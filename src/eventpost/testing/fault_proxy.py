"""A proxy between a client and a real server that lets go wrong what it is told to.

    with FaultProxy(azurite.host, azurite.port) as proxy:
        queue = connect(f"http://{proxy.host}:{proxy.port}/...")
        rule = proxy.when("DeleteMessage", AZURE_FORBIDDEN)      # HTTP: by operation
        ...
        proxy.mend()
        proxy.freeze()                                           # any protocol: half-open

Over HTTP it tells requests apart, and rules decide on each: another answer, latency, a reset before
the server knows or after it acted, silence. With `speaks="kafka"` the same goes for requests of
Kafka's protocol, by their names in it, and the addresses that a broker tells lead through the
proxy. With `speaks="tcp"` it passes bytes on, for AMQP and for Kafka under TLS. What concerns whole
connections (`cut`, `freeze`, `refuse`, `latency_s`) works for all.

Layer: testing. It runs on a loop in a thread of its own; its methods are for other threads.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from eventpost.testing.background import BackgroundLoop
from eventpost.testing.proxied_http import HEAD_BYTES_MAX, Asked, read_request, read_response
from eventpost.testing.proxied_kafka import asked_of, led_here, read_frame
from eventpost.testing.receiver import ACCEPT_TURNS, Answer

PIECE_BYTES = 64 * 1024
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset; `is_after`: once the server has acted, so its answer is lost."""

    is_after: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing is answered, and the connection stays until the client gives up."""

    is_after: bool = False


@dataclass(frozen=True, slots=True)
class Slow:
    """Latency on the way there and on the way back; the request is carried out in between."""

    before_s: float = 0.0
    after_s: float = 0.0


PASS = Slow()
RESET_BEFORE = Reset()
RESET_AFTER = Reset(is_after=True)
HANG = Hang()
HANG_AFTER = Hang(is_after=True)

Reaction = Answer | bytes | Reset | Hang | Slow
"""Bytes are an answer in the protocol's own form."""
Choice = Reaction | Callable[[Asked], Reaction]
_Ask = Callable[[Asked], Coroutine[Any, Any, tuple[bytes, bool]]]


@dataclass(eq=False)
class Rule:
    """What happens to requests that match, while it lasts."""

    matches: Callable[[Asked], bool]
    choice: Choice
    times: float = float("inf")
    """How often it is still applied."""
    skip: int = 0
    """How many matching requests still pass before."""
    until_s: float = float("inf")
    hits: list[Asked] = field(default_factory=list)
    """The requests to which it was applied."""

    def take(self, asked: Asked, now_s: float) -> Reaction | None:
        """The reaction to this request, or None when the rule says nothing about it."""
        if now_s >= self.until_s or self.times <= 0 or not self.matches(asked):
            return None
        if self.skip > 0:
            self.skip -= 1
            return None
        self.times -= 1
        self.hits.append(asked)
        return self.choice(asked) if callable(self.choice) else self.choice


class FaultProxy:
    """Listens on loopback from when it is made until `close`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        speaks: Literal["http", "kafka", "tcp"] = "http",
        at_host: str = "127.0.0.1",
        at_port: int = 0,
    ) -> None:
        self.host = at_host
        self.port = at_port
        self.requests: list[Asked] = []
        """Every request, in the order of arrival. HTTP and Kafka only."""
        self.latency_s = 0.0
        """Added to every request, or to every piece of bytes in either direction."""
        self._target = (host, port)
        self._serve = {
            "http": self._serve_http,
            "kafka": self._serve_kafka,
            "tcp": self._serve_tcp,
        }[speaks]
        self._rules: list[Rule] = []
        self._changed = threading.Condition()
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._server: asyncio.Server | None = None
        self._loop = BackgroundLoop("eventpost-fault-proxy", asyncio.new_event_loop)
        self._thawed = self._loop.call(_set_event)
        self.listen()

    # --- rules, by request ------------------------------------------------------------------------

    def when(
        self,
        matches: str | Callable[[Asked], bool],
        choice: Choice,
        *,
        times: float = float("inf"),
        skip: int = 0,
        for_s: float = float("inf"),
    ) -> Rule:
        """From now on react so to requests that match: an operation by the service's name, or
        whatever a function says. The latest rule that has something to say decides.

        After `skip` such requests it holds for `times` of them, and at most for `for_s`.
        """
        until_s = time.monotonic() + for_s
        rule = Rule(_matching(matches), choice, times=times, skip=skip, until_s=until_s)
        with self._changed:
            self._rules.append(rule)
        return rule

    def mend(self, rule: Rule | None = None) -> None:
        """Forget this rule, or all of them."""
        with self._changed:
            self._rules = [one for one in self._rules if rule is not None and one is not rule]

    def asked_for(self, operation: str) -> list[Asked]:
        """The requests for that operation, in the order of arrival."""
        with self._changed:
            return [one for one in self.requests if one.operation == operation]

    def wait_for(self, operation: str, count: int = 1) -> list[Asked]:
        """Wait until so many requests for that operation have come."""
        return self._wait(lambda: self._found(operation, count), f"{count} x {operation}")

    def wait_for_hits(self, rule: Rule, count: int = 1) -> list[Asked]:
        """Wait until the rule was applied so often."""
        return self._wait(lambda: rule.hits if len(rule.hits) >= count else [], "a rule")

    # --- connections ------------------------------------------------------------------------------

    @property
    def connection_count(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def lead_to(self, host: str, port: int) -> None:
        """Where new connections lead from now on."""
        self._target = (host, port)

    def strand(self) -> None:
        """Let what is open now go silent for good, as a load balancer does that has forgotten it:
        nothing is closed, and nothing comes through. New connections are as ever. TCP only."""
        self._loop.call(self._strand)

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        self._loop.run(self._cut())

    def freeze(self) -> None:
        """Let nothing through in either direction, and close nothing: peers see a silent line."""
        self._loop.call(self._thawed.clear)

    def thaw(self) -> None:
        """Let through again, what was held up included."""
        self._loop.call(self._thawed.set)

    def refuse(self) -> None:
        """Close the port and cut every connection: connecting is refused until `listen`."""
        self._loop.run(self._refuse())

    def listen(self) -> None:
        """Take connections, again on the same port after `refuse`."""
        self._loop.run(self._listen())

    def close(self) -> None:
        """End it and its thread. Idempotent."""
        if not self._loop.loop.is_closed():
            self.refuse()
            self._loop.close()

    def __enter__(self) -> "FaultProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- on the loop ------------------------------------------------------------------------------

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accepted, self.host, self.port, limit=HEAD_BYTES_MAX
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            for _ in range(ACCEPT_TURNS):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        await self._cut()

    def _strand(self) -> None:
        for connection in self._connections.values():
            connection.is_stranded = True

    async def _cut(self) -> None:
        tasks = list(self._connections)
        for task, connection in list(self._connections.items()):
            connection.reset()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own from the first moment: it is known before its first step, so that `cut`
        # ends it too, and streams of Python 3.11 complain about tasks of theirs that are cancelled.
        connection = _Connection(reader, writer)
        task = asyncio.get_running_loop().create_task(self._carry(connection))
        self._connections[task] = connection
        task.add_done_callback(self._over)

    async def _carry(self, connection: "_Connection") -> None:
        try:
            await connection.connect(*self._target)
            await self._serve(connection)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            connection.reset()

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._connections.pop(task).end()

    async def _serve_tcp(self, connection: "_Connection") -> None:
        there = self._pump(connection, connection.reader, connection.server)
        back = self._pump(connection, connection.server_reader, connection.writer)
        await _both(there, back)

    async def _pump(
        self,
        connection: "_Connection",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        while (piece := await reader.read(PIECE_BYTES)) or connection.is_stranded:
            await self._pass_time(self.latency_s)
            if connection.is_stranded:
                await asyncio.Event().wait()  # until it is cut
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _serve_http(self, connection: "_Connection") -> None:
        while (asked := await read_request(connection.reader, connection.writer)) is not None:
            reaction = self._reaction(asked)
            await self._pass_time(self.latency_s)
            if not await self._react(connection, asked, reaction, connection.ask):
                return

    async def _serve_kafka(self, connection: "_Connection") -> None:
        """One request after the other: a client that waits for one answer has the next one wait."""

        async def ask(asked: Asked) -> tuple[bytes, bool]:
            answer = await connection.ask_kafka(asked)
            return led_here(asked, answer, self._target, (self.host, self.port)), True

        while (frame := await read_frame(connection.reader)) is not None:
            asked = asked_of(frame)
            reaction = self._reaction(asked)
            await self._pass_time(self.latency_s)
            if not await self._react(connection, asked, reaction, ask):
                return

    def _reaction(self, asked: Asked) -> Reaction:
        with self._changed:
            self.requests.append(asked)
            now_s = time.monotonic()
            decided = (rule.take(asked, now_s) for rule in reversed(self._rules))
            reaction = next((one for one in decided if one is not None), PASS)
            self._changed.notify_all()
        return reaction

    async def _react(
        self, connection: "_Connection", asked: Asked, reaction: Reaction, ask: "_Ask"
    ) -> bool:
        """False when the connection is over."""
        match reaction:
            case Answer():
                connection.writer.write(reaction.encoded())
                return True
            case bytes():
                connection.writer.write(reaction)
                return True
            case Slow(before_s, after_s):
                await self._pass_time(before_s)
                answer, is_kept = await ask(asked)
                await self._pass_time(after_s)
                connection.writer.write(answer)
                await connection.writer.drain()
                return is_kept
            case Reset(is_after):
                if is_after:
                    await ask(asked)
                connection.reset()
                return False
            case Hang(is_after):
                if is_after:
                    await ask(asked)
                await connection.reader.read()  # until the client gives up
                return False

    async def _pass_time(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        await self._thawed.wait()

    # --- waiting ----------------------------------------------------------------------------------

    def _found(self, operation: str, count: int) -> list[Asked]:
        found = [one for one in self.requests if one.operation == operation]
        return found if len(found) >= count else []

    def _wait(self, found: Callable[[], list[Asked]], wanted: str) -> list[Asked]:
        with self._changed:
            if not self._changed.wait_for(found, PATIENCE_S):
                seen = [one.operation or one.target for one in self.requests]
                raise TimeoutError(f"The proxy waited {PATIENCE_S:g} s for {wanted}; saw {seen}.")
            return list(found())


class _Connection:
    """A client's connection and ours to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.is_stranded = False

    async def connect(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.server_reader, self.server = await asyncio.open_connection(
            host, port, limit=HEAD_BYTES_MAX
        )

    async def ask(self, asked: Asked) -> tuple[bytes, bool]:
        """The server's answer. A connection that it closed while it was idle is opened anew."""
        if self.server_reader.at_eof():
            self.server.transport.abort()
            await self.connect(*self._target)
        self.server.write(asked.raw)
        await self.server.drain()
        return await read_response(self.server_reader, asked.method)

    async def ask_kafka(self, asked: Asked) -> bytes:
        self.server.write(asked.raw)
        await self.server.drain()
        answer = await read_frame(self.server_reader)
        if answer is None:
            raise ConnectionResetError("the broker ended without an answer")
        return answer

    def reset(self) -> None:
        """Let the client see a reset, and not an end."""
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it is closed already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def end(self) -> None:
        self.writer.close()
        server = getattr(self, "server", None)
        if server is not None:
            server.transport.abort()


def _matching(matches: str | Callable[[Asked], bool]) -> Callable[[Asked], bool]:
    if callable(matches):
        return matches
    return lambda asked: asked.operation == matches


async def _both(one: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> None:
    """Until both have ended; when one fails, the other is ended."""
    tasks = [asyncio.ensure_future(one), asyncio.ensure_future(other)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
