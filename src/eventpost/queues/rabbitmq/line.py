"""Lines: the connections to one server, opened when first needed and anew after they broke.

Layer: queues, on the loop's thread. All queues of one server share two lines, because a server that
runs short of memory or disk stops reading from who publishes, and acknowledgements must not stand
behind that: https://www.rabbitmq.com/docs/alarms
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.queues.rabbitmq.attempt import Attempt
from eventpost.queues.rabbitmq.client import URL, Channel, Connection
from eventpost.queues.rabbitmq.failures import (
    SECRET_MISSING,
    SILENT,
    TLS_FILES_UNUSABLE,
    Refusal,
    answered,
    evidence_of,
    is_unreadable,
    login_evidence,
)
from eventpost.queues.rabbitmq.settings import RabbitmqConnection, Server
from eventpost.queues.rabbitmq.thread import LoopThread
from eventpost.queues.rabbitmq.wire import Wire

Result = TypeVar("Result")
FAREWELL_S_MAX = 2.0
"""For the server's answer to a goodbye; then the socket is dropped."""
FRAME_BYTES_DEFAULT = 131_072
"""Where the server sets no bound: as much as RabbitMQ has by default."""
PRODUCT = "eventpost"


class AmqpConnection(Connection):
    """Gives a silent connection up after two heartbeats (AMQP 0-9-1, section 4.2.7), not three."""

    HEARTBEAT_GRACE_MULTIPLIER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A connection that was established, with what carries it."""

    connection: AmqpConnection
    wire: Wire

    @property
    def is_open(self) -> bool:
        return self.connection.is_opened and self.wire.lost is None

    @property
    def frame_bytes_max(self) -> int:
        return self.connection.connection_tune.frame_max or FRAME_BYTES_DEFAULT

    @property
    def is_blocked(self) -> bool:
        """Whether the server said that for now it reads nothing of what we publish."""
        # The library tells by a coroutine only; it does not wait at all when all is well.
        looking = self.connection.ready()
        try:
            looking.send(None)
        except StopIteration:
            return False
        looking.close()
        return True

    @property
    def met_unreadable(self) -> bool:
        """Whether it ended at a frame that the library could not read."""
        closing = self.connection.closing
        if not closing.done() or closing.cancelled():
            return False
        return is_unreadable(closing.exception())

    async def unblocked(self) -> None:
        """Wait until the server reads what we publish, or the connection has ended."""
        if not self.is_blocked:
            return
        ready = asyncio.ensure_future(self.connection.ready())
        closing = self.connection.closing
        try:
            await asyncio.wait({ready, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            closing.cancel()

    def answered(self, code: str, *, stage: Stage) -> Evidence:
        """Evidence of this connection under a name of ours."""
        return msgspec.structs.replace(answered(code, stage=stage), address=self.wire.address)


class Line:
    """One connection to the server. All methods on the loop's thread."""

    def __init__(self, settings: RabbitmqConnection, thread: LoopThread, name: str) -> None:
        self.settings = settings
        self.timeouts = settings.timeouts
        self._thread = thread
        self._name = name
        self._opened: Opened | None = None
        self._opening = Attempt(self._open)
        self._mends = False
        """Set once a message came that the library cannot read."""

    async def opened(self) -> Opened:
        """The connection, established if there is none. Callers share one attempt.

        Raises Refusal.
        """
        if self._opened is not None and self._opened.is_open:
            return self._opened
        return await self._opening.result()

    async def channel(self, *, confirms: bool) -> tuple[Opened, Channel]:
        """A new channel. Raises Refusal."""
        opened = await self.opened()
        channel = await self.ask(
            opened, opened.connection.channel(publisher_confirms=confirms, on_return_raises=True)
        )
        assert isinstance(channel, Channel)
        return opened, channel

    async def ask(self, opened: Opened, question: Awaitable[Result]) -> Result:
        """The server's answer, within the request's timeout. Raises Refusal."""
        try:
            async with asyncio.timeout(self.timeouts.request_s):
                return await question
        except TimeoutError as error:
            self.doubt(opened)
            raise Refusal(evidence_of(error, opened.wire)) from error
        except Exception as error:
            raise Refusal(evidence_of(error, opened.wire)) from error

    def doubt(self, opened: Opened) -> None:
        """An answer is overdue: drop the connection unless something else was heard meanwhile."""
        if opened.wire.silent_s >= self.timeouts.request_s:
            opened.wire.abort(opened.answered(SILENT, stage=Stage.WAIT))

    async def close(self) -> None:
        """Say goodbye. Channels on it end."""
        await self._opening.cancel()
        opened, self._opened = self._opened, None
        if opened is not None:
            await _part(opened)

    async def _open(self) -> Opened:
        if self._opened is not None and self._opened.met_unreadable:
            self._mends = True
        opened = await open_connection(self.settings, self._thread, self._name, mends=self._mends)
        self._opened = opened
        return opened


async def open_connection(
    settings: RabbitmqConnection, thread: LoopThread, name: str, *, mends: bool
) -> Opened:
    """Connect, log in and open the vhost, within the connect timeout. Raises Refusal."""
    server = settings.server()
    secret, context = _files_read(settings)
    wire = Wire(server, context, settings.server_name, thread.resolver, time.monotonic, mends=mends)
    connection = AmqpConnection(
        _url(settings, server, secret),
        loop=thread.loop,
        transport_factory=wire,
        client_properties={
            "product": PRODUCT,
            "version": version("eventpost"),
            "connection_name": name,
        },
    )
    attempt = asyncio.ensure_future(connection.connect())
    try:
        await asyncio.wait({attempt}, timeout=settings.connect_timeout_s)
    finally:
        if not attempt.done():
            wire.abort(wire.timed_out())
            attempt.cancel()
            await asyncio.wait({attempt}, timeout=FAREWELL_S_MAX)
    if attempt.cancelled():
        raise Refusal(wire.timed_out())
    refused = attempt.exception()
    if refused is not None:
        raise Refusal(login_evidence(refused, wire)) from refused
    wire.logged_in()
    return Opened(connection=connection, wire=wire)


def _files_read(settings: RabbitmqConnection) -> tuple[str, ssl.SSLContext | None]:
    stage, code = Stage.CREDENTIALS, SECRET_MISSING
    try:
        secret = settings.secret()
        stage, code = Stage.SETTINGS, TLS_FILES_UNUSABLE
        return secret, settings.tls_context()
    except InvalidRequest as error:
        raise Refusal(answered(code, str(error), stage=stage)) from error


def _url(settings: RabbitmqConnection, server: Server, secret: str) -> URL:
    return URL.build(
        scheme="amqp",  # the wire speaks TLS, not the library
        host=server.host,
        port=server.port,
        user=server.user,
        password=secret,
        path=f"/{server.vhost}",
        query={"heartbeat": settings.heartbeat_s, "auth": settings.auth},
    )


async def close_channel(channel: Channel) -> None:
    """Say goodbye on one channel, and do not wait long for an answer."""
    with suppress(Exception):
        async with asyncio.timeout(FAREWELL_S_MAX):
            await channel.close()


async def _part(opened: Opened) -> None:
    with suppress(Exception):
        async with asyncio.timeout(FAREWELL_S_MAX):
            await opened.connection.close()
    opened.wire.abort(Evidence(stage=Stage.WAIT, fault=Fault.CLOSED))
