"""Kept connections, what happens when one is gone, and how many are opened."""

import asyncio

import pytest

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.http.answers import Answer
from eventpost.http.client_limits import ClientLimits

from .peers import (
    LOOPS,
    OK,
    Caller,
    Peer,
    PeerConnection,
    Script,
    answer_all,
    answering,
    run,
    until,
)

both_loops = pytest.mark.parametrize("loop", LOOPS)


def then_end(*, is_reset: bool) -> Script:
    """Answer one request; read the next one and end the connection without a byte."""

    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(OK)
        await connection.request()
        if is_reset:
            connection.reset()
        else:
            connection.close()

    return script


@both_loops
@pytest.mark.parametrize("is_reset", [False, True])
def test_kept_connection_found_closed(loop: str, is_reset: bool) -> None:
    """When a kept connection ends before any byte of an answer, the request goes out once more on a
    fresh connection, and the answer says so."""

    async def main() -> None:
        async with Peer(then_end(is_reset=is_reset), answer_all) as peer:
            with Caller() as caller:
                await caller.answer(peer.url)
                answer = await caller.answer(peer.url)

                assert (answer.status, answer.reconnect_count) == (200, 1)
                assert len(peer.connections) == 2
                assert caller.client.stats().reconnects == 1

    run(loop, main())


@both_loops
@pytest.mark.parametrize("is_reset", [False, True])
def test_only_one_fresh_connection(loop: str, is_reset: bool) -> None:
    """The fresh connection is not replaced once more: the failure is told, with the count."""

    async def end(connection: PeerConnection) -> None:
        await connection.request()
        if is_reset:
            connection.reset()
        else:
            connection.close()

    async def main() -> None:
        async with Peer(then_end(is_reset=is_reset), end) as peer:
            with Caller() as caller:
                await caller.answer(peer.url)
                evidence = await caller.evidence(peer.url)

                assert evidence.stage is Stage.WAIT
                assert evidence.fault is (Fault.RESET if is_reset else Fault.CLOSED)
                assert evidence.reconnect_count == 1
                assert len(peer.connections) == 2

    run(loop, main())


@both_loops
@pytest.mark.parametrize("is_reset", [False, True])
def test_fresh_connection_is_never_replaced(loop: str, is_reset: bool) -> None:
    """A connection that ends on its first request fails that request; nothing is sent twice."""

    async def end(connection: PeerConnection) -> None:
        await connection.request()
        if is_reset:
            connection.reset()
        else:
            connection.close()

    async def main() -> None:
        async with Peer(end) as peer:
            with Caller() as caller:
                evidence = await caller.evidence(peer.url)

                assert evidence.fault is (Fault.RESET if is_reset else Fault.CLOSED)
                assert (evidence.stage, evidence.reconnect_count) == (Stage.WAIT, 0)
                assert evidence.address == f"127.0.0.1:{peer.port}"
                assert len(peer.connections) == 1

    run(loop, main())


@both_loops
def test_fresh_connection_not_another_kept_one(loop: str) -> None:
    """The replacement is a connection opened for it, not another kept one that may be gone too."""

    async def main() -> None:
        both_asked = asyncio.Event()
        ended: list[PeerConnection] = []

        async def script(connection: PeerConnection) -> None:
            await connection.request()
            await both_asked.wait()
            await connection.send(OK)
            await connection.request()
            ended.append(connection)
            connection.close()

        async with Peer(script, script, answer_all) as peer:
            with Caller() as caller:
                first, second = caller.start(peer.url), caller.start(peer.url)
                await until(lambda: len(peer.connections) == 2)
                both_asked.set()
                await asyncio.gather(first, second)
                answer = await caller.answer(peer.url)

                assert answer.reconnect_count == 1
                assert len(ended) == 1
                assert len(peer.connections) == 3

    run(loop, main())


@both_loops
def test_idle_connection_closed_by_the_peer(loop: str) -> None:
    """A connection that the peer closes while nobody uses it is forgotten without a word."""

    async def main() -> None:
        async with Peer(answering(OK), answer_all) as peer:
            with Caller() as caller:
                await caller.answer(peer.url)
                await until(lambda: caller.client.stats().connections == 0)
                answer = await caller.answer(peer.url)

                assert answer.reconnect_count == 0

    run(loop, main())


