"""How much the server may push: what is asked for, one for each that is settled, and no more.

Layer: queues, on the loop's thread. A consumer's prefetch bounds what was pushed to it and is not
settled; it is given when the consumer is made, so that for more of it another consumer is made in
its place. (A bound for the whole channel could be changed, but quorum queues do not know it.)
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from eventpost.queues.rabbitmq.client import DeliveredMessage
from eventpost.queues.rabbitmq.failures import Refusal
from eventpost.queues.rabbitmq.line import Line
from eventpost.queues.rabbitmq.session import Session
from eventpost.queues.rabbitmq.target import PREFETCH_MAX, Target

RECENT_S = 1.0
"""What was settled within this time is likely to be asked for again within the next."""


class Pushing:
    """The consumer that the server has for us, of one session at a time."""

    def __init__(
        self,
        line: Line,
        target: Target,
        asked_count: Callable[[], int],
        delivered: Callable[[Session, DeliveredMessage], None],
    ) -> None:
        """`asked_count`: how many messages those want who wait now."""
        self._line = line
        self._target = target
        self._asked_count = asked_count
        self._delivered = delivered
        self._adjusting = asyncio.Lock()
        self._prefetch = 0
        self._settled: deque[tuple[float, int]] = deque()
        """When how many were settled, of late."""
        self.tag: str | None = None
        """Of the consumer; None while the server pushes nothing."""
        self.started_s = 0.0

    def settled(self, count: int) -> None:
        self._settled.append((time.monotonic(), count))

    def is_enough(self, session: Session) -> bool:
        """Whether the server may push as many as are asked for."""
        if self.tag is None:
            return False
        return bool(self._target.options.prefetch) or self._wanted(session) <= self.room(session)

    def room(self, session: Session) -> int:
        """How many more the server may push."""
        return 0 if self.tag is None else self._prefetch - session.unsettled_of(self.tag)

    async def adjust(self, session: Session) -> None:
        """Let the server push what is asked for. Raises Refusal."""
        async with self._adjusting:
            if self.is_enough(session) or not self._asked_count() or not session.is_alive:
                return
            await self._cancel(session)
            self._prefetch = self._target.options.prefetch or self._sensible_prefetch(session)
            if self._prefetch:
                await self._consume(session)

    async def stop(self, session: Session) -> None:
        """Let the server push nothing more, unless somebody asks by now."""
        with suppress(Refusal):  # the session's end is told by the session
            async with self._adjusting:
                if not self._asked_count():
                    await self._cancel(session)

    def _wanted(self, session: Session) -> int:
        return self._asked_count() - len(session.buffer)

    def _sensible_prefetch(self, session: Session) -> int:
        """What is asked for; and of what is held from before, as much as was settled of late, since
        for each of these another one will be asked for soon."""
        since_s = time.monotonic() - RECENT_S
        while self._settled and self._settled[0][0] < since_s:
            self._settled.popleft()
        recent = sum(count for _, count in self._settled)
        held = session.held_count - len(session.buffer)
        return max(0, min(self._wanted(session) + min(held, recent), PREFETCH_MAX))

    async def _consume(self, session: Session) -> None:
        async def delivered(delivery: DeliveredMessage) -> None:
            self._delivered(session, delivery)

        await self._ask(session, session.channel.basic_qos(prefetch_count=self._prefetch))
        self.tag = f"eventpost-{id(session):x}-{time.monotonic_ns():x}"
        consume = session.channel.basic_consume(
            self._target.queue, delivered, consumer_tag=self.tag
        )
        await self._ask(session, consume)
        self.started_s = time.monotonic()

    async def _cancel(self, session: Session) -> None:
        """What was pushed before the answer is here, and nothing comes after it."""
        tag, self.tag = self.tag, None
        if tag is not None and session.is_alive:
            await self._ask(session, session.channel.basic_cancel(tag))

    async def _ask(self, session: Session, question: Awaitable[object]) -> None:
        try:
            await self._line.ask(session.opened, question)
        except Refusal as refusal:
            await session.refused(refusal.evidence)
            raise
