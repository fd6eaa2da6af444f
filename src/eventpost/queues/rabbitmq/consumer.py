"""Receiving: the server pushes, as much as was asked for and no more.

Layer: queues, on the loop's thread. Measured on one machine: asking for each message (`basic.get`)
gave 3,400 a second from a classic and 1,300 from a quorum queue, and costs requests while there is
nothing; pushes gave 6,000 and more, cost nothing while there is nothing, and arrive at once. What
pushes cost is fairness: what lies in a buffer here nobody else can take. So the server may push
what receivers ask for (its prefetch), each message that is settled makes room for another one, and
when nobody asks for a while the consumer is cancelled and what is left goes back.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from eventpost.core.outcomes import Evidence
from eventpost.queues.interfaces import Received, Settled
from eventpost.queues.rabbitmq import failures
from eventpost.queues.rabbitmq.client import DeliveredMessage, commands
from eventpost.queues.rabbitmq.failures import Refusal
from eventpost.queues.rabbitmq.line import FAREWELL_S_MAX, Line
from eventpost.queues.rabbitmq.messages import unpack
from eventpost.queues.rabbitmq.session import Receipt, Session, State
from eventpost.queues.rabbitmq.target import PREFETCH_MAX, Target
from eventpost.queues.rabbitmq.topology import Topology

RECENT_S = 1.0
"""What was settled within this time is likely to be asked for again within the next."""


class _Waiter:
    """A receive that waits."""

    __slots__ = ("count", "event", "evidence", "is_woken")

    def __init__(self, count: int) -> None:
        self.count = count
        self.event = asyncio.Event()
        self.is_woken = False
        self.evidence: Evidence | None = None


class Consumer:
    """Receives from the queue of one target."""

    def __init__(self, line: Line, topology: Topology, target: Target) -> None:
        self._line = line
        self._topology = topology
        self._target = target
        self._session: Session | None = None
        self._opening = asyncio.Lock()
        self._adjusting = asyncio.Lock()
        self._waiters: deque[_Waiter] = deque()
        self._tag: str | None = None
        """Of the consumer that the server pushes to now."""
        self._prefetch = 0
        self._news: Evidence | None = None
        """Why the last session ended, until a receive tells it."""
        self._asked_s = 0.0
        self._settled: deque[tuple[float, int]] = deque()
        """When how many were settled, of late."""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def receive(self, count_max: int, wait_s: float) -> list[Received] | Evidence:
        """Up to `count_max` as soon as there is one, [] after `wait_s` or when woken."""
        deadline_s = time.monotonic() + wait_s
        if self._news is not None:
            evidence, self._news = self._news, None
            return evidence
        waiter = _Waiter(count_max)
        self._waiters.append(waiter)
        try:
            await self._hear_of_the_end()
            if waiter.evidence is not None:
                return waiter.evidence
            session = await self._open_session()
            await self._demand(session)
            return await self._wait(waiter, deadline_s)
        except Refusal as refusal:
            await self._hear_of_the_end()
            return waiter.evidence or refusal.evidence
        finally:
            self._waiters.remove(waiter)
            self._asked_s = time.monotonic()
            self._wake_next()
            self._watch()

    async def settle(
        self, receipts: Sequence[Receipt], pending: State = State.SETTLING
    ) -> list[Settled | Evidence]:
        """One verdict each; evidence where it is not known whether it arrived."""

        async def write(session: Session, group: Sequence[Receipt]) -> None:
            if pending is State.RELEASING:
                await self._make_way(session)
            else:
                self._settled.append((time.monotonic(), len(group)))
            await session.settle(group, pending)

        return await self._each(receipts, write)

    async def give_back(self, receipts: Sequence[Receipt]) -> list[Settled | Evidence]:
        """As `settle`, for those that are to come again at once."""

        async def write(session: Session, group: Sequence[Receipt]) -> None:
            await self._make_way(session)
            await session.give_back(group)

        return await self._each(receipts, write)

    async def _each(
        self,
        receipts: Sequence[Receipt],
        write: Callable[[Session, Sequence[Receipt]], Awaitable[None]],
    ) -> list[Settled | Evidence]:
        groups: dict[Session, list[Receipt]] = {}
        for receipt in receipts:
            groups.setdefault(receipt.session, []).append(receipt)
        verdicts: dict[Receipt, Settled | Evidence] = {}
        for session, group in groups.items():
            missing = None
            if session.is_alive:
                await write(session, group)
                missing = await session.arrived()
            for receipt in group:
                verdicts[receipt] = session.verdict(receipt, missing)
        self._watch()
        return [verdicts[each] for each in receipts]

    def wake(self) -> None:
        """Every receive that waits now returns with nothing."""
        for waiter in self._waiters:
            waiter.is_woken = True
            waiter.event.set()

    async def close(self) -> None:
        """What is held comes again; receives that wait return."""
        self._is_closed = True
        self.wake()
        if self._timer is not None:
            self._timer.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.leave(is_quorum=self._target.options.queue_type != "classic")
        for task in self._tasks:
            task.cancel()

    # --- waiting ------------------------------------------------------------------------------

    async def _wait(self, waiter: _Waiter, deadline_s: float) -> list[Received] | Evidence:
        while True:
            if self._session is not None and self._session.buffer:
                return self._take(self._session, waiter.count)
            if waiter.evidence is not None:
                return waiter.evidence
            rest_s = deadline_s - time.monotonic()
            if rest_s <= 0 or waiter.is_woken or self._is_closed:
                return []
            waiter.event.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await waiter.event.wait()

    def _take(self, session: Session, count: int) -> list[Received]:
        count = min(count, len(session.buffer))
        deliveries = [session.buffer.popleft() for _ in range(count)]
        return [
            unpack(delivery, self._target, Receipt(session, delivery)) for delivery in deliveries
        ]

    def _wake_next(self) -> None:
        if self._session is not None and self._session.buffer and self._waiters:
            self._waiters[0].event.set()

    def _delivered(self, session: Session, delivery: DeliveredMessage) -> None:
        session.hold(delivery)
        if session is self._session:
            self._wake_next()

    def _tell(self, evidence: Evidence) -> None:
        """Whoever waits is told; else whoever asks next."""
        for waiter in self._waiters:
            waiter.evidence = evidence
            waiter.event.set()
        if not self._waiters:
            self._news = evidence

    # --- the session --------------------------------------------------------------------------

    async def _open_session(self) -> Session:
        async with self._opening:
            if self._session is not None and self._session.is_alive:
                return self._session
            self._tag = None
            await self._topology.ready_to_receive(self._line)
            opened, channel = await self._line.channel(confirms=False)
            session = Session(self._line, opened, channel, self._session_ended)
            channel.on_consumer_cancel_callbacks.add(self._cancelled_by_server)
            self._session = session
            return session

    def _session_ended(self, session: Session, evidence: Evidence) -> None:
        if session is self._session:
            self._session = self._tag = None
            self._tell(evidence)

    async def _hear_of_the_end(self) -> None:
        """When the session has ended, wait until it is known why: it is told once, to who waits."""
        session = self._session
        if session is not None and not session.is_alive:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S_MAX):
                    await session.ended.wait()

    def _cancelled_by_server(self, frame: commands.Basic.Cancel) -> None:
        """The queue was deleted, or its node is gone."""
        if frame.consumer_tag == self._tag:
            self._tag = None
            sentence = f"The server cancelled the consumer of {self._target.queue!r}."
            self._tell(failures.answered(failures.CONSUMER_CANCELLED, sentence))

    # --- how much the server may push ---------------------------------------------------------

    async def _demand(self, session: Session) -> None:
        """See to it that the server may push what is asked for.

        While something lies here already, nobody waits for that.
        """
        if self._is_enough(session):
            return
        if session.buffer:
            self._in_background(self._adjust(session))
        else:
            await self._adjust(session)

    def _is_enough(self, session: Session) -> bool:
        if self._tag is None:
            return False
        if self._target.options.prefetch:
            return True
        room = self._prefetch - session.unsettled_of(self._tag)
        return self._wanted(session) <= room

    def _wanted(self, session: Session) -> int:
        return sum(each.count for each in self._waiters) - len(session.buffer)

    async def _adjust(self, session: Session) -> None:
        async with self._adjusting:
            if self._is_enough(session) or session is not self._session or not self._waiters:
                return
            await self._cancel(session)
            fixed = self._target.options.prefetch
            self._prefetch = fixed or self._sensible_prefetch(session)
            if not self._prefetch:
                return
            qos = session.channel.basic_qos(prefetch_count=self._prefetch)
            await self._ask(session, qos)
            tag = f"eventpost-{id(session):x}-{time.monotonic_ns():x}"

            async def delivered(delivery: DeliveredMessage) -> None:
                self._delivered(session, delivery)

            self._tag = tag
            consume = session.channel.basic_consume(self._target.queue, delivered, consumer_tag=tag)
            await self._ask(session, consume)

    def _sensible_prefetch(self, session: Session) -> int:
        """What is asked for; and of what is held elsewhere, as much as was settled of late, since
        for each of these another one will be asked for soon."""
        since_s = time.monotonic() - RECENT_S
        while self._settled and self._settled[0][0] < since_s:
            self._settled.popleft()
        recent = sum(count for _, count in self._settled)
        held = session.held_count - len(session.buffer)
        return max(0, min(self._wanted(session) + min(held, recent), PREFETCH_MAX))

    async def _cancel(self, session: Session) -> None:
        """After this the server pushes nothing more."""
        tag, self._tag = self._tag, None
        if tag is not None:
            await self._ask(session, session.channel.basic_cancel(tag))

    async def _ask(self, session: Session, question: Awaitable[object]) -> None:
        try:
            await self._line.ask(session.opened, question)
        except Refusal as refusal:
            session.abandon(refusal.evidence)
            raise

    def _watch(self) -> None:
        """Look again after a while whether anybody still asks."""
        if self._timer is None and not self._waiters and self._tag and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._target.options.unclaimed_s, self._look)

    def _look(self) -> None:
        self._timer = None
        session = self._session
        if session is None or self._waiters or self._tag is None:
            return
        idle_s = time.monotonic() - self._asked_s
        if idle_s < self._target.options.unclaimed_s:
            self._watch()
        elif session.buffer or session.unsettled_of(self._tag) < self._prefetch:
            self._in_background(self._give_way(session))

    async def _give_way(self, session: Session) -> None:
        """Nobody asks: let others have the messages."""
        async with self._adjusting:
            if not self._waiters:
                await self._cancel(session)
            if not self._waiters:
                await session.give_back_buffer()

    async def _make_way(self, session: Session) -> None:
        """Who gives back and asks for nothing is not pushed the same again, nor anything else."""
        if not self._waiters and session is self._session and self._tag is not None:
            with suppress(Refusal):
                async with self._adjusting:
                    await self._cancel(session)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        async def quietly() -> None:
            # The session's end is told by the session.
            with suppress(Refusal):
                await work

        task = asyncio.create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
