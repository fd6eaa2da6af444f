"""From the grid's callbacks to awaitable answers."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from eventpost.core.errors import Overloaded, StoreError
from eventpost.core.interfaces import ReadFailed

Answer = TypeVar("Answer")


async def durable(start: Callable[[Callable[[bool], None]], object]) -> None:
    """Start a change and wait until it is durable. Raises Overloaded when it was not kept."""
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def done(is_durable: bool) -> None:
        if not future.done():
            future.set_result(is_durable)

    start(done)
    if not await future:
        raise Overloaded(
            "EP3003",
            "The store failed; the change was not kept.",
            fix="try again in a moment; /readyz tells when",
            retry_after_s=2,
        )


async def kept(start: Callable[[Callable[[Overloaded | None], None]], object]) -> None:
    """Publish and wait until the events are durable. Raises Overloaded when they were not kept."""
    future: asyncio.Future[Overloaded | None] = asyncio.get_running_loop().create_future()

    def done(refusal: Overloaded | None) -> None:
        if not future.done():
            future.set_result(refusal)

    start(done)
    refusal = await future
    if refusal is not None:
        raise refusal


def read_failed(reason: str) -> StoreError:
    return StoreError(
        "EP3005", f"The store could not be read: {reason}", fix="run: eventpost store verify"
    )


async def read(
    start: Callable[[Callable[[Answer | ReadFailed], None]], object],
    *,
    failed: Callable[[str], StoreError] = read_failed,
) -> Answer:
    """Start a read and wait for its answer. Raises what `failed` makes of why it was not done."""
    future: asyncio.Future[Answer | ReadFailed] = asyncio.get_running_loop().create_future()

    def done(answer: Answer | ReadFailed) -> None:
        if not future.done():
            future.set_result(answer)

    start(done)
    answer = await future
    if isinstance(answer, ReadFailed):
        raise failed(answer.reason)
    return answer
