"""A real server in a thread of its own, and a client that says exactly what it is told to say."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from eventpost.http.server import (
    ASGIApp,
    HttpLimits,
    HttpServer,
    Message,
    Receive,
    Request,
    Send,
    response,
)
from tests.patience import PATIENCE_S

T = TypeVar("T")
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@dataclass
class Handler:
    """A fast handler for `/fast...`: echoes, waits to be told, or fails, by the path."""

    handled: list[Request] = field(default_factory=list)
    pending: list[Request] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)

    def accepts(self, method: bytes, path: bytes) -> bool:
        return path.startswith(b"/fast")

    def handle(self, request: Request) -> None:
        self.handled.append(request)
        if request.path == b"/fast/later":
            self.pending.append(request)
        elif request.path == b"/fast/fail":
            raise LookupError("the key is swordfish")
        elif request.path == b"/fast/forbidden":
            request.respond(response(403))
        else:
            request.respond(response(200, request.body))

    def too_large(self, request: Request) -> bytes:
        return response(413, b"too large for the grid")

    def malformed(self, request: Request | None, status: int, reason: str) -> bytes:
        self.refused.append((status, reason))
        return response(status, reason.encode())


async def echo_app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers with the whole request body."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Running:
    """A server, its handler and its loop, seen from the test's thread."""

    def __init__(self, loop_kind: str, app: ASGIApp, limits: HttpLimits) -> None:
        self.loop = LOOPS[loop_kind]()
        self.loop_kind = loop_kind
        self.handler = Handler()
        self.limits = limits
        self.problems: list[dict[str, Any]] = []
        """What reached the loop's exception handler."""
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self._thread = threading.Thread(target=self.loop.run_forever, name="server")
        self._thread.start()
        self.server = self.on_loop(lambda: HttpServer(self.loop, self.handler, app, limits))

    def on_loop(self, call: Callable[[], T]) -> T:
        """The result of `call` on the loop's thread."""

        async def run() -> T:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE_S)

    def start(self, ssl_context: ssl.SSLContext | None = None) -> int:
        """Listen on a free port of the loopback; sweeps happen only when a test asks."""
        starting = self.server.start("127.0.0.1", 0, ssl_context)
        asyncio.run_coroutine_threadsafe(starting, self.loop).result(PATIENCE_S)
        self.on_loop(self.server.pause_sweeps)
        return self.server.port

    def drain(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.drain(), self.loop).result(PATIENCE_S)

    def sweep(self, at_s: float) -> None:
        self.on_loop(lambda: self.server.sweep(at_s))

    def answer(self, index: int, raw: bytes) -> None:
        """Answer the pending request number `index`."""
        self.on_loop(lambda: self.handler.pending[index].respond(raw))

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds, asked on the loop's thread."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not self.on_loop(condition):
            assert time.monotonic() < deadline_s, "the condition never came true"
            time.sleep(0.001)

    def close(self) -> None:
        self.drain()
        self.on_loop(lambda: None)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()
        assert self.problems == []


@contextmanager
def running(
    loop_kind: str,
    app: ASGIApp = echo_app,
    ssl_context: ssl.SSLContext | None = None,
    **limits: Any,
) -> Iterator[Running]:
    """A listening server; `limits` are fields of HttpLimits."""
    server = Running(loop_kind, app, HttpLimits(**{"drain_timeout_s": 0.2, **limits}))
    try:
        server.start(ssl_context)
        yield server
    finally:
        server.close()


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Client:
    """One raw connection."""

    def __init__(self, port: int, ssl_context: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ssl_context is not None:
            self.socket = ssl_context.wrap_socket(self.socket, server_hostname="localhost")
        self._bytes = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> "Client":
        self.socket.sendall(data)
        return self

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def read(self, *, is_head: bool = False) -> Answer:
        """The next answer, interim ones included."""
        while b"\r\n\r\n" not in self._bytes:
            self._more()
        head, self._bytes = self._bytes.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        headers = {
            name.lower(): value for name, value in (line.split(b": ", 1) for line in lines[1:])
        }
        status = int(lines[0].split(b" ")[1])
        if is_head or status in (100, 204, 304):
            return Answer(status, headers, b"")
        return Answer(status, headers, self._body(headers))

    def read_to_end(self) -> bytes:
        """Everything until the server closes. A reset is an error."""
        while True:
            data = self.socket.recv(65536)
            if not data:
                rest, self._bytes = self._bytes, b""
                return rest
            self._bytes += data

    def _body(self, headers: dict[bytes, bytes]) -> bytes:
        if b"content-length" in headers:
            return self._take(int(headers[b"content-length"]))
        if headers.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(self._line(), 16):
                body += self._take(size)
                self._line()
            self._line()
            return body
        return self.read_to_end()

    def _line(self) -> bytes:
        while b"\r\n" not in self._bytes:
            self._more()
        line, self._bytes = self._bytes.split(b"\r\n", 1)
        return line

    def _take(self, size: int) -> bytes:
        while len(self._bytes) < size:
            self._more()
        taken, self._bytes = self._bytes[:size], self._bytes[size:]
        return taken

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"closed after {self._bytes!r}")
        self._bytes += data


def post(
    path: str = "/fast", body: bytes = b"", headers: bytes = b"", version: str = "1.1"
) -> bytes:
    """A whole request. `headers` are lines, each with its line end."""
    head = f"POST {path} HTTP/{version}\r\nHost: test\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + headers + b"\r\n" + body


def get(path: str = "/fast", headers: bytes = b"", version: str = "1.1") -> bytes:
    return f"GET {path} HTTP/{version}\r\nHost: test\r\n".encode() + headers + b"\r\n"
