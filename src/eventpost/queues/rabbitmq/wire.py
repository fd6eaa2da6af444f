"""The bytes below AMQP: name, TCP and TLS, stage by stage, and what was last seen on them.

Layer: queues. The client library is handed the streams that are opened here, so that a failure has
its stage and its true cause, and a silent connection can be dropped without a farewell.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.http.failures import evidence_of
from eventpost.http.names import Resolver
from eventpost.queues.rabbitmq import thread
from eventpost.queues.rabbitmq.client import URL, PAMQPException, TransportFactory, commands, frame
from eventpost.queues.rabbitmq.mending import Mender
from eventpost.queues.rabbitmq.settings import Server

BUFFER_BYTES = 65_536
HEAD_BYTES = 8
"""Kept of what the peer says first: enough to know TLS, HTTP and AMQP apart."""
LOGIN_BYTES_MAX = 16_384
"""Kept of what it says during the login: enough for its reason to refuse."""
ADDRESSES_MAX = 4
"""Of one name, tried one after the other."""
_TLS_ALERT = b"\x15"


class WireError(OSError):
    """The wire could not be opened; carries why."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(str(evidence.fault))
        self.evidence = evidence


class Reader(asyncio.StreamReader):
    """A stream that remembers how the peer began, and when it was last heard."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        super().__init__(limit=BUFFER_BYTES)
        self._now_s = now_s
        self.heard_s = now_s()
        self.head = b""
        self.login: bytes | None = b""
        """None once the login is over."""
        self.mender: Mender | None = None

    def feed_data(self, data: Any) -> None:
        self.heard_s = self._now_s()
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        if self.login is not None and len(self.login) < LOGIN_BYTES_MAX:
            self.login += data
        super().feed_data(data)

    async def readexactly(self, n: int) -> bytes:
        part = await super().readexactly(n)
        return part if self.mender is None else self.mender.mend(part)


class Wire(TransportFactory):
    """One connection's bytes. Opened once, by the client library or by a probe."""

    def __init__(
        self,
        server: Server,
        context: ssl.SSLContext | None,
        server_name: str,
        resolver: Resolver,
        now_s: Callable[[], float],
        *,
        mends: bool = False,
    ) -> None:
        """`mends`: frames that cannot be read are made readable, which costs reading them twice."""
        self._server = server
        self._context = context
        self._server_name = server_name or server.host
        self._resolver = resolver
        self._now_s = now_s
        self._reader = Reader(now_s)
        if mends:
            self._reader.mender = Mender()
        self._transport: asyncio.Transport | None = None
        self.stage = Stage.NAME
        self.address: str | None = None
        self.lost: Evidence | None = None
        """What ended the bytes, once they ended."""

    async def create(self, url: URL, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open it for the client library. Raises WireError."""
        loop = asyncio.get_running_loop()
        sock = await self._connected(loop)
        protocol = _Protocol(self, self._reader, loop)
        self.stage = Stage.TLS if self._context is not None else Stage.WAIT
        server_name = self._server_name if self._context is not None else None
        try:
            transport, _protocol = await loop.create_connection(
                lambda: protocol, sock=sock, ssl=self._context, server_hostname=server_name
            )
        except (OSError, ssl.CertificateError) as error:
            sock.close()
            raise WireError(self.evidence(error)) from error
        except BaseException:
            sock.close()
            raise
        self.stage = Stage.WAIT
        self._transport = transport
        return self._reader, asyncio.StreamWriter(transport, protocol, self._reader, loop)

    def abort(self, why: Evidence) -> None:
        """Drop it without a farewell: for a peer that does not listen any more."""
        if self.lost is None:
            self.lost = why
        if self._transport is not None:
            self._transport.abort()

    def logged_in(self) -> None:
        """The login is over: what comes now are messages, which are not kept."""
        self._reader.login = None

    @property
    def silent_s(self) -> float:
        """How long nothing was heard."""
        return self._now_s() - self._reader.heard_s

    @property
    def head(self) -> bytes:
        """How the peer began; empty when it said nothing at all."""
        return self._reader.head

    @property
    def is_tls_alert(self) -> bool:
        """Whether the peer's first word was that it wants TLS."""
        return self.head[:1] == _TLS_ALERT

    @property
    def is_amqp(self) -> bool:
        """Whether the peer speaks AMQP 0-9-1: it begins with a method on channel 0."""
        return self.head[:3] == b"\x01\x00\x00"

    def farewell(self) -> commands.Connection.Close | None:
        """The server's reason to refuse a login, which the client library throws away."""
        rest = self._reader.login or b""
        while rest:
            try:
                byte_count, _, read = frame.unmarshal(rest)
            except (PAMQPException, ValueError):
                return None
            if isinstance(read, commands.Connection.Close):
                return read
            rest = rest[byte_count:]
        return None

    def evidence(self, error: BaseException | None) -> Evidence:
        """What an error of these bytes means at the stage that was reached."""
        return evidence_of(error, self.stage, address=self.address)

    def timed_out(self) -> Evidence:
        return Evidence(stage=self.stage, fault=Fault.TIMED_OUT, address=self.address)

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        try:
            addresses = await self._resolver.resolve(self._server.host)
        except (OSError, UnicodeError) as error:
            raise WireError(self.evidence(error)) from error
        self.stage = Stage.CONNECT
        refused: OSError | None = None
        for address in addresses[:ADDRESSES_MAX]:
            try:
                return await self._connect(loop, address)
            except OSError as error:
                refused = error
        raise WireError(self.evidence(refused)) from refused

    async def _connect(self, loop: asyncio.AbstractEventLoop, address: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        host = f"[{address}]" if ":" in address else address
        self.address = f"{host}:{self._server.port}"
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread.forget_in_child(sock)
            await loop.sock_connect(sock, (address, self._server.port))
        except BaseException:
            sock.close()
            raise
        return sock


class _Protocol(asyncio.StreamReaderProtocol):
    """Tells the wire what ended it."""

    def __init__(
        self, wire: Wire, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(reader, loop=loop)
        self._wire = wire

    def connection_lost(self, exc: Exception | None) -> None:
        if self._wire.lost is None:
            self._wire.lost = self._wire.evidence(exc)
        super().connection_lost(exc)

    def eof_received(self) -> bool:
        if self._wire.lost is None:
            self._wire.lost = self._wire.evidence(None)
        super().eof_received()
        return False
