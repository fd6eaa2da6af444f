"""A queue server in this process's memory that keeps every rule of `queues.interfaces`, strictly.

Layer: testing. It behaves as the services are documented, also where their emulators do not: a
receipt is void once it was replaced or its message was received anew. It runs on any clock, and
fails when it is told to: before it acted, after it acted (the answer was lost), or in some entries
of a batch. Safe to call from any thread.
"""

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Fault, Outcome, Stage
from eventpost.queues.interfaces import (
    Depth,
    Message,
    Permission,
    Received,
    Rung,
    Settled,
    Traits,
    Verdict,
)
from eventpost.testing.memory_shelves import Copy, HeldShelf, LeasedShelf, LogShelf, Shelf

SYSTEM = "memory"
WAIT_S_MIN = 0.005
OPERATIONS = ("send", "receive", "settle", "extend")
T = TypeVar("T")

LEASED = Traits(
    system=SYSTEM,
    message_bytes_max=4_096,
    send_count_max=10,
    receive_count_max=10,
    batch_count_max=10,
    wait_s_max=20.0,
    lease_s_max=43_200.0,
    can_extend=True,
    delay_s_max=900.0,
    release_delay_s_max=43_200.0,
    has_ids=True,
    has_receive_count=True,
)
"""Leases that run out, as Amazon SQS and Azure Storage Queues have them."""

POLLED = dataclasses.replace(LEASED, wait_s_max=0.0, receive_count_max=32, batch_count_max=1)
"""The same without long polls and without batches, as Azure Storage Queues are."""

HELD = dataclasses.replace(
    LEASED, lease_s_max=0.0, can_extend=False, has_ids=False, has_receive_count=False
)
"""Held while the connection lives, and without ids, as RabbitMQ does."""

LOG = dataclasses.replace(HELD, has_ids=True, delay_s_max=0.0, is_log=True, releases_anew=True)
"""A position over a finished prefix, as Kafka has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """What goes wrong with one request."""

    failed: Failed
    is_after: bool = False
    """Whether the server had done it: only the answer is lost."""
    ids: Collection[str] | None = None
    """The entries that fail; None: the request as a whole."""


def refusal(code: str, *, status: int = 403) -> Failed:
    """What a service answers that says no."""
    return Failed(
        Evidence(stage=Stage.ANSWER, fault=Fault.CODE, system=SYSTEM, code=code, status=status)
    )


FORBIDDEN = refusal("AccessDenied")
BUSY = refusal("ServerBusy", status=503)
NOT_FOUND = refusal("QueueNotFound", status=404)
RESET = Failed(Evidence(stage=Stage.WAIT, fault=Fault.RESET, system=SYSTEM))
CLOSED = Failed(Evidence(stage=Stage.CONNECT, fault=Fault.CLOSED, system=SYSTEM))


class MemoryServer:
    """Queues by name. `queue` is a new client of one, with a connection of its own."""

    def __init__(
        self,
        traits: Traits = LEASED,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
        ignores_old_receipts: bool = False,
    ) -> None:
        self.traits = traits
        self.monotonic_s = monotonic_s
        self.now_s = now_s
        self.ignores_old_receipts = ignores_old_receipts
        """Whether settling with an old receipt is answered as done and does nothing, as a standard
        queue of Amazon SQS does, instead of being refused."""
        self.requests: Counter[str] = Counter()
        """Requests by operation, since the start."""
        self.mishaps: Callable[[str, Sequence[str]], Mishap | None] = self._planned
        """Asked before each request with its operation and its entries' ids."""
        self.rights: dict[str, dict[str, Failed]] = {}
        """What `permissions` says no to, by queue and operation. Operations fail by `fail`."""
        self.turn = threading.Condition()
        self._plan: dict[str, Mishap] = {}
        self._shelves: dict[str, Shelf] = {}

    def create(self, name: str) -> "MemoryServer":
        """Make the queue, unless it is there."""
        with self.turn:
            if name not in self._shelves:
                self._shelves[name] = self._new_shelf()
        return self

    def queue(self, name: str) -> "MemoryQueue":
        """A client of that queue, whether or not it exists."""
        return MemoryQueue(self, name)

    def fail(self, operation: str, mishap: Mishap | Failed) -> None:
        """Let every request of that operation fail until `mend`."""
        self._plan[operation] = Mishap(failed=mishap) if isinstance(mishap, Failed) else mishap

    def mend(self, operation: str) -> None:
        self._plan.pop(operation, None)

    def message_count(self, name: str) -> int:
        """Messages that are not settled, hidden ones included."""
        with self.turn:
            return len(self._shelves[name])

    def next_visible_s(self, name: str) -> float:
        """When the next message can be received; never is infinity."""
        with self.turn:
            return self._shelves[name].next_visible_s()

    def shelf(self, name: str) -> Shelf | None:
        """What is stored of a queue. For its clients, within `turn`."""
        return self._shelves.get(name)

    def _planned(self, operation: str, _ids: Sequence[str]) -> Mishap | None:
        return self._plan.get(operation)

    def _new_shelf(self) -> Shelf:
        if self.traits.is_log:
            return LogShelf()
        if not self.traits.lease_s_max:
            return HeldShelf(has_ids=self.traits.has_ids)
        return LeasedShelf(ignores_old_receipts=self.ignores_old_receipts)


