"""Requests and their answers: what a well-behaved client sees."""

import pytest

from eventpost.http.server import Request, response
from tests.http.server.support import Client, get, post, running


def test_fast_request(loop_kind: str) -> None:
    """A fast request is handed over whole and answered with the handler's bytes."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/a?b=c&d", b"hello", b"X-Thing:  spaced \r\nx-two: 2\r\n"))

        assert client.read().body == b"hello"

        [request] = server.handler.handled
        assert (request.method, request.path, request.query) == (b"POST", b"/fast/a", b"b=c&d")
        assert request.header(b"x-thing") == b"spaced"
        assert request.header(b"x-none") is None
        assert (b"x-two", b"2") in request.headers
        assert request.body == b"hello"
        assert request.peer == f"127.0.0.1:{client.socket.getsockname()[1]}"
        assert not request.is_tls


def test_repeated_header(loop_kind: str) -> None:
    """A repeated header shows its first value by name and all values in the list."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(get("/fast", b"X-A: 1\r\nx-a: 2\r\n")).read()

        [request] = server.handler.handled
        assert request.header(b"x-a") == b"1"
        assert [value for name, value in request.headers if name == b"x-a"] == [b"1", b"2"]


def test_repeated_header_is_forgotten(loop_kind: str) -> None:
    """What one request repeated is no part of the next one."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(get("/fast", b"X-A: 1\r\nx-a: 2\r\n") + get()).read()
        client.read()

        assert server.handler.handled[1].headers == [(b"host", b"test")]


def test_keep_alive(loop_kind: str) -> None:
    """One connection carries many requests."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        for body in (b"1", b"", b"three" * 10_000):
            assert client.send(post(body=body)).read().body == body


def test_byte_by_byte(loop_kind: str) -> None:
    """A request that arrives in single bytes is the same request."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        for byte in post("/fast?q", b"body", b"X-A: 1\r\n"):
            client.send(bytes([byte]))

        assert client.read().body == b"body"
        assert server.handler.handled[0].header(b"x-a") == b"1"


def test_answer_later(loop_kind: str) -> None:
    """An answer may come long after the handler returned."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/later"))
        server.eventually(lambda: len(server.handler.pending) == 1)

        server.answer(0, response(202, b"done"))

        assert client.read().status == 202


def test_answer_twice(loop_kind: str) -> None:
    """Only the first answer to a request counts."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/later") * 3)
        server.eventually(lambda: len(server.handler.pending) == 3)

        for index, status in ((1, 201), (1, 500), (0, 200), (0, 500), (2, 202), (2, 500)):
            server.answer(index, response(status))

        assert [client.read().status for _ in range(3)] == [200, 201, 202]
        assert client.send(get()).read().status == 200


def test_answer_to_nobody(loop_kind: str) -> None:
    """Answering a client that has gone is no error."""
    with running(loop_kind) as server:
        with Client(server.server.port) as client:
            client.send(post("/fast/later"))
            server.eventually(lambda: len(server.handler.pending) == 1)
        client.socket.close()
        with Client(server.server.port) as other:
            assert other.send(get()).read().status == 200

        server.answer(0, response(200))


def test_handler_failure(loop_kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that raises answers 500, says nothing of the exception, and keeps serving."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        answer = client.send(post("/fast/fail")).read()

        assert answer.status == 500
        assert b"swordfish" not in answer.body
        assert client.send(get()).read().status == 200
    assert "http.handler_failed" in caplog.text


def test_chunked_request(loop_kind: str) -> None:
    """A chunked body arrives as one; extensions and trailers are read over."""
    chunks = b"3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\nX-Trailer: 2\r\n\r\n"
    head = b"POST /fast HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(head + chunks + get())

        assert client.read().body == b"abcde"
        assert client.read().status == 200
        first, second = server.handler.handled
        assert first.header(b"x-trailer") is None
        assert second.headers == [(b"host", b"test")]


def test_content_encoding_untouched(loop_kind: str) -> None:
    """A compressed body is passed on as it is."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        packed = b"\x1f\x8b\x08 not really"

        answer = client.send(post(body=packed, headers=b"Content-Encoding: gzip\r\n")).read()

        assert answer.body == packed


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_head(loop_kind: str, path: str) -> None:
    """HEAD is answered without a body, and the connection goes on."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(b"HEAD %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())

        assert client.read(is_head=True).status == 200
        assert client.send(post(path, b"next")).read().body == b"next"


def test_head_body_left_out(loop_kind: str) -> None:
    """A handler's answer to HEAD loses its body but keeps its Content-Length."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(b"HEAD /fast/later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        server.eventually(lambda: len(server.handler.pending) == 1)

        server.answer(0, response(200, b"invisible"))

        raw = client.read_to_end()
        assert b"Content-Length: 9\r\n" in raw
        assert raw.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_connection_close(loop_kind: str, path: str) -> None:
    """`Connection: close` is confirmed and done."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post(path, b"bye", b"Connection: close\r\n"))

        answer = client.read()
        assert answer.headers[b"connection"] == b"close"
        assert client.read_to_end() == b""


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_http_1_0(loop_kind: str, path: str) -> None:
    """HTTP/1.0 closes after the answer, needs no Host, and is kept alive on request."""
    with running(loop_kind) as server:
        with Client(server.server.port) as client:
            client.send(b"GET %b HTTP/1.0\r\n\r\n" % path.encode())
            assert client.read().headers[b"connection"] == b"close"
            assert client.read_to_end() == b""
        with Client(server.server.port) as client:
            for _ in range(2):
                client.send(get(path, b"Connection: keep-alive\r\n", version="1.0"))
                assert client.read().headers[b"connection"] == b"keep-alive"


def test_absolute_form(loop_kind: str) -> None:
    """A target in absolute form gives path, query and the host that counts."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(b"GET http://real:80/fast/x?y=1 HTTP/1.1\r\nHost: pretended\r\n\r\n").read()

        [request] = server.handler.handled
        assert (request.path, request.query) == (b"/fast/x", b"y=1")
        assert request.header(b"host") == b"real:80"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upgrade_ignored(loop_kind: str, framing: str) -> None:
    """An offered upgrade is ignored; body and following requests are read as ever."""
    body = {
        "length": b"Content-Length: 4\r\n\r\nbody",
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    }[framing]
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(b"POST /fast HTTP/1.1\r\nHost: a\r\n" + offer + body + post(body=b"next"))

        assert client.read().body == b"body"
        assert client.read().body == b"next"


def test_options_of_the_server(loop_kind: str) -> None:
    """`OPTIONS *` reaches the application."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        assert client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").read().status == 200


def test_request_shows_no_secret() -> None:
    """Printing a request shows neither headers nor query."""
    request = Request(b"POST", b"/t", b"aeg-sas-key=hush", {b"aeg-sas-key": b"hush"})

    assert "hush" not in repr(request)


@pytest.mark.parametrize(
    ("status", "line"), [(200, b"HTTP/1.1 200 OK\r\n"), (599, b"HTTP/1.1 599 \r\n")]
)
def test_response_bytes(status: int, line: bytes) -> None:
    """`response` makes a whole answer, of unknown status codes too."""
    raw = response(status, b"hi", [(b"X-A", b"1")])

    assert raw == line + b"X-A: 1\r\nContent-Length: 2\r\n\r\nhi"


@pytest.mark.parametrize("status", [204, 304])
def test_response_without_body(status: int) -> None:
    """204 and 304 have neither body nor Content-Length."""
    assert b"Content-Length" not in response(status)
