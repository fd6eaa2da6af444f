"""An HTTP/1.1 server on asyncio.Protocol and llhttp: one handler without a Task per request for
what must be fast, and an ordinary ASGI application for everything else.

Layer: http.
"""

from eventpost.http.server.handler import ASGIApp, FastHandler, Message, Receive, Send
from eventpost.http.server.lifespan import LifespanFailed
from eventpost.http.server.limits import HttpLimits
from eventpost.http.server.request import Header, Request, response
from eventpost.http.server.server import HttpServer

__all__ = [
    "HttpServer",
    "HttpLimits",
    "FastHandler",
    "Request",
    "Header",
    "response",
    "ASGIApp",
    "Message",
    "Receive",
    "Send",
    "LifespanFailed",
]
