"""Heads that came before, their `Content-Length` aside: parsed once, and known from then on.

A client that keeps its connection sends the same head again and again, with another length. The
same bytes always mean the same: what is known here went through the parser and all of its checks,
and reading it again costs a look-up instead of the parser and its callbacks.

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
_LENGTHS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
"""As clients write it; what spells it otherwise is parsed each time. With the line end before it,
for it may stand in another header's value, too."""
_NAME_BYTES = len(_LENGTHS[0])
_LENGTH = b"content-length"
DIGITS_MAX = 9


class Head(NamedTuple):
    """The head at the beginning of some bytes, by what may be known of it."""

    key: bytes
    """All of it but the digits of the length."""
    digits: bytes
    end: int
    """Where the body begins."""


class Known(NamedTuple):
    """What a head says."""

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]


def split(data: bytes) -> Head | None:
    """Take the length out of the head that `data` begins with; None when there is none in sight.

    Equal keys come of heads that differ in these digits alone: in both the first line that begins
    with the name is at the same place."""
    at = data.find(_LENGTHS[0], 0, HEAD_BYTES_MAX)
    if at < 0:
        at = data.find(_LENGTHS[1], 0, HEAD_BYTES_MAX)
        if at < 0:
            return None
    at += _NAME_BYTES
    stop = data.find(b"\r", at, at + DIGITS_MAX + 1)
    end = data.find(HEAD_END, stop, HEAD_BYTES_MAX) + len(HEAD_END)
    digits = data[at:stop]
    if stop < 0 or end < stop or not digits.isdigit():
        return None
    return Head(data[:at] + data[stop:end], digits, end)


class KnownHeads:
    """Of all connections of one server."""

    __slots__ = ("by_key",)

    def __init__(self) -> None:
        self.by_key: dict[bytes, Known] = {}

    def learn(self, data: bytes, request: Request) -> None:
        """Remember the head of `request`, which `data` held whole and alone; but never one that
        asks for more than a body of a certain length."""
        if (
            not request.is_plain
            or not request.is_keep_alive
            or request.is_chunked
            or request.expects_continue
            or request.repeated
            or b"upgrade" in request.index
        ):
            return
        head = split(data)
        if (
            head is None
            or request.index.get(_LENGTH) != head.digits
            or len(data) - head.end != int(head.digits)
        ):
            return
        if len(self.by_key) >= HEADS_MAX:
            self.by_key.clear()
        self.by_key[head.key] = Known(request.method, request.path, request.query, request.index)
