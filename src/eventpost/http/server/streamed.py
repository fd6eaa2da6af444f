"""The bytes of an answer that comes in parts: its head, and the framing of its body.

Layer: http.
"""

import re
from collections.abc import Iterable

from eventpost.http.server.request import WITHOUT_BODY, Header, Request, status_line

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUE = re.compile(rb"[\r\n\x00]")
_OURS = frozenset([b"connection", b"transfer-encoding", b"keep-alive"])
"""Headers that belong to the connection; only `Connection: close` is taken from the application."""


class StreamedAnswer:
    """One answer of an ASGI application on its way to bytes.

    Framed by the application's `Content-Length`, else by the body when it comes in one part, else
    in chunks; towards HTTP/1.0 by the end of the connection.
    """

    __slots__ = ("_content_left", "_headers", "_is_chunked", "_request", "_status", "is_begun")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._status = 0
        self._headers: list[Header] = []
        self._content_left: int | None = None
        self._is_chunked = False
        self.is_begun = False
        """Whether bytes of it have been made."""

    def begin(self, status: int, headers: Iterable[Header]) -> None:
        """Note status and headers. Raises RuntimeError for a second time, ValueError for headers
        that would break the answer (a line end in a value is how answers are split)."""
        if self._status:
            raise RuntimeError("The answer has begun already.")
        for name, value in headers:
            self._note_header(bytes(name).lower(), bytes(value))
        self._status = status

    def part(self, body: bytes, *, is_last: bool, date: bytes) -> bytes:
        """The bytes for the next part of the body, the head before the first.

        Raises RuntimeError when the body does not fit the announced length.
        """
        if not self._status:
            raise RuntimeError("The answer has no status yet.")
        head = b"" if self.is_begun else self._head(len(body) if is_last else None, date)
        if self._request.method == b"HEAD" or self._status in WITHOUT_BODY:
            self.is_begun = True
            return head
        if self._content_left is not None:
            self._content_left -= len(body)
            if self._content_left < 0 or (is_last and self._content_left):
                raise RuntimeError("The body does not have the announced length.")
        self.is_begun = True
        if not self._is_chunked:
            return head + body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return head + chunk + (b"0\r\n\r\n" if is_last else b"")

    def _note_header(self, name: bytes, value: bytes) -> None:
        if not _NAME.fullmatch(name) or _FORBIDDEN_IN_VALUE.search(value):
            raise ValueError(f"Header {name[:40]!r} is not valid.")
        if name == b"content-length":
            self._content_left = int(value)
        if name == b"connection" and value.lower() == b"close":
            self._request.is_keep_alive = False
        if name not in _OURS:
            self._headers.append((name, value))

    def _head(self, whole_bytes: int | None, date: bytes) -> bytes:
        """`whole_bytes` is the length of the body when it comes in this one part."""
        request, headers = self._request, self._headers
        if not any(name == b"date" for name, _ in headers):
            headers.append((b"date", date))
        if self._content_left is None and self._status not in WITHOUT_BODY:
            self._frame(whole_bytes)
        if not request.is_keep_alive:
            headers.append((b"connection", b"close"))
        elif request.is_http_1_0:
            headers.append((b"connection", b"keep-alive"))
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        return status_line(self._status) + lines + b"\r\n"

    def _frame(self, whole_bytes: int | None) -> None:
        request = self._request
        if whole_bytes is not None and request.method != b"HEAD":
            self._content_left = whole_bytes
            self._headers.append((b"content-length", b"%d" % whole_bytes))
        elif request.is_http_1_0:
            request.is_keep_alive = False
        elif request.method != b"HEAD":
            self._is_chunked = True
            self._headers.append((b"transfer-encoding", b"chunked"))
