"""One table: what the Azure SDK raises -> evidence.

Layer: queues. Answers are read in `answers`; here is what the SDK makes of a connection that failed
and of not knowing who we are (for which it has requests and urllib3 of its own).
"""

import http.client
import re
import socket

import msgspec
from azure.core.exceptions import DecodeError, HttpResponseError
from requests import RequestException

from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.credentials import azure
from eventpost.http.failures import bounded, evidence_of, plain_to_tls
from eventpost.http.kept import Progress
from eventpost.queues.storagequeue.answers import Asked, refused
from eventpost.queues.storagequeue.messages import SYSTEM

_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")
"""As `http.client` says it, in an OSError without a number."""


def evidence(error: Exception, asked: Asked) -> Evidence:
    """The evidence of `error`, which ended a request. Never holds a key, a signature or a token."""
    found = _found(error, asked)
    return msgspec.structs.replace(
        found,
        elapsed_ms=int(asked.elapsed_s * 1000),
        address=found.address or asked.progress.address,
        proxy=asked.progress.proxy,
        system=found.system or SYSTEM,
        operation=asked.operation,
        credential=found.credential or asked.credential or None,
    )


def _found(error: Exception, asked: Asked) -> Evidence:
    if asked.progress.stage is Stage.CREDENTIALS:  # nothing was sent: who are we?
        unknown = azure.evidence_of(error, asked.operation)
        if unknown is not None:
            return unknown
    if isinstance(error, DecodeError):  # which is an HttpResponseError
        return Evidence(stage=Stage.READ, fault=Fault.MALFORMED, detail="It is not valid XML.")
    if isinstance(error, HttpResponseError) and error.response is not None and error.status_code:
        return refused(error, asked)
    return _broken(error, asked.progress)


def _broken(error: Exception, progress: Progress) -> Evidence:
    """No complete answer came. What the SDK says holds the URL, and the URL may hold a SAS, so only
    the error at the bottom is told."""
    stage, address = progress.stage, progress.address
    cause = _bottom(error)
    if isinstance(cause, socket.gaierror):
        return evidence_of(cause, Stage.NAME if progress.proxy is None else stage, address=None)
    if isinstance(cause, TimeoutError):
        return Evidence(stage=stage, fault=Fault.TIMED_OUT, address=address)
    if isinstance(cause, OSError) and (refused := _TUNNEL_REFUSED.search(str(cause))):
        return Evidence(stage=Stage.PROXY, fault=Fault.STATUS, status=int(refused[1]))
    if isinstance(cause, OSError):
        return evidence_of(cause, stage, address=address)
    if isinstance(cause, http.client.BadStatusLine):
        line = str(getattr(cause, "line", "")).encode("latin-1", "replace")
        alert = plain_to_tls(line)
        return Evidence(stage=stage, fault=Fault.MALFORMED, address=address, tls_alert=alert)
    if isinstance(cause, http.client.IncompleteRead):
        return Evidence(stage=Stage.READ, fault=Fault.CLOSED, address=address)
    if isinstance(cause, http.client.HTTPException):
        return Evidence(stage=stage, fault=Fault.MALFORMED, address=address)
    if isinstance(error, EventpostError | ValueError):
        detail = bounded(str(error))
        return Evidence(stage=Stage.SETTINGS, fault=Fault.UNEXPECTED, detail=detail)
    kinds = " of ".join(dict.fromkeys(type(each).__name__ for each in (error, cause) if each))
    return Evidence(stage=stage, fault=Fault.UNEXPECTED, address=address, detail=kinds)


def _bottom(error: BaseException) -> BaseException | None:
    """The error of Python's own that lies under the wrappers of the SDK, requests and urllib3."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        is_wrapper = isinstance(each, RequestException)  # although it is an OSError
        if isinstance(each, OSError | http.client.HTTPException) and not is_wrapper:
            return each
        under = (getattr(each, name, None) for name in ("inner_exception", "reason", "__cause__"))
        waiting += [*under, *each.args, each.__context__]
    return None
