"""Sending: batches written as one, each message confirmed or returned by the server.

Layer: queues, on the loop's thread. The client library publishes message by message, with a task, a
timer and a lock for each; measured here, batches written as one go two to four times as fast. What
is used of it for that (`delivery_tag`, `confirmations`, `message_id_delivery_tag`, `write_queue`)
is its public state, and a test compares the two ways.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Outcome, Stage
from eventpost.queues.interfaces import Message
from eventpost.queues.rabbitmq import failures
from eventpost.queues.rabbitmq.attempt import Attempt
from eventpost.queues.rabbitmq.client import Channel, ChannelFrame
from eventpost.queues.rabbitmq.failures import Refusal, evidence_of
from eventpost.queues.rabbitmq.line import Line, Opened, close_channel
from eventpost.queues.rabbitmq.messages import Parcel, pack
from eventpost.queues.rabbitmq.target import BATCH_COUNT_MAX, Target
from eventpost.queues.rabbitmq.topology import Topology
from eventpost.queues.rabbitmq.wire import Wire

BATCH_BYTES_MAX = 1_048_576
"""Written in one go before the socket is waited for; a larger message goes alone."""

Confirmation: TypeAlias = "asyncio.Future[object]"


class Publisher:
    """Sends the messages of one target on a channel of its own."""

    def __init__(self, line: Line, topology: Topology, target: Target) -> None:
        self._line = line
        self._topology = topology
        self._target = target
        self._current: tuple[Opened, Channel] | None = None
        self._opening = Attempt(self._open)
        self._ids: dict[str, Confirmation] = {}
        """Messages under way. A returned message is known by its id alone, so that two of one id
        are never under way at the same time."""

    async def send(self, messages: Sequence[Message]) -> list[Outcome]:
        """One outcome each, in order."""
        packed = [pack(each, self._target) for each in messages]
        parcels = [each for each in packed if isinstance(each, Parcel)]
        sent = iter(await self.send_parcels(parcels, "send") if parcels else ())
        return [each if isinstance(each, Failed) else next(sent) for each in packed]

    async def send_parcels(self, parcels: Sequence[Parcel], operation: str) -> list[Outcome]:
        """Write them, and wait for what the server says to each."""
        started_s = time.monotonic()
        entries = [_Entry(each) for each in parcels]
        evidence, wire = await self._try(entries)
        elapsed_s = time.monotonic() - started_s
        return [entry.outcome(evidence, wire, operation, elapsed_s) for entry in entries]

    async def channel(self) -> tuple[Opened, Channel]:
        """The channel that messages go over, and what carries it. Raises Refusal."""
        if self._current is not None:
            opened, channel = self._current
            if opened.is_open and not channel.is_closed:
                return self._current
        return await self._opening.result()

    async def close(self) -> None:
        await self._opening.cancel()
        if self._current is not None:
            await self._give_up(self._current[1])

    async def _try(self, entries: Sequence["_Entry"]) -> tuple[Evidence, Wire | None]:
        """What entries that got no answer are to blame on, and the wire that was used."""
        try:
            opened, channel = await self.channel()
        except Refusal as refusal:
            return refusal.evidence, None
        try:
            async with asyncio.timeout(self._line.timeouts.request_s):
                await opened.unblocked()
                for group in _groups(entries):
                    await self._write(group, opened, channel)
                await _answers(entries)
        except TimeoutError:
            for entry in entries:
                entry.wait_no_more()
            return await self._overdue(opened, channel), opened.wire
        except Exception as error:  # noqa: BLE001 - the library's; it becomes evidence
            await self._give_up(channel)
            return evidence_of(error, opened.wire, channel), opened.wire
        return opened.wire.timed_out(), opened.wire

    async def _open(self) -> tuple[Opened, Channel]:
        await self._topology.ready_to_send(self._line)
        self._current = await self._line.channel(confirms=True)
        return self._current

    async def _write(self, group: Sequence["_Entry"], opened: Opened, channel: Channel) -> None:
        """Write a group as one, and wait until the socket took it."""
        drained = channel.create_future()
        async with channel.lock:
            await self._ids_are_free(group)
            pieces: list[bytes] = []
            expected: list[_Entry] = []
            for entry in group:
                encoded = entry.parcel.encoded(channel.number, opened.frame_bytes_max)
                if isinstance(encoded, Failed):
                    entry.failed = encoded
                else:
                    pieces.append(encoded)
                    expected.append(entry)
                    self._expect(entry, channel)
            frame = ChannelFrame(payload=b"".join(pieces), should_close=False, drain_future=drained)
            try:
                await channel.write_queue.put(frame)
            except BaseException:
                self._expect_no_more(expected, channel)
                raise
        await drained

    async def _ids_are_free(self, group: Sequence["_Entry"]) -> None:
        while under_way := [
            self._ids[each.parcel.message_id]
            for each in group
            if each.parcel.message_id in self._ids
        ]:
            await asyncio.wait(under_way)

    def _expect(self, entry: "_Entry", channel: Channel) -> None:
        """Tell the library which confirm, or which returned message, is this entry's."""
        message_id = entry.parcel.message_id
        confirmation = channel.create_future()
        channel.delivery_tag += 1
        channel.confirmations[channel.delivery_tag] = confirmation
        channel.message_id_delivery_tag[message_id] = channel.delivery_tag
        self._ids[message_id] = entry.confirmation = confirmation

        def answered(_: Confirmation) -> None:
            if self._ids.get(message_id) is confirmation:
                del self._ids[message_id]
                channel.message_id_delivery_tag.pop(message_id, None)

        confirmation.add_done_callback(answered)

    def _expect_no_more(self, entries: Sequence["_Entry"], channel: Channel) -> None:
        """Nothing was written: the server will count on from the tag before."""
        for entry in entries:
            channel.confirmations.pop(channel.delivery_tag)
            channel.delivery_tag -= 1
            if entry.confirmation is not None:
                entry.confirmation.cancel()
                entry.confirmation = None

    async def _overdue(self, opened: Opened, channel: Channel) -> Evidence:
        """Why there is no answer. What was written may be stored all the same."""
        if opened.is_blocked:
            # The server reads on when its alarm is over: what it has not read stays under way.
            return opened.answered(failures.BLOCKED, stage=Stage.WAIT)
        self._line.doubt(opened)
        await self._give_up(channel)
        return opened.wire.lost or opened.answered(failures.UNCONFIRMED, stage=Stage.WAIT)

    async def _give_up(self, channel: Channel) -> None:
        """What is still under way on it fails, and the next message goes over a new one."""
        if self._current is not None and self._current[1] is channel:
            self._current = None
        await close_channel(channel)


