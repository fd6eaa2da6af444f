"""HTTP messages as a proxy sees them: where each ends, and which operation it asks for.

Layer: testing. For well-behaved peers on loopback only; what the product speaks is in `http`.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

HEAD_BYTES_MAX = 64 * 1024
KAFKA = "KAFKA"
"""In the place of a method: a request of Kafka's protocol (`proxied_kafka`), whose target is its
name."""
LINE_END = b"\r\n"
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. Header names are in lower case; `raw` is what came, byte for byte."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    raw: bytes

    @property
    def operation(self) -> str:
        """The service's own name of what is asked for; "" when it is no service that is known."""
        if self.method == KAFKA:
            return self.target
        return aws_operation(self) or storage_queue_operation(self)

    @property
    def is_json(self) -> bool:
        """Whether an AWS service is spoken to in its JSON protocol."""
        return "x-amz-target" in self.headers


def aws_operation(asked: Asked) -> str:
    """By `X-Amz-Target` (JSON protocol), by `Action` (query protocol), or by Lambda's path."""
    if asked.is_json:
        return asked.headers["x-amz-target"].rpartition(".")[2]
    if asked.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(asked.body.decode("latin-1")).get("Action", [""])[0]
    return "Invoke" if asked.target.partition("?")[0].endswith("/invocations") else ""


_STORAGE_MESSAGES = re.compile(r"/messages(/[^/]+)?$")
_BY_METHOD = {
    ("POST", False): "PutMessage",
    ("GET", False): "GetMessages",
    ("DELETE", False): "ClearMessages",
    ("PUT", True): "UpdateMessage",
    ("DELETE", True): "DeleteMessage",
}


def storage_queue_operation(asked: Asked) -> str:
    """By method, path and query, as the REST reference of Azure Storage Queues names them."""
    if "x-ms-version" not in asked.headers:
        return ""
    url = urlsplit(asked.target)
    query = parse_qs(url.query)
    found = _STORAGE_MESSAGES.search(url.path)
    if found is not None:
        if query.get("peekonly") == ["true"]:
            return "PeekMessages"
        return _BY_METHOD.get((asked.method, found[1] is not None), "")
    if query.get("comp") == ["metadata"]:
        return "GetQueueMetadata" if asked.method in ("GET", "HEAD") else "SetQueueMetadata"
    return {"PUT": "CreateQueue", "DELETE": "DeleteQueue"}.get(asked.method, "")


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked | None:
    """The next request of a connection, or None at its end. A client that waits to be told to send
    its body is told so."""
    head = await _read_head(reader)
    if head is None:
        return None
    first, headers = _parsed(head)
    method, target, _ = first.split(" ", 2)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = re.sub(rb"(?i)\r\nexpect:[^\r]*", b"", head)
    raw_body = await _read_body(reader, headers)
    return Asked(method, target, headers, _plain(raw_body, headers), head + raw_body)


async def read_response(reader: asyncio.StreamReader, method: str) -> tuple[bytes, bool]:
    """A whole answer as it came, and whether its connection is kept. Raises ConnectionError when
    the server ends before the answer does."""
    head = await _read_head(reader)
    if head is None:
        raise ConnectionResetError("the server ended without an answer")
    first, headers = _parsed(head)
    status = int(first.split(" ", 2)[1])
    if 100 <= status < 200:
        return await read_response(reader, method)
    is_kept = headers.get("connection", "").lower() != "close"
    if method == "HEAD" or status in (204, 304):
        return head, is_kept
    if "content-length" not in headers and "transfer-encoding" not in headers:
        return head + await reader.read(), False
    return head + await _read_body(reader, headers), is_kept


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(HEAD_END)
    except asyncio.IncompleteReadError:
        return None


def _parsed(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in filter(None, lines):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return first, headers


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """The body in its transfer coding."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    raw = b""
    while True:
        line = await reader.readuntil(LINE_END)
        size = int(line.partition(b";")[0], 16)
        raw += line + await reader.readexactly(size + len(LINE_END))
        if not size:
            return raw


def _plain(raw_body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body without its chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return raw_body
    body, rest = b"", raw_body
    while rest:
        line, _, rest = rest.partition(LINE_END)
        size = int(line.partition(b";")[0], 16)
        body, rest = body + rest[:size], rest[size + len(LINE_END) :]
    return body
