"""Claim check: a body that is too large for a message travels as a blob, and the message names it.

Layer: queues. The message's body is then a pointer, in JSON:

    {"eventpostClaimCheck":1,"blob":"jobs/2026/11/28/<uuid>","bytes":150000,"sha256":"<hex>"}

It names no container: whoever receives looks into the one of its own settings, so that a message
cannot have anything else read or deleted. The blob is written before the message is sent, and
deleted after the message was. In between a crash leaves a blob that no message names; a rule of the
account's lifecycle management removes such orphans by their age.
"""

import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import msgspec
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient, ContainerClient

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.http.kept import Progress
from eventpost.queues.storagequeue.account import Account
from eventpost.queues.storagequeue.messages import SYSTEM

_MARK = b'{"eventpostClaimCheck":'
GONE = frozenset({"BlobNotFound", "ContainerNotFound", "ResourceNotFound"})
DAMAGED = "ClaimCheckDamaged"
"""Our code for a blob that is not what the pointer says."""


class Pointer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the message holds instead of the body."""

    version: int = msgspec.field(name="eventpostClaimCheck", default=1)
    blob: str
    bytes: int
    sha256: str


def pointer_of(body: bytes) -> Pointer | None:
    """The pointer that a body is, or None for any other body."""
    if not body.startswith(_MARK):
        return None
    try:
        pointer = msgspec.json.decode(body, type=Pointer)
    except msgspec.DecodeError:
        return None
    return pointer if pointer.version == 1 and pointer.blob and pointer.bytes >= 0 else None


class Claims:
    """The blobs of one queue. May be used from any number of threads."""

    def __init__(
        self,
        account: Account,
        *,
        container: str,
        folder: str,
        bytes_max: int,
        creates: bool,
        new_id: Callable[[], object] = uuid.uuid4,
    ) -> None:
        self._account = account
        self._folder = folder
        self._bytes_max = bytes_max
        self._creates = creates
        self._new_id = new_id
        self._name = container
        self._made: tuple[BlobServiceClient, ContainerClient] | None = None

    def write(self, body: bytes, progress: Progress) -> Pointer | Failed:
        """Store the body in a new blob."""
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        pointer = Pointer(
            blob=f"{self._folder}/{day}/{self._new_id()}",
            bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
        )
        upload = partial(self._upload, pointer.blob, body)
        written = self._account.request("send", progress, upload, right="write the claim check")
        if _is(written, "ContainerNotFound") and self._creates:
            made = self._account.request(
                "send", progress, self._create, right="create the claim-check container"
            )
            if isinstance(made, Failed):
                return made
            written = self._account.request("send", progress, upload, right="write the claim check")
        if isinstance(written, Failed) and not _is(written, "BlobAlreadyExists"):
            return written
        return pointer  # one of that name is ours: an answer was lost, and the request repeated

    def read(self, pointer: Pointer, progress: Progress) -> bytes | Failed:
        """The body. Failed with a code of `GONE` or `DAMAGED` when it will never be had."""
        if pointer.bytes > self._bytes_max:
            bound = f"claim_check_bytes_max ({self._bytes_max})"
            return _damaged(f"The pointer says {pointer.bytes} bytes, which is above {bound}.")
        download = partial(self._download, pointer)
        body = self._account.request("receive", progress, download, right="read the claim check")
        if isinstance(body, Failed):
            return body
        if len(body) != pointer.bytes or hashlib.sha256(body).hexdigest() != pointer.sha256:
            return _damaged("The blob is not the one that the pointer was made for.")
        return body

    def delete(self, blob: str, operation: str, progress: Progress) -> Failed | None:
        """Delete the blob; one that is gone is deleted."""
        deleted = self._account.request(
            operation,
            progress,
            lambda: self._container().delete_blob(blob),
            right="delete the claim check",
        )
        if isinstance(deleted, Failed) and deleted.evidence.code not in GONE:
            return deleted
        return None

    def _container(self) -> ContainerClient:
        """Of the client that the account has now: a changed secret makes another one."""
        blobs, made = self._account.blobs(), self._made
        if made is None or made[0] is not blobs:
            made = self._made = (blobs, blobs.get_container_client(self._name))
        return made[1]

    def _upload(self, blob: str, body: bytes) -> None:
        self._container().upload_blob(blob, body, overwrite=False)

    def _download(self, pointer: Pointer) -> bytes:
        # One byte more than there should be, to see a blob that is longer.
        stream = self._container().download_blob(pointer.blob, offset=0, length=pointer.bytes + 1)
        return stream.readall()

    def _create(self) -> None:
        try:
            self._container().create_container()
        except ResourceExistsError:  # somebody else was faster
            return


def _is(answer: object, code: str) -> bool:
    return isinstance(answer, Failed) and answer.evidence.code == code


def _damaged(detail: str) -> Failed:
    found = Evidence(
        stage=Stage.READ,
        fault=Fault.CODE,
        system=SYSTEM,
        operation="receive",
        code=DAMAGED,
        detail=detail,
    )
    return Failed(found)
