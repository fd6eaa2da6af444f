"""Deliveries to a function of Azure Functions with an HTTP trigger.

Layer: receive. The only module that imports azure.functions, which a function app has.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import azure.functions as func

from eventpost.receive.answers import Answer
from eventpost.receive.handling import AnyHandle, Handle, handled, handled_here

if TYPE_CHECKING:
    from eventpost.receive.receiver import EventGridReceiver, Received

Function = Callable[[func.HttpRequest], func.HttpResponse]
AsyncFunction = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


def function(receiver: "EventGridReceiver", handle: Handle) -> Function:
    """The host calls it in a thread of its pool, and binds the request by the name `req`."""

    def main(req: func.HttpRequest) -> func.HttpResponse:
        received = _received(receiver, req)
        return _response(received.answer or handled_here(handle, received.events))

    return main


def async_function(receiver: "EventGridReceiver", handle: AnyHandle) -> AsyncFunction:
    """The host awaits it on its loop."""

    async def main(req: func.HttpRequest) -> func.HttpResponse:
        received = _received(receiver, req)
        return _response(received.answer or await handled(handle, received.events))

    return main


def _received(receiver: "EventGridReceiver", request: func.HttpRequest) -> "Received":
    return receiver.receive(
        request.method or "",
        dict(request.headers),
        request.get_body(),
        query=urlsplit(request.url).query,
    )


def _response(answer: Answer) -> func.HttpResponse:
    headers = dict(answer.headers)
    content_type = headers.pop("content-type", "text/plain; charset=utf-8")
    return func.HttpResponse(
        answer.body, status_code=answer.status, headers=headers, mimetype=content_type
    )
