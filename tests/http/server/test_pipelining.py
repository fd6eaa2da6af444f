"""Several requests of one connection under way at once."""

import asyncio
from functools import partial
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventpost.http.server import HttpLimits, Message, Receive, Request, Send, response
from eventpost.http.server.pipeline import Pipeline
from tests.http.server.support import Client, Running, get, post, running


def test_answers_keep_the_order_of_requests(loop_kind: str) -> None:
    """A later request answered first waits for the earlier ones."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/later") * 3)
        server.eventually(lambda: len(server.handler.pending) == 3)

        for index in (2, 0, 1):
            server.answer(index, response(200, b"%d" % index))

        assert [client.read().body for _ in range(3)] == [b"0", b"1", b"2"]


def test_immediate_refusal_does_not_overtake(loop_kind: str) -> None:
    """An immediate 403 waits for the pending 200 before it."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/later") + post("/fast/forbidden"))
        server.eventually(lambda: len(server.handler.handled) == 2)

        server.answer(0, response(200))

        assert [client.read().status, client.read().status] == [200, 403]


def test_malformed_request_does_not_overtake(loop_kind: str) -> None:
    """The 400 for a malformed request waits for the pending 200, and then the connection closes."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(post("/fast/later") + b"nonsense\r\n\r\n" + post("/fast/never"))
        server.eventually(lambda: len(server.handler.refused) == 1)

        server.answer(0, response(200))

        assert [client.read().status, client.read().status] == [200, 400]
        assert client.read_to_end() == b""
        assert len(server.handler.handled) == 1


def test_pipelined_max(loop_kind: str) -> None:
    """Beyond `pipelined_max` waiting requests none is begun; in the end all are answered."""
    filler = b"x" * 80_000  # so that each request comes in a slice of its own
    with running(loop_kind, pipelined_max=3) as server, Client(server.server.port) as client:
        client.send(post("/fast/later", filler) * 5)
        server.eventually(partial(is_pending, server, 2))
        client.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(20)

        assert server.on_loop(lambda: len(server.handler.pending)) == 3
        for index in range(5):
            server.eventually(partial(is_pending, server, index))
            server.answer(index, response(200, b"%d" % index))

        assert [client.read().body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


def is_pending(server: Running, index: int) -> bool:
    return len(server.handler.pending) > index


def test_many_pipelined_requests(loop_kind: str) -> None:
    """A thousand requests in one write are answered one by one."""
    with running(loop_kind) as server, Client(server.server.port) as client:
        client.send(b"".join(post(body=b"%d" % number) for number in range(1000)))

        bodies = [client.read().body for _ in range(1000)]

        assert bodies == [b"%d" % number for number in range(1000)]


def test_one_write_for_a_commit() -> None:
    """Answers given together leave in one write."""

    class Owner:
        is_half_closed = False

        def is_last(self, request: Request) -> bool:
            return False

        def ended(self, request: Request) -> None: ...

        def answered(self) -> None: ...

    async def scenario() -> list[bytes]:
        written: list[bytes] = []
        loop = asyncio.get_running_loop()
        pipeline = Pipeline(Owner(), written.append, loop)
        requests = [Request(b"POST", b"/", b"", {}, answering=pipeline) for _ in range(3)]
        for request in requests:
            pipeline.add(request)
        requests[0].respond(b"a")
        requests[1].respond(b"b")
        assert written == []
        await asyncio.sleep(0)
        requests[2].respond(b"c")
        return written

    assert asyncio.run(scenario()) == [b"ab", b"c"]


def test_application_between_fast_requests(loop_kind: str) -> None:
    """Behind an ASGI request nothing is begun before it is answered."""
    with running(loop_kind, slow_app) as server, Client(server.server.port) as client:
        client.send(post("/fast", b"1") + get("/slow") + post("/fast", b"3") + get("/slow") + get())

        assert client.read().body == b"1"
        assert len(server.handler.handled) == 1
        gates = server.on_loop(lambda: list(GATES))
        server.on_loop(gates[0].set)
        assert client.read().body == b"slow"
        assert client.read().body == b"3"
        server.eventually(lambda: len(GATES) == 2)
        server.on_loop(GATES[1].set)
        assert client.read().body == b"slow"
        assert client.read().status == 200
        assert len(server.handler.handled) == 3


def test_many_fast_requests_behind_an_application(loop_kind: str) -> None:
    """However many requests wait behind an ASGI request, answering them does not nest."""
    with running(loop_kind, slow_app) as server, Client(server.server.port) as client:
        client.send(get("/slow") + b"".join(post(body=b"%d" % number) for number in range(2000)))
        server.eventually(lambda: len(GATES) == 1)

        server.on_loop(GATES[0].set)

        assert client.read().body == b"slow"
        assert [client.read().body for _ in range(2000)] == [b"%d" % n for n in range(2000)]


def test_held_bytes_are_bounded(loop_kind: str) -> None:
    """What comes behind a slow ASGI request is left in the system's buffers beyond a bound."""
    with running(loop_kind, slow_app) as server, Client(server.server.port) as client:
        client.send(get("/slow"))
        server.eventually(lambda: len(GATES) == 1)
        client.socket.setblocking(False)
        sent = 0
        while True:
            try:
                sent += client.socket.send(b"POST /fast HTTP/1.1\r\n"[sent % 21 :])
            except BlockingIOError:
                break
        client.socket.setblocking(True)

        [connection] = server.server._shared.connections
        assert connection._held.size <= HttpLimits().held_bytes_max + 2**18
        server.on_loop(GATES[0].set)


