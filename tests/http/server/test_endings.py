"""How connections end: clients that leave, stall or do not read, and limits of time and number."""

import asyncio
import gc
import socket
import threading
from concurrent.futures import Future

import pytest

from eventpost.http.server import Message, Receive, Request, Send, response
from eventpost.http.server.connection import Connection
from eventpost.http.server.pipeline import Pipeline
from eventpost.http.server.reader import RequestReader
from tests.http.server.support import Client, Running, get, post, running
from tests.patience import PATIENCE_S

HEAD = b"POST /fast HTTP/1.1\r\nHost: a\r\n"

# --- half-closed clients --------------------------------------------------------------------------


def test_half_closed_client(loop_kind: str) -> None:
    """A client that sends its FIN behind the request still gets its answer."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post(body=b"last words"))
        client.half_close()

        assert client.read().body == b"last words"
        assert client.read_to_end() == b""


def test_half_closed_client_answered_later(loop_kind: str) -> None:
    """Also when the answers come later, and for all that was pipelined."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/later") * 2 + b"POST /fast")
        client.half_close()
        server.eventually(lambda: len(server.handler.pending) == 2)

        server.answer(1, response(200, b"1"))
        server.answer(0, response(200, b"0"))

        assert [client.read().body, client.read().body] == [b"0", b"1"]
        assert client.read_to_end() == b""


def test_half_closed_in_a_body(loop_kind: str) -> None:
    """A body cut short by the client's FIN is never handed over; earlier answers still go out."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/later") + HEAD + b"Content-Length: 9\r\n\r\nhalf")
        client.half_close()
        server.eventually(lambda: len(server.handler.pending) == 1)

        server.answer(0, response(200))

        assert client.read().status == 200
        assert client.read_to_end() == b""
        assert len(server.handler.handled) == 1


@pytest.mark.parametrize("rest", [b"POST /fast", HEAD + b"Content-Length: 9\r\n\r\nhalf"])
def test_half_closed_waits_for_nothing(loop_kind: str, rest: bytes) -> None:
    """No limit of time runs for the rest of a request that a FIN cut short."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/later") + rest)
        client.half_close()
        server.eventually(lambda: len(server.handler.pending) == 1)
        [connection] = server.server._shared.connections
        server.eventually(lambda: connection._is_half_closed)
        now_s = server.on_loop(server.loop.time)
        server.sweep(now_s)
        server.sweep(now_s + 1000)

        server.answer(0, response(200))

        assert client.read().status == 200
        assert client.read_to_end() == b""
        assert server.handler.refused == []


def test_half_closed_with_much_pipelined(loop_kind: str) -> None:
    """All requests before a FIN are answered, also those beyond `pipelined_max`."""
    with running(loop_kind, pipelined_max=2) as server, Client(server.server.port) as client:
        client.send(post(body=b"x" * 3000) * 100)
        client.half_close()

        assert len(client.read_to_end()) == 100 * len(response(200, b"x" * 3000))


def test_half_closed_application(loop_kind: str) -> None:
    """An ASGI request before a FIN is answered."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/asgi", b"echo"))
        client.half_close()

        assert client.read().body == b"echo"
        assert client.read_to_end() == b""


def test_silent_end(loop_kind: str) -> None:
    """A client that closes between requests is closed to without a word."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(get()).read()
        client.half_close()

        assert client.read_to_end() == b""


@pytest.mark.parametrize("ending", ["idle", "pending", "application", "malformed", "body"])
def test_lost_connections_leave_nothing(loop_kind: str, ending: str) -> None:
    """A connection that is gone is freed at once, not when the garbage collector runs."""
    data = {
        "idle": get(),
        "pending": post("/fast/later"),
        "application": get("/asgi"),
        "malformed": b"nonsense\r\n\r\n",
        "body": post(body=b"cut short")[:-1],
    }[ending]
    with running(loop_kind) as server:
        gc.collect()
        gc.disable()
        try:
            with Client(server.server.port) as client:
                client.send(data)
                server.eventually(lambda: server.server.connection_count == 1)
                if ending in ("idle", "application", "malformed"):
                    client.read()
            if ending == "pending":  # still owed, even though the client has gone
                server.eventually(lambda: len(server.handler.pending) == 1)
                server.answer(0, response(200))
            server.eventually(lambda: server.server.connection_count == 0)
            server.handler.pending.clear()
            server.handler.handled.clear()

            kinds = (Connection, Pipeline, RequestReader, Request)
            server.eventually(lambda: not any(isinstance(o, kinds) for o in gc.get_objects()))
        finally:
            gc.enable()


