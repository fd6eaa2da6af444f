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
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from eventpost.core.outcomes import Evidence
from eventpost.queues.interfaces import Received, Settled
from eventpost.queues.rabbitmq import failures
from eventpost.queues.rabbitmq.attempt import Attempt
from eventpost.queues.rabbitmq.client import DeliveredMessage, commands
from eventpost.queues.rabbitmq.deliveries import unpack
from eventpost.queues.rabbitmq.failures import Refusal
from eventpost.queues.rabbitmq.line import FAREWELL_S_MAX, Line
from eventpost.queues.rabbitmq.pushing import Pushing
from eventpost.queues.rabbitmq.session import Receipt, Session, State
from eventpost.queues.rabbitmq.target import Target
from eventpost.queues.rabbitmq.topology import Topology
from eventpost.queues.rabbitmq.waiting import Waiter, Waiters

FIRST_PUSH_S = 0.1
"""How long the first messages may take to come once the server was told to push."""


class Consumer:
    """Receives from the queue of one target."""

    def __init__(self, line: Line, topology: Topology, target: Target) -> None:
        self._line = line
        self._topology = topology
        self._target = target
        self._session: Session | None = None
        self._opening = Attempt(self._open)
        self._waiters = Waiters()
        self._pushing = Pushing(line, target, self._waiters.asked_count, self._delivered)
        self._asked_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def receive(self, count_max: int, wait_s: float) -> list[Received] | Evidence:
        """Up to `count_max` as soon as there is one, [] after `wait_s` or when woken."""
        deadline_s = time.monotonic() + wait_s
        news = self._waiters.take_news()
        if news is not None:
            return news
        waiter = self._waiters.add(count_max)
        try:
            await self._hear_of_the_end()
            if waiter.evidence is not None:
                return waiter.evidence
            await self._ask_for_more(await self._alive_session())
            # A server that has just been told to push needs a moment, also for who does not wait.
            deadline_s = max(deadline_s, self._pushing.started_s + FIRST_PUSH_S)
            await waiter.until(self._has_some, deadline_s)
            return self._taken(waiter)
        except Refusal as refusal:
            await self._hear_of_the_end()
            return waiter.evidence or refusal.evidence
        finally:
            self._waiters.remove(waiter)
            self._asked_s = time.monotonic()
            if self._has_some():
                self._waiters.stir()
            self._watch()

    async def settle(
        self, receipts: Sequence[Receipt], pending: State = State.SETTLING
    ) -> list[Settled | Evidence]:
        """One verdict each; evidence where it is not known whether it arrived."""

        async def write(session: Session, group: Sequence[Receipt]) -> None:
            if pending is State.RELEASING:
                await self._make_way(session)
            else:
                self._pushing.settled(len(group))
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
        self._waiters.wake()

    async def close(self) -> None:
        """What is held comes again; receives that wait return."""
        self._is_closed = True
        self._waiters.wake()
        if self._timer is not None:
            self._timer.cancel()
        await self._opening.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.leave(is_quorum=self._target.options.queue_type != "classic")
        for task in self._tasks:
            task.cancel()

    # --- what came ----------------------------------------------------------------------------

    def _has_some(self) -> bool:
        return self._session is not None and bool(self._session.buffer)

    def _taken(self, waiter: Waiter) -> list[Received] | Evidence:
        session = self._session
        if session is None or not session.buffer:
            return waiter.evidence or []
        count = min(waiter.count, len(session.buffer))
        deliveries = [session.buffer.popleft() for _ in range(count)]
        return [unpack(each, self._target, Receipt(session, each)) for each in deliveries]

    def _delivered(self, session: Session, delivery: DeliveredMessage) -> None:
        session.hold(delivery)
        if session is self._session:
            self._waiters.stir()

    # --- the session --------------------------------------------------------------------------

    async def _alive_session(self) -> Session:
        if self._session is not None and self._session.is_alive:
            return self._session
        return await self._opening.result()

    async def _open(self) -> Session:
        self._pushing.tag = None
        await self._topology.ready_to_receive(self._line)
        opened, channel = await self._line.channel(confirms=False)
        session = Session(self._line, opened, channel, self._session_ended)
        channel.on_consumer_cancel_callbacks.add(self._cancelled_by_server)
        self._session = session
        return session

    def _session_ended(self, session: Session, evidence: Evidence) -> None:
        if session is self._session:
            self._session = self._pushing.tag = None
            self._waiters.tell(evidence)

    async def _hear_of_the_end(self) -> None:
        """When the session has ended, wait until it is known why: it is told once, to who waits."""
        session = self._session
        if session is not None and not session.is_alive:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S_MAX):
                    await session.ended.wait()

    def _cancelled_by_server(self, frame: commands.Basic.Cancel) -> None:
        """The queue was deleted, or its node is gone."""
        if frame.consumer_tag == self._pushing.tag:
            self._pushing.tag = None
            sentence = f"The server cancelled the consumer of {self._target.queue!r}."
            self._waiters.tell(failures.answered(failures.CONSUMER_CANCELLED, sentence))

    # --- asking, and asking no more -----------------------------------------------------------

    async def _ask_for_more(self, session: Session) -> None:
        """See to it that the server may push what is asked for; raises Refusal.

        While something lies here already, nobody waits for that.
        """
        if self._pushing.is_enough(session):
            return
        if session.buffer:
            self._in_background(self._pushing.adjust(session))
        else:
            await self._pushing.adjust(session)

    def _watch(self) -> None:
        """Look again after a while whether anybody still asks."""
        if self._timer is None and not self._waiters and self._pushing.tag and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._target.options.unclaimed_s, self._look)

    def _look(self) -> None:
        self._timer = None
        session = self._session
        if session is None or self._waiters:
            return
        if time.monotonic() - self._asked_s < self._target.options.unclaimed_s:
            self._watch()
        elif session.buffer or self._pushing.room(session):
            self._in_background(self._give_way(session))

    async def _give_way(self, session: Session) -> None:
        """Nobody asks: let others have the messages."""
        await self._pushing.stop(session)
        if not self._waiters:
            await session.give_back_buffer()

    async def _make_way(self, session: Session) -> None:
        """Who gives back and asks for nothing is not pushed the same again, nor anything else."""
        if session is self._session:
            await self._pushing.stop(session)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        async def quietly() -> None:
            with suppress(Refusal):  # the session's end is told by the session
                await work

        task = asyncio.create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
