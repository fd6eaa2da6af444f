"""Deadlines: each stage has its bound and its evidence. The clock is in the test's hand."""

import asyncio
import socket
import threading

import pytest

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.http.client_limits import ClientLimits
from tests.patience import PATIENCE_S

from .peers import (
    LOOPS,
    OK,
    Caller,
    Peer,
    PeerConnection,
    answer_all,
    failure,
    run,
    until,
)

both_loops = pytest.mark.parametrize("loop", LOOPS)


async def silent(connection: PeerConnection) -> None:
    await connection.request()
    await connection.closed_by_client()


@both_loops
@pytest.mark.parametrize("timeout_s", [0.5, 30.0])
def test_response_timeout(loop: str, timeout_s: float) -> None:
    """A request ends when its response timeout has passed, not before, and its connection too."""

    async def main() -> None:
        async with Peer(silent) as peer:
            with Caller() as caller:
                future = caller.start(peer.url, timeout_s=timeout_s)
                await until(lambda: caller.client.stats().opened)
                caller.pass_time(timeout_s - 0.001)
                assert not future.done()
                caller.pass_time(0.002)
                evidence = await failure(future)

                assert (evidence.stage, evidence.fault) == (Stage.WAIT, Fault.TIMED_OUT)
                assert evidence.elapsed_ms == pytest.approx(timeout_s * 1000 + 1, abs=1)
                assert evidence.address == f"127.0.0.1:{peer.port}"
                assert caller.client.stats().connections == 0

    run(loop, main())


