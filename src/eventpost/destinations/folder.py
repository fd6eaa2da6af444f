"""A folder as a place for files: whole or not at all, and durable before they are told of.

Layer: destinations.
"""

import errno
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.interfaces import Destination, FileWritten
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.destinations import storing
from eventpost.destinations.kinds import Services
from eventpost.destinations.opening import Connections
from eventpost.destinations.places import Place, parse_as
from eventpost.destinations.storing import StorageDestination, check_plain
from eventpost.queues.interfaces import Rung

SYSTEM = "folder"
PAGE_MAX = 1_000
_HIDDEN = "."
"""What a file's name begins with until it is whole."""


class FolderStorage:
    """Implements `destinations.storages.Storage`."""

    def __init__(self, place: Place) -> None:
        self._root = Path(place.root).expanduser().absolute()

    def write(self, name: str, body: bytes) -> FileWritten | Failed:
        began_s = time.monotonic()
        target = self._root / name
        try:
            write_whole(target, body)
        except OSError as error:
            return _failed(error, "write", target.parent, began_s)
        return FileWritten(url=target.as_uri())

    def read(self, name: str, bytes_max: int) -> bytes | Failed:
        began_s = time.monotonic()
        target = self._root / name
        try:
            with target.open("rb") as file:
                body = file.read(bytes_max + 1)
        except OSError as error:
            return _failed(error, "read", target, began_s)
        if len(body) > bytes_max:
            detail = f"{target} has more than {bytes_max} bytes"
            return Failed(
                Evidence(
                    stage=Stage.READ,
                    fault=Fault.TOO_LARGE,
                    system=SYSTEM,
                    code="FileTooLarge",
                    operation="read",
                    address=str(target),
                    detail=detail,
                )
            )
        return body

    def names(self, below: str) -> Iterator[list[str] | Failed]:
        began_s = time.monotonic()
        try:
            found = sorted(self._walk(below))
        except OSError as error:
            yield _failed(error, "list", self._root, began_s)
            return
        for start in range(0, len(found), PAGE_MAX):
            yield found[start : start + PAGE_MAX]

    def _walk(self, below: str) -> Iterator[str]:
        def fail(error: OSError) -> None:
            raise error

        for folder, folders, files in os.walk(self._root, onerror=fail):
            at = Path(folder).relative_to(self._root).as_posix()
            within = "" if at == "." else f"{at}/"
            # Only what may lead to names that begin so.
            folders[:] = [
                each
                for each in folders
                if f"{within}{each}/".startswith(below) or below.startswith(f"{within}{each}/")
            ]
            for each in files:
                if f"{within}{each}".startswith(below) and not each.startswith(_HIDDEN):
                    yield f"{within}{each}"

    def probe(self) -> Sequence[Rung]:
        """The folder, or the one in which it will be made, may be written by this process."""
        began_s = time.monotonic()
        existing = self._root
        while not existing.exists() and existing.parent != existing:
            existing = existing.parent
        number = 0
        if not existing.is_dir():
            number = errno.ENOTDIR
        elif not os.access(existing, os.W_OK | os.X_OK):
            number = errno.EACCES
        if number:
            error = OSError(number, os.strerror(number))
            return [Rung(name="folder", failed=_failed(error, "probe", existing, began_s))]
        told = "may be written" if existing == self._root else f"will be made in {existing}"
        return [Rung(name="folder", detail=f"{self._root} {told}")]

    def url(self, name: str) -> str:
        return (self._root / name).as_uri()

    def close(self) -> None:
        return


def write_whole(target: Path, body: bytes) -> None:
    """Temporary name, sync, rename, sync of the folder: a reader sees all of it or nothing.

    Raises OSError. A file of that name is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=_HIDDEN, suffix=".part", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _failed(error: OSError, operation: str, at: Path, began_s: float) -> Failed:
    stage = Stage.WRITE if operation in ("write", "probe") else Stage.READ
    return Failed(
        Evidence(
            stage=stage,
            fault=Fault.CODE,
            errno=error.errno,
            elapsed_ms=int((time.monotonic() - began_s) * 1000),
            address=str(at),
            system=SYSTEM,
            operation=operation,
            code=errno.errorcode.get(error.errno or 0, "UNKNOWN"),
            detail=f"{type(error).__name__}: {error.strerror or error}",
        )
    )


def new_storage(settings: msgspec.Struct | None, place: Place) -> FolderStorage:
    assert settings is None
    return FolderStorage(place)


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises InvalidRequest for a relative path, and for what a file has not."""
    check_plain(endpoint)
    parse_as("folder", endpoint.address)
    if endpoint.connection is not None:
        raise InvalidRequest(
            "InvalidEndpoint", "A folder needs no connection.", fix="Leave it out."
        )


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Destination:
    return StorageDestination(topic, subscription, services)


def probe(endpoint: Endpoint, connections: Connections) -> Sequence[Rung]:
    """See `destinations.kinds.probe`."""
    return storing.probe(endpoint, connections)
