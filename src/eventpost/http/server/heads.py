"""Heads that came before, byte for byte: parsed once, and known from then on.

A client that keeps its connection sends the same head again and again, its `Content-Length` aside,
and the same bytes always mean the same. What is known here went through the parser and all of its
checks; reading it again costs a look-up instead of the parser and its callbacks.

Layer: http.
"""

from typing import NamedTuple

from eventpost.http.server.request import Request

HEADS_MAX = 1_024
"""Heads that are known at a time, all connections together; beyond it all are forgotten."""
HEAD_BYTES_MAX = 2_048
"""A longer head is parsed each time."""
MISSES_MAX = 256
"""A connection whose heads were new so many times more often than known is asked no more: its
client puts something of its own into each (a request id, a token)."""

HEAD_END = b"\r\n\r\n"


class Known(NamedTuple):
    """What a head says."""

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    body_bytes: int


class KnownHeads:
    """Of all connections of one server."""

    __slots__ = ("by_bytes",)

    def __init__(self) -> None:
        self.by_bytes: dict[bytes, Known] = {}

    def learn(self, data: bytes, request: Request) -> bool:
        """Remember the head of `request`, which `data` held whole and alone. False when its like is
        never known: what asks for more than a body of a certain length, or is too long."""
        if (
            not request.is_plain
            or not request.is_keep_alive
            or request.is_chunked
            or request.expects_continue
            or request.repeated
            or b"upgrade" in request.index
        ):
            return False
        body_bytes = request.content_length
        head = data[: len(data) - body_bytes]
        if len(head) > HEAD_BYTES_MAX or head.find(HEAD_END) != len(head) - len(HEAD_END):
            return False
        if len(self.by_bytes) >= HEADS_MAX:
            self.by_bytes.clear()
        self.by_bytes[head] = Known(
            request.method, request.path, request.query, request.index, body_bytes
        )
        return True
