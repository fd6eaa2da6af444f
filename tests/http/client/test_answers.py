"""What the client makes of answers, whole and broken, as raw bytes on real sockets."""

import asyncio

import pytest

from eventpost.core.outcomes import Fault, Stage
from eventpost.http.client_limits import ClientLimits

from .peers import LOOPS, OK, Caller, Peer, PeerConnection, answer_all, answering, run

both_loops = pytest.mark.parametrize("loop", LOOPS)


def ask(
    loop: str, answer: bytes, *, method: bytes = b"POST", limits: ClientLimits | None = None
) -> tuple[object, int]:
    """Send one request, and a second one when the first is answered: what came, and over how many
    connections both went."""
    results: list[object] = []
    counts: list[int] = []

    async def main() -> None:
        async with Peer(answering(answer, OK)) as peer:
            with Caller(limits) as caller:
                results.append(await caller.post(peer.url, method=method))
                await caller.post(peer.url)
                counts.append(len(peer.connections))

    run(loop, main())
    return results[0], counts[0]


@both_loops
def test_kept_connection(loop: str) -> None:
    """A connection is used again after a complete answer with a length."""
    answer, connection_count = ask(loop, b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")

    assert (answer.status, answer.body) == (201, b"ok")  # type: ignore[attr-defined]
    assert connection_count == 1


@both_loops
@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (OK + b"HTTP/1.1 5", b""),
        (OK + b"\x00garbage", b""),
    ],
    ids=["close", "1.0", "second-answer", "half-answer", "garbage"],
)
def test_connection_is_not_used_again(loop: str, raw: bytes, body: bytes) -> None:
    """An answer that ends the connection, or is followed by bytes that nobody asked for, counts,
    and its connection is never used again."""
    answer, connection_count = ask(loop, raw)

    assert (answer.status, answer.body) == (200, body)  # type: ignore[attr-defined]
    assert connection_count == 2


@both_loops
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 16 + OK, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302),
    ],
    ids=["204", "304", "100", "16x103", "chunked", "302"],
)
def test_answers_without_a_plain_length(loop: str, raw: bytes, status: int) -> None:
    """204, 304, interim answers, chunks and redirects end where the standard says, and the
    connection is used again."""
    answer, connection_count = ask(loop, raw)

    assert answer.status == status  # type: ignore[attr-defined]
    assert connection_count == 1


@both_loops
def test_answer_until_close(loop: str) -> None:
    """An answer without a length ends with the connection."""

    async def main() -> None:
        async with Peer(answering(b"HTTP/1.1 200 OK\r\n\r\nall of it")) as peer:
            with Caller() as caller:
                answer = await caller.answer(peer.url)

        assert (answer.status, answer.body) == (200, b"all of it")

    run(loop, main())


@both_loops
def test_head_answer_has_no_body(loop: str) -> None:
    """The answer to HEAD is complete with its head, whatever length it names."""
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

    async def main() -> None:
        async with Peer(answering(raw), answer_all) as peer:
            with Caller() as caller:
                answer = await caller.answer(peer.url, method=b"HEAD")

                assert (answer.status, answer.body) == (200, b"")
                assert caller.client.stats().connections == 0

    run(loop, main())


@both_loops
def test_answer_in_single_bytes(loop: str) -> None:
    """An answer that arrives byte by byte is the same answer, headers included."""
    raw = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\nno!"

    async def dribble(connection: PeerConnection) -> None:
        await connection.request()
        for index in range(len(raw)):
            await connection.send(raw[index : index + 1])
            await asyncio.sleep(0)

    async def main() -> None:
        async with Peer(dribble) as peer:
            with Caller() as caller:
                answer = await caller.answer(peer.url)

        assert (answer.status, answer.body) == (503, b"no!")
        assert answer.header(b"retry-after") == b"7"

    run(loop, main())


@both_loops
@pytest.mark.parametrize(
    "raw",
    [
        b"220 mail.example ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + OK,
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    ],
    ids=[
        *("smtp", "ssh", "status", "version", "two-lengths", "negative", "chunk", "both"),
        *("101", "17x100", "http2"),
    ],
)
def test_malformed(loop: str, raw: bytes) -> None:
    """What is not a well-formed answer is told as such, with how it began, and costs the
    connection."""
    evidence, connection_count = ask(loop, raw)

    assert evidence.fault is Fault.MALFORMED, evidence  # type: ignore[attr-defined]
    assert evidence.stage is Stage.READ  # type: ignore[attr-defined]
    assert connection_count == 2


