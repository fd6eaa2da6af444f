"""Whether an endpoint consents to deliveries: asked before the first event is sent.

Layer: destinations. Event Grid schema: a validation event whose code is to be echoed, or a URL to
be visited later. CloudEvents: `OPTIONS` with `WebHook-Request-Origin` (CloudEvents HTTP 1.1 Web
Hooks for Event Delivery, section 4).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.subscriptions import Endpoint
from eventpost.destinations.delivery_headers import signing_keys, static_lines
from eventpost.formats import delivery as delivery_format
from eventpost.formats import standardwebhooks
from eventpost.http.answers import Answer
from eventpost.http.client import HttpClient, Target
from eventpost.http.failures import bounded

ANSWER_S_MAX = 30.0
ATTEMPTS_MAX = 2
RETRY_S = 5.0
"""Event Grid waits 30 s for the answer and tries again after 5 s when there was none."""
RATE_PER_MINUTE_MAX = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Consent:
    """Deliveries may begin, at most so many requests a minute when a number is given."""

    rate_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Awaiting:
    """The endpoint took the question; somebody has to visit the URL that it was given."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No consent; `evidence` says what came instead."""

    evidence: Evidence


Result = Consent | Awaiting | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of the endpoint, and by whom.

    `code` must be echoed; a visit of `later_url` consents later (the validation URL, the callback
    of CloudEvents). Neither may be guessable. `origin` is the host of the public URL.
    """

    endpoint: Endpoint
    output_schema: Schema
    subscription_name: str
    topic_resource: str
    origin: str
    code: str
    later_url: str
    event_id: str
    now_ms: int
    authorization: bytes = field(default=b"", repr=False)
    """The header line with the token that its webhook wants."""


async def validate(
    client: HttpClient,
    question: Question,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Result:
    """Ask the endpoint. Takes at most two answer timeouts, the pause and the bounds of connecting.

    The validation event is signed as deliveries are; `OPTIONS` has no body to sign. Raises nothing
    expected; may be cancelled. Asking twice does no harm.
    """
    try:
        keys = signing_keys(question.endpoint)
        target = client.target(
            question.endpoint.address, is_insecure=question.endpoint.tls_insecure
        )
    except InvalidRequest as error:
        return Refused(
            Evidence(stage=Stage.SETTINGS, fault=Fault.MALFORMED, detail=bounded(str(error)))
        )
    try:
        if question.output_schema is Schema.CLOUD_EVENTS:
            return _judge_options(question, await _ask(client, target, _options(target, question)))
        head, body = _validation(target, question, keys)
        answer = await _ask(client, target, head, body)
        for _ in range(ATTEMPTS_MAX - 1):
            if not (isinstance(answer, Evidence) and answer.fault is Fault.TIMED_OUT):
                break
            await sleep(RETRY_S)
            answer = await _ask(client, target, head, body)
        return _judge_validation(question, answer)
    finally:
        target.release()


# --- the requests ---------------------------------------------------------------------------------


def _validation(target: Target, question: Question, keys: Sequence[bytes]) -> tuple[bytes, bytes]:
    body = delivery_format.validation_event(
        question.topic_resource,
        question.event_id,
        question.now_ms,
        question.code,
        question.later_url,
    )
    message_id = f"msg_{question.event_id}"
    signature = standardwebhooks.lines(keys, message_id, question.now_ms // 1000, body)
    head = (
        b"%baeg-event-type: SubscriptionValidation\r\naeg-subscription-name: %b\r\n"
        b"aeg-delivery-count: 0\r\naeg-data-version: 1\r\naeg-metadata-version: 1\r\n"
        b"%b%b%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    ) % (
        target.head_start(b"POST"),
        question.subscription_name.upper().encode(),
        static_lines(question.endpoint),
        question.authorization,
        signature,
        delivery_format.EVENT_GRID_TYPE,
        len(body),
    )
    return head, body


def _options(target: Target, question: Question) -> bytes:
    rate = question.endpoint.rate_per_s
    rate_line = b"WebHook-Request-Rate: %d\r\n" % max(1, int(rate * 60)) if rate else b""
    return (
        b"%bWebHook-Request-Origin: %b\r\nWebHook-Request-Callback: %b\r\n"
        b"%b%b%bContent-Length: 0\r\n\r\n"
    ) % (
        target.head_start(b"OPTIONS"),
        question.origin.encode(),
        question.later_url.encode(),
        rate_line,
        static_lines(question.endpoint),
        question.authorization,
    )


async def _ask(
    client: HttpClient, target: Target, head: bytes, body: bytes = b""
) -> Answer | Evidence:
    future: asyncio.Future[Answer | Evidence] = asyncio.get_running_loop().create_future()

    def done(answer: Answer | Evidence) -> None:
        if not future.done():
            future.set_result(answer)

    client.request(target, head, body, ANSWER_S_MAX, done)
    return await future


# --- the judgement --------------------------------------------------------------------------------


def _judge_validation(question: Question, answer: Answer | Evidence) -> Result:
    if isinstance(answer, Evidence):
        return Refused(_of_handshake(answer))
    if answer.status != 200:
        return Refused(_evidence(answer, Fault.STATUS, _text(answer)))
    echoed = _echoed_code(answer.body)
    if echoed is None:
        return Awaiting()
    if echoed != question.code:
        return Refused(_evidence(answer, Fault.MALFORMED, "validationResponse is another code"))
    return Consent()


def _echoed_code(body: bytes) -> str | None:
    """`validationResponse` of the answer, its name in any case as .NET writes it; None without."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    for name, value in content.items():
        if name.lower() == "validationresponse":
            return value if isinstance(value, str) else json.dumps(value)
    return None


def _judge_options(question: Question, answer: Answer | Evidence) -> Result:
    """Consent is `WebHook-Allowed-Origin`; the status carries no meaning, but without the header a
    success leaves room for consent by the callback."""
    if isinstance(answer, Evidence):
        return Refused(_of_handshake(answer))
    allowed = answer.header(b"webhook-allowed-origin")
    if allowed is None:
        if 200 <= answer.status < 300:
            return Awaiting()
        return _no_consent(answer, "no WebHook-Allowed-Origin in the answer")
    origins = {origin.strip().lower() for origin in allowed.decode("latin-1").split(",")}
    if not origins & {"*", question.origin.lower()}:
        return _no_consent(answer, f"WebHook-Allowed-Origin is not {question.origin} and not *")
    rate = answer.header(b"webhook-allowed-rate")
    if rate is None or rate == b"*":
        return Consent()
    if not rate.isdigit() or not 1 <= int(rate[:12]) <= RATE_PER_MINUTE_MAX:
        return _no_consent(answer, "WebHook-Allowed-Rate is no number of requests")
    return Consent(int(rate))


def _no_consent(answer: Answer, detail: str) -> Refused:
    return Refused(_evidence(answer, Fault.NO_CONSENT, detail))


def _of_handshake(evidence: Evidence) -> Evidence:
    """A missing answer is the handshake's; what went wrong before stays where it did."""
    if evidence.fault is Fault.TIMED_OUT and evidence.stage in (Stage.WAIT, Stage.READ):
        return msgspec.structs.replace(evidence, stage=Stage.HANDSHAKE)
    return evidence


def _evidence(answer: Answer, fault: Fault, detail: str) -> Evidence:
    return Evidence(
        stage=Stage.HANDSHAKE,
        fault=fault,
        elapsed_ms=int(answer.elapsed_ms),
        status=answer.status,
        address=answer.address,
        proxy=answer.proxy,
        detail=bounded(detail),
    )


def _text(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace").strip()
