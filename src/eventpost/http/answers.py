"""What came back for one request: status, headers and the beginning of the body.

Layer: http.
"""

from datetime import UTC
from email.utils import parsedate_to_datetime

RETRY_AFTER_S_MAX = 10**9
"""A bound on digits only; the retry policy has its own, which users set."""


class Answer:
    """A complete answer. `headers` are taken apart only when somebody asks.

    `body` is the beginning of the content, at most the client's bound; `is_truncated` says that
    more came or was to come. `elapsed_ms` runs from the request to the answer's last byte.
    """

    __slots__ = (
        "_head",
        "address",
        "body",
        "elapsed_ms",
        "is_truncated",
        "proxy",
        "reconnect_count",
        "status",
    )

    def __init__(
        self,
        status: int,
        head: bytes,
        body: bytes,
        elapsed_ms: float,
        address: str,
        reconnect_count: int = 0,
    ) -> None:
        self.status = status
        self._head = head
        self.body = body
        self.elapsed_ms = elapsed_ms
        self.address = address
        self.reconnect_count = reconnect_count
        self.is_truncated = False
        self.proxy: str | None = None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, values without blanks around them, in the order of the wire."""
        return parse_headers(self._head)

    def header(self, name: bytes) -> bytes | None:
        """The first value of `name` (lower case)."""
        return next((value for key, value in self.headers if key == name), None)

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, address={self.address!r}, body={self.body[:80]!r})"


def parse_headers(head: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of the final answer in `head`, which the parser has found to be well formed.

    Interim answers (1xx) before it are passed over.
    """
    while True:
        block, _, rest = head.partition(b"\r\n\r\n")
        lines = block.split(b"\r\n")
        if not (rest and lines[0][9:10] == b"1"):
            break
        head = rest
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        headers.append((name.strip().lower(), value.strip()))
    return headers


def is_framed(head: bytes) -> bool:
    """Whether the answer says where its body ends; otherwise it ends with the connection."""
    for name, value in parse_headers(head):
        if name == b"content-length":
            return True
        if name == b"transfer-encoding" and value.lower().endswith(b"chunked"):
            return True
    return False


def keep_alive_s(head: bytes) -> float | None:
    """How long the peer promises to keep an idle connection (`Keep-Alive: timeout=5`)."""
    for name, value in parse_headers(head):
        if name == b"keep-alive":
            for item in value.split(b","):
                key, _, number = item.strip().partition(b"=")
                if key.strip().lower() == b"timeout" and number.strip().isdigit():
                    return float(number[:9])
    return None


def retry_after_s(value: bytes | None, now_ms: int) -> int | None:
    """Seconds that `Retry-After` asks to wait: a number or an HTTP date (RFC 9110, 10.2.3).

    0 for a date that has passed, None when it is absent or neither.
    """
    if value is None:
        return None
    if value.isdigit():
        return min(int(value[:12]), RETRY_AFTER_S_MAX)
    try:
        date = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    delay_ms = int(date.timestamp() * 1000) - now_ms
    return min(max(0, -(-delay_ms // 1000)), RETRY_AFTER_S_MAX)
