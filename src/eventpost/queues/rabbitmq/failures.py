"""One table: what RabbitMQ answers and what its client library raises -> the evidence of a call.

Layer: queues. RabbitMQ says the same `NOT_FOUND` of a queue, an exchange and a queue whose node is
down, so that its sentence is read where its code says too little. Reply codes: AMQP 0-9-1, section
1.2.6.
"""

import re

import msgspec

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.http.failures import bounded
from eventpost.queues.rabbitmq.client import Channel, exceptions
from eventpost.queues.rabbitmq.target import SYSTEM
from eventpost.queues.rabbitmq.wire import Wire, WireError

SECRET_MISSING = "SECRET_MISSING"  # noqa: S105 - a code
TLS_FILES_UNUSABLE = "TLS_FILES_UNUSABLE"
LOGIN_REFUSED = "LOGIN_REFUSED"
MECHANISM_NOT_OFFERED = "MECHANISM_NOT_OFFERED"
VHOST_NOT_FOUND = "VHOST_NOT_FOUND"
VHOST_REFUSED = "VHOST_REFUSED"
LIMIT_REACHED = "LIMIT_REACHED"
TLS_EXPECTED = "TLS_EXPECTED"
TLS_NOT_OFFERED = "TLS_NOT_OFFERED"
NOT_AMQP = "NOT_AMQP"
QUEUE_NOT_FOUND = "QUEUE_NOT_FOUND"
EXCHANGE_NOT_FOUND = "EXCHANGE_NOT_FOUND"
QUEUE_DOWN = "QUEUE_DOWN"
ACCESS_REFUSED = "ACCESS_REFUSED"
IN_EXCLUSIVE_USE = "IN_EXCLUSIVE_USE"
DECLARED_OTHERWISE = "DECLARED_OTHERWISE"
CONSUMER_TIMEOUT = "CONSUMER_TIMEOUT"
CONSUMER_CANCELLED = "CONSUMER_CANCELLED"
CONNECTION_FORCED = "CONNECTION_FORCED"
MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
NO_ROUTE = "NO_ROUTE"
NACK = "NACK"
BLOCKED = "BLOCKED"
SILENT = "SILENT"
UNCONFIRMED = "UNCONFIRMED"
NO_QUEUE = "NO_QUEUE"
NO_DELAY = "NO_DELAY"
UNSENDABLE = "UNSENDABLE"
UNREADABLE_PROPERTIES = "UNREADABLE_PROPERTIES"

_BY_SENTENCE = (
    (r"Login was refused|login refused|user can only connect via localhost", LOGIN_REFUSED),
    (r"vhost .* not found", VHOST_NOT_FOUND),
    (r"limit \(\d+\) is reached|channel_max|connection limit", LIMIT_REACHED),
    (r"access to vhost .* refused", VHOST_REFUSED),
    (r"no queue ", QUEUE_NOT_FOUND),
    (r"no exchange ", EXCHANGE_NOT_FOUND),
    (r"down or inaccessible|has crashed|process is stopped|no leader", QUEUE_DOWN),
    (r"failed to perform operation on queue .* due to timeout", QUEUE_DOWN),
    (r"in exclusive use|exclusive access", IN_EXCLUSIVE_USE),
    (r"inequivalent arg|invalid property|invalid arg|unknown exchange type", DECLARED_OTHERWISE),
    (r"delivery acknowledgement on channel \d+ timed out", CONSUMER_TIMEOUT),
    (r"message size \d+", MESSAGE_TOO_LARGE),
)
_SENTENCES = tuple((re.compile(pattern), code) for pattern, code in _BY_SENTENCE)
_REPLY_CODE = re.compile(r"([A-Z][A-Z_]+)(?: - |$)")


