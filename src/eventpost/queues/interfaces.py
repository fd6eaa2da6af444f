"""What every queue system offers: send, receive, extend, settle, release, probe. A contract.

Layer: queues. On top of it stand the one queue destination, the one queue source, the lease engine
and the workers; below it one file per system. Nothing above knows which system it speaks to.

Calls block and may come from any thread, several at once: whoever must not wait calls on a thread
of its own. No call raises for what the outside world does: a failure is a value with evidence.
Every call ends within the bounds of the connection's timeouts. More entries than travel as one
request are cut by the adapter; no entries are no request.

A queue object belongs to the process that made it: a forked child makes one of its own, and neither
uses nor closes its parent's.

What the words mean, system by system:

- Azure Storage Queues: extend gives a new visibility and a new pop receipt, release a visibility of
  the delay, settle deletes. A redelivery carries the same message id.
- Amazon SQS: extend and release are ChangeMessageVisibility, settle is DeleteMessage. A redelivery
  carries the same message id.
- RabbitMQ: there is nothing to extend; what is not acknowledged is held while the channel lives,
  and the server's consumer timeout closes it. Release is a reject with requeue, or a delay queue;
  settle is an ack. The publisher's `message_id` identifies a redelivery, when opted in.
- Kafka: there is nothing to extend; the group's session holds the partition. Release appends to a
  retry topic and settles; without such a topic what is released waits in memory. Settle moves the
  committed offset over a finished prefix. Topic, partition and offset identify a redelivery.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

import msgspec

from eventpost.core.outcomes import Evidence, Failed, Outcome

AttributeValue = str | bytes | int | float
"""What a header or message attribute may hold; an adapter says which it sends as what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a system can do, as bounds. Constant for the life of a queue object."""

    system: str
    """The module's name: `sqs`, `storagequeue`, `rabbitmq`, `kafka`."""
    message_bytes_max: int
    """Of one encoded message, attributes included where the system counts them."""
    send_count_max: int
    """Messages worth handing over in one call of `send`: they travel as one request, or side by
    side. More are cut by the adapter."""
    receive_count_max: int
    batch_count_max: int = 1
    """Entries of one call of `extend`, `settle` or `release` that travel as one request."""
    wait_s_max: float
    """The longest poll that the server itself holds open; 0 when it answers at once."""
    lease_s_max: float
    """0 when leases have no length (held while the connection lives)."""
    can_extend: bool
    delay_s_max: float
    """The longest delay of a send; 0 when there is none. A longer one is a final failure."""
    release_delay_s_max: float
    """The longest delay of a release; 0 when there is none. A longer one is cut to it."""
    has_ids: bool
    """Whether a redelivery carries the same id."""
    has_receive_count: bool
    """Where it is false a message may be counted all the same once it was released."""
    is_log: bool = False
    """Whether settling moves a position over a finished prefix instead of removing messages."""
    releases_anew: bool = False
    """Whether a release appends a copy with an id of its own, and settles what was released; else
    that comes again as itself."""
    has_attributes: bool = True
    """Whether a message has room for attributes beside its body. Where there is none, they are not
    sent."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message to send. `body` goes out as it is, or as the connection's encoding says."""

    body: bytes
    attributes: Mapping[str, AttributeValue] = {}
    content_type: str = ""
    delay_s: float = 0.0
    message_id: str = ""
    """The publisher's own id: AMQP `message_id`; nothing on systems that assign ids."""
    group: str = ""
    """What must stay in order: SQS `MessageGroupId`, the key of a Kafka record."""
    deduplication_id: str = ""
    """SQS FIFO."""
    routing_key: str | None = None
    """AMQP; None: the queue's own."""
    priority: int | None = None


class Received(msgspec.Struct, kw_only=True, eq=False):
    """One message under lease. Equal to itself only; belongs to whoever received it.

    `extend` replaces `receipt` and `lease_until_s` in place, so calls on one message never overlap:
    its holder keeps a lock for it. An adapter knows a message by its `receipt`, not by the object:
    extend and settle also serve a copy that holds no body and no attributes any more.
    """

    id: str
    """The transport's id, the same at every redelivery; "" where `Traits.has_ids` is false."""
    body: bytes
    attributes: dict[str, str | bytes] = {}
    system_attributes: dict[str, str] = {}
    """What the system itself says (`ApproximateReceiveCount`, `x-death`), as text."""
    content_type: str = ""
    receive_count: int = 0
    """1 at the first delivery; 0 where the system does not count."""
    sent_ms: int = 0
    """UTC, 0 when unknown."""
    group: str = ""
    receipt: object = None
    """The adapter's own."""
    unusable: Evidence | None = None
    """Why the body is not the one that was sent and will never be had (its claim check's blob is
    gone): what is there stands in its place, for a dead letter."""
    lease_until_s: float = float("inf")
    """By the monotonic clock: when the system may hand it to somebody else. Counted from before the
    request went out, so that it is never too late."""


