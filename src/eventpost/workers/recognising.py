"""Exceptions of anybody's client as evidence: what an actor or a stock broker ran into.

Layer: workers. A library is looked at by the names of its classes, so that none is imported here.
"""

import re
import socket
import ssl
from collections.abc import Iterator

import msgspec
from dramatiq.errors import BrokerConnectionError

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.http import failures
from eventpost.workers.errors import SendFailed

CHAIN_MAX = 10
"""Exceptions of one chain that are looked at."""
_REQUEST_ID = re.compile(r"RequestId:\s*([0-9a-f-]{8,})", re.IGNORECASE)


def recognised(error: BaseException, operation: str) -> Evidence | None:
    """What is known of a failure, by the first of its chain that says something; None when it is no
    failure of a service or a connection."""
    for one in _chain(error):
        found = _recognised(one, operation)
        if found is not None:
            return found
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The causes first: what was raised at the bottom knows most."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain and len(chain) < CHAIN_MAX:
        chain.append(current)
        inner = [one for one in current.args if isinstance(one, BaseException)]
        current = current.__cause__ or (inner[0] if inner else None) or current.__context__
    services = [one for one in chain if _library(one) or isinstance(one, SendFailed)]
    return iter([*services, *reversed([one for one in chain if one not in services])])


def _library(error: BaseException) -> str:
    name = type(error).__module__.partition(".")[0]
    return name if name in {"azure", "botocore", "confluent_kafka"} else ""


def _recognised(error: BaseException, operation: str) -> Evidence | None:
    if isinstance(error, SendFailed):
        return error.failed.evidence
    match _library(error):
        case "botocore":
            from eventpost.credentials.aws_failures import failure

            return failure(error, operation, system="sqs")
        case "azure":
            return _of_azure(error, operation)
        case "confluent_kafka":
            from eventpost.queues.kafka.refusals import evidence_of

            return evidence_of(error.args[0], operation)
    if isinstance(error, OSError) and _is_of_a_connection(error):
        found = failures.evidence_of(error, Stage.CONNECT, address=None)
        return _with(found, operation)
    if isinstance(error, BrokerConnectionError):
        return Evidence(
            stage=Stage.CONNECT,
            fault=Fault.CLOSED,
            operation=operation,
            detail=failures.bounded(str(error)),
        )
    return None


def _of_azure(error: BaseException, operation: str) -> Evidence:
    """An answer of Azure Storage, or who we are, or a connection."""
    from eventpost.credentials import azure

    unknown = azure.evidence_of(error, operation)
    if unknown is not None:
        return unknown
    status = getattr(error, "status_code", None)
    code = getattr(error, "error_code", None)
    text = str(error)
    if isinstance(status, int):
        request_id = _REQUEST_ID.search(text)
        return Evidence(
            stage=Stage.ANSWER,
            fault=Fault.CODE if code else Fault.STATUS,
            status=status,
            system="storagequeue",
            operation=operation,
            code=str(getattr(code, "value", code)) if code else None,
            request_id=request_id[1] if request_id else None,
        )
    found = failures.evidence_of(error.__cause__ or error, Stage.CONNECT, address=None)
    return _with(found, operation)


def _is_of_a_connection(error: OSError) -> bool:
    """Files that are missing are no failure of a service."""
    kinds = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
    return isinstance(error, kinds)


def _with(found: Evidence, operation: str) -> Evidence:
    return msgspec.structs.replace(found, operation=operation)
