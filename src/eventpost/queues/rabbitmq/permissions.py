"""Which permissions on a server's queues and exchanges we have, found out without using any.

Layer: queues, on the loop's thread. Each question is one that RabbitMQ cannot grant, and that it
refuses for the permission first, with another sentence or another code: an exchange that is to be
unbound from the default one, which is bound to nothing; a consumer, and a queue, with an argument
that is none. Order of its checks: `rabbit_channel.erl`, `binding_action` and `handle_method` of
`basic.consume` and `queue.declare`; permissions: https://www.rabbitmq.com/docs/access-control
"""

from collections.abc import Awaitable, Callable

import msgspec

from eventpost.core.outcomes import Evidence
from eventpost.http.failures import bounded
from eventpost.queues.interfaces import Permission
from eventpost.queues.rabbitmq import failures
from eventpost.queues.rabbitmq.client import Channel
from eventpost.queues.rabbitmq.failures import Refusal
from eventpost.queues.rabbitmq.line import Line, close_channel
from eventpost.queues.rabbitmq.settings import RabbitmqConnection
from eventpost.queues.rabbitmq.target import Target
from eventpost.queues.rabbitmq.thread import LoopThread

NO_ARGUMENT = "eventpost-asks-whether-it-may"
NO_KEY = "eventpost-asks-whether-it-may"
_DEFAULT_EXCHANGE = "operation not permitted on the default exchange"
"""What is said to whoever may write: nothing is bound to the default exchange, ever."""
_ASKED_TOO_MUCH = frozenset({failures.ACCESS_REFUSED, failures.DECLARED_OTHERWISE})
"""What is said of a question that somebody may ask, and nobody is granted."""

Ask = Callable[[Channel], Awaitable[object]]


async def permissions(
    settings: RabbitmqConnection, target: Target, thread: LoopThread, client_id: str
) -> list[Permission]:
    """One for each permission that the target needs of somebody; over a connection of its own.
    Raises Refusal when there is none to be had."""
    line = Line(settings, thread, f"{client_id} permissions")
    try:
        await line.opened()
        return [await _asked(line, *each) for each in _questions(target)]
    finally:
        await line.close()


def _questions(target: Target) -> list[tuple[str, str, Ask]]:
    """The operation, the permission that it takes, and how to ask for that."""
    found: list[tuple[str, str, Ask]] = [
        (
            "send",
            f"write on the exchange {target.exchange or 'amq.default'}",
            lambda channel: channel.exchange_unbind(
                destination=target.exchange, source="", routing_key=NO_KEY
            ),
        )
    ]
    if target.queue:
        found.append(
            (
                "receive",
                f"read on the queue {target.queue}",
                lambda channel: channel.basic_consume(
                    target.queue, _unused, arguments={"x-priority": NO_ARGUMENT}
                ),
            )
        )
    if target.options.create and target.queue:
        found.append(
            (
                "declare",
                f"configure on the queue {target.queue}",
                lambda channel: channel.queue_declare(
                    target.queue, durable=True, arguments={"x-expires": NO_ARGUMENT}
                ),
            )
        )
    return found


async def _unused(message: object) -> None:
    """Of a consumer that never is."""


async def _asked(line: Line, operation: str, needed: str, ask: Ask) -> Permission:
    opened, channel = await line.channel(confirms=False)
    try:
        await line.ask(opened, ask(channel))
    except Refusal as refusal:
        return _judged(refusal.evidence, operation, needed)
    finally:
        await close_channel(channel)
    return Permission(operation=operation, is_known=False)


def _judged(evidence: Evidence, operation: str, needed: str) -> Permission:
    if evidence.code == failures.ACCESS_REFUSED and _DEFAULT_EXCHANGE not in evidence.detail:
        told = bounded(f"{evidence.detail} The permission that is missing: {needed}.")
        evidence = msgspec.structs.replace(evidence, detail=told)
        return Permission(operation=operation, refused=failures.failed(evidence, operation, 0.0))
    return Permission(operation=operation, is_known=evidence.code in _ASKED_TOO_MUCH)
