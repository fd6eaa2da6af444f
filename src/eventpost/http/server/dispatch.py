"""Who gets the requests of one connection: the fast handler, an ASGI exchange, or a refusal.

Layer: http.
"""

import logging
from typing import Protocol

from eventpost.http.server.asgi import Channel, Exchange, scope_of
from eventpost.http.server.handler import FAILED
from eventpost.http.server.pipeline import Pipeline
from eventpost.http.server.reader import RequestReader
from eventpost.http.server.request import CONTINUE, Request
from eventpost.http.server.shared import Endpoints, Shared
from eventpost.http.server.sink import DROP, KEEP, STREAM, Mode

log = logging.getLogger("eventpost.http")


class Connected(Channel, Protocol):
    """The connection, as its dispatcher sees it."""

    def take_no_more(self) -> None:
        """The last request of the connection has come."""
        ...


class Dispatcher:
    """Takes what the reader finds. Nothing is begun behind an ASGI request, since that may change
    what the next request finds."""

    __slots__ = (
        "_connection",
        "_endpoints",
        "_fast",
        "_pipeline",
        "_reader",
        "_shared",
        "exchanges",
        "is_taking",
        "receiving",
    )

    def __init__(
        self, connection: Connected, pipeline: Pipeline, shared: Shared, endpoints: Endpoints
    ) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._shared = shared
        self._fast = shared.fast
        self._endpoints = endpoints
        self._reader: RequestReader
        self.is_taking = True
        """Whether the next request is taken."""
        self.exchanges: list[Exchange] = []
        """ASGI requests that are not answered yet."""
        self.receiving: Exchange | None = None
        """The one of them whose body is coming in."""

    def reads_from(self, reader: RequestReader) -> None:
        self._reader = reader

    # --- what the reader finds -------------------------------------------------------------------

    def head(self, request: Request) -> Mode:
        if not self.is_taking:
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
        if self.is_taking:
            self._pipeline.add(request)
            self.too_large(request)

    def too_large(self, request: Request) -> None:
        if self._fast.accepts(request.method, request.path):
            raw = self._fast.too_large(request)
        else:
            raw = self._fast.malformed(request, 413, "The request body is too large.")
        self._refuse(request, raw)

    def body(self, chunk: bytes) -> None:
        if self.receiving is not None:
            self.receiving.receive_body(chunk)

    def complete(self, request: Request) -> None:
        if self.exchanges or not request.is_keep_alive or not self.is_taking:
            self._complete_otherwise(request)
            return
        try:
            self._fast.handle(request)
        except Exception as error:  # noqa: BLE001  the edge to any handler
            self._answer_failure(request, error)

    def _complete_otherwise(self, request: Request) -> None:
        if not self.is_taking:
            return
        if not request.is_keep_alive:
            self._take_no_more()
        if self.receiving is not None:
            self.receiving.body_complete()
            self.receiving = None
        elif self.exchanges:
            request.start = self._handle_soon
        else:
            self._handle(request)

    # --- the fast handler ------------------------------------------------------------------------

    def _handle(self, request: Request) -> None:
        try:
            self._fast.handle(request)
        except Exception as error:  # noqa: BLE001  the edge to any handler
            self._answer_failure(request, error)

    def _handle_soon(self, request: Request) -> None:
        """In a turn of its own: one answer starting the next would nest without a bound."""
        self._shared.loop.call_soon(self._handle, request)

    def _answer_failure(self, request: Request, error: Exception) -> None:
        log.error("http.handler_failed method=%s", request.method.decode(), exc_info=error)
        if self._pipeline.is_waiting(request):
            request.respond(self._fast.malformed(request, 500, FAILED))

    def _say_continue(self, request: Request) -> None:
        request.expects_continue = False
        if self._reader.request is request and not self._reader.received:
            self._pipeline.write(CONTINUE)

    # --- ASGI ------------------------------------------------------------------------------------

    def _begin_exchange(self, request: Request) -> Mode:
        scope = scope_of(request, self._endpoints, self._shared.state)
        exchange = Exchange(request, self._connection, self._shared, scope)
        request.start = exchange.start
        self.exchanges.append(exchange)
        self.receiving = exchange
        self._pipeline.add(request)
        return STREAM

    def exchange_over(self, exchange: Exchange) -> None:
        """`exchange` is answered."""
        self.exchanges.remove(exchange)
        if self.receiving is exchange:
            self.receiving = None

    # --- refusing --------------------------------------------------------------------------------

    def refuse_present(self, status: int, reason: str) -> None:
        """Answer what is just coming in, when its turn comes, and take nothing more."""
        if not self.is_taking:
            return
        request = self._reader.request
        raw = self._fast.malformed(request, status, reason)
        if request is None:
            request = Request(b"", b"", b"", {}, self._endpoints.peer, answering=self._pipeline)
            self._pipeline.add(request)
        self._refuse(request, raw)

    def _refuse(self, request: Request, raw: bytes) -> None:
        self._take_no_more()
        self._reader.drop_body()
        if self.receiving is not None:
            self.receiving.overrule(raw)
            return
        request.start = None
        request.is_keep_alive = request.is_plain = False
        request.respond(raw)

    def _take_no_more(self) -> None:
        self.is_taking = False
        self._connection.take_no_more()

    def detach(self) -> None:
        """Let go of the reader, which lets go of what it reads for."""
        del self._reader

    def close(self) -> None:
        """The connection is given up: begin nothing more, and tell the applications."""
        self.is_taking = False
        for exchange in self.exchanges:
            exchange.disconnect()
        self.exchanges.clear()
        self.receiving = None
