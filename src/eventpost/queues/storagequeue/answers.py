"""An answer of Azure Storage that says no, and which of its many causes it is.

Layer: queues. What the service says is put together with what we know: which right the operation
takes, what the SAS allows and until when, how far the clocks are apart, and whether the same
credential was served a moment ago.
"""

import html
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineResponse
from azure.core.rest import HttpResponse

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.http.failures import bounded
from eventpost.http.kept import Progress

CLOCK_SKEW_S_MAX = 300
"""Clocks further apart than this explain a refused signature or token. The service bears 15 minutes
for keys, and nothing for the times in a SAS or a token."""
NO_CODE = "NoErrorCode"
"""Our word for an answer that lacks the service's `x-ms-error-code`."""

LEAST_ROLES = {
    "send": ("Storage Queue Data Message Sender", "a"),
    "receive": ("Storage Queue Data Message Processor", "p"),
    "settle": ("Storage Queue Data Message Processor", "p"),
    "extend": ("Storage Queue Data Contributor", "u"),
    "release": ("Storage Queue Data Contributor", "u"),
    "read the properties": ("Storage Queue Data Reader", "r"),
    "peek": ("Storage Queue Data Reader", "r"),
    "create the queue": ("Storage Queue Data Contributor", "c of an account SAS"),
    "create the claim-check container": ("Storage Blob Data Contributor", "c of an account SAS"),
    "write the claim check": ("Storage Blob Data Contributor", "c"),
    "read the claim check": ("Storage Blob Data Reader", "r"),
    "delete the claim check": ("Storage Blob Data Contributor", "d"),
    "write the blob": ("Storage Blob Data Contributor", "cw"),
    "read the blob": ("Storage Blob Data Reader", "r"),
    "list the blobs": ("Storage Blob Data Reader", "l"),
}
"""Of each operation: the built-in role with the fewest rights that allows it, and the permission in
a SAS. "Azure built-in roles for Storage", "Create a service SAS", "Create an account SAS"."""

