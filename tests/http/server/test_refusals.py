"""What is refused: forged framing, too much of anything, and how the client learns of it."""

import pytest

from eventpost.http.server.reader import CHUNK_HEAD_BYTES
from tests.http.server.support import Client, Running, get, post, running

HEAD = b"POST /fast HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

SMUGGLING = {
    "length and chunked": HEAD
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two equal lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "list of lengths": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    "signed length": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "negative length": HEAD + b"Content-Length: -3\r\n\r\nabc",
    "hexadecimal length": HEAD + b"Content-Length: 0x3\r\n\r\nabc",
    "underscored length": HEAD + b"Content-Length: 1_0\r\n\r\nabcdefghij",
    "empty length": HEAD + b"Content-Length: \r\n\r\nabc",
    "huge length": HEAD + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "folded header": HEAD + b"X-A: 1\r\n 2\r\n\r\n",
    "folded with tab": HEAD + b"X-A: 1\r\n\t2\r\n\r\n",
    "folded first header": b"POST /fast HTTP/1.1\r\n Host: a\r\n\r\n",
    "space before colon": HEAD + b"Content-Length : 3\r\n\r\nabc",
    "no name": HEAD + b": 3\r\n\r\n",
    "name with bracket": HEAD + b"X(a): 3\r\n\r\n",
    "bare CR in value": HEAD + b"X-A: a\rb\r\n\r\n",
    "bare LF after line": HEAD + b"X-A: a\nX-B: b\r\n\r\n",
    "bare LF after request line": b"POST /fast HTTP/1.1\nHost: a\r\n\r\n",
    "bare CR after request line": b"POST /fast HTTP/1.1\rHost: a\r\n\r\n",
    "NUL in value": HEAD + b"X-A: a\x00b\r\n\r\n",
    "NUL in target": b"POST /fast\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no Host": b"POST /fast HTTP/1.1\r\n\r\n",
    "two Hosts": HEAD + b"Host: b\r\n\r\n",
    "two equal Hosts": HEAD + b"Host: a\r\n\r\n",
    "two Hosts in 1.0": b"GET /fast HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    "Host with a list": b"POST /fast HTTP/1.1\r\nHost: a,b\r\n\r\n",
    "Host with user": b"POST /fast HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "Host with path": b"POST /fast HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "gzip, chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "almost chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "quoted chunked": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked in 1.0": b"POST /fast HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "signed chunk size": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "chunk size with space": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "empty chunk size": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "huge chunk size": CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "bare LF after chunk size": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "bare LF after chunk": CHUNKED + b"3\r\nabc\n0\r\n\r\n",
    "bare CR in extension": CHUNKED + b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "bare LF in extension": CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "length in trailer": CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
    "fragment": b"POST /fast#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "relative target": b"POST fast HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk": b"POST * HTTP/1.1\r\nHost: a\r\n\r\n",
    "user in target": b"POST http://u@a/fast HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host in target": b"POST http:///fast HTTP/1.1\r\nHost: a\r\n\r\n",
    "other scheme": b"POST ftp://a/fast HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in target": b"POST /fa st HTTP/1.1\r\nHost: a\r\n\r\n",
    "no ASCII in target": b"POST /fast\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "lower-case method": b"post /fast HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown method": b"BREW /fast HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("shape", SMUGGLING)
def test_smuggling_shapes(loop_kind: str, shape: str) -> None:
    """What could be read in two ways is answered 400, closes, and hides no second request."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(SMUGGLING[shape] + post("/fast/smuggled"))

        answer = client.read()

        assert answer.status == 400
        assert answer.headers[b"connection"] == b"close"
        assert client.read_to_end() == b""
        assert [request.path for request in server.handler.handled] == []


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /fast HTTP/2.0", 505),
        (b"POST /fast HTTP/0.9", 505),
        (b"GET /fast", 505),
        (b"POST /fast HTTP/1.2", 400),
        (b"CONNECT a:80 HTTP/1.1", 501),
    ],
)
def test_other_versions_and_proxies(loop_kind: str, request_line: bytes, status: int) -> None:
    """Only HTTP/1.1 and 1.0 are spoken, and nothing is proxied."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        answer = client.send(request_line + b"\r\nHost: a\r\n\r\n").read()

        assert answer.status == status
        assert server.handler.handled == []


def test_refusals_repeat_nothing(loop_kind: str) -> None:
    """A refusal does not echo what was sent."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(b"POST /fast?key=swordfish HTTP/1.1\r\nswordfish swordfish: swordfish\r\n\r\n")

        assert b"swordfish" not in client.read().body


# --- bounds ---------------------------------------------------------------------------------------


def head_of(size: int) -> bytes:
    """A request head of exactly `size` bytes."""
    start = b"GET /fast HTTP/1.1\r\nHost: a\r\nX-Fill: "
    return start + b"f" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 431)])
def test_head_bytes_max(loop_kind: str, size: int, status: int, pieces: int) -> None:
    """A head of `head_bytes_max` bytes is read, one byte more is 431, however it arrives."""
    data = head_of(size)
    step = -(-len(data) // pieces)
    with (
        running(loop_kind, head_bytes_max=1000) as server,
        Client(server.server.port) as client,
    ):
        for start in range(0, len(data), step):
            client.send(data[start : start + step])

        assert client.read().status == status


def test_head_that_never_ends(loop_kind: str) -> None:
    """A head that goes on and on is refused long before it ends."""
    with (
        running(loop_kind, head_bytes_max=1000) as server,
        Client(server.server.port) as client,
    ):
        client.send(b"GET /fast HTTP/1.1\r\nX-Fill: ")
        for _ in range(30):
            client.send(b" " * 100)

        assert client.read().status == 431


@pytest.mark.parametrize(("size", "status"), [(99, 200), (100, 200), (101, 414)])
def test_url_bytes_max(loop_kind: str, size: int, status: int) -> None:
    """A target of `url_bytes_max` bytes is read, one byte more is 414."""
    with (
        running(loop_kind, url_bytes_max=100) as server,
        Client(server.server.port) as client,
    ):
        assert client.send(get("/fast?" + "q" * (size - 6))).read().status == status


@pytest.mark.parametrize(("count", "status"), [(9, 200), (10, 200), (11, 431)])
@pytest.mark.parametrize("name", ["X-%d", "X-Same"])
def test_header_count_max(loop_kind: str, count: int, status: int, name: str) -> None:
    """`header_count_max` headers are read, one more is 431, repeated or not."""
    names = [name.replace("%d", str(number)) for number in range(count - 1)]
    lines = "".join(f"{name}: 1\r\n" for name in names).encode()
    with (
        running(loop_kind, header_count_max=10) as server,
        Client(server.server.port) as client,
    ):
        assert client.send(get("/fast", lines)).read().status == status


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("size", "status"), [(99_999, 200), (100_000, 200), (100_001, 413)])
def test_body_bytes_max(loop_kind: str, size: int, status: int, framing: str, path: str) -> None:
    """A body of `body_bytes_max` bytes is taken, one byte more is 413."""
    body = b"b" * size
    with (
        running(loop_kind, body_bytes_max=100_000) as server,
        Client(server.server.port) as client,
    ):
        client.send(post(path, body) if framing == "length" else chunked(path, body))

        answer = client.read()

        assert answer.status == status
        if status == 413:
            assert server.handler.handled == []
            assert (answer.body == b"too large for the grid") == (path == "/fast")


def chunked(path: str, body: bytes, size: int = 8192) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("kind", ["extension", "trailer"])
@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 400)])
def test_chunk_overhead_bytes_max(loop_kind: str, kind: str, size: int, status: int) -> None:
    """Extensions and trailers of `chunk_overhead_bytes_max` are read over, one byte more is 400."""
    allowed = 2 * CHUNK_HEAD_BYTES  # a chunk with data and the last one
    data = {
        "extension": b"1;" + b"e" * (size + allowed - 9) + b"\r\nb\r\n0\r\n",
        "trailer": b"1\r\nb\r\n0\r\nX: " + b"t" * (size + allowed - 13) + b"\r\n",
    }[kind]
    assert len(data) - len(b"b") == size + allowed
    head = HEAD + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    with (
        running(loop_kind, chunk_overhead_bytes_max=1000) as server,
        Client(server.server.port) as client,
    ):
        assert client.send(head).read().status == 100
        client.send(data)
        [connection] = server.server._shared.connections
        server.eventually(lambda: connection._reader._wire_bytes >= len(data))

        assert client.send(b"\r\n").read().status == status


def test_bodies_bytes_max(loop_kind: str) -> None:
    """Unfinished bodies of all connections together are bounded; who comes too much gets 503."""
    begin = b"POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"b" * 50_000
    with (
        running(loop_kind, bodies_bytes_max=120_000) as server,
        Client(server.server.port) as first,
        Client(server.server.port) as second,
        Client(server.server.port) as third,
    ):
        for client, total in ((first, 50_000), (second, 100_000)):
            client.send(begin)
            server.eventually(lambda total=total: server.server._shared.bodies_bytes == total)  # type: ignore[misc]

        third.send(begin)

        assert third.read().status == 503
        assert first.send(b"b" * 10_000).read().status == 200
        assert second.send(b"b" * 10_000).read().status == 200
        server.eventually(lambda: server.server._shared.bodies_bytes == 0)


def test_lost_connection_frees_its_body(loop_kind: str) -> None:
    """A client that leaves in the middle of a body gives its share of memory back."""
    with running(loop_kind) as server:
        with Client(server.server.port) as client:
            client.send(b"POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbody")
            server.eventually(lambda: server.server._shared.bodies_bytes == 4)

        server.eventually(lambda: server.server._shared.bodies_bytes == 0)


# --- the client sees the answer -------------------------------------------------------------------


def send_all_then_read(server: Running, data: bytes) -> bytes:
    """A client that reads only after it has sent everything, as most do."""
    with Client(server.server.port) as client:
        client.send(data)
        return client.read_to_end()


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_lingering_close(loop_kind: str, framing: str, path: str) -> None:
    """The answer to a much too large body reaches a client that sends all of it before reading."""
    body = b"b" * 8_000_000
    data = post(path, body) if framing == "length" else chunked(path, body, 60_000)
    with running(loop_kind, body_bytes_max=1000) as server:
        raw = send_all_then_read(server, data)

        assert raw.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close\r\n" in raw


def test_lingering_close_after_malformed(loop_kind: str) -> None:
    """The 400 to something malformed reaches a client that goes on sending for a while."""
    with running(loop_kind) as server:
        raw = send_all_then_read(server, b"nonsense " * 500_000)

        assert raw.startswith(b"HTTP/1.1 400 ")


def test_linger_bytes_max(loop_kind: str) -> None:
    """A client that never stops sending is cut off after `linger_bytes_max`."""
    with (
        running(loop_kind, body_bytes_max=10, linger_bytes_max=100_000) as server,
        Client(server.server.port) as client,
    ):
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.send(b"a\r\n0123456789\r\n" * 2_000_000)


# --- Expect: 100-continue -------------------------------------------------------------------------

EXPECT = b"Expect: 100-continue\r\n"


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_continue(loop_kind: str, path: str) -> None:
    """A client that asks is told to go on, once."""
    request = post(path, b"body", EXPECT)
    with running(loop_kind) as server, Client(server.server.port) as client:
        assert client.send(request[:-4]).read().status == 100
        assert client.send(request[-4:]).read().body == b"body"


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_continue_not_needed(loop_kind: str, path: str) -> None:
    """HTTP/1.0 and requests without a body are never told to go on."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        assert client.send(get(path, EXPECT)).read().status == 200
        assert client.send(post(path, b"body", EXPECT, version="1.0")).read().status == 200


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_continue_too_large(loop_kind: str, path: str) -> None:
    """A body announced too large gets its 413 at once, without 100."""
    with (
        running(loop_kind, body_bytes_max=3) as server,
        Client(server.server.port) as client,
    ):
        assert client.send(post(path, b"body", EXPECT)[:-4]).read().status == 413
        assert client.read_to_end() == b""


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_continue_waits_its_turn(loop_kind: str, path: str) -> None:
    """100 is not said before earlier requests are answered: it would be taken for their answer."""
    request = post(path, b"body", EXPECT)
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/later") + request[:-4])
        server.eventually(lambda: len(server.handler.pending) == 1)
        client.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(20)

        server.answer(0, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        assert [client.read().status, client.read().status] == [200, 100]
        assert client.send(request[-4:]).read().body == b"body"
