"""The HTTP connections under clouds' SDKs: shared, bounded, and able to say how far they came.

Layer: http. The SDKs would send through requests and urllib3, which fold what happened into a few
exceptions (a TLS handshake that hangs looks like an answer that does not come), and which take as
much processor time as all the rest of a request. So requests go straight through a socket here;
`http.client` reads the answers. Each connection notes its steps in the `Progress` of the thread
that waits for it. Nothing is tried twice, no cookie is kept, and no variable of the environment is
read.
"""

import re
import select
import socket
import ssl
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from typing import Protocol
from urllib.parse import quote

from eventpost.core.outcomes import Stage
from eventpost.http.proxies import Proxies, Proxy
from eventpost.http.urls import Url, parse

_LINE_END = re.compile(r"[\r\n]")
_TARGET_SAFE = "!#$%&'()*+,/:;=?@[]~-._"


class Timeouts(Protocol):
    """Bounds in seconds."""

    @property
    def connect_s(self) -> float: ...

    @property
    def request_s(self) -> float:
        """Of each step after connecting; the wait of a long poll is among it."""
        ...


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


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A complete answer."""

    status: int
    reason: str
    headers: HTTPMessage
    body: bytes


class Connections:
    """Kept connections to the endpoints of one account. May be used from any number of threads."""

    def __init__(
        self, timeouts: Timeouts, context: ssl.SSLContext, proxies: Proxies, kept_max: int
    ) -> None:
        """At most `kept_max` connections to each endpoint are kept while nobody uses them."""
        self._timeouts = timeouts
        self._context = context
        self._proxies = proxies
        self._kept_max = kept_max
        self._lock = threading.Lock()
        self._endpoints: dict[str, _Endpoint] = {}
        self._is_closed = False
        # Who forgets to close it leaves no sockets to the garbage collector.
        weakref.finalize(self, _close_all, self._endpoints).atexit = False

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Exchanged:
        """Send one request and read its whole answer. Blocks.

        Raises OSError (a TimeoutError and ssl's among them), `http.client.HTTPException`, and
        ValueError or InvalidRequest for what cannot be sent.
        """
        root, target = _split(url)
        endpoint = self._endpoint(root)
        head = endpoint.head(method, target, headers, len(body))
        connection = endpoint.take() or _Connection(endpoint, self._timeouts, self._context)
        try:
            answer = connection.exchange(head + body, method)
        except BaseException:
            connection.close()
            raise
        endpoint.keep(connection)
        return answer

    def close(self) -> None:
        """Let go of the connections that nobody uses, and keep none from now on. Requests under way
        end as they may, and so do later ones."""
        with self._lock:
            self._is_closed = True
            endpoints = dict(self._endpoints)
        _close_all(endpoints)

    def _endpoint(self, root: str) -> "_Endpoint":
        found = self._endpoints.get(root)
        if found is None:
            url = parse(root)
            with self._lock:
                made = _Endpoint(url, self._proxies.for_url(url), self._kept_max)
                found = self._endpoints.setdefault(root, made)
                if self._is_closed:
                    found.close()
        return found


def _close_all(endpoints: "dict[str, _Endpoint]") -> None:
    for endpoint in endpoints.values():
        endpoint.close()


class _Endpoint:
    """One origin, the way to it, and the connections that wait for the next request."""

    def __init__(self, url: Url, proxy: Proxy | None, kept_max: int) -> None:
        self.url = url
        self.proxy = proxy
        self._kept_max = kept_max
        self._kept: deque[_Connection] = deque()
        self._is_closed = False

    def head(self, method: str, target: str, headers: Mapping[str, str], length: int) -> bytes:
        """The request's head. Raises ValueError for what would be more than one head."""
        if self.proxy is not None and not self.url.is_tls:
            target = f"http://{self.url.authority}{target}"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.url.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if "Content-Length" not in headers and (length or method in ("PUT", "POST")):
            lines.append(f"Content-Length: {length}")
        if self.proxy is not None and not self.url.is_tls and self.proxy.authorization:
            lines.append(f"Proxy-Authorization: {self.proxy.authorization.decode()}")
        if any(_LINE_END.search(line) for line in lines):
            raise ValueError("a header holds the end of a line")
        lines.append("\r\n")
        return "\r\n".join(lines).encode("latin-1")

    def take(self) -> "_Connection | None":
        """The connection that was used last, if it is open."""
        while True:
            try:
                connection = self._kept.pop()
            except IndexError:
                return None
            if connection.is_usable():
                return connection
            connection.close()

    def keep(self, connection: "_Connection") -> None:
        """Take it back after an answer."""
        if connection.is_over or len(self._kept) >= self._kept_max:
            connection.close()
        else:
            self._kept.append(connection)
        if self._is_closed:  # perhaps only now, on another thread
            self.close()

    def close(self) -> None:
        self._is_closed = True
        while (connection := self.take()) is not None:
            connection.close()


class _Connection:
    """One connection, with one request at a time. Connected when it is made."""

    def __init__(self, endpoint: _Endpoint, timeouts: Timeouts, context: ssl.SSLContext) -> None:
        """Raises OSError."""
        self.is_over = False
        """Whether it may carry no other request."""
        self._has_answered = False
        self._peer: str | None = None
        url, proxy, progress = endpoint.url, endpoint.proxy, _progress()
        self._socket = self._connected(url, proxy, progress, timeouts.connect_s)
        try:
            if proxy is not None and url.is_tls:
                self._tunnel(proxy.connect_request(url))
            if url.is_tls:
                progress.stage = Stage.TLS
                self._socket = context.wrap_socket(self._socket, server_hostname=url.host)
        except BaseException:
            self.close()
            raise
        self._socket.settimeout(timeouts.request_s)

    def exchange(self, request: bytes, method: str) -> Exchanged:
        """Raises OSError and `http.client.HTTPException`; the connection is then of no more use."""
        progress = _progress()
        progress.address, progress.is_reused = self._peer, self._has_answered
        progress.stage = Stage.WRITE
        self._socket.sendall(request)
        progress.stage = Stage.WAIT
        with HTTPResponse(self._socket, method=method) as response:
            response.begin()
            progress.stage, self._has_answered = Stage.READ, True
            body = response.read()
            self.is_over = response.will_close
            return Exchanged(response.status, response.reason, response.headers, body)

    def is_usable(self) -> bool:
        """Whether nothing came since the last answer: an end, or what nobody asked for."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return not waiting.poll(0)

    def close(self) -> None:
        self._socket.close()

    def _connected(
        self, url: Url, proxy: Proxy | None, progress: Progress, timeout_s: float
    ) -> socket.socket:
        if proxy is None:
            progress.stage, progress.address = Stage.CONNECT, f"{url.host}:{url.port}"
        else:
            progress.stage, progress.proxy = Stage.PROXY, str(proxy)
        hop = proxy or url
        connected = socket.create_connection((hop.host, hop.port), timeout_s)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy is None:
            self._peer = progress.address = address_of(connected)
        return connected

    def _tunnel(self, request: bytes) -> None:
        """As `http.client` does it, with its words for a refusal."""
        self._socket.sendall(request)
        response = HTTPResponse(self._socket, method="CONNECT")
        try:
            response.begin()
            if response.status != 200:
                reason = (response.reason or "").strip()
                raise OSError(f"Tunnel connection failed: {response.status} {reason}")
        finally:
            response.close()


def _split(url: str) -> tuple[str, str]:
    """The origin of a URL, and the target of a request: path and query, ASCII."""
    scheme, _, rest = url.partition("://")
    authority, _, target = rest.partition("/")
    return f"{scheme}://{authority}", quote(f"/{target}", safe=_TARGET_SAFE)


def address_of(connected: socket.socket) -> str | None:
    """The peer as `host:port`."""
    try:
        host, port = connected.getpeername()[:2]
    except OSError:
        return None
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
