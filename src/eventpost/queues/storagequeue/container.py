"""One container of a storage account: blobs written, read and listed.

Layer: queues. It stands beside the queues because it shares their account: one session of HTTP, and
one table of what the service's refusals mean. The SDK's own retries are off.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.parse import quote

import msgspec
from azure.storage.blob import BlobServiceClient, ContainerClient, ContentSettings

from eventpost.core.interfaces import Blob
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.http.kept import Progress
from eventpost.queues.storagequeue.account import Account
from eventpost.queues.storagequeue.messages import SYSTEM as QUEUES

SYSTEM = "azureblob"

T = TypeVar("T")


class Container:
    """May be used from any number of threads. Each method blocks and raises nothing."""

    def __init__(self, account: Account, name: str) -> None:
        self.account = account
        self._name = name
        self._made: tuple[BlobServiceClient, ContainerClient] | None = None

    def write(self, name: str, body: bytes, content_type: str) -> Blob | Failed:
        """Put a block blob, all of it in one request; one of that name is replaced."""

        def put() -> Blob:
            blob = self._client().get_blob_client(name)
            settings = ContentSettings(content_type=content_type)
            told = blob.upload_blob(
                body, length=len(body), overwrite=True, content_settings=settings
            )
            return Blob(
                container=self._name,
                name=name,
                etag=str(told.get("etag", "")).strip('"'),
                request_id=str(told.get("request_id") or ""),
                client_request_id=str(told.get("client_request_id") or ""),
            )

        return self._ask("write", put, right="write the blob")

    def read(self, name: str, bytes_max: int) -> bytes | Failed:
        """The content of a blob. Fails with TOO_LARGE above `bytes_max`."""

        def get() -> bytes:
            # One byte more than there may be, to see a blob that is longer.
            stream = self._client().download_blob(name, offset=0, length=bytes_max + 1)
            return stream.readall()

        body = self._ask("read", get, right="read the blob")
        if isinstance(body, Failed) and body.evidence.code == "InvalidRange":
            return b""  # there is no first byte
        if isinstance(body, bytes) and len(body) > bytes_max:
            return Failed(
                Evidence(
                    stage=Stage.READ,
                    fault=Fault.TOO_LARGE,
                    system=SYSTEM,
                    code="FileTooLarge",
                    operation="read",
                    detail=f"{name} has more than {bytes_max} bytes",
                )
            )
        return body

    def names(self, below: str, page_max: int) -> Iterator[list[str] | Failed]:
        """Names of blobs that begin with `below`, sorted, a page at a time."""
        found = self._ask("list", lambda: self._pages(below, page_max), right="list the blobs")
        if isinstance(found, Failed):
            yield found
            return
        while True:
            page = self._ask("list", lambda: list(next(found, ())), right="list the blobs")
            if not page:
                return
            yield page
            if isinstance(page, Failed):
                return

    def url(self, name: str) -> str | Failed:
        """Of a blob. Holds no signature."""
        return self._ask(
            "look", lambda: f"{self._root()}/{self._name}/{quote(name)}", right="read the blob"
        )

    def _pages(self, below: str, page_max: int) -> Iterator[Iterator[str]]:
        # Nothing is sent before the first page is asked for.
        client = self._client()
        return client.list_blob_names(name_starts_with=below, results_per_page=page_max).by_page()

    def _root(self) -> str:
        return self.account.blobs().url.partition("?")[0].rstrip("/")

    def _client(self) -> ContainerClient:
        """Of the client that the account has now: a changed secret makes another one."""
        blobs, made = self.account.blobs(), self._made
        if made is None or made[0] is not blobs:
            made = self._made = (blobs, blobs.get_container_client(self._name))
        return made[1]

    def _ask(self, operation: str, call: Callable[[], T], *, right: str) -> T | Failed:
        answer = self.account.request(operation, Progress(), call, right=right)
        if isinstance(answer, Failed) and answer.evidence.system == QUEUES:
            evidence = msgspec.structs.replace(answer.evidence, system=SYSTEM)
            return msgspec.structs.replace(answer, evidence=evidence)
        return answer
