"""Answers of many values: NDJSON, or server-sent events for whoever accepts those."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from eventpost.core.errors import EventpostError, Overloaded
from eventpost.server import problems
from eventpost.server.routes import Lines

NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
IDLE_S = 15.0
"""After so long without news an endless stream sends an empty line, so that a caller that went away
is noticed and proxies keep the connection."""


class ServerStopping(Overloaded):
    """What a stream ends with that had more to say."""

    def __init__(self) -> None:
        super().__init__(
            "ServerStopping",
            "The server is stopping.",
            fix="Try again when it is back; what was told until here is done.",
            retry_after_s=1,
        )


_log = logging.getLogger(__name__)
_END = object()
_NO_CACHE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def response(lines: Lines[Any], request: Request, stopping: asyncio.Event) -> Response:
    """The streamed answer. An error after it began is its last line, `{"problem": ...}`; that the
    server is `stopping` is one."""
    is_event_stream = EVENT_STREAM in request.headers.get("accept", "")
    before, after, idle = (b"data: ", b"\n\n", b":\n\n") if is_event_stream else (b"", b"\n", b"\n")

    async def body() -> AsyncGenerator[bytes, None]:
        idle_s = IDLE_S if lines.is_endless else None
        async for value in _with_problem(lines.values, idle_s, stopping):
            yield idle if value is None else before + msgspec.json.encode(value) + after

    media_type = EVENT_STREAM if is_event_stream else NDJSON
    return StreamingResponse(body(), 200, _NO_CACHE, media_type=media_type)


async def _with_problem(
    values: AsyncIterator[object], idle_s: float | None, stopping: asyncio.Event
) -> AsyncGenerator[object, None]:
    try:
        async for value in _paced(values, idle_s, stopping):
            yield value
    except EventpostError as error:
        yield {"problem": problems.problem(error)}
    except Exception:  # noqa: BLE001 - the API's edge: recorded, and told to the caller
        _log.exception("api.stream_failed")
        yield {"problem": problems.problem(problems.unexpected())}


async def _paced(
    values: AsyncIterator[object], idle_s: float | None, stopping: asyncio.Event
) -> AsyncGenerator[object, None]:
    """`values`, and None at the start and after each `idle_s` without one.

    The first None says that `values` is listening: nothing after it is missed. Closes `values` when
    it is closed itself. Raises ServerStopping.
    """
    stop = asyncio.ensure_future(stopping.wait())
    following = asyncio.ensure_future(_next(values))
    try:
        if idle_s is not None:
            await asyncio.sleep(0)  # one turn, in which `values` begins to listen
            yield None
        while True:
            while not await _happened(following, stop, idle_s):
                yield None
            if not following.done():
                raise ServerStopping
            value = following.result()
            if value is _END:
                return
            yield value
            following = asyncio.ensure_future(_next(values))
    finally:
        stop.cancel()
        if not following.done():
            following.cancel()  # ends `values` too: it is waiting in there
        elif isinstance(values, AsyncGenerator):
            await values.aclose()


async def _happened(
    following: "asyncio.Future[object]", stop: "asyncio.Future[Any]", idle_s: float | None
) -> bool:
    """Whether something did within `idle_s`."""
    done, _ = await asyncio.wait(
        {following, stop}, timeout=idle_s, return_when=asyncio.FIRST_COMPLETED
    )
    return bool(done)


async def _next(values: AsyncIterator[object]) -> object:
    return await anext(values, _END)
