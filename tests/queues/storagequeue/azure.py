"""Queues of Azure Storage for tests: on Azurite, and on a server that answers what it is told."""

import os
import uuid
from typing import Any, Self

from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from eventpost.credentials.azure import AzureStorageConnection, Session
from eventpost.queues.interfaces import Received, Timeouts
from eventpost.queues.storagequeue import Options, StorageQueue
from eventpost.queues.storagequeue.calls import Receipt
from eventpost.testing.queue_conformance import QueueHarness
from eventpost.testing.receiver import Answer, Reaction
from eventpost.testing.receiver import Received as Asked
from eventpost.testing.scripted import ScriptedService
from tests.services.azurite import KEY, Azurite
from tests.services.service import fresh_name

HELD = Received(
    id="11111111-2222-4333-8444-555555555555", body=b"", receipt=Receipt("AgAAAAMAAAAA")
)
"""A message that nobody has, under a receipt that no service gave."""
QUICK = Timeouts(connect_s=2.0, request_s=5.0)


def session_to(
    queue_url: str,
    blob_url: str = "http://127.0.0.1:1/station",
    *,
    account: str = "station",
    key: str = KEY,
    sas: str = "",
    timeouts: Timeouts = QUICK,
) -> Session:
    """A session of its own by a connection string, which the environment holds."""
    who = f"SharedAccessSignature={sas}" if sas else f"AccountKey={key}"
    name = f"TEST_STORAGE_{uuid.uuid4().hex}"
    os.environ[name] = (
        f"AccountName={account};{who};QueueEndpoint={queue_url};BlobEndpoint={blob_url}"
    )
    return Session(settings(timeouts, connection_string=f"env:{name}"))


def settings(timeouts: Timeouts = QUICK, **given: Any) -> AzureStorageConnection:
    """Settings with bounds that suit tests."""
    return AzureStorageConnection(
        connect_timeout_s=timeouts.connect_s, request_timeout_s=timeouts.request_s, **given
    )


def session_on(azurite: Azurite, **named: Any) -> Session:
    """A session of its own to Azurite's account, by its key unless said otherwise."""
    given = {
        "queue_url": azurite.queue_url,
        "blob_url": azurite.blob_url,
        "account": azurite.account,
        **named,
    }
    return session_to(**given)


def queue_at(session: Session, name: str, **options: Any) -> StorageQueue:
    """A client of the queue."""
    return StorageQueue(name, Options(**options), session)


class Storage(ScriptedService):
    """A storage account that answers what it is told, and everything else the same."""

    def __init__(self, always: Reaction = 503) -> None:
        self.always = always
        super().__init__()

    def answer(self, request: Asked) -> Reaction:
        return self.always

    def session(self, **named: Any) -> Session:
        """A session to it; the key is as good as any."""
        return session_to(named.pop("queue_url", f"{self.url}/station"), **named)


STORAGE_HEADERS = {"Content-Type": "application/xml", "x-ms-version": "2026-06-06"}
NO_MESSAGES = Answer(200, b"<QueueMessagesList />", STORAGE_HEADERS)
"""How a receive finds an empty queue."""


class AzureHarness(QueueHarness):
    """A fresh queue on Azurite."""

    attributes = {}  # there is no place for them

    def __init__(self, azurite: Azurite, **options: Any) -> None:
        self.name = fresh_name("queue")
        self.azurite = azurite
        self.options = options
        self.plain = QueueClient.from_connection_string(azurite.connection_string, self.name)
        self.plain.create_queue()
        self._made: list[StorageQueue] = []

    def new_queue(self, **options: Any) -> StorageQueue:
        """Another client, with these options besides the harness's own."""
        return self.at(session_on(self.azurite), **options)

    def at(self, session: Session, **options: Any) -> StorageQueue:
        """A client with another way to the account, or another credential."""
        queue = queue_at(session, self.name, **{**self.options, **options})
        self._made.append(queue)
        return queue

    def missing_queue(self) -> StorageQueue:
        options = {**self.options, "create": "never"}
        queue = queue_at(session_on(self.azurite), fresh_name("missing"), **options)
        self._made.append(queue)
        return queue

    def blobs(self, container: str) -> list[str]:
        """The names of the blobs in a container, [] when there is none."""
        with ContainerClient.from_connection_string(
            self.azurite.connection_string, container
        ) as client:
            return [blob.name for blob in client.list_blobs()] if client.exists() else []

    def __enter__(self) -> Self:
        return self

    def stop(self) -> None:
        for queue in self._made:
            queue.close()
        self.plain.delete_queue()
        self.plain.close()