# --- limits of time -------------------------------------------------------------------------------


def expire(server: Running, after_s: float) -> None:
    """Let the sweep see the connections, then see them again just before and at the limit."""
    now_s = server.on_loop(server.loop.time)
    server.sweep(now_s)
    count = server.server.connection_count
    server.sweep(now_s + after_s - 0.5)
    assert server.server.connection_count == count
    assert server.handler.refused == []
    server.sweep(now_s + after_s)


def wait_for_head(server: Running) -> None:
    server.eventually(lambda: any(c._reader.is_in_head for c in server.server._shared.connections))


@pytest.mark.parametrize("part", [b"P", HEAD])
def test_head_s(loop_kind: str, part: bytes) -> None:
    """A head that does not end within `head_s` of its first byte is answered 408."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(get()).read()
        client.send(part)
        wait_for_head(server)

        expire(server, 10)

        assert client.read().status == 408
        assert client.read_to_end() == b""


def test_head_s_is_not_prolonged(loop_kind: str) -> None:
    """More bytes of the same head do not prolong its time."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(HEAD)
        wait_for_head(server)
        now_s = server.on_loop(server.loop.time)
        server.sweep(now_s)
        client.send(b"X-More: 1\r\n")

        server.sweep(now_s + 10)

        assert client.read().status == 408


def test_head_s_for_silence(loop_kind: str) -> None:
    """A new connection that says nothing for `head_s` is closed without an answer."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        server.eventually(lambda: len(server.server._shared.connections) == 1)

        expire(server, 10)

        assert client.read_to_end() == b""


def received(server: Running) -> list[int]:
    """Bytes of the body that came, on each connection that was accepted."""
    return [each._reader.received for each in server.server._shared.connections]


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_body_stall_s(loop_kind: str, path: str) -> None:
    """A body that stops arriving for `body_stall_s` is answered 408."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post(path, b"0123456789")[:-5])
        server.eventually(lambda: received(server) == [5])

        expire(server, 30)

        assert client.read().status == 408
        assert client.read_to_end() == b""


def test_slow_writer(loop_kind: str) -> None:
    """A body that keeps arriving, however slowly, is taken."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(HEAD + b"Content-Length: 3\r\n\r\n")
        now_s = server.on_loop(server.loop.time)
        for number, byte in enumerate((b"a", b"b")):
            client.send(byte)
            count = number + 1
            server.eventually(lambda: received(server) == [count])  # noqa: B023 - asked here alone
            server.sweep(now_s := now_s + 29)

        assert client.send(b"c").read().body == b"abc"


def test_idle_s(loop_kind: str) -> None:
    """A connection without a request for `idle_s` is closed."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(get()).read()

        expire(server, 75)

        assert client.read_to_end() == b""


def test_pending_answer_is_not_idle(loop_kind: str) -> None:
    """No limit of time runs while the server owes an answer, also not for what comes behind."""
    with running(loop_kind, pipelined_max=1) as server, Client(server.server.port) as client:
        client.send(post("/fast/later") + HEAD)
        server.eventually(lambda: len(server.handler.pending) == 1)
        now_s = server.on_loop(server.loop.time)
        server.sweep(now_s)
        server.sweep(now_s + 1000)

        server.answer(0, response(200))

        assert client.read().status == 200


