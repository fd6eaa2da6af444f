"""Bytes in, requests out: llhttp in its strict mode, and the rules that it leaves to its user.

Follows RFC 9112. What could be read in two ways is refused (`rules`), so that no proxy in
front and this server ever disagree about where a request ends.
Layer: http.
"""

from enum import Enum
from typing import Protocol

import httptools

from eventpost.http.server import rules
from eventpost.http.server.limits import HttpLimits
from eventpost.http.server.request import Header, Request
from eventpost.http.server.rules import Malformed

CHUNK_HEAD_BYTES = 16
"""What a chunk may cost beside its data before it counts as overhead: size and line ends."""


class Mode(Enum):
    """What to do with a body."""

    KEEP = "keep"  # collect it into `Request.body`
    STREAM = "stream"  # hand on each piece
    DROP = "drop"  # read over it


class Sink(Protocol):
    """Who wants the requests."""

    def head(self, request: Request) -> Mode:
        """A head is complete. The body is treated as the answer says."""
        ...

    def body(self, chunk: bytes) -> None:
        """A piece of a body in mode STREAM."""
        ...

    def too_large(self, request: Request) -> None:
        """A body outgrew `body_bytes_max`; the rest of it is dropped."""
        ...

    def complete(self, request: Request) -> None:
        """The body has ended."""
        ...


