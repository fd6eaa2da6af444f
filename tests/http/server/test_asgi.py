"""The ASGI bridge, mostly with a small Starlette application."""

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from eventpost.http.server import ASGIApp, LifespanFailed, Message, Receive, Send
from tests.http.server.support import Client, get, post, running

BLOCKED_S = 0.3
"""A socket without room for so long is not read from."""


class Station:
    """An application that notes what it sees."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.gate = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/scope/{name}", self.scope, methods=["GET", "POST"]),
                Route("/echo", self.echo, methods=["POST"]),
                Route("/stream", self.stream, methods=["GET"]),
                Route("/endless", self.endless),
                Route("/slow-body", self.slow_body, methods=["POST"]),
                Route("/unread", self.unread, methods=["POST"]),
                Route("/fail", self.fail),
                Route("/fail-late", self.fail_late),
                Route("/background", self.background),
            ],
            lifespan=self.lifespan,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[dict[str, Any]]:
        self.seen.append("started")
        yield {"key": "value"}
        self.seen.append("stopped")

    async def scope(self, request: StarletteRequest) -> Response:
        scope = request.scope
        return JSONResponse(
            {
                "path": scope["path"],
                "raw_path": scope["raw_path"].decode(),
                "query": scope["query_string"].decode(),
                "scheme": scope["scheme"],
                "client": scope["client"][0],
                "server": scope["server"][1],
                "http_version": scope["http_version"],
                "header": request.headers.get("x-a"),
                "state": request.state.key,
            }
        )

    async def echo(self, request: StarletteRequest) -> Response:
        return Response(await request.body())

    async def stream(self, request: StarletteRequest) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"%d" % number * 3

        return StreamingResponse(pieces())

    async def endless(self, request: StarletteRequest) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    self.seen.append("piece")
                    yield b"x" * 10_000
                    if "wait" in request.query_params:
                        await self.gate.wait()
            finally:
                self.seen.append("ended")

        return StreamingResponse(pieces())

    async def slow_body(self, request: StarletteRequest) -> Response:
        await self.gate.wait()
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
        except ClientDisconnect:
            self.seen.append("disconnected")
            raise
        return Response(b"%d" % size)

    async def unread(self, request: StarletteRequest) -> Response:
        return Response("no thanks", 401)

    async def fail(self, request: StarletteRequest) -> Response:
        raise LookupError("the key is swordfish")

    async def fail_late(self, request: StarletteRequest) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"so far"
            raise LookupError("the key is swordfish")

        return StreamingResponse(pieces())

    async def background(self, request: StarletteRequest) -> Response:
        return Response("answered", background=BackgroundTask(self.gate.wait))


@pytest.fixture
def station() -> Station:
    return Station()


def test_scope(loop_kind: str, station: Station) -> None:
    """The application sees path, query, headers, both ends and the lifespan's state."""
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        answer = client.send(get("/scope/a%20b?c=%20d", b"X-A: 1 \r\n")).read()

        assert answer.body == (
            b'{"path":"/scope/a b","raw_path":"/scope/a%20b","query":"c=%20d","scheme":"http",'
            b'"client":"127.0.0.1","server":'
            + str(server.server.port).encode()
            + b',"http_version":"1.1","header":"1","state":"value"}'
        )
        assert answer.headers[b"content-type"] == b"application/json"
        assert answer.headers[b"date"].endswith(b" GMT")


def test_lifespan(loop_kind: str, station: Station) -> None:
    """The application starts before the first request and stops after the last."""
    with running(loop_kind, station.app) as server:
        assert station.seen == ["started"]
        server.drain()

    assert station.seen == ["started", "stopped"]


def test_lifespan_failure(loop_kind: str) -> None:
    """An application that cannot start is an error of `start`, and nothing listens."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with (
        pytest.raises(LifespanFailed, match="no database"),
        running(loop_kind, app) as server,
    ):
        assert server.server.connection_count == 0


def test_lifespan_that_does_not_end(loop_kind: str) -> None:
    """An application that does not stop is cancelled after `drain_timeout_s`."""
    seen: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    with running(loop_kind, app, drain_timeout_s=0.05) as server:
        server.drain()

        assert seen == ["cancelled"]


def test_lifespan_that_fails_later(loop_kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """An application that fails after its start is heard of in the log."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise LookupError("no more")

    with running(loop_kind, app) as server:
        server.drain()

    assert "http.lifespan_failed" in caplog.text


def test_large_body_both_ways(loop_kind: str, station: Station) -> None:
    """A large body goes in and comes out whole."""
    body = bytes(range(256)) * 5_000
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        assert client.send(post("/echo", body)).read().body == body