def test_linger_s(loop_kind: str) -> None:
    """Reading over what a refused client still sends ends after `linger_s`."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(b"nonsense\r\n\r\n").read()
        server.eventually(lambda: len(server.server._shared.connections) == 1)
        server.handler.refused.clear()

        expire(server, 10)

        server.eventually(lambda: len(server.server._shared.connections) == 0)


def test_timer_sweeps(loop_kind: str) -> None:
    """The server sweeps by itself."""
    with running(loop_kind, head_s=0.05) as server:
        server.on_loop(server.server._sweep_later)
        with Client(server.server.port) as client:
            client.send(HEAD)

            assert client.read().status == 408


# --- clients that do not read ---------------------------------------------------------------------


def stuff(server: Running, client: Client) -> int:
    """Pipeline requests with large answers without reading any, until the server stops reading."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.socket.setblocking(False)
    data, sent, refusals = post(body=b"x" * 50_000), 0, 0
    while refusals < 3:
        try:
            sent += client.socket.send(data[sent % len(data) :])
            refusals = 0
        except BlockingIOError:
            refusals += 1
            server.on_loop(lambda: None)
    client.socket.setblocking(True)
    client.socket.settimeout(PATIENCE_S)
    return sent


def test_client_that_does_not_read(loop_kind: str) -> None:
    """The server stops reading from a client that does not read; its memory stays bounded."""
    with (
        running(loop_kind, write_bytes_max=10_000) as server,
        Client(server.server.port) as client,
    ):
        stuff(server, client)

        [connection] = server.server._shared.connections
        kept = server.on_loop(lambda: connection._flow.unwritten_bytes)
        assert kept < 10_000 + 6 * 50_000  # the mark, and what one read brought in