class RequestReader:
    """Reads the requests of one connection. After `Malformed` it must not be fed again."""

    __slots__ = (
        "_body",
        "_chunk_count",
        "_fed_bytes",
        "_head_bytes",
        "_head_bytes_bound",
        "_headers",
        "_host",
        "_is_replaying",
        "_limits",
        "_mode",
        "_parser",
        "_replay",
        "_sink",
        "_url",
        "_wire_bytes",
        "is_in_head",
        "received",
        "request",
        "request_count",
    )

    def __init__(self, sink: Sink, limits: HttpLimits) -> None:
        self._sink = sink
        self._limits = limits
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[Header] = []
        self._host: bytes | None = None
        self._mode = Mode.DROP
        self._body: bytes | bytearray = b""
        self._fed_bytes = 0
        self._head_bytes = 0
        self._head_bytes_bound = 0
        self._wire_bytes = 0
        self._chunk_count = 0
        self._replay = b""
        self._is_replaying = False
        self.is_in_head = False
        self.received = 0
        """Body bytes of the present request so far."""
        self.request: Request | None = None
        """The request whose body is being read."""
        self.request_count = 0

    # --- feeding ---------------------------------------------------------------------------------

    def feed(self, data: bytes | memoryview) -> None:
        """Read on. Calls the sink; raises `Malformed`."""
        was_in_head, had_request = self.is_in_head, self.request
        self._fed_bytes = len(data)
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_on_after_upgrade(data, upgrade.args[0])
        except httptools.HttpParserError as error:
            raise _cause_of(error) from error
        if self.is_in_head:
            self._bound_open_head(is_continued=was_in_head)
        elif self.request is not None and self.request.content_length < 0:
            self._bound_chunk_overhead(is_continued=had_request is self.request)

    def close(self) -> None:
        """Break the circle of references with the parser."""
        self._parser = None
        self.request = None
        self._body = b""

    @property
    def kept_bytes(self) -> int:
        """Bytes of an unfinished body that are held in memory."""
        return len(self._body)

    @property
    def body_bytes_left(self) -> int:
        """Bytes that certainly belong to the present body."""
        request = self.request
        return max(0, request.content_length - self.received) if request is not None else 0

    def drop_body(self) -> None:
        """Read over the rest of the present body."""
        self._mode = Mode.DROP
        self._body = b""

    def _bound_open_head(self, *, is_continued: bool) -> None:
        """What came together with the first byte of a head may belong to the request before it, so
        it counts only once the head is complete. It is at most one read."""
        self._head_bytes_bound += self._fed_bytes
        if is_continued:
            self._head_bytes += self._fed_bytes
        if self._head_bytes > self._limits.head_bytes_max:
            raise Malformed(431, "The request head is too large.")

    def _bound_chunk_overhead(self, *, is_continued: bool) -> None:
        """llhttp does not show chunk extensions: they are what is left when data is subtracted."""
        if is_continued:
            self._wire_bytes += self._fed_bytes
        allowed = self.received + CHUNK_HEAD_BYTES * self._chunk_count
        if self._wire_bytes - allowed > self._limits.chunk_overhead_bytes_max:
            raise Malformed(400, "Chunk extensions or trailers are too large.")

    def _read_on_after_upgrade(self, data: bytes | memoryview, offset: int) -> None:
        """`Upgrade` is ignored, as RFC 9110 section 7.8 allows, but llhttp ends such a request at
        its head. A fresh parser gets a head with the same framing and reads the body.
        (Java's HttpClient offers h2c on its first request, body included.)"""
        head, self._replay = self._replay, b""
        self._parser = httptools.HttpRequestParser(self)
        self._is_replaying = True
        self.feed(head + bytes(data[offset:]))

    # --- called by llhttp ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.is_in_head = True
        self._url = b""
        self._headers = []
        self._head_bytes = self._head_bytes_bound = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        self.is_in_head = False
        if self._is_replaying:
            self._is_replaying = False
            return
        request = self._request_from_head()
        self.request = request
        self.received = 0
        self._mode = self._sink.head(request)

    def on_body(self, chunk: bytes) -> None:
        self.received += len(chunk)
        mode = self._mode
        if mode is Mode.DROP:
            return
        if self.received > self._limits.body_bytes_max:
            self._refuse_body()
        elif mode is Mode.STREAM:
            self._sink.body(chunk)
        elif not self._body:
            self._body = chunk
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += chunk

    def on_chunk_header(self) -> None:
        self._chunk_count += 1

    def on_message_complete(self) -> None:
        if self._replay:
            return
        request = self.request
        assert request is not None
        self.request = None
        self.request_count += 1
        body = self._body
        if body:
            request.body = body if isinstance(body, bytes) else bytes(body)
            self._body = b""
        request.is_complete = True
        self._sink.complete(request)

    # --- a head ----------------------------------------------------------------------------------

    def _request_from_head(self) -> Request:
        parser, headers, limits = self._parser, self._headers, self._limits
        assert parser is not None
        if (
            self._head_bytes_bound + self._fed_bytes > limits.head_bytes_max
            or len(headers) > limits.header_count_max
            or len(self._url) > limits.url_bytes_max
        ):
            rules.check_sizes(limits, parser.get_method(), self._url, headers)
        index = dict(headers)
        is_repeating = len(index) != len(headers)
        if is_repeating:
            index = rules.first_of_each(headers)
        path, _, query = self._url.partition(b"?")
        request = Request(parser.get_method(), path, query, headers, index)
        request.is_keep_alive = is_keep_alive = parser.should_keep_alive()
        # llhttp keeps alive without being told only what is HTTP/1.1: no need to ask the version.
        if not is_keep_alive or b"connection" in index:
            rules.note_version(request, parser.get_http_version())
        if request.method == b"HEAD":
            request.is_plain = False
        host = index.get(b"host")
        if is_repeating or host is None or host != self._host:
            rules.check_host(request)
            self._host = host
        if path[:1] != b"/" or b"#" in self._url:
            rules.normalise_target(request, self._url)
        if b"content-length" in index:
            request.content_length = int(index[b"content-length"])
        if not _RARE.isdisjoint(index):
            self._note_rare(request, parser)
        return request

    def _note_rare(self, request: Request, parser: httptools.HttpRequestParser) -> None:
        framing = b"Content-Length: %d\r\n" % request.content_length
        if b"transfer-encoding" in request.index:
            rules.check_transfer_encoding(request)
            framing = b"Transfer-Encoding: chunked\r\n"
            request.content_length = -1
            self._headers = []  # trailers come as headers, and are none of this request's
            self._wire_bytes = self._chunk_count = 0
        if parser.should_upgrade():
            self._replay = b"POST / HTTP/1.1\r\n" + framing + b"\r\n"
        request.expects_continue = (
            request.index.get(b"expect", b"").lower() == b"100-continue"
            and not request.is_http_1_0
            and request.content_length != 0
        )

    def _refuse_body(self) -> None:
        self.drop_body()
        assert self.request is not None
        self._sink.too_large(self.request)


_RARE = frozenset([b"transfer-encoding", b"expect", b"upgrade"])


def _cause_of(error: httptools.HttpParserError) -> BaseException:
    """llhttp's own texts are fixed words; an exception out of a callback is carried as context."""
    if isinstance(error, httptools.HttpParserCallbackError) and error.__context__ is not None:
        return error.__context__
    return Malformed(400, f"Malformed HTTP request: {error}.")
