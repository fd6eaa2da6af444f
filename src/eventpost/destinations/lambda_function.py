"""One function of AWS Lambda: an invocation, and what its answer means for each event.

Layer: destinations. API: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

import re
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.limits import excerpt
from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Fault, Outcome, Stage
from eventpost.core.sources import MessageFormat
from eventpost.core.subscriptions import Endpoint
from eventpost.credentials import aws
from eventpost.credentials.aws_failures import statement, with_detail
from eventpost.credentials.reports import shown
from eventpost.destinations import lambda_payloads as payloads
from eventpost.queues.kinds import read_settings

SYSTEM = "lambda"
OPERATION = "invoke"

_FUNCTION = re.compile(
    r"(?:arn:aws[a-z-]*:lambda:(?P<region>[a-z0-9-]+):[0-9]{12}:function:|[0-9]{12}:(?:function:)?)?"
    r"[A-Za-z0-9_-]{1,64}(?::(?:\$LATEST|[A-Za-z0-9_-]{1,128}))?"
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
_ROLE_OF_THE_FUNCTION = "cannot be assumed by Lambda"
"""A denial that is not of us: Lambda may not be who the function is to be."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of an endpoint that is a function."""

    invocation: Literal["RequestResponse", "Event"] = "RequestResponse"
    """Whether to wait until the function has done its work, or only until Lambda has the event."""


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises InvalidRequest for what cannot be a function, and for options that it has not."""
    if _FUNCTION.fullmatch(endpoint.address) is None:
        raise InvalidRequest(
            "InvalidEndpoint",
            f"{excerpt(endpoint.address)} is no function of Lambda.",
            fix="Give its name, its ARN, or NAME:ALIAS.",
        )
    if endpoint.format is not MessageFormat.EVENT or endpoint.properties:
        raise InvalidRequest(
            "InvalidEndpoint",
            "A function has no message format and no message properties.",
            why="It gets the event itself.",
            fix="Leave them out.",
        )
    read_settings(endpoint.options, Options, where="options")


def region_of(endpoint: Endpoint) -> str:
    """The region that a function's ARN names; "" for one that names none."""
    found = _FUNCTION.fullmatch(endpoint.address)
    return "" if found is None else found["region"] or ""


class Function:
    """The function, as botocore's client sees it. From any thread."""

    def __init__(self, endpoint: Endpoint, settings: aws.AwsConnection) -> None:
        check_endpoint(endpoint)
        region = region_of(endpoint)
        if region:
            settings = msgspec.structs.replace(settings, region=region)
        options = read_settings(endpoint.options, Options, where="options")
        self._session = aws.session(settings)
        self._name = endpoint.address
        self._invocation = options.invocation
        self._concurrency = endpoint.concurrency
        self._is_batched = endpoint.max_events_per_batch > 1
        self._is_waited_for = options.invocation == "RequestResponse"
        # The client waits as long as the subscription does, whatever the connection's own bound.
        self._wait_s = endpoint.response_timeout_s - settings.request_timeout_s
        self.bytes_max = (
            payloads.SYNC_BYTES_MAX if self._is_waited_for else payloads.ASYNC_BYTES_MAX
        )

    def invoke(
        self, deliveries: Sequence[Delivery], payload: bytes, custom: dict[str, str]
    ) -> list[Outcome]:
        """One invocation; one outcome for each event. Raises nothing."""
        if len(payload) > self.bytes_max:
            return [self._too_large(payload)] * len(deliveries)
        began_s = time.monotonic()
        try:
            answer = self._session.request(
                SYSTEM,
                "invoke",
                wait_s=self._wait_s,
                attempts_max=1,  # the subscription's retry schedule decides
                connections_min=self._concurrency,
                **self._parameters(payload, custom),
            )
            body = answer["Payload"].read()
        except Exception as error:  # noqa: BLE001 - the border: what botocore raises is evidence
            outcome: Outcome = self._refused(error, began_s)
            return [outcome] * len(deliveries)
        return self._answered(deliveries, answer, body, began_s)

    def _parameters(self, payload: bytes, custom: dict[str, str]) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "FunctionName": self._name,
            "InvocationType": self._invocation,
            "Payload": payload,
        }
        if self._is_waited_for:
            parameters["LogType"] = "Tail"
            context = payloads.client_context(custom)
            if context:
                parameters["ClientContext"] = context
        return parameters

    def _too_large(self, payload: bytes) -> Failed:
        detail = f"the payload has {len(payload)} bytes, of at most {self.bytes_max}"
        evidence = Evidence(
            stage=Stage.SETTINGS,
            fault=Fault.TOO_LARGE,
            system=SYSTEM,
            operation=OPERATION,
            code="PayloadTooLarge",
            detail=f"{detail} with {self._invocation}",
        )
        return Failed(evidence, final=True, is_counted=False)

    def _refused(self, error: Exception, began_s: float) -> Failed:
        evidence = self._session.failure(error, OPERATION, system=SYSTEM)
        evidence = msgspec.structs.replace(evidence, elapsed_ms=_since_ms(began_s))
        if evidence.stage is Stage.WAIT and evidence.fault is Fault.TIMED_OUT:
            evidence = msgspec.structs.replace(evidence, code="AnswerTimedOut")
        if evidence.code in _DENIED and _ROLE_OF_THE_FUNCTION in evidence.detail:
            evidence = msgspec.structs.replace(evidence, code="RoleNotAssumable")
        elif evidence.code in _DENIED and evidence.system == SYSTEM:
            allows = statement("lambda:InvokeFunction", evidence.detail, self._name)
            evidence = with_detail(evidence, allows)
        response: dict[str, Any] = getattr(error, "response", None) or {}
        reason, retry_s = response.get("Reason"), str(response.get("retryAfterSeconds") or "")
        if reason:
            evidence = with_detail(evidence, f"Reason: {reason}.")
        if retry_s.isdecimal():
            evidence = msgspec.structs.replace(evidence, retry_after_s=int(retry_s))
        return Failed(evidence)

    def _answered(
        self, deliveries: Sequence[Delivery], answer: Any, body: bytes, began_s: float
    ) -> list[Outcome]:
        if answer.get("FunctionError"):
            code, told = payloads.error_code(body)
            tail = payloads.log_tail(answer.get("LogResult", ""))
            detail = f"{told} Log: {tail}" if tail else told
            return [Failed(self._evidence(answer, code, detail, began_s))] * len(deliveries)
        if not (self._is_batched and self._is_waited_for):
            return [DELIVERED] * len(deliveries)
        ids = [one.event.id for one in deliveries]
        named = payloads.not_processed(body, ids)
        told = "the function named it in batchItemFailures"
        if named is None:
            told = "the function's answer is no list of batchItemFailures of this batch"
        failed = Failed(self._evidence(answer, "BatchItemFailure", told, began_s))
        return [failed if named is None or one in named else DELIVERED for one in ids]

    def _evidence(self, answer: Any, code: str, detail: str, began_s: float) -> Evidence:
        metadata = answer.get("ResponseMetadata", {})
        return Evidence(
            stage=Stage.ANSWER,
            fault=Fault.CODE,
            elapsed_ms=_since_ms(began_s),
            status=answer.get("StatusCode"),
            system=SYSTEM,
            operation=OPERATION,
            code=code,
            request_id=metadata.get("RequestId") or None,
            credential=self._session.report().link or None,
            detail=shown(detail),
        )


def _since_ms(began_s: float) -> int:
    return int((time.monotonic() - began_s) * 1000)
