"""What one queue object has on the loop's thread: its publisher, its consumer, and a shared link.

Layer: queues, on the loop's thread.
"""

import asyncio
from collections.abc import Sequence

from eventpost.core.outcomes import Delivered, Evidence, Failed
from eventpost.queues.interfaces import Received, Settled
from eventpost.queues.rabbitmq.consumer import Consumer
from eventpost.queues.rabbitmq.line import Line
from eventpost.queues.rabbitmq.messages import again
from eventpost.queues.rabbitmq.publisher import Publisher
from eventpost.queues.rabbitmq.session import Receipt, State, receipt_of
from eventpost.queues.rabbitmq.settings import RabbitmqConnection
from eventpost.queues.rabbitmq.target import Target
from eventpost.queues.rabbitmq.thread import LoopThread
from eventpost.queues.rabbitmq.topology import Topology


class Link:
    """The two lines to one server, shared by all queues with the same settings."""

    def __init__(self, settings: RabbitmqConnection, thread: LoopThread, client_id: str) -> None:
        self.publishing = Line(settings, thread, f"{client_id} publishing")
        self.consuming = Line(settings, thread, f"{client_id} consuming")
        self.user_count = 0

    async def close(self) -> None:
        await asyncio.gather(self.publishing.close(), self.consuming.close())


class Core:
    """One queue object's part of the loop's thread. Made there."""

    def __init__(
        self, settings: RabbitmqConnection, target: Target, client_id: str, thread: LoopThread
    ) -> None:
        self.thread = thread
        self._target = target
        self._key = (settings, client_id)
        self._link = thread.shared.get(self._key) or Link(settings, thread, client_id)
        thread.shared[self._key] = self._link
        self._link.user_count += 1
        topology = Topology(target)
        self.publisher = Publisher(self._link.publishing, topology, target)
        self.consumer = Consumer(self._link.consuming, topology, target)

    @property
    def is_of_this_process(self) -> bool:
        return self.thread.is_of_this_process

    async def release(
        self, held: Sequence[Received], delay_s: float
    ) -> list[Settled | Evidence | Failed]:
        """To come again at once, or through the queue that holds them for so long."""
        delay_ms = self._target.delay_ms(delay_s)
        receipts = [receipt_of(each) for each in held]
        if not delay_ms:
            return list(await self.consumer.give_back(receipts))
        copied = [
            each
            for each in held
            if receipt_of(each).state is State.HELD and receipt_of(each).session.is_alive
        ]
        failures = await self._copy(copied, delay_ms)
        settled = [each for each in receipts if each not in failures]
        verdicts = dict(
            zip(settled, await self.consumer.settle(settled, State.RELEASING), strict=True)
        )
        return [failures.get(each) or verdicts[each] for each in receipts]

    async def close(self) -> None:
        await asyncio.gather(self.consumer.close(), self.publisher.close())
        self._link.user_count -= 1
        if not self._link.user_count:
            del self.thread.shared[self._key]
            await self._link.close()

    async def _copy(self, held: Sequence[Received], delay_ms: int) -> dict[Receipt, Failed]:
        """Put copies into the delay queue; those that did not get there."""
        receipts = [receipt_of(each) for each in held]
        parcels = [
            again(receipt.properties, each.body, self._target, delay_ms)
            for each, receipt in zip(held, receipts, strict=True)
        ]
        outcomes = await self.publisher.send_parcels(parcels, "release") if parcels else []
        return {
            receipt: outcome
            for receipt, outcome in zip(receipts, outcomes, strict=True)
            if not isinstance(outcome, Delivered)
        }
