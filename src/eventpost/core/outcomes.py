"""What came of one delivery attempt, and the evidence that was seen on the way.

A destination answers with a value, never with an exception: `Delivered`, or `Failed` with its
evidence. What to do about a failure is decided in `core.retry`.
"""

from enum import StrEnum

import msgspec

EVIDENCE_DETAIL_CHARS_MAX = 1_000
"""Bound of the free text kept with an attempt, response excerpt included."""


class Stage(StrEnum):
    """How far an attempt came, in the order of the way."""

    SETTINGS = "settings"  # before anything was tried: a setting or a rule of ours forbids it
    CREDENTIALS = "credentials"  # who we are could not be found out
    NAME = "name"
    CONNECT = "connect"
    PROXY = "proxy"
    TLS = "tls"
    WRITE = "write"
    WAIT = "wait"  # the request is out, no byte of an answer yet
    READ = "read"  # the answer broke off
    ANSWER = "answer"  # a complete answer that says no
    HANDSHAKE = "handshake"  # the answer to a subscription handshake was not consent


class Fault(StrEnum):
    """What happened at that stage."""

    NOT_FOUND = "not_found"  # name does not exist
    UNAVAILABLE = "unavailable"  # name servers did not answer
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    CLOSED = "closed"  # an orderly end where an answer was due
    TIMED_OUT = "timed_out"
    FORBIDDEN_ADDRESS = "forbidden_address"
    FORBIDDEN_SCHEME = "forbidden_scheme"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_UNKNOWN_ISSUER = "certificate_unknown_issuer"
    CERTIFICATE_WRONG_NAME = "certificate_wrong_name"
    CERTIFICATE_REFUSED = "certificate_refused"  # any other verification failure
    TLS_ALERT = "tls_alert"
    NOT_TLS = "not_tls"  # the peer does not speak TLS
    MALFORMED = "malformed"  # the peer does not speak HTTP
    TOO_LARGE = "too_large"  # answer or event above a bound of ours
    STATUS = "status"
    CODE = "code"  # an answer in another protocol than HTTP says no; `code` names it
    INCOMPLETE = "incomplete"  # half a set of credentials
    NO_CONSENT = "no_consent"
    NO_DESCRIPTORS = "no_descriptors"  # this process ran out of file descriptors
    UNEXPECTED = "unexpected"


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen in one attempt. Holds no secret and no authorization header."""

    stage: Stage
    fault: Fault
    elapsed_ms: int = 0
    errno: int | None = None
    tls_alert: str | None = None
    status: int | None = None
    address: str | None = None
    """The peer as `host:port`, resolved, once known."""
    retry_after_s: int | None = None
    """`Retry-After` of the answer, in seconds from then."""
    reconnect_count: int = 0
    """1 when a kept connection was found closed and one fresh connection was tried."""
    proxy: str | None = None
    system: str | None = None
    """The queue system or service spoken to, by its module's name (`sqs`, `kafka`)."""
    operation: str | None = None
    """What was asked of it, by the words of `queues.interfaces` (`send`, `settle`)."""
    code: str | None = None
    """The service's own name for what is wrong (`AuthorizationFailure`, `NO_ROUTE`)."""
    request_id: str | None = None
    """The service's, by which its operators find the request."""
    credential: str | None = None
    """Which link of the SDK's chain answered; never a key."""
    detail: str = ""


class Delivered(msgspec.Struct, frozen=True):
    """The destination took it. `evidence` only where there is something to say."""

    evidence: Evidence | None = None


class Failed(msgspec.Struct, frozen=True):
    """The destination did not take it.

    `final` is set when no later attempt can succeed by the destination's own rules (an event larger
    than a queue's message); whether an HTTP status is final is the subscription's setting.
    `is_counted` is False when nothing was tried: name lookup had not begun.
    """

    evidence: Evidence
    final: bool = False
    is_counted: bool = True


Outcome = Delivered | Failed

DELIVERED = Delivered()

_BY_STATUS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "TimedOut",
    413: "PayloadTooLarge",
    429: "Busy",
    503: "Busy",
    504: "TimedOut",
}
_BY_FAULT = {
    Fault.TIMED_OUT: "TimedOut",
    Fault.NOT_FOUND: "ResolutionError",
    Fault.UNAVAILABLE: "ResolutionError",
    Fault.FORBIDDEN_ADDRESS: "Forbidden",
    Fault.FORBIDDEN_SCHEME: "Forbidden",
    Fault.REFUSED: "SocketError",
    Fault.UNREACHABLE: "SocketError",
    Fault.RESET: "SocketError",
    Fault.CLOSED: "SocketError",
    Fault.TOO_LARGE: "PayloadTooLarge",
}


def outcome_name(evidence: Evidence) -> str:
    """Event Grid's word for `lastDeliveryOutcome`."""
    if evidence.status is not None:
        return _BY_STATUS.get(evidence.status, "GenericError")
    return _BY_FAULT.get(evidence.fault, "GenericError")
