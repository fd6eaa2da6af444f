"""What is held on one channel: deliveries that were not settled yet, and how they are given back.

Layer: queues, on the loop's thread. A delivery tag belongs to its channel. When the channel ends,
whatever was held on it comes again to somebody, and to acknowledge it on another channel would
acknowledge something else, or end that one too.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Any

from eventpost.core.outcomes import Evidence, Fault
from eventpost.queues.interfaces import Received, Settled
from eventpost.queues.rabbitmq.client import Channel, ChannelFrame, DeliveredMessage, commands
from eventpost.queues.rabbitmq.failures import evidence_of, why_closed
from eventpost.queues.rabbitmq.line import Line, Opened, close_channel

QUORUM_WRITES_S = 0.3
"""Within which a quorum queue has surely written what was acknowledged; mostly it takes 10 ms."""


REASON_S_MAX = 0.5
"""How long after a channel broke off its reason may take to be read."""


class State(Enum):
    """Where a delivery is between us and the server."""

    HELD = auto()
    SETTLING = auto()  # written, and not known to have arrived
    RELEASING = auto()
    SETTLED = auto()
    RELEASED = auto()


class Receipt:
    """What a delivery is known by, and what a copy of it needs. Holds no body."""

    __slots__ = ("properties", "session", "state", "tag")

    def __init__(self, session: "Session", delivery: DeliveredMessage) -> None:
        assert delivery.delivery_tag is not None
        self.session = session
        self.tag = delivery.delivery_tag
        self.properties = delivery.header.properties
        self.state = State.HELD


def receipt_of(held: Received) -> Receipt:
    assert isinstance(held.receipt, Receipt), "the message is not of a RabbitMQ queue"
    return held.receipt


class Session:
    """One channel that messages are received on, from its opening to its end."""

    def __init__(
        self,
        line: Line,
        opened: Opened,
        channel: Channel,
        ended: Callable[["Session", Evidence], None],
    ) -> None:
        self.channel = channel
        self.buffer: deque[DeliveredMessage] = deque()
        """Delivered, and not handed out yet."""
        self.ended = asyncio.Event()
        self._line = line
        self.opened = opened
        self._held: dict[int, str | None] = {}
        """By ascending delivery tag, the consumer tag that it came with."""
        self._counts: Counter[str | None] = Counter()
        self._writing = asyncio.Lock()
        self._asking: asyncio.Task[Any] | None = None
        self._asking_next: asyncio.Task[Any] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._written_s = 0.0
        self._tell_ended = ended
        channel.closing.add_done_callback(self._closed)

    @property
    def is_alive(self) -> bool:
        return not (self.ended.is_set() or self.channel.is_closed) and self.opened.is_open

    @property
    def held_count(self) -> int:
        return len(self._held)

    def hold(self, delivery: DeliveredMessage) -> None:
        assert delivery.delivery_tag is not None
        self._held[delivery.delivery_tag] = delivery.consumer_tag
        self._counts[delivery.consumer_tag] += 1
        self.buffer.append(delivery)

    def unsettled_of(self, consumer_tag: str) -> int:
        """How many deliveries of that consumer count against its prefetch."""
        return self._counts[consumer_tag]

    def abandon(self, evidence: Evidence) -> None:
        """The server does not answer on this channel: leave it, and what is held comes again."""
        self._end(evidence)
        self._leaving = asyncio.create_task(close_channel(self.channel))

    async def refused(self, evidence: Evidence) -> None:
        """A question here failed, so that the channel is over, too.

        When all that is known is that it was closed, the server's reason is just being read.
        """
        if evidence.fault is Fault.CLOSED:
            with suppress(TimeoutError):
                async with asyncio.timeout(REASON_S_MAX):
                    await self.ended.wait()
        self.abandon(evidence)

    async def leave(self, *, is_quorum: bool) -> None:
        """Close the channel in good order: what is held comes again, what was settled does not.

        Under load RabbitMQ keeps acknowledgements for a quorum queue back in the channel until the
        queue has written earlier ones, tells nobody, and drops them with the channel (seen with
        3.10: hundreds came again). So they are given a moment to get through.
        """
        rest_s = self._written_s + QUORUM_WRITES_S - time.monotonic()
        if is_quorum and rest_s > 0 and self.is_alive:
            await asyncio.sleep(rest_s)
        await close_channel(self.channel)

    async def settle(self, receipts: Sequence[Receipt], pending: State = State.SETTLING) -> None:
        """Write their acknowledgements; `arrived` tells whether they arrived.

        `pending` is RELEASING for what was put elsewhere to come again.
        """
        async with self._writing:
            held = [each for each in receipts if each.state is State.HELD]
            frames = self._acks({each.tag for each in held})
            for each in held:
                each.state = pending
            await self._write(frames)

    async def give_back(self, receipts: Sequence[Receipt]) -> None:
        """Write that they go back to the queue at once."""
        async with self._writing:
            held = [each for each in receipts if each.state is State.HELD]
            for each in held:
                each.state = State.RELEASING
            await self._write(self._returns([each.tag for each in held]))

    async def give_back_buffer(self) -> int:
        """Give back what nobody asked for, and say how much it was."""
        async with self._writing:
            tags = [each.delivery_tag for each in self.buffer]
            self.buffer.clear()
            await self._write(self._returns([tag for tag in tags if tag is not None]))
        return len(tags)

    async def arrived(self) -> Evidence | None:
        """None when the server has read everything that was written here before, else why not.

        AMQP 0-9-1 has no answer to an acknowledgement. What the server does on a channel it does in
        order, so its answer to a question asked behind it will do.
        """
        asking = self._question()
        await asyncio.wait({asking}, timeout=self._line.timeouts.request_s)
        if not asking.done():
            self._line.doubt(self.opened)
            overdue = self.opened.wire.lost or self.opened.wire.timed_out()
            self.abandon(overdue)
            return overdue
        if asking.cancelled():
            return self.opened.wire.lost or self.opened.wire.timed_out()
        error = asking.exception()
        return None if error is None else evidence_of(error, self.opened.wire, self.channel)

    def verdict(self, receipt: Receipt, missing: Evidence | None) -> Settled | Evidence:
        """What came of a receipt, by what `arrived` said; that, when it cannot be known."""
        if receipt.state is State.SETTLED:
            return Settled.DONE
        if receipt.state is State.RELEASED or not self.is_alive:
            return Settled.LOST
        if missing is not None:
            return missing
        is_settled = receipt.state is State.SETTLING
        receipt.state = State.SETTLED if is_settled else State.RELEASED
        return Settled.DONE

    def _acks(self, tags: set[int]) -> list[commands.Basic.Ack]:
        """Acknowledgements of these tags: one for the oldest of all that are held, without a gap,
        and one each for the others. They are not held any more."""
        oldest = 0
        for tag in self._held:
            if tag not in tags:
                break
            oldest = tag
        frames = [commands.Basic.Ack(delivery_tag=oldest, multiple=True)] if oldest else []
        frames += [commands.Basic.Ack(delivery_tag=tag) for tag in sorted(tags) if tag > oldest]
        for tag in tags:
            self._let_go(tag)
        return frames

    def _returns(self, tags: Sequence[int]) -> list[commands.Basic.Nack]:
        for tag in tags:
            self._let_go(tag)
        return [commands.Basic.Nack(delivery_tag=tag, requeue=True) for tag in tags]

    def _let_go(self, tag: int) -> None:
        if tag in self._held:
            self._counts[self._held.pop(tag)] -= 1

    async def _write(self, frames: Sequence[commands.Basic.Ack | commands.Basic.Nack]) -> None:
        """In the order of the tags' book: a `multiple` must not overtake another's return."""
        if frames and not self.channel.is_closed:
            self._written_s = time.monotonic()
            await self.channel.write_queue.put(ChannelFrame.marshall(self.channel.number, frames))

    def _question(self) -> asyncio.Task[Any]:
        """The next question to the server, shared by all who wrote before it is asked."""
        if self._asking_next is None:
            self._asking_next = asyncio.create_task(self._ask(self._asking))
            self._asking_next.add_done_callback(_seen)
        return self._asking_next

    async def _ask(self, before: asyncio.Task[Any] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        self._asking, self._asking_next = self._asking_next, None
        await self.channel.flow(active=True)

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else why_closed(self.channel)
        self._end(evidence_of(error or asyncio.CancelledError(), self.opened.wire))

    def _end(self, evidence: Evidence) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        self.buffer.clear()
        self._held.clear()
        self._tell_ended(self, evidence)


def _seen(task: asyncio.Task[Any]) -> None:
    """Whoever still waits reads the error; it is nobody's surprise otherwise."""
    if not task.cancelled():
        task.exception()