def test_client_that_reads_late(loop_kind: str) -> None:
    """A client that reads after a while gets everything, in order."""
    with (
        running(loop_kind, write_bytes_max=10_000) as server,
        Client(server.server.port) as client,
    ):
        sent = stuff(server, client)
        request_bytes = len(post(body=b"x" * 50_000))

        for _ in range(sent // request_bytes):
            assert len(client.read().body) == 50_000


def test_write_stall_s(loop_kind: str) -> None:
    """A client that never reads is dropped after `write_stall_s`."""
    with (
        running(loop_kind, write_bytes_max=10_000) as server,
        Client(server.server.port) as client,
    ):
        stuff(server, client)
        now_s = server.on_loop(server.loop.time)
        server.sweep(now_s)
        server.sweep(now_s + 29.9)
        assert server.server.connection_count == 1

        server.sweep(now_s + 30)

        server.eventually(lambda: server.server.connection_count == 0)


# --- number of connections ------------------------------------------------------------------------


def test_connections_max(loop_kind: str) -> None:
    """Beyond `connections_max` a connection waits until one ends, and is then served."""
    with running(loop_kind, connections_max=2) as server:
        clients = [Client(server.server.port) for _ in range(3)]
        for client in clients[:2]:
            assert client.send(get()).read().status == 200
        clients[2].send(get())
        clients[2].socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            clients[2].socket.recv(1)
        clients[2].socket.settimeout(PATIENCE_S)

        clients[0].socket.close()

        assert clients[2].read().status == 200
        for client in clients[1:]:
            client.socket.close()


def test_idle_connections_give_way(loop_kind: str) -> None:
    """While the server is full, idle connections last only `idle_when_full_s`."""
    with (
        running(loop_kind, connections_max=1) as server,
        Client(server.server.port) as idle,
        Client(server.server.port) as waiting,
    ):
        idle.send(get()).read()
        waiting.send(get())

        expire(server, 5)

        assert idle.read_to_end() == b""
        assert waiting.read().status == 200


def test_silent_connections_give_way(loop_kind: str) -> None:
    """While the server is full, a connection that says nothing lasts only `idle_when_full_s`; one
    that has begun to speak has its whole time."""
    with (
        running(loop_kind, connections_max=2) as server,
        Client(server.server.port) as silent,
        Client(server.server.port) as slow,
        Client(server.server.port) as waiting,
    ):
        slow.send(get()[:10])
        waiting.send(get())
        wait_for_head(server)
        server.eventually(lambda: server.server.connection_count == 2)

        expire(server, 5)

        assert silent.read_to_end() == b""
        assert waiting.read().status == 200
        assert slow.send(get()[10:]).read().status == 200


# --- draining -------------------------------------------------------------------------------------


def begin_drain(server: Running) -> "Future[None]":
    task = asyncio.run_coroutine_threadsafe(server.server.drain(), server.loop)
    server.eventually(lambda: server.server._shared.is_draining)
    return task


def test_drain_closes_what_is_idle(loop_kind: str) -> None:
    """Draining closes idle connections, fresh ones too, and accepts no new ones."""
    with (
        running(loop_kind) as server,
        Client(server.server.port) as idle,
        Client(server.server.port) as fresh,
    ):
        idle.send(get()).read()
        server.eventually(lambda: len(server.server._shared.connections) == 2)
        port = server.server.port

        server.drain()

        assert idle.read_to_end() == fresh.read_to_end() == b""
        with pytest.raises(ConnectionRefusedError):
            Client(port)


def test_drain_finishes_requests(loop_kind: str) -> None:
    """Requests under way are answered, the last one with `Connection: close`."""
    with (
        running(loop_kind, drain_timeout_s=PATIENCE_S) as server,
        Client(server.server.port) as client,
    ):
        client.send(post("/fast/later") * 2)
        server.eventually(lambda: len(server.handler.pending) == 2)
        draining = begin_drain(server)

        server.answer(0, response(200, b"0"))
        server.answer(1, response(200, b"1"))

        first, second = client.read(), client.read()
        assert (first.body, second.body) == (b"0", b"1")
        assert b"connection" not in first.headers
        assert second.headers[b"connection"] == b"close"
        assert client.read_to_end() == b""
        client.socket.close()
        draining.result()


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
@pytest.mark.parametrize("cut", [5, -2])
def test_drain_finishes_what_has_begun(loop_kind: str, path: str, cut: int) -> None:
    """A request of which a part has arrived when draining begins is read and answered."""
    data = post(path, b"body")
    with (
        running(loop_kind, drain_timeout_s=PATIENCE_S) as server,
        Client(server.server.port) as client,
    ):
        client.send(data[:cut])
        server.eventually(
            lambda: any(
                c._reader.is_in_head or c._reader.request for c in server.server._shared.connections
            )
        )
        draining = begin_drain(server)

        answer = client.send(data[cut:]).read()

        assert answer.body == b"body"
        assert answer.headers[b"connection"] == b"close"
        client.socket.close()
        draining.result()


def test_drain_timeout_s(loop_kind: str) -> None:
    """What is not answered within `drain_timeout_s` is dropped."""
    with (
        running(loop_kind, drain_timeout_s=0.1) as server,
        Client(server.server.port) as client,
    ):
        client.send(post("/fast/later"))
        server.eventually(lambda: len(server.handler.pending) == 1)

        server.drain()

        with pytest.raises((EOFError, ConnectionResetError)):
            client.read()


def test_drain_cancels_applications(loop_kind: str) -> None:
    """An ASGI application that does not come to an end is cancelled."""
    ended: list[str] = []

    async def endless(scope: Message, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(scope["type"])
            raise

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await endless(scope, receive, send)

    with (
        running(loop_kind, app, drain_timeout_s=0.1) as server,
        Client(server.server.port) as client,
    ):
        client.send(get("/asgi"))
        server.eventually(lambda: len(server.server._shared.tasks) == 1)

        server.drain()

        assert ended == ["http"]


def test_drain_ends_with_an_application_that_outlives_its_answer(loop_kind: str) -> None:
    """Draining is over as soon as the last application has returned, though its connection went
    before."""
    returning = threading.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
        await asyncio.to_thread(returning.wait, PATIENCE_S)

    with (
        running(loop_kind, app, drain_timeout_s=10 * PATIENCE_S) as server,
        Client(server.server.port) as client,
    ):
        client.send(get("/asgi")).read()
        draining = begin_drain(server)
        assert client.read_to_end() == b""
        client.socket.close()
        server.eventually(lambda: server.server.connection_count == 0)

        returning.set()

        draining.result(PATIENCE_S)


def test_drain_twice(loop_kind: str) -> None:
    """Draining again does nothing."""
    with running(loop_kind) as server:
        server.drain()
        server.drain()