@both_loops
def test_partial_answer_times_out(loop: str) -> None:
    """An answer that stalls in the middle times out at READ."""

    async def stall(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        await connection.closed_by_client()

    async def main() -> None:
        async with Peer(stall) as peer:
            with Caller() as caller:
                future = caller.start(peer.url)
                pool = caller.target(peer.url).pool
                await until(lambda: any(one._body for one in pool.connections))
                caller.pass_time(31)
                evidence = await failure(future)

                assert (evidence.stage, evidence.fault) == (Stage.READ, Fault.TIMED_OUT)

    run(loop, main())


@both_loops
def test_slow_reader_times_out(loop: str) -> None:
    """A peer that does not read a large request times out at WRITE."""

    async def main() -> None:
        released = asyncio.Event()

        async def deaf(connection: PeerConnection) -> None:
            connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await released.wait()

        async with Peer(deaf) as peer:
            with Caller() as caller:
                future = caller.start(peer.url, b"x" * 30_000_000)
                pool = caller.target(peer.url).pool
                await until(lambda: any(one._is_writing for one in pool.connections))
                caller.pass_time(31)
                evidence = await failure(future)
                released.set()

                assert (evidence.stage, evidence.fault) == (Stage.WRITE, Fault.TIMED_OUT)

    run(loop, main())


@both_loops
def test_time_on_the_kept_connection_counts(loop: str) -> None:
    """The response timeout is shared by the kept connection and the fresh one after it."""

    async def main() -> None:
        release = asyncio.Event()

        async def end_late(connection: PeerConnection) -> None:
            await connection.request()
            await connection.send(OK)
            await connection.request()
            await release.wait()
            connection.close()

        async with Peer(end_late, silent) as peer:
            with Caller() as caller:
                await caller.answer(peer.url)
                future = caller.start(peer.url, timeout_s=30)
                caller.pass_time(20)
                release.set()
                pool = caller.target(peer.url).pool
                await until(lambda: len(peer.connections) == 2 and pool.connections)
                caller.pass_time(9.9)
                assert not future.done()
                caller.pass_time(0.2)
                evidence = await failure(future)

                assert evidence.fault is Fault.TIMED_OUT
                assert evidence.reconnect_count == 1
                assert evidence.elapsed_ms == pytest.approx(30_100, abs=1)

    run(loop, main())


@both_loops
def test_connect_timeout(loop: str) -> None:
    """A peer that never completes the connection times out at CONNECT."""
    with full_backlog() as port:

        async def main() -> None:
            with Caller() as caller:
                url = f"http://127.0.0.1:{port}/"
                future = caller.start(url)
                pool = caller.target(url).pool
                await until(lambda: any(one.stage is Stage.CONNECT for one in pool.openings))
                caller.pass_time(9.9)
                await asyncio.sleep(0.01)
                assert not future.done()
                caller.pass_time(0.1)
                evidence = await failure(future)

                assert (evidence.stage, evidence.fault) == (Stage.CONNECT, Fault.TIMED_OUT)
                assert evidence.address == f"127.0.0.1:{port}"

        run(loop, main())


@both_loops
def test_next_address_after_a_timeout(loop: str) -> None:
    """The addresses of a name are tried in turn; one that drops packets costs its share of the
    bound only."""

    async def main() -> None:
        async with Peer(answer_all) as peer:
            addresses = ["127.0.0.2", "127.0.0.1"]
            with (
                full_backlog(peer.port, addresses[0]),
                Caller(lookup=lambda _: addresses) as caller,
            ):
                url = f"http://hooks.example:{peer.port}/"
                future = caller.start(url)
                pool = caller.target(url).pool
                await until(lambda: any(one.stage is Stage.CONNECT for one in pool.openings))
                await asyncio.sleep(0.01)
                assert not peer.connections
                caller.pass_time(5.0)
                answer = await future

                assert not isinstance(answer, Evidence)
                assert answer.address == f"127.0.0.1:{peer.port}"

    run(loop, main())


@both_loops
def test_name_timeout(loop: str) -> None:
    """A lookup that hangs times out at NAME."""
    release = threading.Event()

    def hang(_name: str) -> list[str]:
        release.wait(PATIENCE_S)
        return ["127.0.0.1"]

    async def main() -> None:
        with Caller(lookup=hang) as caller:
            future = caller.start("http://hooks.example/")
            caller.pass_time(4.9)
            await asyncio.sleep(0.01)
            assert not future.done()
            caller.pass_time(0.1)
            evidence = await failure(future)

            assert (evidence.stage, evidence.fault) == (Stage.NAME, Fault.TIMED_OUT)
            release.set()

    run(loop, main())


@both_loops
def test_tls_timeout(loop: str) -> None:
    """A peer that takes the connection and says nothing to a TLS greeting times out at TLS."""

    async def main() -> None:
        async def mute(connection: PeerConnection) -> None:
            await connection.closed_by_client()

        async with Peer(mute) as peer:
            with Caller() as caller:
                url = f"https://127.0.0.1:{peer.port}/"
                future = caller.start(url)
                pool = caller.target(url).pool
                await until(lambda: any(one.stage is Stage.TLS for one in pool.openings))
                caller.pass_time(10.0)
                evidence = await failure(future)

                assert (evidence.stage, evidence.fault) == (Stage.TLS, Fault.TIMED_OUT)

    run(loop, main())


@both_loops
def test_everybody_waiting_ends_in_time(loop: str) -> None:
    """When connections cannot be opened, requests that wait behind the few that are tried end
    within the bounds of connecting as well, with the stage that holds them up."""
    limits = ClientLimits(openings_per_origin_max=2)
    with full_backlog() as port:

        async def main() -> None:
            with Caller(limits) as caller:
                url = f"http://127.0.0.1:{port}/"
                futures = [caller.start(url) for _ in range(50)]
                for _ in range(201):
                    caller.pass_time(limits.waiting_s_max / 200)
                    await asyncio.sleep(0)

                results = [await failure(future) for future in futures]
                assert {result.fault for result in results} == {Fault.TIMED_OUT}
                assert {result.stage for result in results} <= {Stage.CONNECT, Stage.NAME}
                most_ms = (limits.waiting_s_max * 1000) * 201 / 200
                assert max(result.elapsed_ms for result in results) <= most_ms

        run(loop, main())


@both_loops
def test_sweep_runs_by_itself(loop: str) -> None:
    """Deadlines are looked at without anybody asking."""
    limits = ClientLimits(sweep_s=0.001)

    async def main() -> None:
        async with Peer(silent) as peer:
            with Caller(limits) as caller:
                future = caller.start(peer.url)
                await until(lambda: caller.client.stats().opened)
                caller.clock.advance(31)
                evidence = await failure(future)

                assert evidence.fault is Fault.TIMED_OUT

    run(loop, main())


class full_backlog:  # noqa: N801 - reads as a context manager
    """A listener whose queue is full: Linux then drops further connection requests."""

    def __init__(self, port: int = 0, address: str = "127.0.0.1") -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen(0)
        self._fillers: list[socket.socket] = []

    def __enter__(self) -> int:
        name = self._listener.getsockname()
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(name)
            self._fillers.append(filler)
        return int(name[1])

    def __exit__(self, *_: object) -> None:
        for sock in [*self._fillers, self._listener]:
            sock.close()
