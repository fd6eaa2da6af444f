"""Who wants the requests of one connection, and what is to become of their bodies.

Layer: http.
"""

from enum import Enum
from typing import Protocol

from eventpost.http.server.request import Request


class Mode(Enum):
    """What to do with a body."""

    KEEP = "keep"  # collect it into `Request.body`
    STREAM = "stream"  # hand on each piece
    DROP = "drop"  # read over it


KEEP, STREAM, DROP = Mode
"""Python 3.11 takes ten times as long for `Mode.KEEP`, a third of what a request costs here."""


class Sink(Protocol):
    """Who wants the requests."""

    def head(self, request: Request) -> Mode:
        """A head is complete. The body is treated as the answer says."""
        ...

    def head_of_too_large(self, request: Request) -> None:
        """Instead of `head`: the announced body exceeds `body_bytes_max` and is dropped."""
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
