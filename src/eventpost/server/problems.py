"""Every error of the management API as a problem document (RFC 9457) with code and fix."""

import re

import msgspec
from starlette.responses import Response

from eventpost.core.errors import EventpostError, Overloaded
from eventpost.diagnosis import codes
from eventpost.registry.models import Problem
from eventpost.server import explanations

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:eventpost:problem:"

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def problem(error: EventpostError) -> Problem:
    """The document of an expected error; the finding's title when its code is one."""
    detail = f"{error.what} {error.why}" if error.why else error.what
    finding = explanations.finding(error.code)
    return Problem(
        type=TYPE_PREFIX + error.code,
        title=finding.title if finding else title(error.code),
        status=error.status,
        code=error.code,
        detail=detail,
        fix=error.fix or (finding.fix if finding else ""),
    )


def encoded(status: int, code: str, detail: str) -> bytes:
    """A document for what the HTTP server refuses before any route is asked."""
    return msgspec.json.encode(
        Problem(
            type=TYPE_PREFIX + code,
            title=title(code),
            status=status,
            code=code,
            detail=detail,
            fix="Look at the request as it was sent; a proxy on the way may have changed it.",
        )
    )


def title(code: str) -> str:
    """`TopicNotFound` as "Topic not found"."""
    first, *rest = _WORD.split(code)
    return " ".join([first, *(word.lower() for word in rest)])


def response(error: EventpostError, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that failed with `error`."""
    document = problem(error)
    extra = dict(headers or {})
    if isinstance(error, Overloaded):
        extra["Retry-After"] = str(error.retry_after_s)
    if document.status == 401:
        extra["WWW-Authenticate"] = 'Bearer realm="eventpost"'
    return Response(msgspec.json.encode(document), document.status, extra, media_type=MEDIA_TYPE)


def unexpected() -> EventpostError:
    """What a caller sees of a fault of ours; the log has the rest."""
    return EventpostError(
        codes.UNEXPECTED,
        "Something went wrong that should not have.",
        fix="Look at the server's log, event api.failed, and report it.",
    )
