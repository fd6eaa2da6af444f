"""Failures of the network that are rare, over real sockets, to the finding that a user reads."""

import asyncio
import contextlib
import resource
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from eventpost.core.outcomes import Evidence
from eventpost.diagnosis.classify import classify
from eventpost.http.addresses import AddressGuard
from eventpost.http.answers import Answer
from eventpost.http.proxies import Proxies, Proxy
from tests.http.client.peers import Caller, Peer, PeerConnection, answering, run, until

NOT_ROUTED = "127.255.255.255"
"""The broadcast address of the loopback network: TCP has no route to it, on every Linux."""
LARGE = b"x" * 64_000_000
"""More than the buffers of both sides hold."""
PATIENCE_S = 120.0


def test_no_route() -> None:
    """What the system has no way to is told apart from a port where nobody listens."""

    async def main() -> None:
        with Caller() as caller:
            assert classify(await caller.evidence(f"http://{NOT_ROUTED}:9/")) == "EP2005"

    run("asyncio", main())


class Busy(asyncio.SelectorEventLoop):
    """A loop that is busy from when it began to connect until `is_over`: what the peer did
    meanwhile is what it then finds."""

    def __init__(self, is_over: Callable[[], object]) -> None:
        super().__init__()
        self._is_over = is_over

    def _sock_connect(
        self, future: "asyncio.Future[None]", connecting: socket.socket, address: object
    ) -> None:
        super()._sock_connect(future, connecting, address)  # type: ignore[misc]  # of asyncio's own
        self._is_over()


@contextlib.contextmanager
def resetting() -> Iterator[tuple[int, threading.Event]]:
    """A port whose one connection is reset as soon as it is there; the event says that it was."""
    was_reset = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()
            was_reset.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], was_reset
        thread.join(PATIENCE_S)


def test_a_reset_before_the_connection_was_noticed() -> None:
    """A peer that hangs up before we have seen that it took us is told by that stage."""

    async def main(port: int) -> None:
        with Caller() as caller:
            evidence = await caller.evidence(f"http://127.0.0.1:{port}/")
            assert classify(evidence) == "EP2007", evidence

    with resetting() as (port, was_reset):
        loop = Busy(lambda: was_reset.wait(PATIENCE_S))
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main(port))


def test_a_proxy_that_is_silent() -> None:
    """A proxy that never answers is told as the proxy's silence, never as the endpoint's."""

    async def silent(connection: PeerConnection) -> None:
        await connection.closed_by_client()

    async def main() -> None:
        async with Peer(silent) as peer:
            proxies = Proxies(https=Proxy("127.0.0.1", peer.port))
            guard = AddressGuard(["192.0.2.0/24"], allow_loopback=True)
            with Caller(guard=guard, proxies=proxies, lookup=lambda _: ["192.0.2.1"]) as caller:
                future = caller.start("https://hooks.example/")
                await until(lambda: peer.connections)
                assert classify(await timed_out(caller, future)) == "EP2013"

    run("asyncio", main())


async def timed_out(caller: Caller, future: "asyncio.Future[Answer | Evidence]") -> Evidence:
    while not future.done():
        await asyncio.sleep(0.001)
        caller.pass_time(1.0)
    evidence = future.result()
    assert isinstance(evidence, Evidence)
    return evidence


def test_a_peer_that_reads_nothing() -> None:
    """A request that nobody takes is told as one that could not be sent."""
    over = asyncio.Event()

    async def deaf(connection: PeerConnection) -> None:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a stream's
        await over.wait()

    async def main() -> None:
        async with Peer(deaf) as peer:
            with Caller() as caller:
                future = caller.start(peer.url, LARGE)
                await until(lambda: peer.connections)
                assert classify(await timed_out(caller, future)) == "EP2201"
                over.set()

    run("asyncio", main())


def test_a_peer_that_hangs_up_in_the_middle_of_a_request() -> None:
    """A connection that breaks while the request is on its way is told by that stage."""

    async def leaving(connection: PeerConnection) -> None:
        await connection.reader.read(10)
        connection.reset()

    async def main() -> None:
        async with Peer(leaving) as peer:
            with Caller() as caller:
                assert classify(await caller.evidence(peer.url, LARGE)) == "EP2202"

    run("asyncio", main())


def test_no_file_descriptors_are_left() -> None:
    """A process that has as many files open as it may is told so, and not that a peer fails."""

    async def main() -> None:
        async with Peer(answering()) as peer:
            socket.create_connection(("127.0.0.1", peer.port)).close()  # somebody is there
            with Caller() as caller:
                caller.target(peer.url)
                with no_descriptors():
                    evidence = await caller.evidence(peer.url)
                assert classify(evidence) == "EP9002", evidence

    run("asyncio", main())


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """No further file can be opened in this process."""
    bounds = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = socket.socket()
    free = lowest.fileno()
    lowest.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, bounds[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, bounds)
