"""Errors that a user sees, each with a code, what happened, why, and what to do.

EventpostError
├── InvalidRequest     the caller asked for something that cannot be (CLI exit 2, API 400)
│   └── InvalidEvent   a published event is not valid (Event Grid's error body)
├── Unauthorized       no or a wrong credential (401)
│   └── Forbidden      a good credential that may not do this (403)
├── NotFound           no such topic, subscription, dead letter (404)
├── Conflict           it exists already, or is in the wrong state (409)
├── HandshakeFailed    the endpoint did not consent (CLI exit 1, API 400)
├── Overloaded         the store cannot keep up, is full, or failed (503 with Retry-After)
├── StoreError         the data directory cannot be used: in use, newer, damaged
└── ServerUnreachable  no server answers the client (CLI exit 3)
"""


class EventpostError(Exception):
    """Base of every expected error. `code` is a finding's, or a word such as `TopicNotFound`."""

    status = 500

    def __init__(self, code: str, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.what]
        if self.why:
            parts.append(self.why)
        if self.fix:
            parts.append(f"Fix: {self.fix}")
        return " ".join(parts)


class InvalidRequest(EventpostError):
    status = 400


class InvalidEvent(InvalidRequest):
    """A publish request that is refused as a whole.

    `status`, `code` and `detail_code` are Event Grid's (400 BadRequest/InputJsonInvalid, ...).
    """

    def __init__(self, status: int, code: str, detail_code: str, what: str) -> None:
        super().__init__(code, what)
        self.status = status
        self.detail_code = detail_code


class Unauthorized(EventpostError):
    status = 401


class Forbidden(Unauthorized):
    status = 403


class NotFound(EventpostError):
    status = 404


class Conflict(EventpostError):
    status = 409


class HandshakeFailed(EventpostError):
    status = 400


class Overloaded(EventpostError):
    """Nothing was kept. `retry_after_s` is when to try again."""

    status = 503

    def __init__(self, code: str, what: str, *, fix: str = "", retry_after_s: int = 1) -> None:
        super().__init__(code, what, fix=fix)
        self.retry_after_s = retry_after_s


class StoreError(EventpostError):
    status = 500


class ServerUnreachable(EventpostError):
    """Raised by the client; whether the request was carried out is unknown."""

    status = 503


def extra_missing(what: str, library: str, fix: str) -> InvalidRequest:
    """A library that is installed only when it is wanted; `fix` is an extra, or a whole command."""
    command = fix if " " in fix else f"pip install 'eventpost[{fix}]', or 'eventpost[all]'."
    return InvalidRequest(
        "ExtraMissing", f"{what} needs the library {library}, which is not installed.", fix=command
    )
