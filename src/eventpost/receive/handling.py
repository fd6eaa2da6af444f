"""Runs a program's handler over the events of a delivery, and makes the answer of it.

Layer: receive. `Reject` and `TryLater` become their answers. Whatever else a handler raises goes on
to the framework, which logs it and answers 500; the sender tries again on its schedule.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence

from eventpost.receive.answers import Answer, Reject, TryLater
from eventpost.receive.events import ReceivedEvent

Handle = Callable[[ReceivedEvent], object]
AsyncHandle = Callable[[ReceivedEvent], Awaitable[object]]
AnyHandle = Handle | AsyncHandle


async def handled(handle: AnyHandle, events: Sequence[ReceivedEvent]) -> Answer:
    """200 once all events are handled. A plain function runs in a thread of the loop's pool."""
    if not is_async(handle):
        return await asyncio.to_thread(handled_here, handle, events)
    try:
        for event in events:
            awaited = handle(event)
            assert isinstance(awaited, Awaitable)
            await awaited
    except (Reject, TryLater) as error:
        return error.answer
    return Answer()


def handled_here(handle: AnyHandle, events: Sequence[ReceivedEvent]) -> Answer:
    """The same in the caller's thread; a coroutine function gets a loop of its own."""
    if is_async(handle):
        return asyncio.run(handled(handle, events))
    try:
        for event in events:
            handle(event)
    except (Reject, TryLater) as error:
        return error.answer
    return Answer()


def is_async(handle: AnyHandle) -> bool:
    """Whether `handle`, a function or an object that is called as one, must be awaited."""
    return inspect.iscoroutinefunction(handle) or inspect.iscoroutinefunction(
        getattr(handle, "__call__", None)  # noqa: B004 - not whether it can be called, but how
    )
