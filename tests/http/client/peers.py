"""A scripted raw server and the client under test, on one loop, with a clock that stands still."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

import uvloop

from eventpost.core.outcomes import Evidence
from eventpost.http.addresses import AddressGuard
from eventpost.http.answers import Answer
from eventpost.http.client import HttpClient, Target
from eventpost.http.client_limits import ClientLimits
from eventpost.http.names import Lookup, system_lookup
from eventpost.http.proxies import NO_PROXIES, Proxies
from tests.patience import PATIENCE_S

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class FakeClock:
    """Monotonic seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class PeerConnection:
    """One accepted connection, driven by the test's script."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[bytes, bytes]:
        """One whole request: head and body. Raises IncompleteReadError at the end."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return head, await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def closed_by_client(self) -> None:
        """Wait until the client has let go of the connection."""
        try:
            while await self.reader.read(4_096):
                pass
        except OSError:
            pass


Script = Callable[[PeerConnection], Awaitable[object]]


async def answer_all(connection: PeerConnection) -> None:
    """Answer every request with 200."""
    while True:
        await connection.request()
        await connection.send(OK)


def answering(*answers: bytes) -> Script:
    """Answer the requests of each connection with these bytes in turn, then close."""

    async def script(connection: PeerConnection) -> None:
        for answer in answers:
            await connection.request()
            await connection.send(answer)
        connection.close()

    return script


def relay_to(port: int) -> Script:
    """Pass everything on to a port of this machine, and back."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def script(connection: PeerConnection) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(copy(connection.reader, writer), copy(reader, connection.writer))
        finally:
            writer.transport.abort()

    return script


class Peer:
    """Listens on loopback; the n-th connection gets the n-th script, later ones the last."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.connections: list[PeerConnection] = []
        self.errors: list[BaseException] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def start(self, ssl_context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", port, ssl=ssl_context
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        if self.errors:
            raise self.errors[0]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.connections:
            connection.writer.transport.abort()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = PeerConnection(reader, writer)
        script = self.scripts[min(len(self.connections), len(self.scripts) - 1)]
        self.connections.append(connection)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await script(connection)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:  # noqa: BLE001 - shown at the end of the test
            self.errors.append(error)
        finally:
            self._tasks.discard(task)


class Caller:
    """The client under test with the clock in the test's hand."""

    def __init__(
        self,
        limits: ClientLimits | None = None,
        *,
        guard: AddressGuard | None = None,
        proxies: Proxies = NO_PROXIES,
        ca_file: str | None = None,
        lookup: Lookup = system_lookup,
    ) -> None:
        self.clock = FakeClock()
        self.client = HttpClient(
            asyncio.get_running_loop(),
            guard or AddressGuard(allow_loopback=True),
            limits,
            proxies=proxies,
            ca_file=ca_file,
            now_s=self.clock,
            lookup=lookup,
        )
        self._targets: dict[str, Target] = {}

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def target(self, url: str, *, is_insecure: bool = False) -> Target:
        if url not in self._targets:
            self._targets[url] = self.client.target(url, is_insecure=is_insecure)
        return self._targets[url]

    def start(
        self,
        url: str,
        body: bytes = b"{}",
        *,
        method: bytes = b"POST",
        timeout_s: float = 30.0,
        is_insecure: bool = False,
    ) -> asyncio.Future[Answer | Evidence]:
        """Send a request; the future gets its answer."""
        future: asyncio.Future[Answer | Evidence] = asyncio.get_running_loop().create_future()
        target = self.target(url, is_insecure=is_insecure)
        head = b"%bContent-Length: %d\r\n\r\n" % (target.head_start(method), len(body))
        self.client.request(target, head, body, timeout_s, future.set_result)
        assert not future.done(), "the callback ran before the call returned"
        return future

    async def post(self, url: str, body: bytes = b"{}", **options: Any) -> Answer | Evidence:
        async with asyncio.timeout(PATIENCE_S):
            return await self.start(url, body, **options)

    async def answer(self, url: str, body: bytes = b"{}", **options: Any) -> Answer:
        result = await self.post(url, body, **options)
        assert isinstance(result, Answer), result
        return result

    async def evidence(self, url: str, body: bytes = b"{}", **options: Any) -> Evidence:
        result = await self.post(url, body, **options)
        assert isinstance(result, Evidence), result
        return result

    def pass_time(self, seconds: float) -> None:
        """Let time pass and look at all deadlines."""
        self.clock.advance(seconds)
        self.client.sweep()


async def failure(future: asyncio.Future[Answer | Evidence]) -> Evidence:
    """The evidence that a request ends with, in bounded time."""
    async with asyncio.timeout(PATIENCE_S):
        result = await future
    assert isinstance(result, Evidence), result
    return result


async def until(condition: Callable[[], object]) -> None:
    """Turn the loop until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


def run(loop_name: str, coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine on the loop of that name."""
    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        runner.run(coroutine)
