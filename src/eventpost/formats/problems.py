"""The bodies of Event Grid's error answers on the data plane."""

from typing import NamedTuple

import msgspec

from eventpost.core.errors import EventpostError, InvalidEvent
from eventpost.formats import bodies, times


class Codes(NamedTuple):
    """The status of an answer, `error.code` and `error.details[0].code`."""

    status: int
    code: str
    detail_code: str


INPUT_INVALID = Codes(400, "BadRequest", "InputJsonInvalid")
UNAUTHORIZED = Codes(401, "Unauthorized", "Unauthorized")
FORBIDDEN = Codes(403, "Forbidden", "Forbidden")
NOT_FOUND = Codes(404, "NotFound", "ResourceNotFound")
METHOD_NOT_ALLOWED = Codes(405, "MethodNotAllowed", "MethodNotAllowed")
TOO_LARGE = Codes(413, "RequestEntityTooLarge", "PayloadTooLarge")
INVALID_CONTENT_TYPE = Codes(415, "UnsupportedMediaType", "InvalidContentType")
TOO_MANY_REQUESTS = Codes(429, "TooManyRequests", "TooManyRequests")
INTERNAL = Codes(500, "InternalServerError", "InternalServerError")
UNAVAILABLE = Codes(503, "ServiceUnavailable", "ServiceUnavailable")

_BY_STATUS = {
    codes.status: codes
    for codes in (
        *(INPUT_INVALID, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, METHOD_NOT_ALLOWED, TOO_LARGE),
        *(INVALID_CONTENT_TYPE, TOO_MANY_REQUESTS, INTERNAL, UNAVAILABLE),
    )
}

CONTENT_TYPE = b"application/json; charset=utf-8"
REQUEST_TOO_LARGE_MESSAGE = bodies.too_large(bodies.REQUEST_BYTES_MAX).what

_encode = msgspec.json.Encoder().encode


def codes_of(error: EventpostError) -> Codes:
    """The codes of the answer to a request that failed with `error`."""
    if isinstance(error, InvalidEvent):
        return Codes(error.status, error.code, error.detail_code)
    return _BY_STATUS.get(error.status, INTERNAL)


def event_grid_error(
    status: int, code: str, detail_code: str, message: str, request_id: str, now_ms: int
) -> bytes:
    """The body of an error answer. `request_id` is the answer's `x-ms-request-id`.

    The message ends in a report that names the request, except for 413, as with Event Grid.
    """
    if status != TOO_LARGE.status:
        report = f"Report '{request_id}:1:{times.report_time(now_ms)} (UTC)'"
        message = f"{message} {report} to whoever runs this server."
    detail = {"code": detail_code, "message": message}
    return _encode({"error": {"code": code, "message": message, "details": [detail]}})


def not_found_message(url: str) -> str:
    return f"No HTTP resource was found that matches the request URI '{url}'."


def method_not_allowed_message(method: str) -> str:
    return f"The requested resource does not support the method '{method}'."
