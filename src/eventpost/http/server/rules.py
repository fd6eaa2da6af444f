"""What a request head must satisfy beyond llhttp's grammar (RFC 9112, RFC 9110).

Layer: http.
"""

import re
from collections.abc import Sequence

from eventpost.http.server.limits import HttpLimits
from eventpost.http.server.request import Header, Request


class Malformed(Exception):
    """What came in is no request of ours. `reason` never repeats bytes of the peer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def check_sizes(limits: HttpLimits, method: bytes, url: bytes, headers: Sequence[Header]) -> None:
    """Raise `Malformed` 414 or 431 where a bound is exceeded."""
    if len(url) > limits.url_bytes_max:
        raise Malformed(414, f"The request target is longer than {limits.url_bytes_max} bytes.")
    if len(headers) > limits.header_count_max:
        raise Malformed(431, f"There are more than {limits.header_count_max} headers.")
    line_bytes = len(method) + len(url) + len("  HTTP/1.1\r\n")
    headers_bytes = sum(len(name) + len(value) + len(": \r\n") for name, value in headers)
    if line_bytes + headers_bytes + len("\r\n") > limits.head_bytes_max:
        raise Malformed(431, f"The request head is larger than {limits.head_bytes_max} bytes.")


_ONCE = frozenset([b"host", b"content-length", b"transfer-encoding"])


def check_repeated(repeated: Sequence[Header]) -> None:
    """What frames or addresses a request must not be said twice."""
    if any(name in _ONCE for name, _ in repeated):
        raise Malformed(400, "A header that may come only once is repeated.")


def note_version(request: Request, version: str) -> None:
    """Set what follows from the HTTP version. Raises `Malformed` 505 for any but 1.1 and 1.0."""
    if version == "1.0":
        request.is_http_1_0 = True
    elif version != "1.1":
        raise Malformed(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    request.is_plain = request.is_keep_alive and not request.is_http_1_0


_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=:\[\]-]*")
"""The bytes that RFC 3986 allows in a host with a port; in particular no comma, slash or `@`."""


def check_host(request: Request) -> None:
    """A valid `Host`, which only HTTP/1.0 may leave out (RFC 9112 section 3.2)."""
    host = request.index.get(b"host")
    if host is None and not request.is_http_1_0:
        raise Malformed(400, "The Host header is missing.")
    if host is not None and not _HOST.fullmatch(host):
        raise Malformed(400, "The Host header is not a host.")


def normalise_target(request: Request, url: bytes) -> None:
    """Turn the absolute form into path, query and `Host`; refuse what is no target of a server.

    RFC 9112 section 3.2: a server must accept the absolute form, and its host goes before `Host`.
    """
    if request.method == b"CONNECT":
        raise Malformed(501, "This is not a proxy.")
    if b"#" in url:
        raise Malformed(400, "The request target has a fragment.")
    if url == b"*" and request.method == b"OPTIONS":
        return
    scheme, separator, rest = url.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise Malformed(400, "The request target is neither a path nor an http URL.")
    authority = re.split(rb"[/?]", rest, maxsplit=1)[0]
    if not authority or not _HOST.fullmatch(authority):
        raise Malformed(400, "The request target has no valid host.")
    path, _, request.query = rest[len(authority) :].partition(b"?")
    request.path = path or b"/"
    request.index[b"host"] = authority


def check_transfer_encoding(request: Request) -> None:
    """Only `chunked`, once, and not in HTTP/1.0, where it marks a forged frame (RFC 9112 6.1)."""
    if request.index[b"transfer-encoding"].lower() != b"chunked":
        raise Malformed(400, "The only transfer coding known here is chunked.")
    if request.is_http_1_0:
        raise Malformed(400, "HTTP/1.0 has no transfer codings.")
    if b"content-length" in request.index:
        raise Malformed(400, "Content-Length and Transfer-Encoding exclude each other.")
