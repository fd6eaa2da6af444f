"""From an answer that is an error, or no answer at all, back to the error that it tells of."""

import msgspec

from eventpost.core.errors import (
    Conflict,
    EventpostError,
    HandshakeFailed,
    InvalidEvent,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServerUnreachable,
    StoreError,
    Unauthorized,
)
from eventpost.diagnosis import codes
from eventpost.registry.models import Problem

EXCERPT_CHARS_MAX = 200
_BY_STATUS: dict[int, type[EventpostError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    405: InvalidRequest,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
}
_DELIVERY_FINDINGS = ("EP2", "EP366", "EP404", "EP46")
"""Findings about an endpoint, and about the token that it wants: a request refused with one failed
at its handshake."""
_STORE_FINDINGS = "EP3"
STOPPING = "ServerStopping"
"""Ends a stream whose server was told to stop."""


class _Detail(msgspec.Struct):
    code: str = ""


class _EventGridError(msgspec.Struct):
    code: str = ""
    message: str = ""
    details: list[_Detail] = []


class _EventGridBody(msgspec.Struct):
    error: _EventGridError


def error_of(status: int, body: bytes, retry_after: str | None) -> EventpostError:
    """The error that an answer of `status` tells of, with its code, what happened, and its fix."""
    try:
        return _from_problem(msgspec.json.decode(body, type=Problem), retry_after)
    except msgspec.MsgspecError:
        pass
    try:
        return _from_event_grid(status, msgspec.json.decode(body, type=_EventGridBody), retry_after)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _unexpected(status, body)


def from_problem(problem: Problem) -> EventpostError:
    """The error of a problem document that ended a stream."""
    return _from_problem(problem, None)


def unreachable(url: str, reason: str) -> ServerUnreachable:
    """No answer came."""
    return ServerUnreachable(
        codes.SERVER_NOT_REACHABLE,
        f"No eventpost server answers at {url}: {reason}.",
        fix="Start it with `eventpost serve`, or say where it is with --url or EVENTPOST_URL.",
    )


def _from_problem(problem: Problem, retry_after: str | None) -> EventpostError:
    code, what, fix = problem.code, problem.detail, problem.fix
    if code == STOPPING:
        return ServerUnreachable(code, what, fix=fix)
    if problem.status == 503:
        return Overloaded(code, what, fix=fix, retry_after_s=_seconds(retry_after))
    if problem.status == 400 and code.startswith(_DELIVERY_FINDINGS):
        return HandshakeFailed(code, what, fix=fix)
    kind = _BY_STATUS.get(problem.status, EventpostError)
    if kind is EventpostError and code.startswith(_STORE_FINDINGS):
        kind = StoreError
    return kind(code, what, fix=fix)


def _from_event_grid(status: int, body: _EventGridBody, retry_after: str | None) -> EventpostError:
    code, message = body.error.code, body.error.message
    if status == 503:
        return Overloaded(code, message, retry_after_s=_seconds(retry_after))
    if status in {400, 413, 415}:
        detail_code = body.error.details[0].code if body.error.details else code
        return InvalidEvent(status, code, detail_code, message)
    return _BY_STATUS.get(status, EventpostError)(code, message)


def _unexpected(status: int, body: bytes) -> EventpostError:
    excerpt = body[:EXCERPT_CHARS_MAX].decode("utf-8", "replace").strip()
    return EventpostError(
        "UnexpectedAnswer",
        f"The answer was {status} and not eventpost's: {excerpt or 'nothing'}",
        why="Something between here and the server answered, or the URL is another program's.",
        fix="Check the URL, and any proxy on the way.",
    )


def _seconds(retry_after: str | None) -> int:
    return int(retry_after) if retry_after and retry_after.isdigit() else 1
