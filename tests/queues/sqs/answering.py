"""A server that answers requests to AWS with what a test says, and connections to it."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eventpost.credentials.aws import AwsConnection
from eventpost.queues.interfaces import Address
from eventpost.queues.kinds import Services, open_queue
from eventpost.queues.sqs import SqsQueue

REGION = "us-east-1"
QUEUE = f"https://sqs.{REGION}.amazonaws.com/123456789012/jobs"
REQUEST_ID = "0b3c6a1e-5f3e-4d0a-9f11-3f3f0a6f5f10"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(shape: str, message: str, *, status: int = 400, query_code: str = "") -> Answer:
    """How SQS says no in its JSON protocol: the name of today in the body, and in a header that of
    the query protocol, where there was another."""
    body = json.dumps({"__type": f"com.amazonaws.sqs#{shape}", "message": message}).encode()
    headers = {"x-amzn-query-error": f"{query_code};Sender"} if query_code else {}
    return Answer(status, body, headers)


def entries(operation: str, failures: Mapping[int, tuple[str, str]], count: int) -> Answer:
    """The answer to a batch in which some entries fail."""
    failed = [
        {"Id": str(index), "Code": code, "Message": message, "SenderFault": True}
        for index, (code, message) in failures.items()
    ]
    done = [{"Id": str(index)} for index in range(count) if index not in failures]
    return Answer(body=json.dumps({"Successful": done, "Failed": failed}).encode())


Script = Callable[[str, dict[str, Any]], Answer]


class AnsweringServer:
    """Asks `script` with the operation (`SendMessageBatch`) and the body of each request."""

    def __init__(self) -> None:
        self.reset()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def reset(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.script: Script = lambda *_: Answer()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "AnsweringServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        def answer(operation: str, body: bytes) -> Answer:
            parsed = json.loads(body) if body else {}
            self.requests.append((operation, parsed))
            return self.script(operation, parsed)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                target = self.headers.get("X-Amz-Target", "")
                found = answer(target.rpartition(".")[2], body)
                self.send_response(found.status)
                for name, value in found.headers.items():
                    self.send_header(name, value)
                self.send_header("x-amzn-RequestId", REQUEST_ID)
                self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                self.wfile.write(found.body)

            def log_message(self, *_: object) -> None:
                return

        return Handler


def connection(endpoint_url: str, **settings: Any) -> AwsConnection:
    """A connection to an endpoint on loopback, with keys that open nothing elsewhere."""
    known: dict[str, Any] = {
        "region": REGION,
        "endpoint_url": endpoint_url,
        "access_key_id": "env:SQS_TEST_KEY_ID",
        "secret_access_key": "env:SQS_TEST_SECRET",
        "attempts_max": 1,
    }
    return AwsConnection(**known | settings)


def queue(endpoint_url: str, address: str = QUEUE, **options: object) -> SqsQueue:
    return queue_of(connection(endpoint_url), address, **options)


def queue_of(settings: AwsConnection, address: str = QUEUE, **options: object) -> SqsQueue:
    opened = open_queue("sqs", settings, Address(name=address, options=options), Services())
    assert isinstance(opened, SqsQueue)
    return opened
