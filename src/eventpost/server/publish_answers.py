"""The answers of the data plane, as Event Grid gives them, as whole HTTP/1.1 answers."""

import secrets
import time
import uuid

from eventpost.core.errors import EventpostError, Overloaded
from eventpost.core.events import Schema
from eventpost.formats import problems
from eventpost.http.server.request import Request, response
from eventpost.server import problems as documents
from eventpost.server import publish_findings

API_VERSION = b"2018-01-01"
ALLOWED = b"OPTIONS, POST"
HSTS = (b"Strict-Transport-Security", b"max-age=31536000; includeSubDomains")
"""As Event Grid sends it, but over TLS only: over plain http it means nothing (RFC 6797, 7.2)."""

_SCHEMA_NAMES = {
    Schema.EVENT_GRID: b"EventGridEvent",
    Schema.CLOUD_EVENTS: b"CloudEventV10",
    Schema.CUSTOM: b"CustomEvent",
}
_COUNTER_BITS_FREE = 44
"""The counter starts anywhere below this, so that its 12 hexadecimal digits never run out."""


_ENDINGS = [b"%03x\r\n\r\n" % number for number in range(4_096)]


class PublishAnswers:
    """Builds answers. The `x-ms-request-id` of each is unique: a random prefix and a counter.

    Refusals name their finding, unless these are answers about something else than publishing.
    """

    __slots__ = (
        *("_api_versions", "_count", "_names_findings", "_prefix", "_success", "_success_tls"),
    )

    def __init__(self, api_versions: bytes = API_VERSION, *, names_findings: bool = True) -> None:
        self._names_findings = names_findings
        self._api_versions = api_versions
        self._prefix = str(uuid.uuid4())[:24]
        self._count = secrets.randbits(_COUNTER_BITS_FREE)
        self._prepare()

    def _prepare(self) -> None:
        """Make the parts that the next 4,096 answers share: all but the last three digits."""
        request_id = f"{self._prefix}{self._count >> 12:09x}".encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\napi-supported-versions: %b\r\n"
        head %= self._api_versions
        self._success = b"%bx-ms-request-id: %b" % (head, request_id)
        self._success_tls = b"%b%b: %b\r\nx-ms-request-id: %b" % (head, *HSTS, request_id)

    def _next(self) -> int:
        self._count += 1
        last_digits = self._count & 0xFFF
        if not last_digits:
            self._prepare()
        return last_digits

    def success(self, request: Request) -> bytes:
        """200 without a body: the events are on disk."""
        ending = _ENDINGS[self._next()]
        return (self._success_tls if request.is_tls else self._success) + ending

    def json(self, request: Request, body: bytes) -> bytes:
        """200 with a JSON body."""
        headers = self._headers(request, self._request_id())
        return response(200, body, [(b"Content-Type", problems.CONTENT_TYPE), *headers])

    def options(self, request: Request, schema: Schema) -> bytes:
        """What the endpoint takes."""
        headers = self._headers(request, self._request_id())
        return response(
            200,
            headers=[
                *headers,
                (b"Allow", ALLOWED),
                (b"aeg-input-event-schema", _SCHEMA_NAMES[schema]),
            ],
        )

    def refusal(self, request: Request, error: EventpostError) -> bytes:
        """Event Grid's error body for `error`; 503 says when to try again."""
        status, code, detail_code = problems.codes_of(error)
        headers = self._found(publish_findings.finding_of(error))
        if isinstance(error, Overloaded):
            headers.append((b"Retry-After", b"%d" % max(1, error.retry_after_s)))
        return self._error(request, status, code, detail_code, str(error), headers)

    def not_found(self, request: Request, hint: str = "") -> bytes:
        message = problems.not_found_message(request.path.decode("latin-1"))
        found = self._found(publish_findings.of_status(404))
        return self._error(request, *problems.NOT_FOUND, f"{message} {hint}".strip(), found)

    def method_not_allowed(self, request: Request) -> bytes:
        message = problems.method_not_allowed_message(request.method.decode("latin-1"))
        return self._error(request, *problems.METHOD_NOT_ALLOWED, message, [(b"Allow", ALLOWED)])

    def too_large(self, request: Request) -> bytes:
        found = self._found(publish_findings.of_status(413))
        message = problems.REQUEST_TOO_LARGE_MESSAGE
        return self._error(request, *problems.TOO_LARGE, message, found)

    def malformed(self, request: Request | None, status: int, reason: str) -> bytes:
        """What the HTTP server refuses itself, in the form that the path's clients read."""
        code = _HTTP_CODES.get(status, problems.INPUT_INVALID.code)
        if request is not None and request.path.startswith(b"/admin/"):
            return response(
                status,
                documents.encoded(status, code, reason),
                [(b"Content-Type", documents.MEDIA_TYPE.encode())],
            )
        headers = [(b"Retry-After", b"1")] if status == 503 else []
        return self._error(request, status, code, code, reason, headers)

    def _found(self, finding: str) -> list[tuple[bytes, bytes]]:
        return publish_findings.headers(finding) if self._names_findings else []

    def _error(
        self,
        request: Request | None,
        status: int,
        code: str,
        detail_code: str,
        message: str,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> bytes:
        request_id = self._request_id()
        now_ms = time.time_ns() // 1_000_000
        body = problems.event_grid_error(status, code, detail_code, message, request_id, now_ms)
        return response(
            status,
            body,
            [
                (b"Content-Type", problems.CONTENT_TYPE),
                *self._headers(request, request_id),
                *(headers or []),
            ],
        )

    def _headers(self, request: Request | None, request_id: str) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"api-supported-versions", self._api_versions),
            (b"x-ms-request-id", request_id.encode()),
        ]
        return [*headers, HSTS] if request is not None and request.is_tls else headers

    def _request_id(self) -> str:
        self._next()
        return f"{self._prefix}{self._count:012x}"


_HTTP_CODES = {
    408: "RequestTimeout",
    413: problems.TOO_LARGE.code,
    414: "RequestUriTooLong",
    431: "RequestHeaderFieldsTooLarge",
    500: problems.INTERNAL.code,
    501: "NotImplemented",
    503: problems.UNAVAILABLE.code,
    505: "HttpVersionNotSupported",
}
