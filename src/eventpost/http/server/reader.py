"""Bytes in, requests out: llhttp in its strict mode, and the rules that it leaves to its user.

Follows RFC 9112. What could be read in two ways is refused (`rules`), so that no proxy in
front and this server ever disagree about where a request ends.
Layer: http.
"""

import httptools

from eventpost.http.server import rules
from eventpost.http.server.heads import MISSES_MAX, KnownHeads, split
from eventpost.http.server.limits import HttpLimits
from eventpost.http.server.request import Answering, Header, Request
from eventpost.http.server.rules import Malformed
from eventpost.http.server.sink import DROP, KEEP, STREAM, Sink

CHUNK_HEAD_BYTES = 16
"""What a chunk may cost beside its data before it counts as overhead: size and line ends."""
PARTS_MAX = 1024
"""Pieces of an unfinished body that are kept as they came."""

CONTENT_LENGTH = b"content-length"
SLASH, QUESTION_MARK, HASH = b"/?#"
"""As numbers: `in` takes ten times as long to look for bytes in bytes."""


class RequestReader:
    """Reads the requests of one connection. After `Malformed` it must not be fed again."""

    __slots__ = (
        "_answering",
        "_body_bytes_max",
        "_careful_bytes",
        "_careful_digits",
        "_cause",
        "_chunk_count",
        "_count_before",
        "_fed_bytes",
        "_head_bytes",
        "_header_count_max",
        "_host",
        "_index",
        "_is_head_cut",
        "_is_head_fresh",
        "_is_replaying",
        "_is_tls",
        "_known",
        "_latest",
        "_limits",
        "_misses",
        "_mode",
        "_parser",
        "_parts",
        "_peer",
        "_repeated",
        "_replay",
        "_sink",
        "_url",
        "_wire_bytes",
        "is_in_head",
        "received",
        "request",
        "request_count",
    )

    def __init__(
        self,
        sink: Sink,
        limits: HttpLimits,
        answering: Answering | None = None,
        peer: str = "",
        *,
        is_tls: bool = False,
        known: KnownHeads | None = None,
    ) -> None:
        self._sink = sink
        self._limits = limits
        self._known = known or KnownHeads()
        self._misses = 0
        """How many more heads were new than known."""
        self._latest: Request | None = None
        """The last request that the present feed completed."""
        self._careful_bytes = min(limits.head_bytes_max, limits.url_bytes_max)
        """No head that came in so few bytes exceeds a bound of bytes."""
        self._header_count_max = limits.header_count_max
        self._careful_digits = len(str(limits.body_bytes_max))
        """No length with fewer digits exceeds the bound of a body."""
        self._answering = answering
        self._body_bytes_max = limits.body_bytes_max
        self._peer = peer
        self._is_tls = is_tls
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._url = b""
        self._index: dict[bytes, bytes] = {}
        self._repeated: list[Header] = []
        self._host: bytes | None = None
        self._mode = DROP
        self._parts: list[bytes | bytearray] = []
        self._fed_bytes = 0
        self._count_before = 0
        """Requests read before the present feed."""
        self._head_bytes = 0
        """Bytes of an unfinished head, as far as they certainly belong to it."""
        self._is_head_cut = False
        """Whether the head came in more than one feed."""
        self._wire_bytes = 0
        """Bytes of a chunked body as it came, without those that came with its head."""
        self._chunk_count = 0
        self._is_head_fresh = False
        """Whether the head of the chunked body came in the present feed."""
        self._cause: Exception | None = None
        """What a callback raised; httptools hides it."""
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
        may_know = (
            self.request is None
            and not self.is_in_head
            and self._misses < MISSES_MAX
            and data.__class__ is bytes
        )
        if may_know and self._feed_known(data):  # type: ignore[arg-type]  # it was just asked
            return
        self._fed_bytes = len(data)
        self._count_before = self.request_count
        try:
            self._parser.feed_data(data)  # type: ignore[union-attr]  # closed readers are not fed
        except httptools.HttpParserUpgrade as upgrade:
            offset = upgrade.args[0]
        except httptools.HttpParserCallbackError as error:
            raise self._cause or error from error
        except httptools.HttpParserError as error:  # its texts are fixed words
            raise Malformed(400, f"Malformed HTTP request: {error}.") from error
        else:
            latest, self._latest = self._latest, None
            if self.is_in_head or self.request is not None:
                self._bound_unfinished()
            elif may_know and latest is not None and self.request_count == self._count_before + 1:
                self._misses += 1
                self._known.learn(data, latest)  # type: ignore[arg-type]  # as above
            return
        self._read_on_after_upgrade(data, offset)

    def _feed_known(self, data: bytes) -> bool:
        """Take `data` without the parser, which is between two messages and stays there, when it is
        one whole request whose head came before. False: it is for the parser."""
        head = split(data)
        if head is None:
            return False
        key, digits, start = head
        known = self._known.by_key.get(key)
        length = len(data) - start
        if known is None or int(digits) != length or length > self._body_bytes_max:
            return False
        if self._misses:
            self._misses -= 1
        method, path, query, headers = known
        headers = headers | {CONTENT_LENGTH: digits}
        request = Request(method, path, query, headers, self._peer, self._is_tls, self._answering)
        self.request_count += 1
        mode = self._sink.head(request)
        if mode is KEEP:
            request.body = data[start:]
        elif mode is STREAM and length:
            self._sink.body(data[start:])
        self._sink.complete(request)
        return True

    def close(self) -> None:
        """Forget what is unfinished; nothing more is fed. Breaks the circle of references with the
        parser."""
        self._parser = None
        self.request = None
        self.is_in_head = False
        self._parts.clear()

    @property
    def kept_bytes(self) -> int:
        """Bytes of an unfinished body that are held in memory."""
        return self.received if self._parts else 0

    @property
    def body_bytes_left(self) -> int:
        """Bytes that certainly belong to the present body."""
        request = self.request
        if request is None or request.is_chunked:
            return 0
        return request.content_length - self.received

    def drop_body(self) -> None:
        """Read over the rest of the present body."""
        self._mode = DROP
        self._parts.clear()

    def _bound_unfinished(self) -> None:
        """Bound what has begun and may never end."""
        if self.is_in_head:
            self._is_head_cut = True
            if self.request_count == self._count_before:  # else some bytes were the last request's
                self._head_bytes += self._fed_bytes
            if self._head_bytes > self._limits.head_bytes_max:
                raise Malformed(431, "The request head is too large.")
        elif self.request is not None and self.request.is_chunked:
            self._bound_chunk_overhead()
        if len(self._parts) > PARTS_MAX:
            self._compact()

    def _bound_chunk_overhead(self) -> None:
        """llhttp does not show chunk extensions: they are what is left when data is subtracted."""
        if not self._is_head_fresh:
            self._wire_bytes += self._fed_bytes
        self._is_head_fresh = False
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
        self._index = {}
        if self._repeated:
            self._repeated = []

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        index = self._index
        if name in index:
            self._repeated.append((name, value.rstrip()))
        else:
            index[name] = value.rstrip()

    def on_headers_complete(self) -> None:
        self.is_in_head = False
        if self._is_replaying:
            self._is_replaying = False
            return
        try:
            self.request = request = self._request_of_head()
            self.received = 0
            length = request.index.get(b"content-length")
            if (
                length is not None
                and len(length) >= self._careful_digits
                and int(length) > self._body_bytes_max
            ):
                self._mode = DROP
                self._sink.head_of_too_large(request)
            else:
                self._mode = self._sink.head(request)
        except Exception as error:
            self._cause = error
            raise

    def on_body(self, chunk: bytes) -> None:
        self.received = received = self.received + len(chunk)
        if self._mode is KEEP and received <= self._body_bytes_max:
            self._parts.append(chunk)
        elif self._mode is not DROP:
            self._stream(chunk)

    def on_chunk_header(self) -> None:
        self._chunk_count += 1

    def on_message_complete(self) -> None:
        request = self.request
        if self._replay or request is None:  # not its end, or the connection was just given up
            return
        self.request = None
        self.request_count += 1
        parts = self._parts
        if parts:
            request.body = b"".join(parts)
            parts.clear()
        self._latest = request
        if not request.is_keep_alive:
            self._misses = MISSES_MAX  # nothing may follow, and the parser says so
        self._sink.complete(request)

    # --- heads -----------------------------------------------------------------------------------

    def _request_of_head(self) -> Request:
        index, url, parser = self._index, self._url, self._parser
        assert parser is not None
        if (
            self._is_head_cut
            or self._fed_bytes > self._careful_bytes
            or len(index) > self._header_count_max
            or self._repeated
        ):
            self._check_head()
        path, query = url, b""
        if QUESTION_MARK in url:
            path, _, query = url.partition(b"?")
        method = parser.get_method()
        request = Request(method, path, query, index, self._peer, self._is_tls, self._answering)
        if self._repeated:
            request.repeated = tuple(self._repeated)
        is_keep_alive = parser.should_keep_alive()
        # llhttp keeps alive without being told only what is HTTP/1.1: no need to ask the version.
        if not is_keep_alive or b"connection" in index:
            request.is_keep_alive = is_keep_alive
            rules.note_version(request, parser.get_http_version())
        host = index.get(b"host")
        if host is None or host != self._host:
            rules.check_host(request)
            self._host = host
        if url[0] != SLASH or HASH in url:
            rules.normalise_target(request, url)
        if (
            b"transfer-encoding" in index
            or b"expect" in index
            or b"upgrade" in index
            or method == b"HEAD"
        ):
            self._note_rare(request, parser)
        return request

    def _check_head(self) -> None:
        """It may be too large, or repeats a header."""
        assert self._parser is not None
        headers = [*self._index.items(), *self._repeated]
        rules.check_sizes(self._limits, self._parser.get_method(), self._url, headers)
        rules.check_repeated(self._repeated)
        self._head_bytes, self._is_head_cut = 0, False

    def _note_rare(self, request: Request, parser: httptools.HttpRequestParser) -> None:
        request.is_plain &= request.method != b"HEAD"
        has_body = b"content-length" in request.index
        framing = b"Content-Length: %d\r\n" % request.content_length
        if b"transfer-encoding" in request.index:
            rules.check_transfer_encoding(request)
            framing = b"Transfer-Encoding: chunked\r\n"
            request.is_chunked = has_body = True
            self._index = {}  # trailers come as headers, and are none of this request's
            self._wire_bytes = self._chunk_count = 0
            self._is_head_fresh = True
        if parser.should_upgrade():
            self._replay = b"POST / HTTP/1.1\r\n" + framing + b"\r\n"
        request.expects_continue = (
            request.index.get(b"expect", b"").lower() == b"100-continue"
            and not request.is_http_1_0
            and has_body
        )

    def _compact(self) -> None:
        """A body in tiny pieces must not take many times its size."""
        first = self._parts[0]
        whole = first if isinstance(first, bytearray) else bytearray(first)
        for part in self._parts[1:]:
            whole += part
        self._parts[:] = [whole]

    def _stream(self, chunk: bytes) -> None:
        if self.received <= self._body_bytes_max:
            self._sink.body(chunk)
        elif self.request is not None:
            self.drop_body()
            self._sink.too_large(self.request)
