"""Azure Storage Queues: send, receive, extend, settle, release, probe.

Layer: queues. Implements `queues.interfaces.Queue` with the official client library. The service
answers at once (no long poll), has pages of 32 for receiving and no batches for anything else: the
entries of one call go out side by side, `requests_max` at once, and are judged one by one.

A message has a text and nothing beside it, so attributes and content types are not sent. Settings
of an address are `Options`; docs/storagequeue.md tells them.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.core.outcomes import Failed, Fault, Outcome, Stage
from eventpost.credentials.azure import AzureStorageConnection, Session, session
from eventpost.credentials.azure_settings import access, incomplete
from eventpost.queues.interfaces import (
    Address,
    Depth,
    Message,
    Permission,
    Received,
    Rung,
    Traits,
    Verdict,
)
from eventpost.queues.kinds import Services, options_of
from eventpost.queues.parallel import Late, Parallel
from eventpost.queues.storagequeue.address import pointed_to, split_address
from eventpost.queues.storagequeue.messages import (
    PAGE_MAX,
    SYSTEM,
    VISIBILITY_S_MAX,
    Log,
    Options,
    body_bytes_max,
    failed,
    no_log,
    text_of,
)

if TYPE_CHECKING:  # the client library is imported when it is first used
    from eventpost.http.kept import Progress
    from eventpost.queues.storagequeue.calls import Calls

FIRST = ("receive", "extend")
"""What does not wait behind a hundred deletes: nothing would come meanwhile, and leases run out."""

T = TypeVar("T")
Job = Callable[["Calls", "Progress"], T]
"""One request or two, made in a thread of its own."""


def new_queue(
    connection: AzureStorageConnection, address: Address, services: Services
) -> "StorageQueue":
    """The queue at an address: a name, or a URL that says the account too.

    Raises InvalidRequest for a name that Azure does not take, and for an account that nobody named
    or that is another one than the connection's.
    """
    endpoint, name = split_address(address.name)
    if endpoint:
        connection = pointed_to(endpoint, connection)
    if not (connection.account or connection.account_url or connection.connection_string):
        raise incomplete(f"nothing says in which account {name} is.")
    return StorageQueue(name, options_of(address, Options), session(connection), services.log)


class StorageQueue:
    """One queue of an account. Opens nothing before it is used."""

    def __init__(self, name: str, options: Options, session: Session, log: Log = no_log) -> None:
        """All queues of one `session` share its connections."""
        self.traits = Traits(
            system=SYSTEM,
            message_bytes_max=body_bytes_max(options),
            send_count_max=options.requests_max,  # side by side
            receive_count_max=PAGE_MAX,
            wait_s_max=0.0,
            lease_s_max=VISIBILITY_S_MAX,
            can_extend=True,
            delay_s_max=VISIBILITY_S_MAX,
            release_delay_s_max=VISIBILITY_S_MAX,
            has_ids=True,
            has_receive_count=True,
            has_attributes=False,
        )
        self._name = name
        self._options = options
        self._session = session
        self._log = log
        self._parallel = Parallel(options.requests_max, f"eventpost-{SYSTEM}-{name}")
        self._lock = threading.Lock()
        self._calls: Calls | None = None
        self._is_closed = False

    @property
    def identity(self) -> str:
        """By the account's URL. While the connection string cannot be read, by its reference."""
        settings = msgspec.structs.replace(self._session.settings, account_key="", sas="")
        try:
            place = access(settings, "queue", is_token=False).url
        except InvalidRequest:
            place = settings.connection_string
        return f"{SYSTEM}:{place}/{self._name}"

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Send side by side: no order is kept among the messages of one call."""
        outcomes: dict[int, Outcome] = {}
        jobs: dict[int, Job[Outcome]] = {}
        for index, message in enumerate(messages):
            text = text_of(message, self._options)
            if isinstance(text, Failed):
                outcomes[index] = text
            else:
                jobs[index] = _sending(message, text)
        outcomes.update(zip(jobs, self._run("send", list(jobs.values())), strict=True))
        return [outcomes[index] for index in range(len(messages))]

    def receive(self, count_max: int, wait_s: float, lease_s: float) -> list[Received] | Failed:
        """One page, at once: the service holds no poll open."""
        if count_max < 1:
            return []
        page = self._run("receive", [_receiving(min(count_max, PAGE_MAX), lease_s)])[0]
        if isinstance(page, Failed) or not self._options.claim_check:
            return page
        redeemed = self._run("receive", [_redeeming(received) for received in page])
        failures = [each for each in redeemed if each is not None]
        # What cannot be redeemed now is not handed out: it comes again when its lease has ended.
        ready = [one for one, failure in zip(page, redeemed, strict=True) if failure is None]
        return failures[0] if failures and not ready else ready

    def extend(self, held: Sequence[Received], lease_s: float) -> Sequence[Verdict]:
        """Each gets a new pop receipt in the place of its old one."""
        return self._run("extend", [_extending(each, lease_s) for each in held])

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        """Delete them."""
        return self._run("settle", [_settling(each) for each in held])

    def release(self, held: Sequence[Received], delay_s: float) -> Sequence[Verdict]:
        """Make them visible again after the delay."""
        return self._run("release", [_releasing(each, delay_s) for each in held])

    def probe(self) -> Sequence[Rung]:
        """Credentials, name, connect, TLS, authentication, properties, peek: takes nothing."""
        from eventpost.queues.storagequeue.probing import Probe

        rungs: list[Rung] = []
        for name, step in Probe().steps():
            seen = self._run("probe", [step])[0]
            if isinstance(seen, Failed):
                return [*rungs, Rung(name=name, failed=seen)]
            if seen:
                rungs.append(Rung(name=name, detail=seen))
        return rungs

    def permissions(self) -> Sequence[Permission] | Failed:
        """Which operations the account lets us do, found out without doing any of them."""
        return self._run("probe", [lambda calls, progress: calls.permissions(progress)])[0]

    def count(self) -> int | Failed:
        """About how many messages there are, hidden ones included."""
        return self._run("count", [_counting])[0]

    def clear(self) -> Failed | None:
        """Remove every message, hidden ones included."""
        return self._run("clear", [_clearing])[0]

    def depth(self) -> Depth | Failed:
        """Takes the right to read the queue's properties."""
        counted = self.count()
        return counted if isinstance(counted, Failed) else Depth(total=counted, includes_held=True)

    def wake(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Later calls fail, and those under way are answered now."""
        with self._lock:
            had_account = self._calls is not None and not self._is_closed
            self._is_closed = True
        self._parallel.close()
        if had_account:
            from eventpost.queues.storagequeue.account import leave

            leave(self._session)

    # --- within ---------------------------------------------------------------------------------

    def _run(self, operation: str, jobs: Sequence[Job[T]]) -> list[T | Failed]:
        """The results of the jobs, in order. Those that are not over in time have failed."""
        if not jobs:
            return []
        calls = self._opened(operation)
        if isinstance(calls, Failed):
            return [calls for _ in jobs]
        began_s = time.monotonic()
        pairs = [(job, calls.new_progress()) for job in jobs]
        results = self._parallel.run(
            [partial(job, calls, progress) for job, progress in pairs],
            calls.within_s,
            is_first=operation in FIRST,
        )
        elapsed_ms = int((time.monotonic() - began_s) * 1000)
        return [
            self._late(operation, result, progress, elapsed_ms)
            if isinstance(result, Late)
            else result
            for result, (_, progress) in zip(results, pairs, strict=True)
        ]

    def _opened(self, operation: str) -> "Calls | Failed":
        with self._lock:
            if self._is_closed:
                return _closed(operation)
            if self._calls is None:
                opened = self._open(operation)
                if isinstance(opened, Failed):
                    return opened
                self._calls = opened
            return self._calls

    def _open(self, operation: str) -> "Calls | Failed":
        from eventpost.queues.storagequeue.account import take
        from eventpost.queues.storagequeue.calls import Calls

        try:
            return Calls(take(self._session), self._name, self._options, self._log)
        except (EventpostError, OSError) as error:  # a proxy or authorities that cannot be used
            return failed(operation, Stage.SETTINGS, Fault.UNEXPECTED, detail=str(error))

    def _late(self, operation: str, late: Late, progress: "Progress", elapsed_ms: int) -> Failed:
        if self._is_closed:
            return _closed(operation)
        if late is Late.RUNNING:
            return failed(
                operation,
                progress.stage,
                Fault.TIMED_OUT,
                address=progress.address,
                elapsed_ms=elapsed_ms,
            )
        detail = f"All {self._options.requests_max} requests at once (requests_max) were under way."
        return failed(
            operation,
            Stage.SETTINGS,
            Fault.TIMED_OUT,
            detail=detail,
            elapsed_ms=elapsed_ms,
            is_counted=False,
        )


def _closed(operation: str) -> Failed:
    return failed(operation, Stage.CONNECT, Fault.CLOSED, detail="This queue has been closed.")


# --- jobs -----------------------------------------------------------------------------------------


def _counting(calls: "Calls", progress: "Progress") -> int | Failed:
    return calls.count(progress)


def _clearing(calls: "Calls", progress: "Progress") -> Failed | None:
    return calls.clear(progress)


def _sending(message: Message, text: str | None) -> Job[Outcome]:
    return lambda calls, progress: calls.send(message, text, progress)


def _receiving(count_max: int, lease_s: float) -> Job[list[Received] | Failed]:
    return lambda calls, progress: calls.receive(count_max, lease_s, progress)


def _redeeming(received: Received) -> Job[Failed | None]:
    return lambda calls, progress: calls.redeem(received, progress)


def _extending(held: Received, lease_s: float) -> Job[Verdict]:
    return lambda calls, progress: calls.extend(held, lease_s, progress)


def _settling(held: Received) -> Job[Verdict]:
    return lambda calls, progress: calls.settle(held, progress)


def _releasing(held: Received, delay_s: float) -> Job[Verdict]:
    return lambda calls, progress: calls.release(held, delay_s, progress)
