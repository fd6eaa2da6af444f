"""One connection: what is read when, and how it ends.

Bytes go through `RequestReader` to the `Dispatcher`, answers come back through the `Pipeline`.
Layer: http.
"""

import asyncio
from enum import Enum
from typing import cast

from eventpost.http.server.asgi import Exchange
from eventpost.http.server.dispatch import Dispatcher
from eventpost.http.server.flow import Flow, Held
from eventpost.http.server.phases import Phase, Watch
from eventpost.http.server.pipeline import Pipeline
from eventpost.http.server.reader import RequestReader
from eventpost.http.server.request import Request
from eventpost.http.server.rules import Malformed
from eventpost.http.server.shared import Endpoints, Shared

SLICE_BYTES = 64 * 1024
"""How much is looked at in one go where requests may begin, so that `pipelined_max` holds."""
CLOSE_NOTIFY_S = 1.0
"""How long an idle TLS client may take to confirm the end. Many do so with their next request."""


class State(Enum):
    """What happens to bytes that come in."""

    READING = "reading"
    HOLDING = "holding"  # kept for later: too many requests wait, or an ASGI one is under way
    ENDING = "ending"  # kept for LINGERING: the last answer waits for its turn
    LINGERING = "lingering"  # read over: the last answer is out
    CLOSED = "closed"


READING, HOLDING, ENDING, LINGERING, CLOSED = State
"""By these names, because `State.READING` is slow in Python 3.11."""


