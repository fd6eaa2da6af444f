"""Real servers for the handlers of the pages: each framework behind a socket of its own."""

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
from werkzeug.serving import make_server

from eventpost.http.server import ASGIApp, HttpLimits, HttpServer, Request, response
from eventpost.testing.background import BackgroundLoop


class _NoFastHandler:
    """Everything goes to the ASGI application."""

    def accepts(self, method: bytes, path: bytes) -> bool:
        return False

    def handle(self, request: Request) -> None:
        raise AssertionError("nothing is accepted")

    def too_large(self, request: Request) -> bytes:
        return response(413)

    def malformed(self, request: Request | None, status: int, reason: str) -> bytes:
        return response(status)


@contextmanager
def asgi(app: ASGIApp) -> Iterator[str]:
    """The URL of an ASGI application on a real server."""
    loop = BackgroundLoop("receiver", asyncio.new_event_loop)
    server: HttpServer | None = None

    async def start() -> str:
        nonlocal server
        limits = HttpLimits(drain_timeout_s=1)
        server = HttpServer(asyncio.get_running_loop(), _NoFastHandler(), app, limits)
        await server.start("127.0.0.1", 0)
        return f"http://127.0.0.1:{server.port}"

    try:
        yield loop.run(start())
    finally:
        if server is not None:
            loop.run(server.drain())
        loop.close()


@contextmanager
def wsgi(app: Any) -> Iterator[str]:
    """The URL of a WSGI application on werkzeug's server."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with _in_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def plain(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a handler of the standard library's server."""
    handler.log_message = lambda *_: None  # type: ignore[method-assign] # quiet
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with _in_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def _in_thread(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def lambda_v2(
    call: Callable[[dict[str, Any], object], dict[str, Any]],
) -> type[BaseHTTPRequestHandler]:
    """A function URL, or an HTTP API of API Gateway: payload format 2.0."""

    def shape(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> Any:
        return {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": query,
            "headers": {name.lower(): value for name, value in headers.items()},
            "requestContext": {"http": {"method": method, "path": path}},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }

    return _gateway(shape, call)


def lambda_v1(
    call: Callable[[dict[str, Any], object], dict[str, Any]],
) -> type[BaseHTTPRequestHandler]:
    """A REST API of API Gateway: payload format 1.0."""

    def shape(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> Any:
        pairs = dict(parse_qsl(query))
        return {
            "httpMethod": method,
            "path": path,
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": pairs or None,
            "multiValueQueryStringParameters": {n: [v] for n, v in pairs.items()} or None,
            "requestContext": {"httpMethod": method},
            "body": body.decode() or None,
            "isBase64Encoded": False,
        }

    return _gateway(shape, call)


def load_balancer(
    call: Callable[[dict[str, Any], object], dict[str, Any]],
) -> type[BaseHTTPRequestHandler]:
    """An Application Load Balancer, which leaves the query encoded."""

    def shape(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> Any:
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        return {
            "httpMethod": method,
            "path": path,
            "headers": {name.lower(): value for name, value in headers.items()},
            "queryStringParameters": {name: value for name, _, value in pairs},
            "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:..."}},
            "body": body.decode(),
            "isBase64Encoded": False,
        }

    return _gateway(shape, call)


Shape = Callable[[str, str, str, dict[str, str], bytes], dict[str, Any]]


def _gateway(
    shape: Shape, call: Callable[[dict[str, Any], object], dict[str, Any]]
) -> type[BaseHTTPRequestHandler]:
    """What stands before the function: a request becomes an event, an answer is checked."""

    def answer(method: str, target: str, headers: dict[str, str], body: bytes) -> Any:
        path, _, query = target.partition("?")
        answered = call(shape(method, path, query, headers, body), None)
        assert set(answered) <= {
            "statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded",
        }  # fmt: skip
        assert all(isinstance(value, str) for value in answered["headers"].values())
        return answered["statusCode"], answered["headers"], answered["body"].encode()

    return _handler(answer)


def azure_host(
    call: Callable[[func.HttpRequest], func.HttpResponse],
) -> type[BaseHTTPRequestHandler]:
    """What the host of Azure Functions does with the objects of its worker."""

    def answer(method: str, target: str, headers: dict[str, str], body: bytes) -> Any:
        url = f"http://localhost{target}"
        params = dict(parse_qsl(target.partition("?")[2]))
        answered = call(func.HttpRequest(method, url, headers=headers, params=params, body=body))
        assert isinstance(answered, func.HttpResponse)
        sent = {**answered.headers, "content-type": answered.mimetype}
        return answered.status_code, sent, answered.get_body()

    return _handler(answer)


Answerer = Callable[[str, str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


def _handler(answer: Answerer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                status, headers, content = answer(self.command, self.path, dict(self.headers), body)
            except RuntimeError:  # as the service in front of a function that failed
                status, headers, content = 502, {}, b""
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_OPTIONS(self) -> None:
            self.do_POST()

    return Handler
