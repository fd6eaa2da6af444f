"""Dramatiq on Azure Storage Queues.

Layer: workers.

    import dramatiq
    from eventpost.workers.storagequeue import StorageQueueBroker

    dramatiq.set_broker(StorageQueueBroker(account_url="https://bluesradio.queue.core.windows.net"))
"""

from pathlib import Path
from typing import Any, Literal

from dramatiq import Middleware

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import azure
from eventpost.credentials.azure_settings import access_of
from eventpost.queues import tasks
from eventpost.queues.kinds import Services, check_library
from eventpost.queues.storagequeue.messages import SYSTEM, Options
from eventpost.queues.storagequeue.queue import StorageQueue
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.limits import WorkerLimits

REQUESTS_MAX = 32


class StorageQueueBroker(LeaseBroker):
    """Queues of one storage account: by its `connection_string`, or by its `account_url`.

    With an account's URL, `credential` is whatever the Azure SDK's clients take; without one its
    DefaultAzureCredential finds who we are, untouched. See LeaseBroker for the words that all
    brokers share.
    """

    def __init__(
        self,
        *,
        connection_string: str = "",
        account_url: str = "",
        credential: Any = None,
        namespace: str = "",
        lease_s: float = 60.0,
        ledger: str | Path | None = None,
        create: Literal["auto", "never"] = "auto",
        receives_max: int = 10,
        middleware: list[Middleware] | None = None,
        limits: WorkerLimits | None = None,
    ) -> None:
        super().__init__(
            StorageQueueTransport(connection_string, account_url, credential, create=create),
            namespace=namespace,
            lease_s=lease_s,
            ledger=ledger,
            receives_max=receives_max,
            middleware=middleware,
            limits=limits,
        )


class StorageQueueTransport:
    """Implements `workers.transport.Transport`."""

    system = SYSTEM
    resends_delayed = False
    """Messages are sent without an end of life."""

    def __init__(
        self,
        connection_string: str,
        account_url: str,
        credential: Any,
        *,
        create: Literal["auto", "never"],
    ) -> None:
        from eventpost.queues import storagequeue

        check_library("storagequeue", storagequeue)
        if connection_string and (account_url or credential is not None):
            raise InvalidRequest(
                "KeysGivenTwice",
                "A connection string is given, and an account's URL or a credential beside it.",
                fix="Give one of them.",
            )
        if not connection_string and not account_url:
            raise InvalidRequest(
                "AccountMissing",
                "Nothing says in which storage account the queues are.",
                fix="Give connection_string or account_url.",
            )
        if connection_string:
            access = access_of(connection_string, "queue")
            account_url, credential = access.url, access.credential
        settings = azure.AzureStorageConnection(account_url=account_url)
        self._session = azure.session(settings, credential)
        self._options = Options(create=create, requests_max=REQUESTS_MAX)

    def name_of(self, queue: str) -> str:
        return tasks.storagequeue_name(queue)

    def open(self, name: str) -> StorageQueue:
        return StorageQueue(name, self._options, self._session, Services().log)

    def wire(self, body: bytes) -> bytes:
        """The queue system makes base64 of it."""
        return body