class _Entry:
    """One message on its way, and what becomes of it."""

    __slots__ = ("confirmation", "failed", "parcel")

    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self.confirmation: Confirmation | None = None
        self.failed: Failed | None = None

    def wait_no_more(self) -> None:
        """Its answer is overdue: that the channel is closed now says nothing about it."""
        if self.confirmation is not None and not self.confirmation.done():
            self.confirmation = None

    def outcome(
        self, evidence: Evidence, wire: Wire | None, operation: str, elapsed_s: float
    ) -> Outcome:
        """`evidence` stands for it where the server said nothing."""
        if self.failed is not None:
            return self.failed
        if wire is not None and self.confirmation is not None and self.confirmation.done():
            error = self.confirmation.exception()
            if error is None:
                return DELIVERED
            evidence = evidence_of(error, wire)
        final = evidence.code == failures.MESSAGE_TOO_LARGE
        return failures.failed(evidence, operation, elapsed_s, final=final)


def _groups(entries: Sequence[_Entry]) -> Iterator[list[_Entry]]:
    """In order: so many at once as may be, and no id twice."""
    group: list[_Entry] = []
    ids: set[str] = set()
    byte_count = 0
    for entry in entries:
        size = len(entry.parcel.body)
        is_full = len(group) >= BATCH_COUNT_MAX or byte_count + size > BATCH_BYTES_MAX
        if group and (is_full or entry.parcel.message_id in ids):
            yield group
            group, ids, byte_count = [], set(), 0
        group.append(entry)
        ids.add(entry.parcel.message_id)
        byte_count += size
    if group:
        yield group


async def _answers(entries: Sequence[_Entry]) -> None:
    under_way = [each.confirmation for each in entries if each.confirmation is not None]
    if under_way:
        await asyncio.wait(under_way)
