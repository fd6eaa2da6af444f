"""A storage account as one connection speaks to it: a session, and clients of queues and blobs.

Layer: queues. Shared by all queues of a connection in this process, and closed with the last of
them. The SDK's own retries are off: whoever calls decides, and is told the first true cause.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Failed, Fault, Stage
from eventpost.core.version import VERSION
from eventpost.credentials.azure import Session
from eventpost.http import proxies
from eventpost.http.kept import Connections, Progress, follow
from eventpost.http.proxies import Proxy
from eventpost.http.trust import Trust
from eventpost.http.urls import Url, parse
from eventpost.queues.interfaces import Timeouts
from eventpost.queues.storagequeue.answers import Asked, refuse_answers_of_others
from eventpost.queues.storagequeue.errors import evidence
from eventpost.queues.storagequeue.transport import Transport

T = TypeVar("T")

requests_log = logging.getLogger("eventpost.azure.requests")
"""The SDK tells a dozen lines of each request at INFO, which is where programs of workers log."""
requests_log.setLevel(logging.WARNING)

CONNECTIONS_MAX = 128
"""Kept connections to each endpoint; no more are open than threads use them."""
BLOB_BYTES_MAX = 268_435_456
"""Of one request; the most that `claim_check_bytes_max` may say."""
SERVED_S_MAX = 600.0
"""How long ago a request may have been served to say something about one that is refused."""
_NEVER_TAKEN = frozenset({"RequestBodyTooLarge", "MessageTooLarge", "InvalidXmlDocument"})
_NO_ANSWER_YET = (Stage.WRITE, Stage.WAIT)
_ENDED = (Fault.RESET, Fault.CLOSED)


class Account:
    """Clients that share one session of HTTP. May be used from any number of threads."""

    def __init__(self, session: Session, *, now_s: Callable[[], float] = time.time) -> None:
        """Connects to nothing. Raises InvalidRequest for a proxy that cannot be used, and OSError
        for authorities that cannot be read. `now_s` is this machine's clock, UTC."""
        settings = session.settings
        self.session = session
        self.timeouts = Timeouts(
            connect_s=settings.connect_timeout_s, request_s=settings.request_timeout_s
        )
        self.context = Trust().context(is_insecure=False)
        self._now_s = now_s
        self._proxies = proxies.from_environment(os.environ)
        self._connections = Connections(self.timeouts, self.context, self._proxies, CONNECTIONS_MAX)
        self._served: dict[str, float] = {}

    @property
    def link(self) -> str:
        """Which kind of credential, or which link of the SDK's chain, answered; never a secret."""
        return self.session.report().link

    def queues(self) -> QueueServiceClient:
        """The client of the account's queues: another one when a secret has changed.

        Raises what `Session.client` raises. A failure to get a token is one of these.
        """
        return self.session.client("queue", self._new_queues)

    def blobs(self) -> BlobServiceClient:
        """The client of the account's blobs, as `queues`."""
        return self.session.client("blob", self._new_blobs)

    def first_hop(self) -> tuple[Url, Proxy | None]:
        """Where requests for queues go, and the proxy on the way."""
        url = parse(f"{self.queues().scheme}://{self.queues().primary_hostname}")
        return url, self._proxies.for_url(url)

    def request(
        self, operation: str, progress: Progress, call: Callable[[], T], *, right: str = ""
    ) -> T | Failed:
        """What `call` returns, or why the service did not do it. Blocks.

        A kept connection that turns out to be closed before the first byte of an answer is no
        failure: the request goes out once more, on a fresh one. `right` is what the operation
        takes, where it is not the operation's own (`LEAST_ROLES`).
        """
        answered = self._once(operation, progress, call, right)
        if isinstance(answered, Failed) and _is_stale(answered, progress):
            answered = self._once(operation, progress, call, right)
            if isinstance(answered, Failed):
                again = msgspec.structs.replace(answered.evidence, reconnect_count=1)
                answered = msgspec.structs.replace(answered, evidence=again)
        return answered

    def served(self) -> str:
        """What was served lately: `receive 2 s ago, settle 40 s ago`."""
        now_s = time.monotonic()
        ages = {name: now_s - at_s for name, at_s in list(self._served.items())}
        recent = sorted((age_s, name) for name, age_s in ages.items() if age_s <= SERVED_S_MAX)
        return ", ".join(f"{name} {age_s:.0f} s ago" for age_s, name in recent)

    def close(self) -> None:
        """Let go of the connections. Requests under way end as they may. Idempotent."""
        self._connections.close()

    def _new_queues(self, url: str, credential: Any) -> QueueServiceClient:
        return QueueServiceClient(url, **self._settings_for(credential))

    def _new_blobs(self, url: str, credential: Any) -> BlobServiceClient:
        # What is larger than one request is not taken at all.
        settings = self._settings_for(credential)
        settings |= {"max_single_put_size": BLOB_BYTES_MAX}
        settings |= {"max_single_get_size": BLOB_BYTES_MAX + 1}
        return BlobServiceClient(url, **settings)

    def _settings_for(self, credential: Any) -> dict[str, Any]:
        return {
            "credential": credential,
            "transport": Transport(self._connections),
            "raw_response_hook": refuse_answers_of_others,
            "retry_total": 0,
            "permit_redirects": False,
            "user_agent": f"eventpost/{VERSION}",
            "logger": requests_log,
        }

    def _once(
        self, operation: str, progress: Progress, call: Callable[[], T], right: str
    ) -> T | Failed:
        progress.begin()
        follow(progress)
        began_s = time.monotonic()
        try:
            answer = call()
        except (AzureError, EventpostError, ValueError) as error:
            asked = Asked(
                operation=operation,
                right=right or operation,
                credential=self.link,
                progress=progress,
                elapsed_s=time.monotonic() - began_s,
                now_s=self._now_s(),
                served=self.served(),
            )
            found = evidence(error, asked)
            return Failed(found, final=found.code in _NEVER_TAKEN)
        self._served[right or operation] = time.monotonic()
        return answer


def _is_stale(failed: Failed, progress: Progress) -> bool:
    found = failed.evidence
    return progress.is_reused and found.stage in _NO_ANSWER_YET and found.fault in _ENDED


# --- one account for all queues of a connection ---------------------------------------------------


@dataclass(slots=True)
class _Shared:
    account: Account
    user_count: int = 0


_lock = threading.Lock()
_accounts: dict[Session, _Shared] = {}


def take(session: Session) -> Account:
    """The account of `session`, opened when nobody has it yet. Give it back with `leave`.

    Raises what `Account` raises.
    """
    with _lock:
        shared = _accounts.get(session)
        if shared is None:
            shared = _accounts[session] = _Shared(Account(session))
        shared.user_count += 1
        return shared.account


def leave(session: Session) -> None:
    """Say that one user of the account is done; the last one closes it."""
    with _lock:
        shared = _accounts.get(session)
        if shared is None:
            return
        shared.user_count -= 1
        if shared.user_count:
            return
        del _accounts[session]
    shared.account.close()
    session.close()  # it kept the account's clients; whoever else uses it opens it anew


def _after_fork() -> None:
    """Forget the parent's accounts without closing them, and a lock that nobody here holds."""
    global _lock
    _lock = threading.Lock()
    _accounts.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