class Refusal(Exception):
    """Carries evidence from where a call failed to where its value is made; never leaves here."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence.code or str(evidence.fault))
        self.evidence = evidence


def answered(code: str, sentence: str = "", *, stage: Stage = Stage.ANSWER) -> Evidence:
    """The server, or a rule of ours about it, says no."""
    return Evidence(
        stage=stage, fault=Fault.CODE, system=SYSTEM, code=code, detail=bounded(sentence)
    )


def failed(evidence: Evidence, operation: str, elapsed_s: float, *, final: bool = False) -> Failed:
    """The value of a call that failed."""
    return Failed(
        msgspec.structs.replace(
            evidence, system=SYSTEM, operation=operation, elapsed_ms=round(elapsed_s * 1_000)
        ),
        final=final,
        is_counted=evidence.stage is not Stage.SETTINGS,
    )


def reply_code(sentence: str) -> str:
    """The code of a reply's sentence: ours where it tells more, else RabbitMQ's own."""
    for pattern, code in _SENTENCES:
        if pattern.search(sentence):
            return code
    matched = _REPLY_CODE.match(sentence)
    return matched[1] if matched else "UNKNOWN"


def evidence_of(error: BaseException, wire: Wire, channel: Channel | None = None) -> Evidence:
    """The evidence of whatever ended a call on `wire`, or closed the channel before it."""
    if isinstance(error, WireError):
        return _before_amqp(error.evidence)
    if isinstance(error, exceptions.ChannelInvalidStateError) and channel is not None:
        error = why_closed(channel) or error
    return msgspec.structs.replace(_evidence_of(error, wire), address=wire.address)


def login_evidence(error: BaseException, wire: Wire) -> Evidence:
    """The evidence of an error between the first byte and the opened vhost."""
    if isinstance(error, WireError):
        return _before_amqp(error.evidence)
    farewell = wire.farewell()
    if farewell is not None:
        evidence = answered(reply_code(farewell.reply_text or ""), farewell.reply_text or "")
    elif isinstance(error, exceptions.AuthenticationError):
        offered = f"It offers {error.args[0]}." if error.args else ""
        evidence = answered(MECHANISM_NOT_OFFERED, offered)
    elif wire.is_tls_alert:
        evidence = answered(TLS_EXPECTED)
    elif wire.head and not wire.is_amqp:
        evidence = answered(NOT_AMQP, f"It began with {wire.head!r}.")
    else:
        evidence = _evidence_of(error, wire)
    return msgspec.structs.replace(evidence, address=wire.address)


def why_closed(channel: Channel) -> BaseException | None:
    """What closed the channel, once it is closed."""
    closing = channel.closing
    if not channel.is_closed or closing.cancelled():
        return None
    return closing.exception()


def is_unreadable(error: BaseException | None) -> bool:
    """Whether the library could not read what a publisher had written."""
    return isinstance(error, exceptions.InvalidFrameError | ValueError | ArithmeticError)


def _before_amqp(evidence: Evidence) -> Evidence:
    if evidence.fault is Fault.NOT_TLS:
        return msgspec.structs.replace(evidence, system=SYSTEM, code=TLS_NOT_OFFERED)
    return evidence


def _evidence_of(error: BaseException, wire: Wire) -> Evidence:
    sentence = _sentence(error)
    if sentence:
        return answered(reply_code(sentence), sentence)
    if isinstance(error, TimeoutError):
        return Evidence(stage=Stage.WAIT, fault=Fault.TIMED_OUT)
    if is_unreadable(error):
        return answered(UNREADABLE_PROPERTIES, str(error), stage=Stage.READ)
    if wire.lost is not None:
        return wire.lost
    if isinstance(error, exceptions.AMQPError | exceptions.ChannelInvalidStateError | RuntimeError):
        return Evidence(stage=Stage.WAIT, fault=Fault.CLOSED, detail=bounded(str(error)))
    return Evidence(stage=Stage.WAIT, fault=Fault.UNEXPECTED, detail=bounded(repr(error)))


def _sentence(error: BaseException) -> str:
    """What the server said, if it is the server that speaks."""
    if isinstance(error, exceptions.PublishError):
        return str(error.args[0])
    if isinstance(error, exceptions.DeliveryError):
        return NACK
    if not isinstance(error, exceptions.ConnectionClosed | exceptions.ChannelClosed):
        return ""
    texts = [each for each in error.args if isinstance(each, str)]
    return texts[-1] if texts and _REPLY_CODE.match(texts[-1]) else ""