def test_streaming(loop_kind: str, station: Station) -> None:
    """An answer of unknown length is sent in chunks, and the connection goes on."""
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        for _ in range(2):
            answer = client.send(get("/stream")).read()
            assert answer.headers[b"transfer-encoding"] == b"chunked"
            assert answer.body == b"000111222"


def test_streaming_to_http_1_0(loop_kind: str, station: Station) -> None:
    """To HTTP/1.0 the same answer ends with the connection."""
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        client.send(get("/stream", b"Connection: keep-alive\r\n", version="1.0"))

        answer = client.read()

        assert b"transfer-encoding" not in answer.headers
        assert answer.headers[b"connection"] == b"close"
        assert answer.body == b"000111222"


def test_streaming_head(loop_kind: str, station: Station) -> None:
    """HEAD on a stream has neither body nor chunks."""
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        client.send(b"HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n")

        assert client.read(is_head=True).status == 200
        assert client.send(get("/stream")).read().body == b"000111222"


def test_reader_sets_the_pace(loop_kind: str, station: Station) -> None:
    """A stream is not produced faster than the client reads."""
    with (
        running(loop_kind, station.app, write_bytes_max=20_000) as server,
        Client(server.server.port) as client,
    ):
        client.send(get("/endless"))
        server.eventually(lambda: server.server.connection_count == 1)
        [connection] = server.server._shared.connections

        server.eventually(lambda: connection._flow.is_blocked)

        kept = server.on_loop(lambda: connection._flow.unwritten_bytes)
        assert 20_000 <= kept < 40_000
        for _ in range(200):
            client.socket.recv(100_000)


def test_application_sets_the_pace(loop_kind: str, station: Station) -> None:
    """A body is not read faster than the application takes it, and then is read on."""
    with (
        running(loop_kind, station.app, stream_bytes_max=20_000, body_bytes_max=10**8) as server,
        Client(server.server.port) as client,
    ):
        client.socket.setblocking(False)
        data = post("/slow-body", b"x" * 50_000_000)
        sent = send_until_blocked(client, data)
        assert sent < len(data)
        [connection] = server.server._shared.connections
        assert server.on_loop(lambda: connection._dispatcher.receiving.kept_bytes) < 600_000  # type: ignore[union-attr]

        client.socket.setblocking(True)
        server.on_loop(station.gate.set)

        assert client.send(data[sent:]).read().body == b"50000000"


def send_until_blocked(client: Client, data: bytes) -> int:
    """Send as long as there is room now and then: a server on a busy machine reads late."""
    sent = 0
    while select.select([], [client.socket], [], BLOCKED_S)[1]:
        sent += client.socket.send(data[sent : sent + 65536])
    return sent


@pytest.mark.parametrize("query", ["", "?wait"])
def test_client_leaves_a_stream(loop_kind: str, station: Station, query: str) -> None:
    """A stream whose client has gone is ended, also while there is nothing to send."""
    with running(loop_kind, station.app) as server:
        with Client(server.server.port) as client:
            client.send(get("/endless" + query))
            client.socket.recv(100)

        server.eventually(lambda: not server.server._shared.tasks)


def test_client_leaves_a_body(
    loop_kind: str, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """An application that reads a body is told when the client goes; that is no error."""
    with running(loop_kind, station.app) as server:
        with Client(server.server.port) as client:
            client.send(post("/slow-body", b"12345")[:-1])
            server.eventually(lambda: len(server.server._shared.tasks) == 1)
        server.eventually(lambda: server.server.connection_count == 0)

        server.on_loop(station.gate.set)

        server.eventually(lambda: "disconnected" in station.seen)
    assert caplog.text == ""


def test_body_not_read(loop_kind: str, station: Station) -> None:
    """An application may answer without reading the body: the client sees it, then the end."""
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        client.send(post("/unread", b"x" * 1_000_000))

        answer = client.read()

        assert (answer.status, answer.body) == (401, b"no thanks")


def test_body_not_wanted(loop_kind: str, station: Station) -> None:
    """A client that waits for 100 gets the final answer when the body is not wanted."""
    request = post("/unread", b"body", b"Expect: 100-continue\r\n")
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        answer = client.send(request[:-4]).read()

        assert answer.status == 401
        assert answer.headers[b"connection"] == b"close"
        assert client.read_to_end() == b""


def test_exception(loop_kind: str, station: Station, caplog: pytest.LogCaptureFixture) -> None:
    """An exception answers 500, tells the log, and tells the client nothing of it."""
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        answer = client.send(get("/fail?key=hush")).read()

        assert answer.status == 500
        assert b"swordfish" not in answer.body
        assert b"Traceback" not in answer.body
    assert "path=/fail" in caplog.text
    assert "hush" not in caplog.text


def test_exception_in_a_stream(loop_kind: str, station: Station) -> None:
    """An answer that fails half-way is visibly cut short."""
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        client.send(get("/fail-late"))

        with pytest.raises((EOFError, ConnectionResetError)):
            client.read()


def test_background_task(loop_kind: str, station: Station) -> None:
    """The next request does not wait for what the application does after its answer."""
    with running(loop_kind, station.app) as server, Client(server.server.port) as client:
        assert client.send(get("/background")).read().body == b"answered"
        assert client.send(get("/stream")).read().status == 200
        server.on_loop(station.gate.set)


# --- applications that break the rules ------------------------------------------------------------

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"body"}