class MemoryQueue:
    """One client. Implements `queues.interfaces.Queue`."""

    def __init__(self, server: MemoryServer, name: str) -> None:
        self.traits = server.traits
        self.identity = f"{SYSTEM}:{name}"
        self._server = server
        self._name = name
        self._is_closed = False
        self.wake_count = 0
        """How often a wait was ended from outside."""

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        refused = [self._refused(message) for message in messages]
        going = [one for one, no in zip(messages, refused, strict=True) if no is None]
        sent = iter(self._send(going))
        return [no or next(sent) for no in refused]

    def receive(self, count_max: int, wait_s: float, lease_s: float) -> list[Received] | Failed:
        server = self._server
        count_max = min(count_max, self.traits.receive_count_max)
        lease_s = min(lease_s, self.traits.lease_s_max)
        with server.turn:
            end_s = server.monotonic_s() + min(wait_s, self.traits.wait_s_max)
            wake_count = self.wake_count
            mishap = self._request("receive", ())
            if mishap is not None and not mishap.is_after:
                return self._with_operation(mishap.failed, "receive")
            while True:
                failed = self._unavailable("receive")
                if failed is not None:
                    return failed
                page = self._page(count_max, lease_s)
                if page or self.wake_count != wake_count or not self._wait(end_s):
                    break
            if mishap is None:
                return page
            if not self.traits.lease_s_max:
                # What was delivered and never arrived went down with its connection.
                self._let_go()
            return self._with_operation(mishap.failed, "receive")

    def extend(self, held: Sequence[Received], lease_s: float) -> Sequence[Verdict]:
        if not self.traits.can_extend:
            raise NotImplementedError("this queue has nothing to extend")
        lease_s = min(lease_s, self.traits.lease_s_max)
        return self._change("extend", held, lambda shelf, one: self._extended(shelf, one, lease_s))

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        return self._change("settle", held, lambda shelf, one: self._settled(shelf, one))

    def release(self, held: Sequence[Received], delay_s: float) -> Sequence[Verdict]:
        delay_s = min(delay_s, self.traits.release_delay_s_max)
        return self._change("release", held, lambda shelf, one: self._released(shelf, one, delay_s))

    def probe(self) -> Sequence[Rung]:
        with self._server.turn:
            failed = self._unavailable("probe")
        connect = Rung(name="connect", detail="it is in this process")
        return [connect, Rung(name="receive", failed=failed)]

    def permissions(self) -> Sequence[Permission]:
        refused = self._server.rights.get(self._name, {})
        return [Permission(operation=each, refused=refused.get(each)) for each in OPERATIONS]

    def depth(self) -> Depth | Failed:
        """What is not settled. What a log has handed out and nobody settled is among it, too."""
        with self._server.turn:
            failed = self._unavailable("probe")
        if failed is not None:
            return failed
        return Depth(total=self._server.message_count(self._name), includes_held=True)

    def next_visible_s(self) -> float:
        """When the next message can be received, by the server's clock; never is infinity."""
        return self._server.next_visible_s(self._name)

    def wake(self) -> None:
        with self._server.turn:
            self.wake_count += 1
            self._server.turn.notify_all()

    def close(self) -> None:
        with self._server.turn:
            self._is_closed = True
            self._let_go()
            self._server.turn.notify_all()

    # --- one request, within the server's turn ---------------------------------------------------

    def _send(self, messages: Sequence[Message]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for batch in _batches(messages, self.traits.send_count_max):
            with self._server.turn:
                mishap = self._request("send", [one.message_id for one in batch])
                outcomes += [self._sent(message, mishap) for message in batch]
                self._server.turn.notify_all()
        return outcomes

    def _sent(self, message: Message, mishap: Mishap | None) -> Outcome:
        shelf = self._server.shelf(self._name)
        if shelf is None or self._is_closed:
            return self._unavailable("send") or DELIVERED
        failed = self._concerned(mishap, message.message_id, "send")
        if failed is None or (mishap is not None and mishap.is_after):
            shelf.append(message, self._server.monotonic_s())
        return failed or DELIVERED

    def _change(
        self,
        operation: str,
        held: Sequence[Received],
        act: Callable[[Shelf, Received], Settled],
    ) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for batch in _batches(held, self.traits.batch_count_max):
            with self._server.turn:
                mishap = self._request(operation, [one.id for one in batch])
                verdicts += [self._changed(operation, one, act, mishap) for one in batch]
                self._server.turn.notify_all()
        return verdicts

    def _changed(
        self,
        operation: str,
        one: Received,
        act: Callable[[Shelf, Received], Settled],
        mishap: Mishap | None,
    ) -> Verdict:
        shelf = self._server.shelf(self._name)
        if shelf is None or self._is_closed:
            return self._unavailable(operation) or Settled.LOST
        failed = self._concerned(mishap, one.id, operation)
        if failed is not None and mishap is not None and not mishap.is_after:
            return failed
        # A lost answer leaves the caller with the receipt that it had.
        verdict = act(shelf, one if failed is None else msgspec.structs.replace(one))
        return failed or verdict

    def _let_go(self) -> None:
        shelf = self._server.shelf(self._name)
        if shelf is not None:
            shelf.let_go(self)

    def _page(self, count_max: int, lease_s: float) -> list[Received]:
        shelf = self._server.shelf(self._name)
        assert shelf is not None, "asked for after it was found"
        now_s = self._server.monotonic_s()
        return [
            self._received(copy) for copy in shelf.take(self, count_max, now_s, now_s + lease_s)
        ]

    def _received(self, copy: Copy) -> Received:
        server, message = self._server, copy.message
        attributes: dict[str, str | bytes] = {
            name: value if isinstance(value, bytes) else str(value)
            for name, value in message.attributes.items()
        }
        return Received(
            id=copy.id,
            body=message.body,
            attributes=attributes,
            content_type=message.content_type,
            receive_count=copy.receive_count if self.traits.has_receive_count else 0,
            sent_ms=int(1000 * (server.now_s() - (server.monotonic_s() - copy.sent_s))),
            group=message.group,
            receipt=copy.receipt,
            lease_until_s=copy.until_s,
        )

    def _extended(self, shelf: Shelf, one: Received, lease_s: float) -> Settled:
        until_s = self._server.monotonic_s() + lease_s
        receipt = shelf.extend(one.receipt, until_s)
        if receipt is None:
            return Settled.LOST
        one.receipt, one.lease_until_s = receipt, until_s
        return Settled.DONE

    def _settled(self, shelf: Shelf, one: Received) -> Settled:
        return Settled.DONE if shelf.remove(self, one.receipt) else Settled.LOST

    def _released(self, shelf: Shelf, one: Received, delay_s: float) -> Settled:
        visible_s = self._server.monotonic_s() + delay_s
        return Settled.DONE if shelf.release(self, one.receipt, visible_s) else Settled.LOST

    def _wait(self, end_s: float) -> bool:
        """Wait for a change; False when the time is over, or does not pass by itself."""
        now_s = self._server.monotonic_s()
        if now_s >= end_s or self._server.monotonic_s is not time.monotonic:
            return False
        shelf = self._server.shelf(self._name)
        until_s = min(end_s, shelf.next_visible_s() if shelf else end_s)
        self._server.turn.wait(max(WAIT_S_MIN, until_s - now_s))
        return True

    def _request(self, operation: str, ids: Sequence[str]) -> Mishap | None:
        self._server.requests[operation] += 1
        return self._server.mishaps(operation, ids)

    def _unavailable(self, operation: str) -> Failed | None:
        if self._is_closed:
            return self._with_operation(CLOSED, operation)
        if self._server.shelf(self._name) is None:
            return self._with_operation(NOT_FOUND, operation)
        return None

    def _refused(self, message: Message) -> Failed | None:
        """What no server has to be asked about."""
        size = len(message.body) + sum(
            len(name) + len(value if isinstance(value, bytes) else str(value))
            for name, value in message.attributes.items()
        )
        if size > self.traits.message_bytes_max:
            return self._too_much(f"{size} bytes, of at most {self.traits.message_bytes_max}")
        if message.delay_s > self.traits.delay_s_max:
            return self._too_much(
                f"a delay of {message.delay_s} s, of at most {self.traits.delay_s_max}"
            )
        return None

    def _concerned(self, mishap: Mishap | None, entry_id: str, operation: str) -> Failed | None:
        if mishap is None or (mishap.ids is not None and entry_id not in mishap.ids):
            return None
        return self._with_operation(mishap.failed, operation)

    def _with_operation(self, failed: Failed, operation: str) -> Failed:
        evidence = msgspec.structs.replace(
            failed.evidence, operation=operation, system=self.traits.system
        )
        return Failed(evidence, final=failed.final, is_counted=failed.is_counted)

    def _too_much(self, detail: str) -> Failed:
        evidence = Evidence(
            stage=Stage.SETTINGS,
            fault=Fault.TOO_LARGE,
            system=self.traits.system,
            operation="send",
            detail=detail,
        )
        return Failed(evidence, final=True)


def _batches(entries: Sequence[T], count_max: int) -> list[Sequence[T]]:
    return [entries[at : at + count_max] for at in range(0, len(entries), count_max)]
