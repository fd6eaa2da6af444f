"""A bucket of Amazon S3 as a place for files: dead letters, and what a subscription delivers.

Layer: destinations. API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from eventpost.core.interfaces import Destination, FileWritten
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.credentials import aws
from eventpost.credentials.aws_failures import failure, statement, with_detail
from eventpost.destinations import storing
from eventpost.destinations.kinds import Services
from eventpost.destinations.opening import Connections
from eventpost.destinations.places import Place, parse_as
from eventpost.destinations.storages import CONTENT_TYPE
from eventpost.destinations.storing import StorageDestination, check_plain
from eventpost.queues.interfaces import Rung

CONNECTION_KIND = "aws"
LIBRARY = "botocore"
EXTRA = "aws"
SYSTEM = "s3"
_ACTIONS = {"write": "s3:PutObject", "read": "s3:GetObject", "list": "s3:ListBucket"}
_DENIED = frozenset({"AccessDenied", "403", "Forbidden"})
PAGE_MAX = 1_000
"""Keys in one answer of a listing."""

T = TypeVar("T")


class S3Storage:
    """Implements `destinations.storages.Storage`."""

    page_max = PAGE_MAX

    def __init__(self, settings: aws.AwsConnection, place: Place) -> None:
        self._place = place
        self._session = aws.session(settings)

    def write(self, name: str, body: bytes) -> FileWritten | Failed:
        def put() -> FileWritten:
            key = self._place.named(name)
            self._request("put_object", Key=key, Body=body, ContentType=CONTENT_TYPE)
            return FileWritten(url=self.url(name))

        return self._ask("write", put)

    def read(self, name: str, bytes_max: int) -> bytes | Failed:
        def get() -> bytes:
            answer = self._request("get_object", Key=self._place.named(name))
            with answer["Body"] as stream:
                return bytes(stream.read(bytes_max + 1))

        body = self._ask("read", get)
        if isinstance(body, bytes) and len(body) > bytes_max:
            detail = f"{name} has more than {bytes_max} bytes"
            return Failed(
                Evidence(
                    stage=Stage.READ,
                    fault=Fault.TOO_LARGE,
                    system=SYSTEM,
                    code="FileTooLarge",
                    operation="read",
                    detail=detail,
                )
            )
        return body

    def names(self, below: str) -> Iterator[list[str] | Failed]:
        start, after = len(self._place.named("")), ""
        while True:
            page = self._ask("list", partial(self._page, below, after, self.page_max))
            if isinstance(page, Failed):
                yield page
                return
            if not page:
                return
            yield [key[start:] for key in page]
            after = page[-1]

    def _page(self, below: str, after: str, count_max: int) -> list[str]:
        answer = self._request(
            "list_objects_v2",
            Prefix=self._place.named(below),
            StartAfter=after,
            MaxKeys=count_max,
        )
        return [str(each["Key"]) for each in answer.get("Contents", ())]

    def probe(self) -> Sequence[Rung]:
        found = self._ask("list", lambda: self._page("", "", 1))
        if isinstance(found, Failed):
            return [Rung(name="bucket", failed=found)]
        link = self._session.report().link
        return [Rung(name="bucket", detail=f"{self._place.root} is there, and {link} may list it")]

    def url(self, name: str) -> str:
        return f"s3://{self._place.root}/{quote(self._place.named(name))}"

    def close(self) -> None:
        return  # the session is the process's, shared by everybody with the same settings

    def _request(self, method: str, **parameters: Any) -> Any:
        return self._session.request(
            SYSTEM,
            method,
            attempts_max=1,  # the grid's own ladder decides
            Bucket=self._place.root,
            **parameters,
        )

    def _ask(self, operation: str, call: Callable[[], T]) -> T | Failed:
        began_s = time.monotonic()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - the border: what botocore raises is evidence
            link = self._session.report().link
            evidence = failure(error, operation, system=SYSTEM, credential=link)
        elapsed_ms = int((time.monotonic() - began_s) * 1000)
        evidence = msgspec.structs.replace(evidence, elapsed_ms=elapsed_ms)
        if evidence.system == SYSTEM and evidence.code in _DENIED:
            within = "" if operation == "list" else f"/{self._place.named('*')}"
            resource = f"arn:aws:s3:::{self._place.root}{within}"
            allows = statement(_ACTIONS[operation], evidence.detail, resource)
            evidence = with_detail(evidence, allows)
        return Failed(evidence)


def new_storage(settings: msgspec.Struct, place: Place) -> S3Storage:
    assert isinstance(settings, aws.AwsConnection)
    return S3Storage(settings, place)


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises InvalidRequest for what is no bucket, and for what a file has not."""
    check_plain(endpoint)
    parse_as("s3", endpoint.address)


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Destination:
    return StorageDestination(topic, subscription, services)


def probe(endpoint: Endpoint, connections: Connections) -> Sequence[Rung]:
    """See `destinations.kinds.probe`."""
    return storing.probe(endpoint, connections)