class Connection(asyncio.Protocol):
    """The protocol object of one accepted connection. All calls on the loop's thread."""

    __slots__ = (
        "_dispatcher",
        "_endpoints",
        "_flow",
        "_held",
        "_is_framing_lost",
        "_is_half_closed",
        "_kept_bytes",
        "_limits",
        "_lingered_bytes",
        "_pipeline",
        "_reader",
        "_shared",
        "_state",
        "_transport",
        "watch",
    )

    def __init__(self, shared: Shared, endpoints: Endpoints) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._endpoints = endpoints
        self._state = READING
        self._held = Held()
        self._kept_bytes = 0
        """Of an unfinished body, as far as they are counted in `Shared.bodies_bytes`."""
        self._lingered_bytes = 0
        self._is_framing_lost = False
        self._is_half_closed = False
        self.watch = Watch(shared.loop.time())

    # --- events of the transport -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        shared, endpoints = self._shared, self._endpoints
        self._transport = cast("asyncio.Transport", transport)
        self._flow = flow = Flow(
            self._transport, shared.limits.write_bytes_max, is_tls=endpoints.is_tls
        )
        self._pipeline = pipeline = Pipeline(self, flow.write, shared.loop)
        self._dispatcher = dispatcher = Dispatcher(self, pipeline, shared, endpoints)
        self._reader = RequestReader(
            dispatcher,
            shared.limits,
            pipeline,
            endpoints.peer,
            is_tls=endpoints.is_tls,
            known=shared.known_heads,
        )
        dispatcher.reads_from(self._reader)
        shared.connections.add(self)
        if shared.is_draining:  # its TLS handshake was under way
            shared.loop.call_soon(self._settle)

    def data_received(self, data: bytes) -> None:
        if self._state is not READING:
            self._receive_otherwise(data)
            return
        pipeline, reader = self._pipeline, self._reader
        pipeline.is_corked = True
        try:
            if len(data) <= SLICE_BYTES:
                reader.feed(data)
            else:
                self._read_slices(memoryview(data))
        except Malformed as malformed:
            self._is_framing_lost = True
            self._dispatcher.refuse_present(malformed.status, malformed.reason)
        pipeline.is_corked = False
        pipeline.flush()
        if (
            reader.request is not None
            or pipeline.is_watched
            or self._dispatcher.exchanges
            or len(pipeline.waiting) >= self._limits.pipelined_max
        ):
            self._settle()

    def eof_received(self) -> bool:
        """Whether to keep the sending half: answers to what came before are still owed.

        Neither loop can keep half of a TLS connection.
        """
        self._is_half_closed = True
        if self._state in (LINGERING, CLOSED) or self._endpoints.is_tls:
            return False
        for exchange in self._dispatcher.exchanges:
            exchange.half_closed()
        self._settle()
        return self._state is not CLOSED

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._shared.bodies_bytes -= self._kept_bytes
        self._shared.connections.discard(self)
        self._dispatcher.detach()
        # Circles of references would live on until the garbage collector runs, which is seldom.
        del self._pipeline, self._dispatcher, self._reader
        self._shared.closed()

    def pause_writing(self) -> None:
        self._flow.block()
        self._regulate()

    def resume_writing(self) -> None:
        self._flow.unblock()
        self._regulate()

    # --- reading ---------------------------------------------------------------------------------

    def _receive_otherwise(self, data: bytes) -> None:
        if self._state is LINGERING:
            self._read_over(data)
        elif self._state is not CLOSED:
            self._hold(data)

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
        dispatcher = self._dispatcher
        if dispatcher.exchanges and dispatcher.receiving is None:
            return True
        waiting_count = len(self._pipeline.waiting)
        if self._reader.request is not None:
            waiting_count -= 1  # it cannot be answered yet, so waiting for that would be for ever
        return waiting_count >= self._limits.pipelined_max

    def _hold(self, data: bytes) -> None:
        self._held.add(data)
        self._regulate()

    def _settle(self) -> None:
        """Bring state, reading and accounts in line with what has just happened."""
        if self._state is CLOSED:
            return
        self._account()
        if self._state is READING and self._must_hold():
            self._state = HOLDING
        elif self._state is HOLDING and not self._must_hold():
            self._state = READING
            if self._held.size:
                self.data_received(self._held.take())
                return
        if self._is_half_closed and self._state is READING:
            self._forget_unfinished()
        self._pipeline.is_watched = (
            self._state is HOLDING
            or self._kept_bytes > 0
            or self._is_half_closed
            or self._shared.is_draining
        )
        if self._is_done():
            self._close_idle()
        self._regulate()

    def _forget_unfinished(self) -> None:
        """A half-closed client never sends the rest of a request."""
        waiting = self._pipeline.waiting
        if waiting and waiting[-1] is self._reader.request:
            waiting.pop()
        self._reader.close()

    def _account(self) -> None:
        kept_bytes = self._reader.kept_bytes
        self._shared.bodies_bytes += kept_bytes - self._kept_bytes
        is_growing = kept_bytes > self._kept_bytes
        self._kept_bytes = kept_bytes
        if is_growing and self._shared.bodies_bytes > self._limits.bodies_bytes_max:
            reason = "Too many bodies are being received at once."
            self._dispatcher.refuse_present(503, reason)
            self._account()

    def _regulate(self) -> None:
        """Read on or pause. (Reading while an exchange runs is how a client's leaving is seen.)"""
        if self._state is CLOSED:
            return
        receiving = self._dispatcher.receiving
        has_room = receiving is None or receiving.kept_bytes <= self._limits.stream_bytes_max
        is_answer_read = not self._flow.is_blocked or self._state is LINGERING
        is_little_held = self._held.size <= self._limits.held_bytes_max
        self._flow.read(is_wanted=has_room and is_answer_read and is_little_held)

    # --- what the pipeline and an exchange ask for -----------------------------------------------

    def write(self, data: bytes) -> None:
        self._pipeline.write(data)

    def finish(self, request: Request) -> None:
        self._pipeline.finish(request)

    async def writable(self) -> None:
        await self._flow.writable()

    def body_taken(self) -> None:
        self._regulate()

    def exchange_over(self, exchange: Exchange) -> None:
        self._dispatcher.exchange_over(exchange)
        self._settle()

    def answered(self) -> None:
        self._settle()

    @property
    def is_half_closed(self) -> bool:
        return self._is_half_closed

    def is_last(self, request: Request) -> bool:
        waiting = self._pipeline.waiting
        is_followed = bool(waiting) and waiting[-1] is not request
        if is_followed or self._held.size or not self._shared.is_draining:
            return False
        return not self._reader.is_in_head and self._reader.request in (None, request)

    # --- how it ends -----------------------------------------------------------------------------

    def take_no_more(self) -> None:
        self._state = ENDING

    def ended(self, request: Request) -> None:
        """Close so that the client sees the answer: what it still sends is read over, since closing
        on unread bytes makes the system reset the connection and discard the answer."""
        self._state = LINGERING
        self._reader.drop_body()
        is_all_read = self._reader.request is not request and not self._is_framing_lost
        if self._is_half_closed or (self._endpoints.is_tls and is_all_read):
            self._close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._read_over(self._held.take())
        self._settle()

    def _read_over(self, data: bytes) -> None:
        self._lingered_bytes += len(data)
        if data and not self._is_framing_lost:
            try:
                self._reader.feed(data)
            except Malformed:
                self._is_framing_lost = True
        is_rest_known = data and not self._is_framing_lost and not self._reader.is_in_head
        is_all_read = is_rest_known and self._reader.request is None
        if is_all_read or self._lingered_bytes > self._limits.linger_bytes_max:
            self._close()

    def drain(self) -> None:
        """Take no request after those under way."""
        self._settle()

    def _is_done(self) -> bool:
        """Whether nothing is under way on a connection that will bring no further request."""
        if self._state is not READING or self._pipeline.waiting:
            return False
        if self._is_half_closed:
            return True
        reader = self._reader
        return self._shared.is_draining and not reader.is_in_head and reader.request is None

    def phase(self) -> tuple[Phase, int]:
        """What it waits for and how far that is: the same twice means no progress."""
        if self._flow.unwritten_bytes:
            return Phase.WRITE, self._flow.unwritten_bytes
        if self._state is LINGERING:
            return Phase.LINGER, 0
        if self._state is not READING or self._flow.is_paused:
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
            self._dispatcher.refuse_present(408, "The request head did not arrive in time.")
        elif phase is Phase.BODY:
            self._dispatcher.refuse_present(408, "The request body stopped arriving.")
        elif phase is Phase.WRITE:
            self.abort()
        else:
            self._close_idle()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._forget()
        self._transport.abort()

    def _close(self) -> None:
        if self._state is not CLOSED:
            self._state = CLOSED
            self._flow.close()

    def _close_idle(self) -> None:
        """Close where nothing is left to be written."""
        self._close()
        if self._endpoints.is_tls:
            self._shared.loop.call_later(CLOSE_NOTIFY_S, self._transport.abort)

    def _forget(self) -> None:
        self._state = CLOSED
        self._pipeline.clear()
        self._reader.close()
        self._held.take()
        self._dispatcher.close()
        self._flow.lose()