@both_loops
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 O",
    ],
    ids=["length", "chunked", "head"],
)
def test_broken_off(loop: str, raw: bytes) -> None:
    """An answer that breaks off is no answer, and is never asked for again on its own."""

    async def main() -> None:
        async with Peer(answering(OK, raw)) as peer:
            with Caller() as caller:
                await caller.answer(peer.url)
                evidence = await caller.evidence(peer.url)

                assert (evidence.stage, evidence.fault) == (Stage.READ, Fault.CLOSED)
                assert evidence.reconnect_count == 0
                assert len(peer.connections) == 1

    run(loop, main())


@both_loops
@pytest.mark.parametrize(("extra", "is_taken"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize("is_split", [False, True])
def test_head_bound(loop: str, extra: int, is_taken: bool, is_split: bool) -> None:
    """The head of an answer may be exactly as large as its bound."""
    limits = ClientLimits(answer_head_bytes_max=500)
    start, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\nContent-Length: 600\r\n\r\n"
    head = start + b"a" * (500 + extra - len(start) - len(end)) + end
    body = b"b" * 600

    async def script(connection: PeerConnection) -> None:
        await connection.request()
        if is_split:
            await connection.send(head)
            await asyncio.sleep(0.01)
            await connection.send(body)
        else:
            await connection.send(head + body)

    async def main() -> None:
        async with Peer(script) as peer:
            with Caller(limits) as caller:
                result = await caller.post(peer.url)

        if is_taken:
            assert result.status == 200
        else:
            assert result.fault is Fault.TOO_LARGE  # type: ignore[union-attr]

    run(loop, main())


@both_loops
def test_endless_head(loop: str) -> None:
    """A head that never ends is given up at the bound."""

    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await connection.send(b"X: " + b"a" * 1_000 + b"\r\n")

    async def main() -> None:
        async with Peer(script) as peer:
            with Caller() as caller:
                evidence = await caller.evidence(peer.url)

        assert (evidence.stage, evidence.fault) == (Stage.READ, Fault.TOO_LARGE)

    run(loop, main())


@both_loops
@pytest.mark.parametrize(
    ("body_bytes", "kept_bytes", "is_truncated", "connection_count"),
    [
        (9, 9, False, 1),
        (10, 10, False, 1),
        (11, 10, True, 1),
        (99, 10, True, 1),
        (100, 10, True, 1),
        (101, 10, True, 1),
    ],
)
def test_body_bound(
    loop: str, body_bytes: int, kept_bytes: int, is_truncated: bool, connection_count: int
) -> None:
    """Of a body the beginning is kept, up to the bound, and the answer says what is missing."""
    limits = ClientLimits(answer_body_bytes_kept_max=10, answer_body_bytes_read_max=100)
    raw = b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n" % body_bytes + b"b" * body_bytes
    answer, count = ask(loop, raw, limits=limits)

    assert len(answer.body) == kept_bytes  # type: ignore[attr-defined]
    assert answer.is_truncated is is_truncated  # type: ignore[attr-defined]
    assert count == connection_count


@both_loops
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 99999999\r\n"])
def test_endless_body(loop: str, framing: bytes) -> None:
    """A body beyond the bound is not waited for: its status counts, its connection is closed."""

    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        while True:
            await connection.send(b"b" * 10_000)

    async def main() -> None:
        async with Peer(script, answer_all) as peer:
            with Caller() as caller:
                answer = await caller.answer(peer.url)
                await caller.answer(peer.url)

                assert (answer.status, answer.is_truncated) == (200, True)
                assert len(answer.body) == 8_192
                assert len(peer.connections) == 2

    run(loop, main())


@both_loops
def test_answer_before_the_request_is_out(loop: str) -> None:
    """An early refusal of a large body is heard, and its connection is not used again."""

    async def script(connection: PeerConnection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await connection.closed_by_client()

    async def main() -> None:
        async with Peer(script, answer_all) as peer:
            with Caller() as caller:
                answer = await caller.answer(peer.url, b"x" * 20_000_000)
                await caller.answer(peer.url)

                assert answer.status == 413
                assert len(peer.connections) == 2

    run(loop, main())