@both_loops
def test_unasked_bytes_on_an_idle_connection(loop: str) -> None:
    """Bytes that come while nothing was asked (a farewell such as 408) end the connection and are
    nobody's answer."""

    async def main() -> None:
        answered = asyncio.Event()

        async def script(connection: PeerConnection) -> None:
            await connection.request()
            await connection.send(OK)
            await answered.wait()
            await connection.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")

        async with Peer(script, answer_all) as peer:
            with Caller() as caller:
                await caller.answer(peer.url)
                answered.set()
                await until(lambda: caller.client.stats().connections == 0)
                answer = await caller.answer(peer.url)

                assert (answer.status, answer.reconnect_count) == (200, 0)

    run(loop, main())


@both_loops
def test_last_used_first(loop: str) -> None:
    """Of several kept connections the one used last is used next, so that the others can end."""

    async def main() -> None:
        async with Peer(answer_all) as peer:
            with Caller() as caller:
                await asyncio.gather(*(caller.start(peer.url) for _ in range(4)))
                pool = caller.target(peer.url).pool
                last = pool.idle[-1]
                await caller.answer(peer.url)

                assert pool.idle[-1] is last

    run(loop, main())


@both_loops
def test_connections_are_shared(loop: str) -> None:
    """Targets of one origin share its connections; another setting of TLS or port does not."""

    async def main() -> None:
        async with Peer(answer_all) as peer, Peer(answer_all) as other:
            with Caller() as caller:
                await caller.answer(peer.url)
                await caller.answer(peer.url + "/another/path")
                await caller.answer(other.url)

                assert (len(peer.connections), len(other.connections)) == (1, 1)
                insecure = caller.client.target("https://127.0.0.1:1/", is_insecure=True)
                secure = caller.client.target("https://127.0.0.1:1/")
                assert insecure.pool is not secure.pool

    run(loop, main())


@both_loops
@pytest.mark.parametrize("openings_max", [1, 3, 8])
def test_burst_opens_a_few_at_a_time(loop: str, openings_max: int) -> None:
    """A burst opens at most the bound of connections at once, and every request is answered."""
    limits = ClientLimits(openings_per_origin_max=openings_max)
    most = 0

    async def main() -> None:
        nonlocal most
        async with Peer(answer_all) as peer:
            with Caller(limits) as caller:
                pool = caller.target(peer.url).pool
                futures = [caller.start(peer.url) for _ in range(100)]
                while not all(future.done() for future in futures):
                    most = max(most, len(pool.openings))
                    await asyncio.sleep(0)

                assert {future.result().status for future in futures} == {200}
                assert most == openings_max

    run(loop, main())


@both_loops
def test_connections_per_origin(loop: str) -> None:
    """Requests above an origin's bound of connections wait for one to become free."""
    limits = ClientLimits(connections_per_origin_max=2)
    are_open = asyncio.Barrier(2)

    async def answer_once_both_are_open(connection: PeerConnection) -> None:
        await are_open.wait()
        await answer_all(connection)

    async def main() -> None:
        async with Peer(answer_once_both_are_open) as peer:
            with Caller(limits) as caller:
                answers = await asyncio.gather(*(caller.start(peer.url) for _ in range(20)))

                assert {answer.status for answer in answers} == {200}
                assert len(peer.connections) == 2

    run(loop, main())


@both_loops
def test_connections_of_the_client(loop: str) -> None:
    """At the client's bound the connection that is idle longest is closed for a new one."""
    limits = ClientLimits(connections_max=2)

    async def main() -> None:
        async with Peer(answer_all) as one, Peer(answer_all) as two, Peer(answer_all) as three:
            with Caller(limits) as caller:
                for peer in (one, two):
                    await caller.answer(peer.url)
                    caller.clock.advance(1)
                await caller.answer(three.url)

                assert caller.client.stats().connections == 2
                assert not caller.target(one.url).pool.connections
                assert caller.target(two.url).pool.connections

    run(loop, main())