_OF_SAS = {"sp": "permissions", "st": "from", "se": "until", "sip": "for", "spr": "over"}
_QUOTED = re.compile(r"'[^']*'")
_STRING_TO_SIGN = re.compile(r"\s*(?:Server used following string|String) to sign.*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: what was asked of the service, as whom, and what is known beside its answer."""

    operation: str
    """A word of `queues.interfaces`."""
    right: str
    """What it takes: a key of `LEAST_ROLES`."""
    credential: str
    progress: Progress
    elapsed_s: float
    now_s: float
    """UTC, by this machine's clock."""
    served: str = ""
    """What the same credential was served lately (`receive 2 s ago`), "" for nothing."""


def refused(error: HttpResponseError, asked: Asked) -> Evidence:
    """The evidence of an answer. Never holds a signature."""
    answer = _answer(error)
    return Evidence(
        stage=Stage.ANSWER,
        fault=Fault.STATUS if answer.code == NO_CODE else Fault.CODE,
        status=error.status_code,
        code=_finer_code(answer, asked),
        request_id=_response(error).headers.get("x-ms-request-id"),
        detail=bounded(" ".join(_told(answer, asked))),
    )


def refuse_answers_of_others(response: PipelineResponse[object, HttpResponse]) -> None:
    """A hook for the SDK, which would take the page of a captive portal for an empty queue."""
    answer = response.http_response
    if answer.status_code < 300 and "x-ms-version" not in answer.headers:
        raise HttpResponseError("The answer lacks Azure Storage's headers.", response=answer)


def code_of(error: HttpResponseError) -> str:
    """The service's code, as text whatever the SDK made of it."""
    given = getattr(error, "error_code", None)
    if given is None and error.response is not None:
        given = _response(error).headers.get("x-ms-error-code")
    return str(getattr(given, "value", given) or NO_CODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What an answer that says no tells."""

    code: str
    message: str
    reason: str
    """`AuthenticationErrorDetail`."""
    date_s: float | None
    """The service's clock."""
    sas: dict[str, str]
    """The times and bounds of the SAS that the request carried, without its signature."""


def _answer(error: HttpResponseError) -> _Answer:
    response = _response(error)
    body = response.text() if response.status_code != 204 else ""
    message, _, _ = (_element("Message", body) or error.reason or "").partition("\n")
    return _Answer(
        code=code_of(error),
        message=message.strip(),
        reason=_without_signature(_element("AuthenticationErrorDetail", body)),
        date_s=_date_s(response.headers.get("Date")),
        sas=_sas_of(response.request.url),
    )


def _response(error: HttpResponseError) -> HttpResponse:
    """Typed by the SDK as less than it is."""
    return cast("HttpResponse", error.response)


def _finer_code(answer: _Answer, asked: Asked) -> str:
    """The service's code, and after a slash which of its many causes it is, where that is known."""
    if answer.code not in ("AuthenticationFailed", "InvalidAuthenticationInfo"):
        return answer.code
    cause = _cause(answer, asked)
    return f"{answer.code}/{cause}" if cause else answer.code


def _cause(answer: _Answer, asked: Asked) -> str:
    """`expired`, `early`, `clock`, `token`, or "" for a signature that is simply not right."""
    now_s = answer.date_s if answer.date_s is not None else asked.now_s
    begins_s, ends_s = _time_s(answer.sas.get("st")), _time_s(answer.sas.get("se"))
    if ends_s is not None and ends_s <= now_s:
        return "expired"
    if begins_s is not None and begins_s > now_s:
        return "clock" if begins_s <= asked.now_s else "early"
    if not answer.sas and abs(asked.now_s - now_s) > CLOCK_SKEW_S_MAX:
        return "clock"
    if "token is expired" in answer.reason:
        return "expired"
    if re.search("issuer|audience|lifetime", answer.reason, re.IGNORECASE):
        return "token"
    return "token" if answer.code == "InvalidAuthenticationInfo" else ""


def _told(answer: _Answer, asked: Asked) -> Iterator[str]:
    """Sentences for people, the service's own first."""
    if answer.message:
        yield _sentence(answer.message)
    if answer.reason:
        yield _sentence(answer.reason)
    role, permission = LEAST_ROLES[asked.right]
    if answer.code == "AuthorizationPermissionMismatch":
        yield f"To {asked.right} takes the role {role}, or {permission} in a SAS."
    if answer.code == "AuthorizationFailure":
        yield from _told_of_network(asked)
    if answer.sas and answer.code.startswith("Auth"):
        facts = ", ".join(f"{_OF_SAS[name]} {text}" for name, text in answer.sas.items())
        yield f"The SAS: {facts}."
    if answer.date_s is not None and abs(asked.now_s - answer.date_s) > CLOCK_SKEW_S_MAX:
        minutes = (asked.now_s - answer.date_s) / 60
        side = "ahead of" if minutes > 0 else "behind"
        yield f"The clock here is {abs(minutes):.0f} minutes {side} the service's."


def _told_of_network(asked: Asked) -> Iterator[str]:
    host = (asked.progress.address or "").rpartition(":")[0].strip("[]")
    if host:
        kind = "private" if ipaddress.ip_address(host.partition("%")[0]).is_private else "public"
        yield f"The service was reached at a {kind} address."
    if asked.served:
        yield f"The same credential was served: {asked.served}."


def _element(name: str, body: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", body, re.DOTALL)
    return html.unescape(found[1]) if found is not None else ""


def _without_signature(reason: str) -> str:
    return _QUOTED.sub("'...'", _STRING_TO_SIGN.sub("", reason)).strip()


def _sas_of(url: str) -> dict[str, str]:
    given = dict(parse_qsl(urlsplit(url).query))
    return {name: given[name] for name in _OF_SAS if name in given} if "sig" in given else {}


def _date_s(header: str | None) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp() if header else None
    except ValueError:
        return None


def _time_s(text: str | None) -> float | None:
    """A time of a SAS: ISO 8601, UTC, to the second, to the minute or to the day."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if found is None:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
