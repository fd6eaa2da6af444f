"""A webhook for tests: a real HTTP server that answers as it was told and remembers what came.

    receiver.script(500, 503, HANG)      the next three deliveries; after them 200
    grid.publish("songs")
    [first] = receiver.wait_for(1)
    assert first.event["subject"] == "genre/blues"

It consents to handshakes unless `receiver.consent` says otherwise; handshakes, and farewells of
deleted subscriptions, are kept apart from deliveries.
"""

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eventpost.core.interfaces import Clock
from eventpost.testing.background import BackgroundLoop

PATIENCE_S = 120.0
"""A test that waits longer than this for a request fails instead of hanging."""
ACCEPT_TURNS = 5
"""Turns of the loop from an accepted socket to its task. A server that is closed in between forgets
the socket, and whoever connected waits for ever."""
VALIDATION = "SubscriptionValidation"
DELETION = "SubscriptionDeletion"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `headers` beside `Content-Length`."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The whole HTTP/1.1 answer."""
        lines = [f"HTTP/1.1 {self.status} Status", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass(frozen=True, slots=True)
class Fault:
    """What a receiver does instead of answering."""

    name: str


HANG = Fault("hang")
"""Takes the request and says nothing, until `release` or until the grid gives up."""
RESET = Fault("reset")
"""Takes the request and resets the connection."""
CLOSE = Fault("close")
"""Takes the request and closes the connection in order."""

Reaction = int | Answer | Fault
"""A status is an empty answer with it."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request. Header names are in lower case; `at_ms` is the clock's time of its arrival."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at_ms: int

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the body, one or many."""
        content = json.loads(self.body)
        return content if isinstance(content, list) else [content]

    @property
    def event(self) -> dict[str, Any]:
        """The only event of the body."""
        (event,) = self.events
        return event

    @property
    def attempt(self) -> int:
        """How many attempts came before this one (`aeg-delivery-count`)."""
        return int(self.headers["aeg-delivery-count"])


class Receiver:
    """Made listening on loopback; `close` ends it. For the test's thread.

    `always` is the reaction once the script is over; `choose`, when set, decides on each delivery
    instead of both. `consent` is how handshakes are answered: True consents, False refuses with
    404, None answers 200 without consenting, so that somebody has to open `validation_url`; an
    Answer is given as it is, and a fault happens.
    `allowed_rate` is what a CloudEvents handshake allows, in requests per minute. It speaks TLS
    when it is given a context.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        path: str = "/hook",
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._path = path
        self._host = host
        self._tls = tls
        self.always: Reaction = 200
        self.choose: Callable[[Received], Reaction] | None = None
        self.consent: bool | Answer | Fault | None = True
        self.allowed_rate: str | None = None
        self.requests: list[Received] = []
        """Deliveries in the order of their arrival."""
        self.handshakes: list[Received] = []
        self.farewells: list[Received] = []
        """Notices that a subscription was deleted; each is answered with 200."""
        self._script: deque[Reaction] = deque()
        self._changed = threading.Condition()
        self._held: list[asyncio.Future[Reaction]] = []
        self._loop = BackgroundLoop("eventpost-receiver", asyncio.new_event_loop)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = port
        self.listen()

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self._host}:{self.port}{self._path}"

    # --- what it answers ----------------------------------------------------------------------

    def script(self, *reactions: Reaction) -> None:
        """React so to the next deliveries, one after the other; adds to what is scripted."""
        self._script += reactions

    def release(self, reaction: Reaction = 200) -> int:
        """React so to every request that hangs now; returns how many these were."""
        return self._loop.call(self._release, reaction)

    def _release(self, reaction: Reaction) -> int:
        held, self._held = self._held, []
        for future in held:
            future.set_result(reaction)
        return len(held)

    @property
    def held_count(self) -> int:
        """Requests that hang now."""
        return len(self._held)

    def listen(self) -> None:
        """Listen, again on the same port after `refuse`."""
        self._loop.run(self._listen())

    def refuse(self) -> None:
        """Close the port and every connection: connecting is refused until `listen`."""
        self._loop.run(self._refuse())

    def close(self) -> None:
        """End the server and its thread. Idempotent."""
        if not self._loop.loop.is_closed():
            self.refuse()
            self._loop.close()

    # --- what came ------------------------------------------------------------------------------

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events of all deliveries, repeated ones included."""
        return [event for request in self.requests for event in request.events]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]

    @property
    def validation_url(self) -> str:
        """Where the latest handshake wants to be confirmed by hand."""
        last = self.handshakes[-1]
        if last.method == "OPTIONS":
            return last.headers["webhook-request-callback"]
        url: str = last.event["data"]["validationUrl"]
        return url

    def wait_for(self, count: int) -> list[Received]:
        """Wait until so many deliveries have come; returns the first `count`."""
        self._wait(lambda: len(self.requests) >= count, f"{count} deliveries")
        return self.requests[:count]

    def wait_for_events(self, count: int) -> list[dict[str, Any]]:
        """Wait until deliveries with so many events have come; returns all events."""
        self._wait(lambda: len(self.events) >= count, f"{count} events")
        return self.events

    def wait_for_held(self, count: int) -> None:
        """Wait until so many requests hang."""
        self._wait(lambda: len(self._held) >= count, f"{count} hanging requests")

    def _wait(self, condition: Callable[[], bool], wanted: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE_S):
                raise TimeoutError(
                    f"The receiver waited {PATIENCE_S:g} s for {wanted} and got "
                    f"{len(self.requests)} deliveries, of which {len(self._held)} hang."
                )

    # --- the server -------------------------------------------------------------------------------

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accepted, self._host, self.port, ssl=self._tls
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
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await self._read(reader)) is not None:
                reaction = await self._reaction(request, reader)
                if not await _react(reaction, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the grid let go of the connection, or the test of the receiver
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> Received | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("utf-8").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {}
        for line in filter(None, lines):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        at_ms = 0 if self._clock is None else self._clock.now_ms()
        return Received(method, path, headers, body, at_ms)

    async def _reaction(self, request: Received, reader: asyncio.StreamReader) -> Reaction:
        """Decide, remember the request, and hang when that was decided."""
        if request.method == "OPTIONS" and "webhook-request-origin" not in request.headers:
            return Answer(204)  # it asks for nobody's consent
        is_handshake = (
            request.method == "OPTIONS" or request.headers.get("aeg-event-type") == VALIDATION
        )
        if is_handshake:
            reaction, log = self._handshake(request), self.handshakes
        elif request.headers.get("aeg-event-type") == DELETION:
            reaction, log = 200, self.farewells
        else:
            reaction, log = self._next(request), self.requests
        hanging: asyncio.Future[Reaction] | None = None
        if reaction is HANG:
            hanging = asyncio.get_running_loop().create_future()
        with self._changed:
            log.append(request)
            if hanging is not None:
                self._held.append(hanging)
            self._changed.notify_all()
        return reaction if hanging is None else await self._hang(hanging, reader)

    def _next(self, request: Received) -> Reaction:
        if self.choose is not None:
            return self.choose(request)
        return self._script.popleft() if self._script else self.always

    def _handshake(self, request: Received) -> Reaction:
        if isinstance(self.consent, Answer | Fault):
            return self.consent
        if self.consent is False:
            return Answer(404)
        return Answer(200) if self.consent is None else self.consent_to(request)

    def consent_to(self, request: Received) -> Answer:
        """The answer to a handshake that consents."""
        if request.method == "OPTIONS":
            headers = {"WebHook-Allowed-Origin": request.headers["webhook-request-origin"]}
            if self.allowed_rate is not None:
                headers["WebHook-Allowed-Rate"] = self.allowed_rate
            return Answer(200, headers=headers)
        code = request.event["data"]["validationCode"]
        return Answer(200, json.dumps({"validationResponse": code}).encode())

    async def _hang(
        self, hanging: "asyncio.Future[Reaction]", reader: asyncio.StreamReader
    ) -> Reaction:
        """Until somebody releases it, or the grid closes the connection."""
        gone = asyncio.ensure_future(reader.read(1))

        def give_up(_: object) -> None:
            if not hanging.done():
                hanging.set_result(CLOSE)

        gone.add_done_callback(give_up)
        try:
            return await hanging
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            if hanging in self._held:
                self._held.remove(hanging)


async def _react(reaction: Reaction, writer: asyncio.StreamWriter) -> bool:
    """Answer; False when the connection is to be closed."""
    if isinstance(reaction, int):
        reaction = Answer(reaction)
    if isinstance(reaction, Answer):
        writer.write(reaction.encoded())
        await writer.drain()
        return True
    if reaction is RESET:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


NewReceiver = Callable[[], Receiver]
"""What the fixture `new_receiver` is."""
