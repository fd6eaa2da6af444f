"""Requests to SQS about one queue: where it is, and each call's answer or its evidence.

Layer: queues. Only here is a method of botocore's client called; no exception of it leaves.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.credentials import aws
from eventpost.credentials.reports import shown
from eventpost.queues.sqs import refusals
from eventpost.queues.sqs.address import Place, place
from eventpost.queues.sqs.forms import SYSTEM
from eventpost.queues.sqs.settings import ATTEMPTS_MAX, Options

Answer = Mapping[str, Any]

EMPTY_ANSWER_BYTES_MAX = 64
"""`{}` and the like: an answer to `ReceiveMessage` without messages."""
_BATCH = ("Successful", "Failed")
_MEMBERS = {
    "get_queue_url": ("QueueUrl",),
    "create_queue": ("QueueUrl",),
    "get_queue_attributes": ("Attributes",),
    "receive_message": ("Messages",),
    "send_message_batch": _BATCH,
    "delete_message_batch": _BATCH,
    "change_message_visibility_batch": _BATCH,
}
"""What a whole answer to a method has at least one of."""


class Service:
    """One queue as botocore's client sees it. Safe to use from any thread."""

    def __init__(self, connection: aws.Session, where: Place, options: Options) -> None:
        self.place = where
        self.may_create = options.create
        self._connection = connection
        self._options = options
        self._attempts_max = connection.settings.attempts_max or ATTEMPTS_MAX
        self._lock = threading.Lock()
        self._url = where.url
        self.is_closed = False

    @property
    def identity(self) -> str:
        """`REGION/ACCOUNT/NAME`, or an endpoint in the region's place; what is known of it."""
        where = _placed(self._url) or self.place
        settings = self._connection.settings
        parts = (
            where.region or where.endpoint or settings.region or settings.endpoint_url,
            where.account,
            where.name,
        )
        return "/".join(part for part in parts if part)

    @property
    def credential(self) -> str:
        """Which link of the chain says who we are, for people."""
        report = self._connection.report()
        return " ".join(part for part in (report.link, report.identity) if part)

    @property
    def endpoint(self) -> str:
        return self._connection.report().endpoint

    def call(
        self,
        operation: str,
        method: str,
        *,
        wait_s: float = 0.0,
        is_last: bool = False,
        **parameters: object,
    ) -> Answer | Failed:
        """Call a method of the client about the queue. `operation` is for the evidence; a last call
        is made after the end, too."""
        if self.is_closed and not is_last:
            return closed(operation)
        url = self.url(operation)
        if isinstance(url, Failed):
            return url
        # A poll that is tried again at once may wait twice as long as the caller meant to.
        attempts_max = 1 if wait_s else self._attempts_max
        parameters["QueueUrl"] = url
        return self._request(operation, method, parameters, wait_s, attempts_max)

    def url(self, operation: str, *, may_create: bool = True) -> str | Failed:
        """The queue's URL, asked for once. A queue that is missing is made, where that is said."""
        with self._lock:
            if self._url:
                return self._url
            found = self._find(operation)
            if may_create and self.may_create and _is_missing(found):
                found = self._create(operation)
            if isinstance(found, Failed):
                return found
            self._url = str(found["QueueUrl"])
            return self._url

    def _find(self, operation: str) -> Answer | Failed:
        parameters: dict[str, object] = {"QueueName": self.place.name}
        if self.place.account:
            parameters["QueueOwnerAWSAccountId"] = self.place.account
        return self._request(operation, "get_queue_url", parameters)

    def _create(self, operation: str) -> Answer | Failed:
        parameters = self._options.creation(is_fifo=self.place.is_fifo)
        parameters["QueueName"] = self.place.name
        made = self._request(operation, "create_queue", parameters)
        if isinstance(made, Failed) and made.evidence.code in refusals.QUEUE_EXISTS:
            return self._find(operation)  # somebody else has made it meanwhile
        return made

    def _request(
        self,
        operation: str,
        method: str,
        parameters: Mapping[str, Any],
        wait_s: float = 0.0,
        attempts_max: int = 0,
    ) -> Answer | Failed:
        attempts_max = attempts_max or self._attempts_max
        began_s = time.monotonic()
        try:
            answer = self._connection.request(
                SYSTEM, method, wait_s=wait_s, attempts_max=attempts_max, **parameters
            )
            if is_whole(method, answer):
                return answer
            evidence = not_whole(operation, answer)
        except Exception as error:  # noqa: BLE001 - the border: what botocore raises is evidence
            evidence = self._connection.failure(error, operation, system=SYSTEM)
        elapsed_ms = int((time.monotonic() - began_s) * 1000)
        evidence = msgspec.structs.replace(evidence, elapsed_ms=elapsed_ms)
        return refusals.failed(evidence, method)


def is_whole(method: str, answer: Answer) -> bool:
    """Whether SQS itself has answered. The client takes a page of a proxy, and an answer that broke
    off, for one without members: a queue would seem empty that is not."""
    wanted = _MEMBERS.get(method, ())
    if not wanted or any(name in answer for name in wanted):
        return True
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    length = str(headers.get("content-length", ""))
    is_json = "json" in headers.get("content-type", "json")
    is_short = not length.isdecimal() or int(length) <= EMPTY_ANSWER_BYTES_MAX
    return method == "receive_message" and is_json and is_short


def not_whole(operation: str, answer: Answer) -> Evidence:
    metadata = answer.get("ResponseMetadata", {})
    content_type = metadata.get("HTTPHeaders", {}).get("content-type", "none")
    return Evidence(
        stage=Stage.READ,
        fault=Fault.MALFORMED,
        status=metadata.get("HTTPStatusCode"),
        system=SYSTEM,
        operation=operation,
        request_id=metadata.get("RequestId"),
        detail=f"the answer is not whole, or not from SQS (content type: {shown(content_type)})",
    )


def closed(operation: str) -> Failed:
    """What every call after the end comes to."""
    evidence = Evidence(
        stage=Stage.CONNECT,
        fault=Fault.CLOSED,
        system=SYSTEM,
        operation=operation,
        detail="this queue object was closed",
    )
    return Failed(evidence, is_counted=False)


def _is_missing(found: Answer | Failed) -> bool:
    return isinstance(found, Failed) and found.evidence.code in refusals.NO_SUCH_QUEUE


def _placed(url: str) -> Place | None:
    try:
        return place(url) if url else None
    except InvalidRequest:
        return None
