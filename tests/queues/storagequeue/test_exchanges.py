"""One request and its whole answer, over connections that are kept."""

import gc
import http.client
import ssl
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Stage
from eventpost.http.kept import Connections, Exchanged, Progress, follow
from eventpost.http.proxies import NO_PROXIES
from eventpost.queues.interfaces import Timeouts

KEPT_MAX = 2


class Server(ThreadingHTTPServer):
    """Answers with the request's target and body. Counts its connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connected = 0
        self.meeting = threading.Barrier(1)
        """Requests to /meet are answered when all have come."""
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connected += 1

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/meet":
            self.server.meeting.wait(30)
        answer = f"{self.path} {body.decode()}".encode()
        self.send_response(200, "Fine")
        self.send_header("Content-Length", str(len(answer) + (self.path == "/short")))
        if self.path in ("/last", "/short"):
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing to tell."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def connections() -> Iterator[Connections]:
    timeouts = Timeouts(connect_s=30.0, request_s=30.0)
    connections = Connections(timeouts, ssl.create_default_context(), NO_PROXIES, KEPT_MAX)
    yield connections
    connections.close()


def put(connections: Connections, server: Server, path: str, body: bytes = b"") -> Exchanged:
    return connections.exchange("PUT", server.url + path, {"x-ms-version": "1"}, body)


def meet(connections: Connections, server: Server, count: int) -> None:
    """So many requests at the same time."""
    server.meeting = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: put(connections, server, "/meet"), range(count)))


def test_an_exchange(connections: Connections, server: Server) -> None:
    """Target and body arrive as they are, and the whole answer comes back; what a target cannot
    hold is escaped, what is escaped stays."""
    answer = put(connections, server, "/a%2Bb?c=d e", b"body")

    assert (answer.status, answer.reason) == (200, "Fine")
    assert answer.body == b"/a%2Bb?c=d%20e body"


def test_a_connection_is_kept(connections: Connections, server: Server) -> None:
    """One after the other, requests use one connection; nothing is kept that is closing."""
    for _ in range(3):
        put(connections, server, "/again")
    assert server.connected == 1

    put(connections, server, "/last")
    put(connections, server, "/again")

    assert server.connected == 2


@pytest.mark.parametrize("count", [KEPT_MAX - 1, KEPT_MAX, KEPT_MAX + 1])
def test_at_most_so_many_are_kept(connections: Connections, server: Server, count: int) -> None:
    """Any number is open at once, and no more are kept than was said."""
    meet(connections, server, count)
    assert server.connected == count

    meet(connections, server, count)

    assert server.connected == count + max(0, count - KEPT_MAX)


def test_nothing_is_kept_once_closed(connections: Connections, server: Server) -> None:
    """Requests after the end are answered, and leave no connection behind."""
    put(connections, server, "/before")

    connections.close()

    for count in (1, 2):
        assert put(connections, server, "/after").status == 200
        assert server.connected == 1 + count


def test_connections_that_nobody_closed(server: Server) -> None:
    """What was forgotten is closed when it is gone, also when it went in a circle."""
    timeouts = Timeouts(connect_s=30.0, request_s=30.0)
    forgotten = [Connections(timeouts, ssl.create_default_context(), NO_PROXIES, KEPT_MAX)]
    meet(forgotten[0], server, KEPT_MAX)
    forgotten.append(forgotten)  # type: ignore[arg-type]

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del forgotten
        gc.collect()

    assert [each.category for each in told if each.category is ResourceWarning] == []


def test_a_request_under_way_at_the_end(connections: Connections, server: Server) -> None:
    """It is answered, and leaves no connection behind either."""
    server.meeting = threading.Barrier(2)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(put, connections, server, "/meet")
        while not server.meeting.n_waiting:
            assert not answer.done()
        connections.close()
        server.meeting.wait(30)
        assert answer.result().status == 200

    put(connections, server, "/after")
    assert server.connected == 2


def test_a_body_cut_short(connections: Connections, server: Server) -> None:
    """An answer that ends too early is none, and it is known that it was being read."""
    progress = Progress()
    follow(progress)

    with pytest.raises(http.client.IncompleteRead):
        put(connections, server, "/short")

    assert progress.stage is Stage.READ


@pytest.mark.parametrize("text", ["a\r\nb: c", "a\nb", "a\rb"])
def test_a_header_that_would_be_two(connections: Connections, server: Server, text: str) -> None:
    """No value can add a header, and nothing is sent."""
    with pytest.raises(ValueError, match="end of a line"):
        connections.exchange("PUT", server.url, {"x-ms-meta-a": text}, b"")

    assert server.connected == 0


def test_an_origin_that_is_none(connections: Connections) -> None:
    """A URL that no request can go to is refused, and not connected to."""
    with pytest.raises(InvalidRequest):
        connections.exchange("PUT", "ftp://station.example/a", {}, b"")