def said(*messages: Message) -> ASGIApp:
    """An application that sends `messages` whatever is asked."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        for message in messages:
            await send(dict(message))

    return app


def with_headers(*headers: tuple[bytes, bytes]) -> Message:
    return {**START, "headers": list(headers)}


WRONG: dict[str, list[Message]] = {
    "nothing": [],
    "no body": [START],
    "no start": [BODY],
    "two starts": [START, START],
    "unknown message": [{"type": "http.response.push"}],
    "line end in a value": [with_headers((b"x-a", b"1\r\nx-b: 2")), BODY],
    "line end in a name": [with_headers((b"x-a\r\nx-b", b"1")), BODY],
    "no name": [with_headers((b"", b"1")), BODY],
    "length too small": [with_headers((b"content-length", b"3")), BODY],
    "length too large": [with_headers((b"content-length", b"5")), BODY],
    "length no number": [with_headers((b"content-length", b"x")), BODY],
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_messages(loop_kind: str, case: str) -> None:
    """An application that breaks the protocol answers 500."""
    with (
        running(loop_kind, said(*WRONG[case])) as server,
        Client(server.server.port) as client,
    ):
        assert client.send(get("/")).read().status == 500


@pytest.mark.parametrize(
    "messages",
    [
        [with_headers((b"content-length", b"9")), {**BODY, "more_body": True}, BODY, BODY],
        [with_headers((b"content-length", b"9")), {**BODY, "more_body": True}],
        [with_headers((b"content-length", b"9")), {**BODY, "more_body": True}, BODY],
    ],
)
def test_wrong_length_in_parts(loop_kind: str, messages: list[Message]) -> None:
    """A body that does not keep its announced length ends the connection."""
    with (
        running(loop_kind, said(*messages)) as server,
        Client(server.server.port) as client,
    ):
        client.send(get("/"))

        with pytest.raises((EOFError, ConnectionResetError)):
            client.read()


def test_sending_after_the_end(loop_kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is sent after the last part is an error of the application's, not of the client's."""
    with (
        running(loop_kind, said(START, BODY, BODY)) as server,
        Client(server.server.port) as client,
    ):
        assert client.send(get("/")).read().body == b"body"
        assert client.send(get("/")).read().body == b"body"
    assert "complete already" in caplog.text


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_body(loop_kind: str, status: int) -> None:
    """204 and 304 carry neither body nor framing."""
    with (
        running(loop_kind, said({**START, "status": status}, BODY)) as server,
        Client(server.server.port) as client,
    ):
        for _ in range(2):
            answer = client.send(get("/")).read()
            assert answer.status == status
            assert not {b"content-length", b"transfer-encoding"} & answer.headers.keys()


def test_application_closes(loop_kind: str) -> None:
    """`Connection: close` from the application is honoured; other headers of the connection are
    the server's own."""
    headers = with_headers((b"connection", b"close"), (b"transfer-encoding", b"chunked"))
    with (
        running(loop_kind, said(headers, BODY)) as server,
        Client(server.server.port) as client,
    ):
        answer = client.send(get("/")).read()

        assert answer.headers[b"connection"] == b"close"
        assert answer.headers[b"content-length"] == b"4"
        assert client.read_to_end() == b""


def test_receive_after_the_body(loop_kind: str) -> None:
    """`receive` after the body waits until the answer is complete, then says so."""
    got: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        got.append((await receive())["type"])
        watching = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not watching.done()
        await send(START)
        await send(BODY)
        got.append((await watching)["type"])

    with running(loop_kind, app) as server, Client(server.server.port) as client:
        client.send(get("/")).read()

        server.eventually(lambda: got == ["http.request", "http.disconnect"])
