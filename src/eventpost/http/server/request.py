"""One HTTP request, and whole answers to it as bytes.

Layer: http.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Protocol

import msgspec

Header = tuple[bytes, bytes]


class Answering(Protocol):
    """Who takes the answers of one connection and writes them in the order of its requests."""

    def answer(self, request: "Request", raw: bytes) -> None: ...

    def is_listening(self, request: "Request") -> bool:
        """Whether the client of `request` waits for its answer still."""
        ...


class Request(msgspec.Struct, eq=False):
    """A request whose head is complete; `body` is set once all of it is there.

    `path` is raw, without the query. Header names are in lower case; values carry no surrounding
    spaces. `index` has each header's first value by name.
    A Struct because making one costs half of what a plain class costs.
    """

    method: bytes
    path: bytes
    query: bytes
    index: dict[bytes, bytes]
    peer: str = ""
    """Address and port of the client, `203.0.113.9:4711`."""
    is_tls: bool = False
    answering: Answering | None = None
    body: bytes = b""
    is_chunked: bool = False
    is_http_1_0: bool = False
    is_keep_alive: bool = True
    is_plain: bool = True
    """The answer goes out as it is: HTTP/1.1, kept alive, not HEAD."""
    expects_continue: bool = False
    repeated: tuple[Header, ...] = ()
    """Headers whose name came before."""
    early: bytes | None = None
    """The answer, while requests before this one still wait for theirs."""
    start: Callable[["Request"], None] | None = None
    """Called when all requests before this one are answered."""

    def __repr__(self) -> str:
        """Method and path alone: query and headers carry keys."""
        return f"Request({self.method!r}, {self.path!r})"

    @property
    def headers(self) -> list[Header]:
        """All headers; those that came again last."""
        return [*self.index.items(), *self.repeated]

    @property
    def content_length(self) -> int:
        """Body bytes as announced, 0 when nothing is."""
        return int(self.index.get(b"content-length", b"0"))

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header called `name` (lower case), or None."""
        return self.index.get(name)

    @property
    def is_awaited(self) -> bool:
        """Whether its client waits for the answer still, as far as can be seen: one that has closed
        its side of the connection does not, though an answer would be sent."""
        return self.answering is not None and self.answering.is_listening(self)

    def respond(self, raw: bytes) -> None:
        """Answer with `raw`, a whole HTTP/1.1 answer as `response` builds it, without `Connection`.

        Once, now or later, on the loop's thread; only the first answer counts. Answers leave in
        the order of the requests, whatever the order of the calls. A client that has gone is no
        error.
        """
        assert self.answering is not None, "a request that came over a connection"
        self.answering.answer(self, raw)


WITHOUT_BODY = frozenset([204, 304])
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def status_line(status: int) -> bytes:
    """`HTTP/1.1 404 Not Found` with its line end."""
    line = _STATUS_LINES.get(status)
    return line if line is not None else b"HTTP/1.1 %d \r\n" % status


_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


def response(status: int, body: bytes = b"", headers: Iterable[Header] = ()) -> bytes:
    """A whole HTTP/1.1 answer with `Content-Length`; the headers are the caller's to keep clean.

    Build answers that repeat once and keep the bytes.
    """
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if status in WITHOUT_BODY:
        return status_line(status) + lines + b"\r\n"
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (status_line(status), lines, len(body), body)


def fitted(raw: bytes, request: Request, *, is_final: bool) -> bytes:
    """`raw` as this request needs it: no body after HEAD, `Connection` where it must be said."""
    if request.method == b"HEAD":
        raw = raw[: raw.index(b"\r\n\r\n") + 4]
    if is_final:
        return raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    if request.is_http_1_0:
        return raw.replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1)
    return raw
