"""A container of Azure Storage as a place for files, of dead letters and of deliveries.

Layer: destinations. The container is never made here: a name that was mistyped would become a
container that nobody looks into.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from eventpost.core.interfaces import Destination, FileWritten
from eventpost.core.outcomes import Failed
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.credentials.azure import AzureStorageConnection, session
from eventpost.credentials.azure_settings import incomplete
from eventpost.destinations import storing
from eventpost.destinations.kinds import Services
from eventpost.destinations.opening import Connections
from eventpost.destinations.places import Place, parse_as
from eventpost.destinations.storages import CONTENT_TYPE
from eventpost.destinations.storing import StorageDestination, check_plain
from eventpost.queues.interfaces import Rung

if TYPE_CHECKING:  # the client library is imported when it is first used
    from eventpost.queues.storagequeue.container import Container

CONNECTION_KIND = "azure-storage"
LIBRARY = "azure.storage.blob"
EXTRA = "azure"
PAGE_MAX = 1_000
"""Names in one answer of a listing."""


class BlobStorage:
    """Implements `destinations.storages.Storage`."""

    page_max = PAGE_MAX

    def __init__(self, settings: AzureStorageConnection, place: Place) -> None:
        """Raises InvalidRequest when nothing says in which account the container is."""
        self._place = place
        self._session = session(_with_account(settings, place))
        self._lock = threading.Lock()
        self._opened: Container | None = None

    def write(self, name: str, body: bytes) -> FileWritten | Failed:
        container = self._container()
        blob = container.write(self._place.named(name), body, CONTENT_TYPE)
        if isinstance(blob, Failed):
            return blob
        return FileWritten(url=self.url(name), blob=blob)

    def read(self, name: str, bytes_max: int) -> bytes | Failed:
        return self._container().read(self._place.named(name), bytes_max)

    def names(self, below: str) -> Iterator[list[str] | Failed]:
        start = len(self._place.named(""))
        for page in self._container().names(self._place.named(below), self.page_max):
            yield page if isinstance(page, Failed) else [name[start:] for name in page]

    def probe(self) -> Sequence[Rung]:
        container = self._container()
        account = container.account
        page = next(container.names(self._place.named(""), page_max=1), [])
        if isinstance(page, Failed):
            return [Rung(name="container", failed=page)]
        detail = f"{self._place.root} is there, and {account.link} may list it"
        return [Rung(name="container", detail=detail)]

    def url(self, name: str) -> str:
        url = self._container().url(self._place.named(name))
        return f"{self._place}/{name}" if isinstance(url, Failed) else url

    def close(self) -> None:
        from eventpost.queues.storagequeue.account import leave

        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            leave(self._session)

    def _container(self) -> "Container":
        from eventpost.queues.storagequeue.account import take
        from eventpost.queues.storagequeue.container import Container

        with self._lock:
            if self._opened is None:
                self._opened = Container(take(self._session), self._place.root)
            return self._opened


def _with_account(settings: AzureStorageConnection, place: Place) -> AzureStorageConnection:
    if settings.account or settings.account_url or settings.connection_string:
        return settings
    if not place.account:
        raise incomplete(f"nothing says in which account {place.root} is.")
    return msgspec.structs.replace(settings, account=place.account)


def new_storage(settings: msgspec.Struct, place: Place) -> BlobStorage:
    assert isinstance(settings, AzureStorageConnection)
    return BlobStorage(settings, place)


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises InvalidRequest for what is no container, and for what a file has not."""
    check_plain(endpoint)
    parse_as("azureblob", endpoint.address)


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Destination:
    return StorageDestination(topic, subscription, services)


def probe(endpoint: Endpoint, connections: Connections) -> Sequence[Rung]:
    """See `destinations.kinds.probe`."""
    return storing.probe(endpoint, connections)
