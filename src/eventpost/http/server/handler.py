"""What the server's user provides: a fast handler for one kind of requests, ASGI for the rest.

Layer: http.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from eventpost.http.server.request import Request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]
"""An ASGI 3 application. `Any` is the ASGI specification's own type for what messages hold."""

FAILED = "The request failed inside the server."
"""All that a client is told of an exception."""


class FastHandler(Protocol):
    """Answers requests without a Task each. All calls on the loop's thread; none may block."""

    def accepts(self, method: bytes, path: bytes) -> bool:
        """Whether this handler, and not the ASGI application, gets the request.

        Asked when the head is complete, for each request. `path` is raw, without the query.
        """
        ...

    def handle(self, request: Request) -> None:
        """Take a request with its whole body, and see that `request.respond` is called once, now
        or later. An exception answers 500, if it was not answered yet, and is logged."""
        ...

    def too_large(self, request: Request) -> bytes:
        """The whole answer (413) to an accepted request whose body exceeds `body_bytes_max`."""
        ...

    def malformed(self, request: Request | None, status: int, reason: str) -> bytes:
        """The whole answer to what the server refuses itself, or fails at.

        `status` is 400 (malformed), 408 (too slow), 413 (body of an ASGI request), 414, 431 (head),
        500, 501, 503 (too many bodies at once) or 505. `reason` is a sentence that repeats nothing
        of the request. `request` is None when there is no complete head.
        """
        ...
