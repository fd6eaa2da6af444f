"""One connection: what is read when, who gets the requests, and how it ends.

Bytes go through `RequestReader`, whole requests to the fast handler or to an ASGI `Exchange`,
answers through the `Pipeline`.
Layer: http.
"""

import asyncio
import logging
from enum import Enum
from typing import cast

from eventpost.http.server.asgi import Exchange, scope_of
from eventpost.http.server.pipeline import Pipeline
from eventpost.http.server.reader import DROP, KEEP, STREAM, Mode, RequestReader
from eventpost.http.server.request import CONTINUE, Request
from eventpost.http.server.rules import Malformed
from eventpost.http.server.shared import Endpoints, Shared

log = logging.getLogger("eventpost.http")

SLICE_BYTES = 16 * 1024
"""How much is looked at in one go where requests may begin, so that `pipelined_max` holds."""


class State(Enum):
    """What happens to bytes that come in."""

    READING = "reading"
    HOLDING = "holding"  # kept for later: too many requests wait, or an ASGI one is under way
    ENDING = "ending"  # kept for LINGERING: the last answer waits for its turn
    LINGERING = "lingering"  # read over: the last answer is out
    CLOSED = "closed"


READING, HOLDING, ENDING, LINGERING, CLOSED = State
"""By these names, because `State.READING` is slow in Python 3.11."""


class Phase(Enum):
    """What a connection waits for, in the terms of its limits."""

    BUSY = "busy"  # our own work
    OPENED = "opened"
    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    WRITE = "write"
    LINGER = "linger"


