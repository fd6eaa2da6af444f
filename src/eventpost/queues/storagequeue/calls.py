"""What one queue of Azure Storage is asked, entry by entry, and what the answers mean.

Layer: queues. Each method blocks for one request (two with a claim check) and runs in a thread of
`Parallel`; `progress` tells whoever waits how far it came.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient, QueueMessage, QueueServiceClient

from eventpost.core.outcomes import DELIVERED, Failed, Outcome, Stage
from eventpost.http.kept import Progress
from eventpost.queues.interfaces import Message, Permission, Received, Settled, Verdict
from eventpost.queues.storagequeue.account import Account
from eventpost.queues.storagequeue.answers import code_of
from eventpost.queues.storagequeue.claims import DAMAGED, GONE, Claims, pointer_of
from eventpost.queues.storagequeue.messages import (
    Log,
    Options,
    decode,
    encode,
    no_log,
    whole_seconds,
)
from eventpost.queues.storagequeue.permissions import permissions

CLAIM_CHECK = "eventpost-claim-check"
"""System attribute of a message whose claim check cannot be redeemed, ever: why. Its body is then
the pointer."""
_MAY_HAVE_ACTED = (Stage.WRITE, Stage.WAIT, Stage.READ)

T = TypeVar("T")


class Receipt(msgspec.Struct):
    """What says that a message is ours. Changed in place: every copy of a message has it."""

    pop: str
    """The pop receipt. Each extension voids it and gives another one."""
    blob: str = ""
    """The blob to delete when the message has been settled."""
    is_delete_out: bool = False
    """A delete with this receipt was sent, and nobody knows whether it was done."""


class Calls:
    """The requests of one queue. May be used from any number of threads."""

    def __init__(self, account: Account, name: str, options: Options, log: Log = no_log) -> None:
        self.account = account
        self._options = options
        self._log = log
        self._name = name
        self._made: tuple[QueueServiceClient, QueueClient] | None = None
        self._claims: Claims | None = None
        if options.claim_check:
            self._claims = Claims(
                account,
                container=options.claim_check,
                folder=name,
                bytes_max=options.claim_check_bytes_max,
                creates=options.create == "auto",
            )

    @property
    def within_s(self) -> float:
        """How long one or two requests may take altogether."""
        timeouts = self.account.timeouts
        return (timeouts.connect_s + timeouts.request_s) * (2 if self._claims is not None else 1)

    def new_progress(self) -> Progress:
        """For one job."""
        return Progress()

    # --- sending --------------------------------------------------------------------------------

    def send(self, message: Message, text: str | None, progress: Progress) -> Outcome:
        """Put one message; without a `text` its body goes by claim check."""
        blob = ""
        if text is None:
            assert self._claims is not None
            pointer = self._claims.write(message.body, progress)
            if isinstance(pointer, Failed):
                return pointer
            blob = pointer.blob
            text = encode(msgspec.json.encode(pointer), self._options.encoding)
        put = partial(self._put, text, whole_seconds(message.delay_s, at_least=0))
        sent = self._made_if_missing("send", progress, put)
        if not isinstance(sent, Failed):
            return DELIVERED
        if blob and not _may_have_acted(sent):
            self._drop(blob, "send", progress)
        return sent

    # --- receiving ------------------------------------------------------------------------------

    def receive(
        self, count_max: int, lease_s: float, progress: Progress
    ) -> list[Received] | Failed:
        """One page of messages. Those whose body is a blob hold the pointer so far."""
        visible_s = whole_seconds(lease_s, at_least=1)
        began_s = time.monotonic()
        page = self._made_if_missing("receive", progress, partial(self._page, count_max, visible_s))
        if isinstance(page, Failed):
            return page
        for received in page:
            received.lease_until_s = began_s + visible_s
        return page

    def redeem(self, received: Received, progress: Progress) -> Failed | None:
        """Put the blob's content in the place of a pointer. Failed: not now."""
        pointer = pointer_of(received.body)
        if pointer is None or self._claims is None:
            return None
        body = self._claims.read(pointer, progress)
        assert isinstance(received.receipt, Receipt)
        if not isinstance(body, Failed):
            received.body = body
            received.receipt.blob = pointer.blob
            return None
        code = body.evidence.code or ""
        if code not in GONE and code != DAMAGED:
            return body
        received.system_attributes[CLAIM_CHECK] = f"{code}: {body.evidence.detail}"
        received.unusable = body.evidence
        return None

    # --- what is held ---------------------------------------------------------------------------

    def extend(self, held: Received, lease_s: float, progress: Progress) -> Verdict:
        """A new visibility and a new pop receipt, in the place of the old ones."""
        visible_s = whole_seconds(lease_s, at_least=1)
        began_s = time.monotonic()
        verdict = self._update("extend", held, visible_s, progress)
        if verdict is Settled.DONE:
            held.lease_until_s = began_s + visible_s
        return verdict

    def release(self, held: Received, delay_s: float, progress: Progress) -> Verdict:
        """Visible again after the delay."""
        return self._update("release", held, whole_seconds(delay_s, at_least=0), progress)

    def settle(self, held: Received, progress: Progress) -> Verdict:
        """Delete the message, and then the blob that held its body."""
        receipt = _receipt(held)
        deleted = self.account.request(
            "settle", progress, lambda: self._client().delete_message(held.id, receipt.pop)
        )
        verdict = _verdict(deleted)
        # A 404 alone would not do: the real service is said to answer so for a stale receipt too.
        is_ours = not isinstance(deleted, Failed) or receipt.is_delete_out or _repeated(deleted)
        if verdict is Settled.DONE and is_ours and receipt.blob:
            self._drop(receipt.blob, "settle", progress)
        receipt.is_delete_out = isinstance(verdict, Failed) and _may_have_acted(verdict)
        return verdict

    # --- looking --------------------------------------------------------------------------------

    def count(self, progress: Progress) -> int | Failed:
        """About how many messages there are. Takes the right to read the queue's properties."""
        return self.account.request(
            "probe", progress, self._message_count, right="read the properties"
        )

    def clear(self, progress: Progress) -> Failed | None:
        """Remove every message."""
        return self.account.request("clear", progress, self._clear)

    def peek(self, progress: Progress) -> int | Failed:
        """Look at the first message without taking it: how many there were, 0 or 1."""
        return self.account.request("probe", progress, self._peeked, right="peek")

    def permissions(self, progress: Progress) -> list[Permission]:
        """Which operations we may do; none of them is done."""
        return list(permissions(self.account, self._client, progress))

    # --- within ---------------------------------------------------------------------------------

    def _update(
        self, operation: str, held: Received, visible_s: int, progress: Progress
    ) -> Verdict:
        receipt = _receipt(held)
        updated = self.account.request(
            operation,
            progress,
            lambda: self._client().update_message(
                held.id, receipt.pop, visibility_timeout=visible_s
            ),
        )
        if not isinstance(updated, Failed):
            assert updated.pop_receipt is not None
            receipt.pop = updated.pop_receipt
        return _verdict(updated)

    def _drop(self, blob: str, operation: str, progress: Progress) -> None:
        """Delete a claim check that no message names any more. One that cannot be deleted is left
        to the account's lifecycle rule: the message is done, and must not seem undone."""
        assert self._claims is not None
        kept = self._claims.delete(blob, operation, progress)
        if kept is not None:
            self._log(
                "queue.claim_check_kept",
                level=logging.WARNING,
                queue=self._name,
                blob=blob,
                code=kept.evidence.code or kept.evidence.fault.value,
            )

    def _client(self) -> QueueClient:
        """Of the client that the account has now: a changed secret makes another one."""
        queues, made = self.account.queues(), self._made
        if made is None or made[0] is not queues:
            made = self._made = (queues, queues.get_queue_client(self._name))
        return made[1]

    def _put(self, text: str, hidden_s: int) -> None:
        self._client().send_message(
            text, visibility_timeout=hidden_s, time_to_live=self._options.ttl_s
        )

    def _page(self, count_max: int, visible_s: int) -> list[Received]:
        # Without `messages_per_page` the library asks for the messages one by one.
        pages = (
            self._client()
            .receive_messages(messages_per_page=count_max, visibility_timeout=visible_s)
            .by_page()
        )
        return [self._received(each) for each in next(pages, ())]

    def _received(self, found: QueueMessage) -> Received:
        times = {
            "InsertionTime": found.inserted_on,
            "ExpirationTime": found.expires_on,
            "TimeNextVisible": found.next_visible_on,
        }
        said = {name: time.isoformat() for name, time in times.items() if time is not None}
        sent_at = found.inserted_on
        return Received(
            id=found.id,
            body=decode(found.content or "", self._options.encoding),
            system_attributes={"DequeueCount": str(found.dequeue_count or 0), **said},
            receive_count=found.dequeue_count or 0,
            sent_ms=int(sent_at.timestamp() * 1000) if sent_at is not None else 0,
            receipt=Receipt(found.pop_receipt or ""),
        )

    def _made_if_missing(
        self, operation: str, progress: Progress, call: Callable[[], T]
    ) -> T | Failed:
        answer = self.account.request(operation, progress, call)
        is_missing = isinstance(answer, Failed) and answer.evidence.code == "QueueNotFound"
        if not is_missing or self._options.create == "never":
            return answer
        made = self.account.request(operation, progress, self._create, right="create the queue")
        if isinstance(made, Failed):
            return made
        return self.account.request(operation, progress, call)

    def _create(self) -> None:
        try:
            self._client().create_queue()
        except ResourceExistsError as error:
            if code_of(error) != "QueueAlreadyExists":  # it may be on its way out
                raise

    def _message_count(self) -> int:
        return self._client().get_queue_properties().approximate_message_count or 0

    def _clear(self) -> None:
        self._client().clear_messages()

    def _peeked(self) -> int:
        return len(self._client().peek_messages(max_messages=1))


def _receipt(held: Received) -> Receipt:
    assert isinstance(held.receipt, Receipt), "not a message of this system"
    return held.receipt


def _verdict(answer: object) -> Verdict:
    if not isinstance(answer, Failed):
        return Settled.DONE
    if answer.evidence.code == "MessageNotFound":
        return Settled.DONE
    if answer.evidence.code == "PopReceiptMismatch":
        return Settled.LOST
    return answer


def _may_have_acted(failed: Failed) -> bool:
    """Whether the service may have done what it did not confirm: no answer, or an answer of the
    500s, which the service may give after it committed."""
    found = failed.evidence
    return found.stage in _MAY_HAVE_ACTED or (found.status or 0) >= 500


def _repeated(answer: object) -> bool:
    return isinstance(answer, Failed) and answer.evidence.reconnect_count > 0
