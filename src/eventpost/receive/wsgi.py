"""Deliveries to a WSGI application. Layer: receive. PEP 3333."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from eventpost.receive.answers import Answer
from eventpost.receive.handling import AnyHandle, handled_here

if TYPE_CHECKING:
    from eventpost.receive.receiver import EventGridReceiver

Environ = dict[str, Any]
StartResponse = Callable[..., object]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]


def application(receiver: "EventGridReceiver", handle: AnyHandle) -> WSGIApp:
    """Takes requests of any path: where it is mounted decides."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        received = receiver.receive(
            environ["REQUEST_METHOD"],
            _headers(environ),
            _body(environ, receiver.body_bytes_max),
            query=environ.get("QUERY_STRING", ""),
        )
        answer = received.answer or handled_here(handle, received.events)
        return _answer(start_response, answer)

    return app


def _headers(environ: Environ) -> dict[str, str]:
    headers = {
        name[5:].replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if "CONTENT_TYPE" in environ:
        headers["CONTENT-TYPE"] = environ["CONTENT_TYPE"]
    return headers


def _body(environ: Environ, bytes_max: int) -> bytes:
    """The whole body, or as much of it as shows that it is too large.

    Without a length it is read to its end where the server says that it ends
    (`wsgi.input_terminated`, a chunked request).
    """
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdigit():
        wanted = min(int(length), bytes_max + 1)
    elif environ.get("wsgi.input_terminated"):
        wanted = bytes_max + 1
    else:
        return b""
    body = b""
    while len(body) < wanted and (part := environ["wsgi.input"].read(wanted - len(body))):
        body += part
    return body


def _answer(start_response: StartResponse, answer: Answer) -> Iterable[bytes]:
    headers = [*answer.headers.items(), ("content-length", str(len(answer.body)))]
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
    return [answer.body]
