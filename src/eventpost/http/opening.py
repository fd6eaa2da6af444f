"""Establishing one connection: name, address check, TCP, proxy tunnel, TLS, stage by stage.

Layer: http. A Task per connection opened, none per request.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.http.addresses import AddressGuard
from eventpost.http.client_limits import ClientLimits
from eventpost.http.connection import Connection
from eventpost.http.failures import bounded, evidence_of
from eventpost.http.names import Resolver
from eventpost.http.proxies import Proxy
from eventpost.http.trust import Trust
from eventpost.http.urls import Url, address_literal

TUNNEL_ANSWER_BYTES_MAX = 8_192
TLS_SHUTDOWN_S = 2.0
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r|$)")


@dataclass(frozen=True, slots=True)
class Origin:
    """What connections are shared by: equal origins use the same ones."""

    scheme: str
    host: str
    port: int
    is_insecure: bool = False
    proxy: Proxy | None = None

    @property
    def url(self) -> Url:
        return Url(self.scheme, self.host, self.port, "/")

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"


class OpeningError(Exception):
    """Carries the evidence out of the stages; never leaves this module."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence.fault)
        self.evidence = evidence


class Opening:
    """One connection being established: how far it is and when that stage must be over.

    It begins at NAME; `deadline_s` is that stage's.
    """

    __slots__ = ("address", "deadline_s", "is_expired", "stage", "started_s", "task")

    def __init__(self, started_s: float, deadline_s: float) -> None:
        self.started_s = started_s
        self.stage = Stage.NAME
        self.address: str | None = None
        self.deadline_s = deadline_s
        self.is_expired = False
        self.task: asyncio.Task[None] | None = None

    def expire(self) -> None:
        self.is_expired = True
        if self.task is not None:
            self.task.cancel()

    def timed_out(self) -> Evidence:
        return Evidence(stage=self.stage, fault=Fault.TIMED_OUT, address=self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """Establishes connections. `trust` is asked for a context only when TLS is spoken."""

    loop: asyncio.AbstractEventLoop
    limits: ClientLimits
    resolver: Resolver
    guard: AddressGuard
    trust: Trust
    now_s: Callable[[], float]

    async def open(
        self, origin: Origin, opening: Opening, make: Callable[[str], Connection]
    ) -> Connection | Evidence:
        """An established connection, or the evidence of why there is none.

        Cancelled by the sweep when a stage takes too long; raises nothing else.
        """
        try:
            return await self._open(origin, opening, make)
        except OpeningError as failure:
            evidence = failure.evidence
        except Exception as error:  # noqa: BLE001 - the edge: an unknown error becomes evidence
            evidence = evidence_of(error, opening.stage, address=opening.address)
        if origin.proxy is not None:
            evidence = msgspec.structs.replace(evidence, proxy=str(origin.proxy))
        return evidence

    async def _open(
        self, origin: Origin, opening: Opening, make: Callable[[str], Connection]
    ) -> Connection:
        addresses = await self._target_addresses(origin)
        stage, port = Stage.CONNECT, origin.port
        if origin.proxy is not None:
            stage, port = Stage.PROXY, origin.proxy.port
            self._begin(opening, stage, self.limits.name_s_max)
            addresses = await self._resolve(origin.proxy.host)
        sock = await self._connect(opening, stage, addresses[: self.limits.addresses_max], port)
        try:
            if origin.proxy is not None and origin.is_tls:
                self._begin(opening, Stage.PROXY, self.limits.connect_s_max)
                await self._tunnel(sock, origin, opening)
            return await self._start(sock, origin, opening, make)
        except BaseException:
            sock.close()
            raise

    async def _target_addresses(self, origin: Origin) -> list[str]:
        """The target's addresses that may be connected to; empty when a proxy is to resolve it."""
        try:
            addresses = await self._resolve(origin.host)
        except socket.gaierror:
            if origin.proxy is None:
                raise
            return []  # behind a proxy outside names often resolve at the proxy only
        refusals = [self.guard.check(address, is_tls=origin.is_tls) for address in addresses]
        allowed = [
            address for address, refusal in zip(addresses, refusals, strict=True) if not refusal
        ]
        if not allowed:
            fault, why = next(refusal for refusal in refusals if refusal is not None)
            raise OpeningError(_forbidden(fault, why, addresses[0], origin.port))
        return allowed

    async def _resolve(self, host: str) -> list[str]:
        literal = address_literal(host)
        return [literal] if literal is not None else await self.resolver.resolve(host)

    async def _connect(
        self, opening: Opening, stage: Stage, addresses: list[str], port: int
    ) -> socket.socket:
        """A connected socket to the first address that takes the connection."""
        share_s = self.limits.connect_s_max / len(addresses)
        for index, address in enumerate(addresses):
            is_last = index == len(addresses) - 1
            opening.address = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            self._begin(opening, stage, share_s)
            sock = _socket(address)
            try:
                await self.loop.sock_connect(sock, (address, port))
                return sock
            except asyncio.CancelledError:
                sock.close()
                # The sweep ended this address only; a client that closes ends the whole opening.
                if is_last or not opening.is_expired:
                    raise
                opening.is_expired = False
                asyncio.current_task().uncancel()  # type: ignore[union-attr] # we run in one
            except OSError:
                sock.close()
                if is_last:
                    raise
        raise AssertionError("unreachable: the last address returns or raises")

    async def _tunnel(self, sock: socket.socket, origin: Origin, opening: Opening) -> None:
        """Ask the proxy for a tunnel. The TLS server behind it speaks second, so that nothing may
        follow the proxy's head."""
        assert origin.proxy is not None
        await self.loop.sock_sendall(sock, origin.proxy.connect_request(origin.url))
        answer = b""
        while b"\r\n\r\n" not in answer:
            if len(answer) > TUNNEL_ANSWER_BYTES_MAX:
                raise OpeningError(_proxy_said(Fault.TOO_LARGE, opening, answer))
            data = await self.loop.sock_recv(sock, 4_096)
            if not data:
                raise OpeningError(_proxy_said(Fault.CLOSED, opening, answer))
            answer += data
        line = _STATUS_LINE.match(answer)
        if line is None:
            raise OpeningError(_proxy_said(Fault.MALFORMED, opening, answer))
        if not 200 <= int(line[1]) < 300:
            raise OpeningError(_proxy_said(Fault.STATUS, opening, answer, status=int(line[1])))
        if not answer.endswith(b"\r\n\r\n"):
            raise OpeningError(_proxy_said(Fault.MALFORMED, opening, answer))

    async def _start(
        self,
        sock: socket.socket,
        origin: Origin,
        opening: Opening,
        make: Callable[[str], Connection],
    ) -> Connection:
        connection = make(opening.address or "")
        if origin.is_tls:
            self._begin(opening, Stage.TLS, self.limits.tls_s_max)
            await self.loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=self._context(origin),
                server_hostname=origin.host.rstrip("."),
                # The sweep ends the handshake; this is the loop's own, later bound.
                ssl_handshake_timeout=self.limits.tls_s_max + 30.0,
                ssl_shutdown_timeout=TLS_SHUTDOWN_S,
            )
        else:
            await self.loop.create_connection(lambda: connection, sock=sock)
        return connection

    def _context(self, origin: Origin) -> ssl.SSLContext:
        return self.trust.context(is_insecure=origin.is_insecure)

    def _begin(self, opening: Opening, stage: Stage, s_max: float) -> None:
        opening.stage = stage
        opening.deadline_s = self.now_s() + s_max


def _socket(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _forbidden(fault: Fault, why: str, address: str, port: int) -> Evidence:
    is_scheme = fault is Fault.FORBIDDEN_SCHEME
    shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return Evidence(
        stage=Stage.SETTINGS if is_scheme else Stage.CONNECT,
        fault=fault,
        address=shown,
        detail=why,
    )


def _proxy_said(
    fault: Fault, opening: Opening, answer: bytes, status: int | None = None
) -> Evidence:
    return Evidence(
        stage=Stage.PROXY,
        fault=fault,
        status=status,
        address=opening.address,
        detail=bounded(answer.partition(b"\r\n")[0][:200].decode("latin-1")),
    )