class Settled(Enum):
    """What came of one entry of extend, settle or release."""

    DONE = "done"
    """The server has done it, or it had been done before (the message is gone)."""
    LOST = "lost"
    """The lease is not ours any more: the message comes back to somebody with a fresh receipt."""


Verdict = Settled | Failed


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a probe looked at, in the order of `eventpost doctor`'s ladder."""

    name: str
    """`credentials`, `name`, `connect`, `tls`, `authentication`, `receive`, `send`, ..."""
    failed: Failed | None = None
    detail: str = ""
    """What was proven good, for people."""


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one operation is allowed; see `Permitting`."""

    operation: str
    refused: Failed | None = None
    """What says no; None when it is allowed, or not known."""
    is_known: bool = True
    is_inferred: bool = False
    """It was not refused, by a service that may look at other things before it looks at rights."""


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """About how many messages a queue has that are not settled."""

    total: int
    includes_held: bool = False
    """Whether those that are under lease, by anybody, or delayed are among them."""


@runtime_checkable
class Measurable(Protocol):
    """A queue that can say how much there is. Not every one can, or may."""

    def depth(self) -> Depth | Failed:
        """Of a log, what its group has not fetched yet."""
        ...


class Queue(Protocol):
    """One queue (a topic with its group, for a log) of one connection."""

    traits: Traits

    @property
    def identity(self) -> str:
        """The same for everybody who speaks to this queue, from whatever machine and process, and
        for no other queue (`sqs:eu-west-1/123456789012/jobs`). What a ledger keeps finished ids
        under. Holds no secret."""
        ...

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Send; one outcome per message, in order. `Delivered` means that the server has it, as
        durably as the server promises. A failure after the request was out may have been stored.
        What can never be taken (above a bound of `Traits`) fails finally, before anything is sent;
        the others of the call go."""
        ...

    def receive(self, count_max: int, wait_s: float, lease_s: float) -> list[Received] | Failed:
        """Up to `count_max` messages as soon as there is one, [] after about `wait_s`.

        `wait_s` may be shortened to what the server holds open (`Traits.wait_s_max`). A page may be
        smaller than `count_max`; a `lease_s` above `Traits.lease_s_max` is cut to it. `wake` ends a
        wait. Two calls may wait at the same time."""
        ...

    def extend(self, held: Sequence[Received], lease_s: float) -> Sequence[Verdict]:
        """Hold them for `lease_s` from now, rounded up to what the system counts in. Only where
        `Traits.can_extend`."""
        ...

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        """Say that they are done: they never come again. One verdict each, in order; the entries of
        a batch request fail one by one."""
        ...

    def release(self, held: Sequence[Received], delay_s: float) -> Sequence[Verdict]:
        """Give them back, to come again after `delay_s` (at most `Traits.delay_s_max`)."""
        ...

    def probe(self) -> Sequence[Rung]:
        """Look, without writing, whether all of the above would work; stops at the first that does
        not."""
        ...

    def wake(self) -> None:
        """Let every `receive` that waits return soon. Harmless, and forgotten, when none waits."""
        ...

    def close(self) -> None:
        """Let go of connections. Calls under way end with a failure or as they may, soon; later
        ones fail. What is held and not settled comes again. Idempotent."""
        ...


@runtime_checkable
class Redriving(Protocol):
    """What a queue offers besides when its server itself moves away what is received too often."""

    def redrive_warning(self, receives_max: int) -> str:
        """Why a bound of receives is never reached, for people; "" when it is. Blocks, as a call
        does."""
        ...


@runtime_checkable
class Permitting(Protocol):
    """What a queue offers besides when its server can be asked what it would let us do."""

    def permissions(self) -> Sequence[Permission] | Failed:
        """One for each operation that takes a right of its own, found out without doing any of
        them. Blocks, as a call does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Bounds in seconds of the requests of one connection."""

    connect_s: float = 5.0
    request_s: float = 15.0
    """Beside the wait of a long poll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Which queue: what a source's `queue` or an endpoint's address says, and its options."""

    name: str
    """A queue's name, URL or ARN, `EXCHANGE/ROUTING-KEY`, or a topic: as the system has it."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Checked by the adapter's own `Options` (a msgspec Struct that refuses unknown fields)."""
