"""What a receiver answers, and how the program behind it says that it cannot take an event.

Layer: receive. What an answer means to the sender is in docs/webhooks.md.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from eventpost.core.errors import EventpostError

ALLOWED_METHODS = "POST, OPTIONS"
_TEXT = {"content-type": "text/plain; charset=utf-8"}
_JSON = {"content-type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are in lower case."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Reject(Exception):
    """Raised by a handler: never send this again. The sender makes a dead letter of it.

    Of a batch it refuses all events: there is one answer.
    """

    def __init__(self, reason: str = "The event was rejected.") -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def answer(self) -> Answer:
        return Answer(400, _TEXT, self.reason.encode("utf-8", "replace"))


class TryLater(Exception):
    """Raised by a handler: send this again, but not before so many seconds have passed."""

    def __init__(self, after_s: int = 30, reason: str = "Not now.") -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.reason = reason

    @property
    def answer(self) -> Answer:
        headers = {**_TEXT, "retry-after": str(max(0, self.after_s))}
        return Answer(503, headers, self.reason.encode("utf-8", "replace"))


def refused(error: EventpostError) -> Answer:
    """What was wrong with a request, in words; never a secret."""
    return Answer(error.status, _TEXT, str(error).encode())


def method_not_allowed() -> Answer:
    return Answer(405, {**_TEXT, "allow": ALLOWED_METHODS}, b"Deliveries come by POST.")


def code_echoed(code: str) -> Answer:
    """Consent to the handshake of the Event Grid schema."""
    return Answer(200, _JSON, json.dumps({"validationResponse": code}).encode())


def consent(origin: str, rate_per_minute: int | None) -> Answer:
    """Consent to the handshake of CloudEvents' web hooks."""
    return Answer(
        200,
        {
            "allow": ALLOWED_METHODS,
            "webhook-allowed-origin": origin,
            "webhook-allowed-rate": "*" if rate_per_minute is None else str(rate_per_minute),
        },
    )