GATES: list[asyncio.Event] = []


@pytest.fixture(autouse=True)
def _no_gates() -> None:
    GATES.clear()


async def slow_app(scope: Message, receive: Receive, send: Send) -> None:
    """Answers when its gate is opened."""
    assert scope["type"] == "http"
    gate = asyncio.Event()
    GATES.append(gate)
    await gate.wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"slow"})


@pytest.mark.slow
@pytest.mark.parametrize("pipelined_max", [1, 2, 64])
def test_any_order_of_answers(loop_kind: str, pipelined_max: int) -> None:
    """Whatever is pipelined, however it arrives, in whatever order it is answered: each request
    gets its own answer, in the order of the requests."""
    kinds = st.lists(st.sampled_from(["/fast", "/fast/later", "/asgi"]), min_size=1, max_size=12)
    with running(loop_kind, pipelined_max=pipelined_max) as server:

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(kinds, st.lists(st.integers(0, 1500), max_size=6), st.integers(0), st.booleans())
        def exchange(kinds: list[str], cuts: list[int], seed: int, is_closed: bool) -> None:
            server.handler.pending.clear()
            with Client(server.server.port) as client:
                data = b"".join(post(kind, b"%d" % n) for n, kind in enumerate(kinds))
                for start, end in pairwise(sorted({0, len(data), *(c % len(data) for c in cuts)})):
                    client.send(data[start:end])
                if is_closed:
                    client.half_close()
                answer_all(server, kinds.count("/fast/later"), Random(seed))

                bodies = [client.read().body for _ in kinds]

                assert bodies == [b"%d" % number for number in range(len(kinds))]

        exchange()


def answer_all(server: Running, count: int, chance: Random) -> None:
    """Answer `count` pending requests by chance, as they turn up. What is there to choose from when
    is not for Hypothesis to know: it wants the same draws when it repeats an example."""
    answered: set[int] = set()
    while len(answered) < count:
        server.eventually(partial(is_pending, server, len(answered)))
        open_ones = set(range(len(server.handler.pending))) - answered
        index = chance.choice(sorted(open_ones))
        server.answer(index, response(200, server.handler.pending[index].body))
        answered.add(index)