class Connection(asyncio.Protocol):
    """The protocol object of one accepted connection. All calls on the loop's thread."""

    __slots__ = (
        "_endpoints",
        "_exchanges",
        "_fast",
        "_held",
        "_held_bytes",
        "_is_framing_lost",
        "_is_half_closed",
        "_is_paused",
        "_kept_bytes",
        "_limits",
        "_lingered_bytes",
        "_pipeline",
        "_reader",
        "_receiving",
        "_shared",
        "_state",
        "_transport",
        "_writable",
        "seen",
        "seen_s",
    )

    def __init__(self, shared: Shared, endpoints: Endpoints) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._fast = shared.fast
        self._endpoints = endpoints
        self._state = READING
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._exchanges: list[Exchange] = []
        self._receiving: Exchange | None = None
        """The one whose body is coming in."""
        self._kept_bytes = 0
        self._lingered_bytes = 0
        self._is_framing_lost = False
        self._is_half_closed = False
        self._is_paused = False
        self._writable: asyncio.Event | None = None
        """Set while the client reads too slowly."""
        self.seen = (Phase.OPENED, 0)
        """Phase and progress when the sweep last found a change, and when that was."""
        self.seen_s = shared.loop.time()

    # --- events of the transport -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._limits.write_bytes_max)
        self._pipeline = Pipeline(self, self._transport, self._shared.loop)
        self._pipeline.is_watched = self._shared.is_draining
        self._reader = RequestReader(
            self,
            self._limits,
            self._pipeline,
            self._endpoints.peer,
            is_tls=self._endpoints.is_tls,
        )
        self._shared.connections.add(self)
        if self._shared.is_draining:  # its TLS handshake was under way
            self._shared.loop.call_soon(self._settle)

    def data_received(self, data: bytes) -> None:
        if self._state is READING:
            self._read(data)
        elif self._state is LINGERING:
            self._read_over(data)
        elif self._state is not CLOSED:
            self._hold(data)

    def eof_received(self) -> bool:
        """Whether to keep the sending half: answers to what came before are still owed.

        Neither loop can keep half of a TLS connection.
        """
        self._is_half_closed = True
        if self._state in (LINGERING, CLOSED) or self._endpoints.is_tls:
            return False
        waiting = self._pipeline.waiting
        if waiting and waiting[-1] is self._reader.request:
            waiting.pop()  # the rest of it will never come
        for exchange in self._exchanges:
            exchange.half_closed()
        self._pipeline.is_watched = True
        return bool(waiting) or bool(self._held)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._shared.bodies_bytes -= self._kept_bytes
        self._shared.connections.discard(self)
        self._shared.closed()

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()
        self._regulate()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        self._regulate()

    # --- reading ---------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        pipeline, reader = self._pipeline, self._reader
        pipeline.is_corked = True
        try:
            if len(data) <= SLICE_BYTES:
                reader.feed(data)
            else:
                self._read_slices(memoryview(data))
        except Malformed as malformed:
            self._is_framing_lost = True
            self._refuse_present(malformed.status, malformed.reason)
        pipeline.is_corked = False
        pipeline.flush()
        if (
            reader.request is not None
            or pipeline.is_watched
            or self._exchanges
            or len(pipeline.waiting) >= self._limits.pipelined_max
        ):
            self._settle()

    def _read_slices(self, data: memoryview) -> None:
        while data and self._state is READING:
            if self._must_hold():
                self._hold(bytes(data))
                return
            end = max(SLICE_BYTES, self._reader.body_bytes_left)
            self._reader.feed(data[:end])
            data = data[end:]
        if data:
            self.data_received(bytes(data))

    def _must_hold(self) -> bool:
        """Behind an ASGI request nothing is begun: it may change what the next one finds."""
        if self._exchanges and self._receiving is None:
            return True
        waiting_count = len(self._pipeline.waiting)
        if self._reader.request is not None:
            waiting_count -= 1  # it cannot be answered yet, so waiting for that would be for ever
        return waiting_count >= self._limits.pipelined_max

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        self._regulate()

    def _take_held(self) -> bytes:
        held = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return held

    def _settle(self) -> None:
        """Bring state, reading and accounts in line with what has just happened."""
        self._account()
        if self._state is READING and self._must_hold():
            self._state = HOLDING
        elif self._state is HOLDING and not self._must_hold():
            self._state = READING
            if self._held:
                self.data_received(self._take_held())
                return
        self._pipeline.is_watched = (
            self._state is HOLDING
            or self._kept_bytes > 0
            or self._is_half_closed
            or self._shared.is_draining
        )
        if self._is_done():
            self._close()
        self._regulate()

    def _is_done(self) -> bool:
        """Whether nothing is under way on a connection that will bring no further request."""
        if self._state is not READING or self._pipeline.waiting:
            return False
        if self._is_half_closed:
            return True
        reader = self._reader
        return self._shared.is_draining and not reader.is_in_head and reader.request is None

    def _regulate(self) -> None:
        """Read on or pause. (Reading while an exchange runs is how a client's leaving is seen.)"""
        receiving = self._receiving
        must_pause = (
            (self._writable is not None and self._state is not LINGERING)
            or self._held_bytes > self._limits.held_bytes_max
            or (receiving is not None and receiving.kept_bytes > self._limits.stream_bytes_max)
        )
        if must_pause is not self._is_paused and self._state is not CLOSED:
            self._is_paused = must_pause
            if must_pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _account(self) -> None:
        kept_bytes = self._reader.kept_bytes
        self._shared.bodies_bytes += kept_bytes - self._kept_bytes
        is_growing = kept_bytes > self._kept_bytes
        self._kept_bytes = kept_bytes
        if is_growing and self._shared.bodies_bytes > self._limits.bodies_bytes_max:
            self._refuse_present(503, "Too many bodies are being received at once.")
            self._account()

    # --- what the reader finds -------------------------------------------------------------------

    def head(self, request: Request) -> Mode:
        if self._state is not READING:
            return DROP
        if not self._fast.accepts(request.method, request.path):
            return self._begin_exchange(request)
        if request.expects_continue:
            request.start = self._say_continue
            self._pipeline.add(request)
        else:
            self._pipeline.waiting.append(request)  # all that `add` does without a start
        return KEEP

    def head_of_too_large(self, request: Request) -> None:
        if self._state is READING:
            self._pipeline.add(request)
            self.too_large(request)

    def body(self, chunk: bytes) -> None:
        if self._receiving is not None:
            self._receiving.receive_body(chunk)

    def complete(self, request: Request) -> None:
        if self._exchanges or not request.is_keep_alive or self._state is not READING:
            self._complete_otherwise(request)
            return
        try:
            self._fast.handle(request)
        except Exception as error:  # noqa: BLE001  the edge to any handler
            self._answer_failure(request, error)

    def _complete_otherwise(self, request: Request) -> None:
        if self._state is not READING:
            return
        if not request.is_keep_alive:
            self._state = ENDING
        if self._receiving is not None:
            self._receiving.body_complete()
            self._receiving = None
        elif self._exchanges:
            request.start = self._handle_soon
        else:
            self._handle(request)

    def too_large(self, request: Request) -> None:
        if self._fast.accepts(request.method, request.path):
            raw = self._fast.too_large(request)
        else:
            raw = self._fast.malformed(request, 413, "The request body is too large.")
        self._refuse(request, raw)

    def _answer_failure(self, request: Request, error: Exception) -> None:
        log.error("http.handler_failed method=%s", request.method.decode(), exc_info=error)
        if request.answering is not None:
            reason = "The request failed inside the server."
            request.respond(self._fast.malformed(request, 500, reason))

    def _handle_soon(self, request: Request) -> None:
        """In a turn of its own: one answer starting the next would nest without a bound."""
        self._shared.loop.call_soon(self._handle, request)

    def _handle(self, request: Request) -> None:
        try:
            self._fast.handle(request)
        except Exception as error:  # noqa: BLE001  the edge to any handler
            self._answer_failure(request, error)

    def _say_continue(self, request: Request) -> None:
        request.expects_continue = False
        if self._reader.request is request and not self._reader.received:
            self._pipeline.write(CONTINUE)

    def _begin_exchange(self, request: Request) -> Mode:
        scope = scope_of(request, self._endpoints, self._shared.state)
        exchange = Exchange(request, self, self._shared, scope)
        request.start = exchange.start
        self._exchanges.append(exchange)
        self._receiving = exchange
        self._pipeline.add(request)
        return STREAM

    # --- what an exchange needs ------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._pipeline.write(data)

    def finish(self, request: Request) -> None:
        self._pipeline.finish(request)

    def is_last(self, request: Request) -> bool:
        waiting = self._pipeline.waiting
        is_followed = bool(waiting) and waiting[-1] is not request
        if is_followed or self._held or not self._shared.is_draining:
            return False
        return not self._reader.is_in_head and self._reader.request in (None, request)

    async def writable(self) -> None:
        await asyncio.sleep(0)  # an application that never waits must not stop everything else
        if self._writable is not None:
            await self._writable.wait()

    def body_taken(self) -> None:
        self._regulate()

    def exchange_over(self, exchange: Exchange) -> None:
        self._exchanges.remove(exchange)
        if self._receiving is exchange:
            self._receiving = None
        self._settle()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._forget()
        self._transport.abort()

    # --- how it ends -----------------------------------------------------------------------------

    def answered(self) -> None:
        self._settle()

    def ended(self, request: Request) -> None:
        """Close so that the client sees the answer: what it still sends is read over, since closing
        on unread bytes makes the system reset the connection and discard the answer."""
        self._state = LINGERING
        self._receiving = None
        self._reader.drop_body()
        is_all_read = self._reader.request is not request and not self._is_framing_lost
        if self._is_half_closed or (self._endpoints.is_tls and is_all_read):
            self._close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._read_over(self._take_held())
        self._settle()

    def _read_over(self, data: bytes) -> None:
        self._lingered_bytes += len(data)
        reader = self._reader
        if not self._is_framing_lost and data:
            try:
                reader.feed(data)
            except Malformed:
                self._is_framing_lost = True
            else:
                if reader.request is None and not reader.is_in_head:
                    self._close()  # all of it was read
        if self._lingered_bytes > self._limits.linger_bytes_max:
            self._close()

    def _refuse_present(self, status: int, reason: str) -> None:
        """Answer what is just coming in, and take nothing more."""
        if self._state is not READING:
            return
        request = self._reader.request
        if request is None:
            request = Request(b"", b"", b"", {}, self._endpoints.peer)
            request.answering = self._pipeline
            self._pipeline.add(request)
            raw = self._fast.malformed(None, status, reason)
        else:
            raw = self._fast.malformed(request, status, reason)
        self._refuse(request, raw)

    def _refuse(self, request: Request, raw: bytes) -> None:
        self._state = ENDING
        self._reader.drop_body()
        if self._receiving is not None:
            self._receiving.overrule(raw)
            return
        request.start = None
        request.is_keep_alive = request.is_plain = False
        request.respond(raw)

    def drain(self) -> None:
        """Take no request after those under way."""
        self._pipeline.is_watched = True
        self._settle()

    def phase(self) -> tuple[Phase, int]:
        """What it waits for and how far that is: the same twice means no progress."""
        unwritten_bytes = self._transport.get_write_buffer_size()
        if unwritten_bytes:
            return Phase.WRITE, unwritten_bytes
        if self._state is LINGERING:
            return Phase.LINGER, 0
        if self._state is not READING or self._is_paused:
            return Phase.BUSY, 0
        reader = self._reader
        if reader.is_in_head:
            return Phase.HEAD, reader.request_count
        if reader.request is not None:
            is_waiting_for_us = reader.request.expects_continue
            return (Phase.BUSY, 0) if is_waiting_for_us else (Phase.BODY, reader.received)
        if self._pipeline.waiting:
            return Phase.BUSY, 0
        return (Phase.IDLE if reader.request_count else Phase.OPENED), reader.request_count

    def expire(self, phase: Phase) -> None:
        """The limit of `phase` has passed."""
        if phase is Phase.HEAD:
            self._refuse_present(408, "The request head did not arrive in time.")
        elif phase is Phase.BODY:
            self._refuse_present(408, "The request body stopped arriving.")
        elif phase is Phase.WRITE:
            self.abort()
        else:
            self._close()

    def _close(self) -> None:
        if self._state is not CLOSED:
            self._state = CLOSED
            self._transport.close()

    def _forget(self) -> None:
        self._state = CLOSED
        self._pipeline.clear()
        self._reader.close()
        self._held.clear()
        for exchange in self._exchanges:
            exchange.disconnect()
        self._exchanges.clear()
        self._receiving = None
        if self._writable is not None:
            self._writable.set()
