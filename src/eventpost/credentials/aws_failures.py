"""One table: what botocore raises -> the evidence of a request to a service of AWS.

Layer: credentials. Pure, and without importing botocore: an error is known by its class's name, and
by the error of Python's own that lies under it. What is about who we are, `aws_evidence` tells.
"""

import http.client
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from eventpost.core.outcomes import EVIDENCE_DETAIL_CHARS_MAX, Evidence, Fault, Stage
from eventpost.credentials.aws_answers import said
from eventpost.credentials.aws_evidence import evidence_of
from eventpost.credentials.reports import shown
from eventpost.http import failures

_STAGES = {
    "EndpointConnectionError": Stage.CONNECT,
    "ConnectTimeoutError": Stage.CONNECT,
    "ProxyConnectionError": Stage.PROXY,
    "SSLError": Stage.TLS,
    "ReadTimeoutError": Stage.WAIT,
    "ConnectionClosedError": Stage.WAIT,
    "ResponseStreamingError": Stage.READ,
    "IncompleteReadError": Stage.READ,
    "ResponseParserError": Stage.READ,
    "HTTPClientError": Stage.WAIT,
}
"""How far a request came, by the class of what botocore raised."""

_SETTINGS = frozenset(
    {
        *("ParamValidationError", "ValidationError", "BaseEndpointResolverError"),
        *("EndpointProviderError", "UnknownServiceError", "InvalidConfigError"),
    }
)
"""Classes that say that a setting of ours is no good; nothing was sent."""

_TIMEOUTS = frozenset({"ConnectTimeoutError", "ReadTimeoutError"})
_WRONG_NAME = "CertificateError"
"""urllib3's own, where it compares the names itself instead of OpenSSL."""
_RESOURCE = re.compile(r"on resource: (\S+)")
_HANDSHAKES = ("_validate_conn", "do_handshake")
"""Where urllib3 and Python do the TLS handshake; a time limit there is told as another one."""


def failure(error: BaseException, operation: str, *, system: str, credential: str = "") -> Evidence:
    """The evidence of `error`, which ended a request to `system`. Holds no secret.

    `operation` is what was asked for (`send`), `credential` the link that says who we are.
    """
    found = evidence_of(error, operation, credential=credential)
    if found is not None:
        return found
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        found = _answer(response)
    else:
        found = _broken(error)
    return msgspec.structs.replace(
        found, system=system, operation=operation, credential=credential or None
    )


def with_detail(evidence: Evidence, *sentences: str) -> Evidence:
    """The same evidence with more said to people."""
    told = " ".join(text for text in (evidence.detail, *sentences) if text)
    return msgspec.structs.replace(evidence, detail=told[:EVIDENCE_DETAIL_CHARS_MAX])


def statement(action: str, refusal: str, resource: str) -> str:
    """The statement of a policy that allows `action`, ready to be copied. The resource is the one
    that AWS names in its refusal, else `resource`."""
    found = _RESOURCE.search(refusal)
    named = found[1].rstrip(".,") if found is not None else resource
    text = f'{{"Effect":"Allow","Action":"{action}","Resource":"{named}"}}'
    return f"The statement that allows it: {text}"


# --- answers --------------------------------------------------------------------------------------


def _answer(response: dict[str, Any]) -> Evidence:
    metadata = response.get("ResponseMetadata", {})
    code, message = said(response)
    return Evidence(
        stage=Stage.ANSWER,
        fault=Fault.CODE if code else Fault.STATUS,
        status=metadata.get("HTTPStatusCode"),
        code=code or None,
        request_id=metadata.get("RequestId") or None,
        detail=shown(message),
    )


# --- connections ----------------------------------------------------------------------------------


def _broken(error: BaseException) -> Evidence:
    """No complete answer came, or nothing was asked."""
    names = [kind.__name__ for kind in type(error).__mro__]
    stage = next((_STAGES[name] for name in names if name in _STAGES), None)
    if stage is None:
        is_setting = isinstance(error, ValueError) or not _SETTINGS.isdisjoint(names)
        return Evidence(
            stage=Stage.SETTINGS if is_setting else Stage.WAIT,
            fault=Fault.MALFORMED if is_setting else Fault.UNEXPECTED,
            detail=f"{names[0]}: {shown(str(error))}",
        )
    address = _address(error)
    if not _TIMEOUTS.isdisjoint(names):
        is_handshake = any(name in each for each in _functions(error) for name in _HANDSHAKES)
        stage = Stage.TLS if is_handshake else stage
        return Evidence(stage=stage, fault=Fault.TIMED_OUT, address=address)
    return _by_cause(error, stage, address)


def _by_cause(error: BaseException, stage: Stage, address: str | None) -> Evidence:
    cause = _bottom(error)
    if type(cause).__name__ == _WRONG_NAME:
        fault = Fault.CERTIFICATE_WRONG_NAME
        return Evidence(stage=Stage.TLS, fault=fault, address=address, detail=shown(str(cause)))
    if isinstance(cause, http.client.RemoteDisconnected):
        return Evidence(stage=stage, fault=Fault.CLOSED, address=address)
    if isinstance(cause, http.client.BadStatusLine):
        alert = failures.plain_to_tls(str(cause.args[0]).encode("latin-1", "replace"))
        return Evidence(stage=stage, fault=Fault.MALFORMED, address=address, tls_alert=alert)
    if isinstance(cause, http.client.IncompleteRead):
        return Evidence(stage=Stage.READ, fault=Fault.CLOSED, address=address)
    if isinstance(cause, TimeoutError):
        return Evidence(stage=stage, fault=Fault.TIMED_OUT, address=address)
    if isinstance(cause, OSError):
        is_name = stage is Stage.CONNECT and isinstance(cause, socket.gaierror)
        return failures.evidence_of(cause, Stage.NAME if is_name else stage, address=address)
    if stage is Stage.READ:
        detail = shown(str(error))
        return Evidence(stage=stage, fault=Fault.MALFORMED, address=address, detail=detail)
    kinds = " of ".join(dict.fromkeys(type(each).__name__ for each in (error, cause) if each))
    return Evidence(stage=stage, fault=Fault.UNEXPECTED, address=address, detail=kinds)


def _bottom(error: BaseException) -> BaseException | None:
    """The error of Python's own that lies under the wrappers of botocore and urllib3."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        own = type(each).__module__ in ("builtins", "socket", "ssl", "http.client")
        if own and isinstance(each, OSError | http.client.HTTPException):
            return each
        if type(each).__name__ == _WRONG_NAME:
            return each
        arguments = getattr(each, "kwargs", None)
        under = arguments.get("error") if isinstance(arguments, dict) else None
        waiting += [under, getattr(each, "reason", None), each.__cause__, *each.args]
        waiting.append(each.__context__)
    return None


def _functions(error: BaseException) -> Iterator[str]:
    """The functions through which the error and what lies under it came."""
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None:
            continue
        traceback = each.__traceback__
        while traceback is not None:
            yield traceback.tb_frame.f_code.co_name
            traceback = traceback.tb_next
        waiting += [each.__cause__ or each.__context__]


def _address(error: BaseException) -> str | None:
    """Where the request went, as `host:port`: what it resolved to, botocore does not tell."""
    arguments = getattr(error, "kwargs", None)
    url = arguments.get("endpoint_url") if isinstance(arguments, dict) else None
    if not isinstance(url, str):
        return None
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    return f"{parts.hostname}:{port}" if parts.hostname else None
