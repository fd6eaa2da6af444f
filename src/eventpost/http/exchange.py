"""One request on its way, and what a connection asks of the pool that owns it.

Layer: http.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from eventpost.core.outcomes import Evidence
from eventpost.http.answers import Answer
from eventpost.http.client_limits import ClientLimits

if TYPE_CHECKING:
    from eventpost.http.connection import Connection

Done = Callable[["Answer | Evidence"], object]


class Exchange:
    """One request on its way: what is sent, who wants the answer, how much time is left.

    `left_s` is the response timeout, counted while the request is on a connection.
    `waiting_until_s` is set while it waits for one.
    """

    __slots__ = (
        "body",
        "done",
        "head",
        "left_s",
        "reconnect_count",
        "started_s",
        "waiting_until_s",
    )
    waiting_until_s: float

    def __init__(
        self, head: bytes, body: bytes, timeout_s: float, done: Done, started_s: float
    ) -> None:
        self.head = head
        self.body = body
        self.left_s = timeout_s
        self.done = done
        self.started_s = started_s
        self.reconnect_count = 0

    def fail(self, evidence: Evidence, now_s: float) -> None:
        """Hand the failure over, complete with how long it took."""
        self.done(
            msgspec.structs.replace(
                evidence,
                elapsed_ms=int((now_s - self.started_s) * 1000),
                reconnect_count=self.reconnect_count,
            )
        )


class Repeated(NamedTuple):
    """An answer that came whole in one piece over a kept connection: the same bytes mean the same
    again, and need not be parsed again."""

    data: bytes
    status: int
    body: bytes


REPEATED_BYTES_MAX = 2_048
"""A longer answer is parsed each time."""


class Owner(Protocol):
    """The pool, as its connections see it."""

    limits: ClientLimits
    now_s: Callable[[], float]
    proxy_name: str | None
    repeated: Repeated | None
    """The last answer of its kind, of whichever connection."""

    def released(self, connection: "Connection", now_s: float) -> None:
        """The connection is free and may be used again."""

    def lost(self, connection: "Connection") -> None:
        """The connection is gone or must not be used again. Called once."""

    def unanswered(self, exchange: Exchange, evidence: Evidence) -> None:
        """A kept connection ended before the first byte of an answer."""
