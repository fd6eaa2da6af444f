"""The HTTP connections under the SDK: shared, bounded, and able to say how far a request came.

Layer: queues. The SDK sends through requests and urllib3, which fold what happened into a few
exceptions: a TLS handshake that hangs looks like an answer that does not come. So each connection
notes its steps in the `Progress` of the thread that waits for it.
"""

import socket
import ssl
import threading
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.retry import Retry

from eventpost.core.outcomes import Stage
from eventpost.http.proxies import Proxies, Proxy
from eventpost.http.urls import parse


class Progress:
    """How far one request came. Written by the thread that sends it, read by whoever asked."""

    __slots__ = ("address", "is_reused", "proxy", "stage")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget the request before."""
        self.stage = Stage.CREDENTIALS  # a token is fetched before anything is connected
        self.address: str | None = None
        self.proxy: str | None = None
        self.is_reused = False
        """Whether the connection had carried a request before."""


_of_thread = threading.local()


def follow(progress: Progress) -> None:
    """Have the requests of this thread noted in `progress` from now on."""
    _of_thread.progress = progress


def _progress() -> Progress:
    found: Progress | None = getattr(_of_thread, "progress", None)
    return found if found is not None else Progress()


class _Steps(HTTPConnection):
    """A connection that notes its steps."""

    _peer: str | None = None
    _has_answered = False

    def _new_conn(self) -> socket.socket:
        progress = _progress()
        progress.stage = Stage.CONNECT if self.proxy is None else Stage.PROXY
        if self.proxy is None:
            progress.address = f"{self.host}:{self.port}"
        else:
            progress.proxy = f"{self.host}:{self.port}"
        connected = super()._new_conn()
        if self.proxy is None:
            self._peer = progress.address = address_of(connected)
        progress.stage = self._stage_when_connected()
        return connected

    def _stage_when_connected(self) -> Stage:
        return Stage.WRITE if self.proxy is None else Stage.PROXY

    def request(self, *arguments: Any, **named: Any) -> None:
        progress = _progress()
        progress.stage, progress.address = Stage.WRITE, self._peer
        progress.is_reused = self._has_answered
        super().request(*arguments, **named)

    def getresponse(self) -> Any:
        progress = _progress()
        progress.stage = Stage.WAIT
        answer = super().getresponse()
        progress.stage, self._has_answered = Stage.READ, True
        return answer


class _TlsSteps(_Steps, HTTPSConnection):
    def _stage_when_connected(self) -> Stage:
        return Stage.TLS if self.proxy is None else Stage.PROXY

    def _tunnel(self) -> None:
        super()._tunnel()
        _progress().stage = Stage.TLS


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Steps


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsSteps


class _Adapter(HTTPAdapter):
    """Kept connections with our steps, our trust and our proxy; nothing is tried twice here."""

    def __init__(self, context: ssl.SSLContext, connections_max: int, proxy: Proxy | None) -> None:
        self._context = context
        self._proxy = proxy
        never = Retry(total=False, redirect=False, raise_on_status=False)
        super().__init__(pool_maxsize=connections_max, max_retries=never)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **named: Any
    ) -> None:
        super().init_poolmanager(
            connections, maxsize, block=block, ssl_context=self._context, **named
        )
        self._use_steps(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **named)
        self._use_steps(manager)
        return manager

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        authorization = self._proxy.authorization.decode() if self._proxy is not None else ""
        return {"Proxy-Authorization": authorization} if authorization else {}

    def cert_verify(self, conn: Any, url: str, verify: object, cert: object) -> None:
        """The context decides, and has read its authorities once; requests would read certifi's
        anew for each connection."""

    @staticmethod
    def _use_steps(manager: Any) -> None:
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def new_session() -> requests.Session:
    """A session that any number of threads may use, once endpoints have been added to it.

    Variables of the environment are not read: requests would let a `.netrc` replace the
    Authorization header, and proxies are told to `add_endpoint`.
    """
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def add_endpoint(
    session: requests.Session,
    endpoint: str,
    *,
    context: ssl.SSLContext,
    connections_max: int,
    proxies: Proxies,
) -> None:
    """Let the session speak to `endpoint`, over at most `connections_max` kept connections."""
    url = parse(endpoint)
    proxy = proxies.for_url(url)
    root = f"{url.scheme}://{urlsplit(endpoint).netloc.lower()}/"
    session.mount(root, _Adapter(context, connections_max, proxy))
    if proxy is not None:
        session.proxies[f"{url.scheme}://{url.host}"] = f"http://{proxy}"


def address_of(connected: socket.socket) -> str | None:
    """The peer as `host:port`."""
    try:
        host, port = connected.getpeername()[:2]
    except OSError:
        return None
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
