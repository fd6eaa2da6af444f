"""Queues, exchanges and bindings: declared when asked, else looked at and never changed.

Layer: queues, on the loop's thread. Each question has a channel of its own, because a no of
RabbitMQ's closes the channel.
"""

from functools import partial
from typing import Any

from eventpost.queues.rabbitmq.client import Channel
from eventpost.queues.rabbitmq.failures import QUEUE_NOT_FOUND, Refusal
from eventpost.queues.rabbitmq.line import Line, Opened, close_channel
from eventpost.queues.rabbitmq.target import Target

DELAY_ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-dead-letter-exchange": "",
}
"""A quorum queue hands an expired message on until its target confirms it; a classic one drops it
first: https://www.rabbitmq.com/docs/quorum-queues#dead-lettering"""


class Topology:
    """What one target is made of. Looked at, or declared, once for each connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._ready_on: dict[str, Opened] = {}

    async def ready_to_send(self, line: Line) -> None:
        """The exchange, or the queue behind the default exchange, is there. Raises Refusal."""
        target = self._target
        await self._declare_missing(line)
        if target.options.create:
            await self._once("declare", line, self._declare)
        elif target.exchange:
            await self._once("exchange", line, self._look_at_exchange)
        elif target.queue:
            await self._once("queue", line, self._look_at_queue)

    async def ready_to_receive(self, line: Line) -> None:
        """The queue is there. Raises Refusal."""
        if self._target.options.create:
            await self._once("declare", line, self._declare)
        else:
            await self._once("queue", line, self._look_at_queue)

    async def _declare_missing(self, line: Line) -> None:
        for name, arguments in self._target.options.create_missing.items():
            try:
                await self._once(f"queue {name}", line, partial(_look_at, name=name))
            except Refusal as refusal:
                if refusal.evidence.code != QUEUE_NOT_FOUND:
                    raise
                declaring = partial(_declare_queue, name=name, arguments=arguments)
                await self._once(f"queue {name}", line, declaring)

    async def look(self, line: Line) -> tuple[int, int] | None:
        """How many messages and consumers the queue has; None without a queue. Raises Refusal."""
        if self._target.exchange:
            await self._ask(line, self._look_at_exchange)
        return await self._ask(line, self._count) if self._target.queue else None

    async def _once(self, what: str, line: Line, question: Any) -> None:
        opened = await line.opened()
        if self._ready_on.get(what) is not opened:
            await self._ask(line, question)
            self._ready_on[what] = opened

    async def _ask(self, line: Line, question: Any) -> Any:
        opened, channel = await line.channel(confirms=False)
        try:
            return await line.ask(opened, question(channel))
        finally:
            await close_channel(channel)

    async def _declare(self, channel: Channel) -> None:
        target = self._target
        if target.exchange and not target.exchange.startswith("amq."):
            await channel.exchange_declare(
                target.exchange, exchange_type=target.options.exchange_type, durable=True
            )
        if not target.queue:
            return
        kind = target.options.queue_type or "quorum"
        await channel.queue_declare(
            target.queue,
            durable=True,
            arguments={"x-queue-type": kind, **target.options.arguments},
        )
        await self._bind(channel)
        for delay_ms in target.delays_ms:
            await channel.queue_declare(
                target.delay_queue(delay_ms),
                durable=True,
                arguments={
                    **DELAY_ARGUMENTS,
                    "x-dead-letter-routing-key": target.queue,
                    "x-message-ttl": delay_ms,
                },
            )

    async def _bind(self, channel: Channel) -> None:
        target = self._target
        if not target.exchange:
            return
        keys = target.options.binding_keys
        for key in [target.routing_key] if keys is None else keys:
            await channel.queue_bind(target.queue, target.exchange, routing_key=key)

    async def _look_at_queue(self, channel: Channel) -> None:
        await _look_at(channel, name=self._target.queue)

    async def _look_at_exchange(self, channel: Channel) -> None:
        await channel.exchange_declare(self._target.exchange, passive=True)

    async def _count(self, channel: Channel) -> tuple[int, int]:
        found = await channel.queue_declare(self._target.queue, passive=True)
        return found.message_count or 0, found.consumer_count or 0


async def _look_at(channel: Channel, *, name: str) -> None:
    await channel.queue_declare(name, passive=True)


async def _declare_queue(channel: Channel, *, name: str, arguments: dict[str, Any]) -> None:
    await channel.queue_declare(name, durable=True, arguments=arguments)
