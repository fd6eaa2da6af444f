"""What Kafka's clients say when something is wrong, as evidence.

Layer: queues. librdkafka tells the cause in its error callback only; whoever waits for an answer
learns that it did not come. So the last cause is remembered, and goes along with each failure.
Texts and codes: see the tests, which get each of them from a real broker.
"""

import re
import threading
import time
from collections.abc import Callable
from typing import Any

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.queues.kafka.settings import SYSTEM

CAUSE_S = 60.0
"""How long a cause explains what fails."""
DETAIL_CHARS_MAX = 500
REFUSED = "SASL_AUTHENTICATION_FAILED"
REFUSALS = frozenset({REFUSED, "_AUTHENTICATION"})
"""Whoever we say we are, it was not believed."""

_FINAL = frozenset({"MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "UNSUPPORTED_FOR_MESSAGE_FORMAT"})
_NOTHING_NEW = frozenset({"_ALL_BROKERS_DOWN", "_MSG_TIMED_OUT", "_TIMED_OUT", "_TRANSPORT"})
"""Codes that say that nothing came back, and not why."""
_ADDRESS = re.compile(r"(?:sasl_|ssl|plaintext)\S*?://([^/\s:]+:\d+)")
_LOCAL = (
    (re.compile(r"connecting to a PLAINTEXT broker listener"), Stage.TLS, Fault.NOT_TLS, ""),
    (
        re.compile(r"SSL connection closed by peer|Disconnected.*SSL"),
        Stage.TLS,
        Fault.CLOSED,
        "",
    ),
    (
        re.compile(r"certificate verify failed|certificate could not be verified"),
        Stage.TLS,
        Fault.CERTIFICATE_REFUSED,
        "",
    ),
    (re.compile(r"Connection refused"), Stage.CONNECT, Fault.REFUSED, ""),
    (re.compile(r"Failed to resolve"), Stage.NAME, Fault.NOT_FOUND, ""),
    (
        re.compile(r"Connection setup timed out in state CONNECT\b"),
        Stage.CONNECT,
        Fault.TIMED_OUT,
        "",
    ),
    (re.compile(r"Connection setup timed out in state SSL"), Stage.TLS, Fault.TIMED_OUT, ""),
    (
        re.compile(r"Unsupported SASL mechanism"),
        Stage.ANSWER,
        Fault.CODE,
        "UNSUPPORTED_SASL_MECHANISM",
    ),
    (
        re.compile(r"Request not valid in current SASL state"),
        Stage.ANSWER,
        Fault.CODE,
        "ILLEGAL_SASL_STATE",
    ),
    (
        re.compile(r"Failed to acquire SASL OAUTHBEARER token|OAuth token not set"),
        Stage.CREDENTIALS,
        Fault.UNAVAILABLE,
        "",
    ),
    (
        re.compile(r"SASL authentication error|SASL .* mechanism handshake failed"),
        Stage.ANSWER,
        Fault.CODE,
        REFUSED,
    ),
    (
        re.compile(r"closed by peer.*in state APIVERSION_QUERY"),
        Stage.WAIT,
        Fault.CLOSED,
        "CLOSED_AT_FIRST_REQUEST",
    ),
)
"""What a text says: at which stage, which fault, and a name where it is the service's answer."""


class Causes:
    """The last cause that a client told of, and until when it explains. Any thread."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._told: tuple[float, Evidence] | None = None
        self.credentials: Callable[[], Evidence | None] = lambda: None
        """Why no token could be made, where tokens are used."""
        self.on_refusal: Callable[[], None] = lambda: None
        """Called, from a thread of librdkafka's, when it was not believed who we are."""

    def error_cb(self, error: Any) -> None:
        """librdkafka's callback: hundreds of times a minute while a broker is away."""
        if error.name() not in _NOTHING_NEW or _known(error.str()) is not None:
            self.remember(evidence_of(error, "connect"))

    def remember(self, evidence: Evidence) -> None:
        present = self.present
        if present is not None and evidence.fault is Fault.CLOSED and evidence.code is None:
            return  # that it was closed says less than what was said before
        with self._lock:
            self._told = (self.monotonic_s(), evidence)
        if evidence.code in REFUSALS:
            self.on_refusal()

    def clear(self) -> None:
        """Something worked. That takes no refusal back: what was fetched before it is still handed
        out, and librdkafka tells the same refusal only now and then."""
        with self._lock:
            if self._told is not None and self._told[1].code not in REFUSALS:
                self._told = None

    @property
    def is_refused(self) -> bool:
        """Whether brokers refused who we are, the last that was heard of them."""
        present = self.present
        return present is not None and present.code in REFUSALS

    @property
    def present(self) -> Evidence | None:
        with self._lock:
            if self._told is None or self.monotonic_s() - self._told[0] > CAUSE_S:
                return None
            return self._told[1]

    def failed(self, error: Any, operation: str, elapsed_s: float = 0.0) -> Failed:
        """A failure, with its cause instead where the error itself tells nothing."""
        own = evidence_of(error, operation, elapsed_s)
        cause = self.present if _tells_nothing(error) else None
        if cause is None:
            return Failed(own, final=own.code in _FINAL)
        if cause.stage is Stage.CREDENTIALS:
            cause = self.credentials() or cause
        return Failed(_merged(cause, own))


class Logged:
    """A logger for librdkafka: what it tells nowhere else becomes a cause."""

    def __init__(self, causes: Causes) -> None:
        self._causes = causes

    def log(self, _level: int, pattern: str, *values: object) -> None:
        text = pattern % values if values else pattern
        known = _known(text)
        if known is not None:
            stage, fault, code = known
            self._causes.remember(
                Evidence(
                    stage=stage,
                    fault=fault,
                    system=SYSTEM,
                    operation="connect",
                    code=code or None,
                    address=_address(text),
                    detail=text[:DETAIL_CHARS_MAX],
                )
            )


def evidence_of(error: Any, operation: str, elapsed_s: float = 0.0) -> Evidence:
    """A KafkaError as evidence."""
    name, text = str(error.name()), str(error.str())
    known = _known(text)
    if known is not None:
        stage, fault, code = known
    elif name in _NOTHING_NEW:
        stage, fault, code = Stage.WAIT, Fault.TIMED_OUT, name
    elif name == "MSG_SIZE_TOO_LARGE":
        stage, fault, code = Stage.SETTINGS, Fault.TOO_LARGE, name
    else:
        stage, fault, code = Stage.ANSWER, Fault.CODE, name
    return Evidence(
        stage=stage,
        fault=fault,
        elapsed_ms=int(elapsed_s * 1000),
        system=SYSTEM,
        operation=operation,
        code=code or None,
        address=_address(text),
        detail=text[:DETAIL_CHARS_MAX],
    )


def refused(operation: str, fault: Fault, code: str, detail: str, *, final: bool = False) -> Failed:
    """What we refuse ourselves, before a broker is asked."""
    evidence = Evidence(
        stage=Stage.SETTINGS,
        fault=fault,
        system=SYSTEM,
        operation=operation,
        code=code,
        detail=detail[:DETAIL_CHARS_MAX],
    )
    return Failed(evidence, final=final, is_counted=False)


def closed(operation: str) -> Failed:
    return refused(operation, Fault.CLOSED, "CLOSED", "the queue was closed here")


def _known(text: str) -> tuple[Stage, Fault, str] | None:
    for pattern, stage, fault, code in _LOCAL:
        if pattern.search(text):
            return stage, fault, code
    return None


def _address(text: str) -> str | None:
    found = _ADDRESS.search(text)
    return found[1] if found else None


def _tells_nothing(error: Any) -> bool:
    return error.name() in _NOTHING_NEW and _known(error.str()) is None


def _merged(cause: Evidence, own: Evidence) -> Evidence:
    return Evidence(
        stage=cause.stage,
        fault=cause.fault,
        elapsed_ms=own.elapsed_ms or cause.elapsed_ms,
        system=cause.system,
        operation=own.operation,
        code=cause.code,
        address=cause.address,
        credential=cause.credential,
        detail=f"{cause.detail} ({own.detail})"[:DETAIL_CHARS_MAX],
    )
