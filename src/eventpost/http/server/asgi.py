"""One request to an ASGI application, with flow control in both directions.

Follows the ASGI specification 3.0, HTTP part 2.3: with that number frameworks watch `receive` for
a client that leaves a stream, which tells them sooner than a failing `send`.
Layer: http.
"""

import asyncio
import logging
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from eventpost.http.server.handler import FAILED, Message
from eventpost.http.server.request import CONTINUE, Request
from eventpost.http.server.shared import Endpoints, Shared
from eventpost.http.server.streamed import StreamedAnswer

log = logging.getLogger("eventpost.http")


class ClientGoneError(OSError):
    """Raised out of `send`: nobody is there to read the answer."""


class Channel(Protocol):
    """The connection, as one exchange sees it. `write` and `finish` are for the first request."""

    def write(self, data: bytes) -> None: ...

    def finish(self, request: Request) -> None:
        """All of the answer has been written."""
        ...

    def is_last(self, request: Request) -> bool:
        """Whether the connection is to be closed after this request (draining)."""
        ...

    def abort(self) -> None:
        """Drop the connection: the answer cannot be completed."""
        ...

    async def writable(self) -> None:
        """Return when the client has read enough for more to be written, or has gone."""
        ...

    def body_taken(self) -> None:
        """Body bytes were handed to the application, so more may be read."""
        ...

    def exchange_over(self, exchange: "Exchange") -> None:
        """The request is answered: the next one may be taken. Called once."""
        ...


class Exchange:
    """An ASGI application's work on one request."""

    __slots__ = (
        "_answer",
        "_body",
        "_changed",
        "_channel",
        "_is_body_complete",
        "_is_body_given",
        "_is_disconnected",
        "_is_left",
        "_is_over",
        "_request",
        "_scope",
        "_shared",
    )

    def __init__(self, request: Request, channel: Channel, shared: Shared, scope: Message) -> None:
        self._request = request
        self._channel = channel
        self._shared = shared
        self._scope = scope
        self._answer = StreamedAnswer(request)
        self._body = bytearray()
        self._is_body_complete = False
        self._is_body_given = False
        self._changed = asyncio.Event()
        self._is_left = False
        self._is_disconnected = False
        self._is_over = False

    # --- called by the connection ----------------------------------------------------------------

    def start(self, _request: Request) -> None:
        """Run the application: all requests before this one are answered."""
        task = self._shared.loop.create_task(self._run())
        self._shared.tasks.add(task)
        task.add_done_callback(self._shared.task_ended)

    @property
    def kept_bytes(self) -> int:
        return len(self._body)

    def receive_body(self, chunk: bytes) -> None:
        self._body += chunk
        self._changed.set()

    def body_complete(self) -> None:
        self._is_body_complete = True
        self._changed.set()

    def half_closed(self) -> None:
        """The client sends no more. Nearly all that do so in the middle of an answer have gone, so
        a stream is told; an answer that has not begun is still wanted."""
        self._is_left = self._answer.is_begun
        self._changed.set()

    def disconnect(self) -> None:
        """The client has gone."""
        self._is_disconnected = True
        self._changed.set()

    def overrule(self, raw: bytes) -> None:
        """Answer in the application's place, or drop the connection if it has begun to answer."""
        if self._is_over:
            return
        self._is_over = True
        self.disconnect()
        if self._answer.is_begun:
            self._channel.abort()
            return
        request = self._request
        request.start = None
        request.is_keep_alive = request.is_plain = False
        request.respond(raw)
        self._channel.exchange_over(self)

    # --- the application's side ------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._shared.app(self._scope, self._receive, self._send)
        except ClientGoneError:
            pass
        except Exception:
            if not (self._is_left or self._is_disconnected):
                method, path = self._request.method.decode(), self._request.path.decode()
                log.exception("http.application_failed method=%s path=%s", method, path)
        finally:
            self._make_up_for_missing_answer()

    def _make_up_for_missing_answer(self) -> None:
        if not self._is_over and not self._is_disconnected:
            self.overrule(self._shared.fast.malformed(self._request, 500, FAILED))

    async def _receive(self) -> Message:
        if not self._body and not self._is_body_complete and self._request.expects_continue:
            self._request.expects_continue = False
            self._channel.write(CONTINUE)
        while not (self._body or self._is_ready_to_tell()):
            self._changed.clear()
            await self._changed.wait()
        if self._is_disconnected or self._is_body_given:
            return {"type": "http.disconnect"}
        body = bytes(self._body)
        self._body.clear()
        self._is_body_given = self._is_body_complete
        self._channel.body_taken()
        return {"type": "http.request", "body": body, "more_body": not self._is_body_complete}

    def _is_ready_to_tell(self) -> bool:
        if self._is_body_given:
            return self._is_left or self._is_disconnected or self._is_over
        return self._is_body_complete or self._is_disconnected

    async def _send(self, message: Message) -> None:
        if self._is_disconnected:
            raise ClientGoneError("The client has gone.")
        if message["type"] == "http.response.start":
            self._answer.begin(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            await self._send_body(bytes(message.get("body", b"")), message.get("more_body", False))
        else:
            raise RuntimeError(f"Unknown ASGI message {message['type']!r}.")

    async def _send_body(self, body: bytes, is_more: bool) -> None:
        if self._is_over:
            raise RuntimeError("The answer is complete already.")
        if not self._answer.is_begun:
            request = self._request
            if not self._is_body_complete or self._channel.is_last(request):
                request.is_keep_alive = False
        data = self._answer.part(body, is_last=not is_more, date=self._shared.date())
        if data:
            self._channel.write(data)
        if is_more:
            await self._channel.writable()
            return
        self._is_over = True
        self._changed.set()
        self._channel.finish(self._request)
        self._channel.exchange_over(self)


def scope_of(request: Request, endpoints: Endpoints, state: dict[str, Any]) -> Message:
    """The ASGI scope of `request`. `state` is the application's, copied for each request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.0" if request.is_http_1_0 else "1.1",
        "method": request.method.decode("ascii"),
        "scheme": "https" if endpoints.is_tls else "http",
        "path": unquote_to_bytes(request.path).decode("utf-8", "replace"),
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": request.headers,
        "client": endpoints.client,
        "server": endpoints.server,
        "state": dict(state),
        "extensions": {},
    }
