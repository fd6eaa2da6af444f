"""Deliveries to an ASGI application on asyncio, as uvicorn and hypercorn run it.

Layer: receive. https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from eventpost.receive.answers import Answer
from eventpost.receive.handling import AnyHandle, handled

if TYPE_CHECKING:
    from eventpost.receive.receiver import EventGridReceiver

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ASGIReceiver:
    """Takes requests of any path: where it is mounted decides.

    An object, so that a router takes it for an application and not for a view.
    """

    def __init__(self, receiver: "EventGridReceiver", handle: AnyHandle) -> None:
        self._receiver = receiver
        self._handle = handle

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"deliveries come over http, not {scope['type']}")
        body = await _body(receive, self._receiver.body_bytes_max)
        if body is None:
            return
        headers = {_text(name): _text(value) for name, value in scope["headers"]}
        query = _text(scope["query_string"])
        received = self._receiver.receive(scope["method"], headers, body, query=query)
        await _answer(send, received.answer or await handled(self._handle, received.events))


def _text(value: bytes) -> str:
    return value.decode("latin-1")


async def _body(receive: Receive, bytes_max: int) -> bytes | None:
    """The whole body, or as much of it as shows that it is too large; None when the sender left."""
    parts: list[bytes] = []
    size = 0
    while size <= bytes_max:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body", False):
            break
    return b"".join(parts)


async def _answer(send: Send, answer: Answer) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    """There is nothing to start and nothing to end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