@both_loops
def test_waiting_for_another_origin(loop: str) -> None:
    """At the client's bound with nothing idle, a request waits until another origin's connection is
    free, and is then served."""
    limits = ClientLimits(connections_max=1)

    async def main() -> None:
        release = asyncio.Event()

        async def slow(connection: PeerConnection) -> None:
            await connection.request()
            await release.wait()
            await connection.send(OK)

        async with Peer(slow) as busy, Peer(answer_all) as other:
            with Caller(limits) as caller:
                first = caller.start(busy.url)
                await until(lambda: busy.connections)
                second = caller.start(other.url)
                await asyncio.sleep(0)
                assert not other.connections
                release.set()
                answers = await asyncio.gather(first, second)

                assert [answer.status for answer in answers] == [200, 200]

    run(loop, main())


@both_loops
def test_waiting_in_vain(loop: str) -> None:
    """A request that gets no connection within the bounds of connecting ends as not attempted."""
    limits = ClientLimits(connections_max=1)

    async def main() -> None:
        async def silent(connection: PeerConnection) -> None:
            await connection.closed_by_client()

        async with Peer(silent) as busy, Peer(answer_all) as other:
            with Caller(limits) as caller:
                first = caller.start(busy.url, timeout_s=1_000.0)
                await until(lambda: caller.client.stats().opened)
                second = caller.start(other.url)
                caller.pass_time(limits.waiting_s_max - 0.001)
                assert not second.done()
                caller.pass_time(0.001)
                evidence = await second

                assert isinstance(evidence, Evidence)
                assert evidence.fault is Fault.NO_DESCRIPTORS
                assert evidence.elapsed_ms == int(limits.waiting_s_max * 1000)
                assert not first.done()

    run(loop, main())


@both_loops
def test_idle_bound(loop: str) -> None:
    """A connection is closed when it was idle for its bound, not before."""
    limits = ClientLimits(idle_s_max=50.0)

    async def main() -> None:
        async with Peer(answer_all) as peer:
            with Caller(limits) as caller:
                await caller.answer(peer.url)
                caller.pass_time(49.999)
                assert caller.client.stats().idle == 1
                caller.pass_time(0.001)
                assert caller.client.stats().connections == 0

    run(loop, main())


@both_loops
@pytest.mark.parametrize(("promise", "kept_s"), [(b"timeout=5, max=9", 4.5), (b"timeout=90", 50.0)])
def test_idle_bound_of_the_peer(loop: str, promise: bytes, kept_s: float) -> None:
    """The peer's own bound shortens ours, so that it does not close under a request."""
    raw = b"HTTP/1.1 200 OK\r\nKeep-Alive: " + promise + b"\r\nContent-Length: 0\r\n\r\n"

    async def main() -> None:
        async with Peer(answering(raw, OK, OK)) as peer:
            with Caller() as caller:
                await caller.answer(peer.url)
                caller.pass_time(kept_s - 0.001)
                assert caller.client.stats().idle == 1
                caller.pass_time(0.001)
                assert caller.client.stats().connections == 0

    run(loop, main())


@both_loops
def test_released_target(loop: str) -> None:
    """With the last user of an origin its idle connections are closed; what is in flight ends
    first."""

    async def main() -> None:
        release = asyncio.Event()

        async def slow(connection: PeerConnection) -> None:
            await connection.request()
            await release.wait()
            await connection.send(OK)
            await connection.closed_by_client()

        async with Peer(answer_all, slow) as peer:
            with Caller() as caller:
                target = caller.target(peer.url)
                other = caller.client.target(peer.url)
                await caller.answer(peer.url)
                target.release()
                target.release()
                assert caller.client.stats().connections == 1
                other.release()
                assert caller.client.stats().connections == 0

                third = caller.client.target(peer.url)
                answered: list[Answer | Evidence] = []
                head = third.head_start(b"POST") + b"Content-Length: 0\r\n\r\n"
                caller.client.request(third, head, b"", 30.0, answered.append)
                third.release()
                release.set()
                await until(lambda: answered)

                assert isinstance(answered[0], Answer)
                assert caller.client.stats().connections == 0

    run(loop, main())


@both_loops
def test_closed_client(loop: str) -> None:
    """A client that is closed lets go of everything, and closing twice does no harm."""

    async def main() -> None:
        async def silent(connection: PeerConnection) -> None:
            await connection.closed_by_client()

        async with Peer(silent) as peer:
            with Caller() as caller:
                future = caller.start(peer.url)
                await until(lambda: peer.connections)
                caller.client.close()
                caller.client.close()
                await asyncio.sleep(0.01)

                assert not future.done()
                assert caller.client.stats().connections == 0

    run(loop, main())
