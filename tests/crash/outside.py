"""The world around the program: receivers that remember, publishers that count only 200s.

Both live on an event loop in a thread of their own; tests ask from outside.
"""

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from tests.crash.program import Program, until

T = TypeVar("T")
PUBLISHERS = 4
BATCH_MAX = 10
PAUSE_S = 0.01
SLOW_S_MAX = 0.3
FAILURES = (500, 503, "reset", "reset after it was taken", "slow", "hang")
SUBJECTS = ("song/blues", "song/jazz", "song/refused")
TOPIC = "songs"


@dataclass
class Taken:
    """What one receiver saw, by event id."""

    attempts: Counter[str] = field(default_factory=Counter)
    times: Counter[str] = field(default_factory=Counter)
    """How often it was taken: answered with 200, or meant to be."""
    excused: Counter[str] = field(default_factory=Counter)
    """Of these, how often the answer was withheld."""
    sendings: set[str] = field(default_factory=set)
    """Of what came by a queue: each single time that it was sent there."""

    @property
    def duplicates(self) -> int:
        extra = {key: times - self.excused[key] - 1 for key, times in self.times.items()}
        return sum(count for count in extra.values() if count > 0)


class Outside:
    """Receivers below `url`, by path, and publishers for one program."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._healthy = asyncio.Event()
        self._publishers: list[asyncio.Task[None]] = []
        self._count = 0
        self.failure_chance = 0.0
        self.behaviour: dict[str, Callable[[], object]] = {}
        """By path: a failure to answer with, or None."""
        self.taken: dict[str, Taken] = {}
        self.acknowledged: dict[str, str] = {}
        """Subjects by event id."""
        self.run(self._start())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def close(self) -> None:
        self.heal()
        self.stop_publishing()
        self.run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- receivers --------------------------------------------------------------------------------

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_post("/{path}", self._receive)
        self._runner = web.AppRunner(application, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=512)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def heal(self) -> None:
        """From now on every receiver takes what comes; what hung is answered."""
        self.failure_chance = 0.0
        self.behaviour = {}
        self._loop.call_soon_threadsafe(self._healthy.set)

    def sicken(self, failure_chance: float) -> None:
        self.failure_chance = failure_chance
        self._loop.call_soon_threadsafe(self._healthy.clear)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        events = json.loads(await request.read())
        data = events[0]["data"]
        if "validationCode" in data:
            return web.json_response({"validationResponse": data["validationCode"]})
        taken = self.taken.setdefault(path, Taken())
        ids = [event["id"] for event in events]
        taken.attempts.update(ids)
        taken.sendings.update(
            event["data"]["sending"] for event in events if "sending" in event["data"]
        )
        if any(event["subject"] == "song/refused" for event in events):
            return web.Response(status=400)
        failure = self._failure(path)
        if isinstance(failure, int):
            return web.Response(status=failure)
        if failure == "hang":
            await self._healthy.wait()
            return web.Response(status=500)
        if failure == "slow":
            answered_late: asyncio.Future[None] = self._loop.create_future()
            self._loop.call_later(self._draw.random() * SLOW_S_MAX, answered_late.set_result, None)
            await answered_late
        if failure != "reset":
            taken.times.update(ids)
        if failure in {"reset", "reset after it was taken"}:
            taken.excused.update(ids if failure != "reset" else ())
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=200)

    def _failure(self, path: str) -> object:
        if path in self.behaviour:
            return self.behaviour[path]()
        if self._draw.random() < self.failure_chance:
            return self._draw.choice(FAILURES)
        return None

    def seen(self, path: str) -> Taken:
        return self.taken.setdefault(path, Taken())

    # --- publishers -------------------------------------------------------------------------------

    def start_publishing(self, program: Program, key: str) -> None:
        async def start() -> None:
            for _ in range(PUBLISHERS):
                self._publishers.append(asyncio.create_task(self._publish(program, key)))

        self.run(start())

    def stop_publishing(self) -> None:
        async def stop() -> None:
            tasks, self._publishers = self._publishers, []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(stop())

    def wait_for_acknowledged(self, more: int) -> None:
        goal = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= goal, f"{more} more events are acknowledged")

    async def _publish(self, program: Program, key: str) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            while True:
                events = self._events(self._draw.randint(1, BATCH_MAX))
                if await _is_kept(session, program, key, events):
                    self.acknowledged |= {event["id"]: event["subject"] for event in events}
                # Fast enough to be in the middle of things, slow enough to be waited for.
                await asyncio.sleep(PAUSE_S)

    def _events(self, count: int) -> list[dict[str, Any]]:
        first, self._count = self._count, self._count + count
        return [
            {
                "id": f"event-{number}",
                "subject": self._draw.choices(SUBJECTS, (60, 30, 1))[0],
                "eventType": "Radio.SongRequested",
                "eventTime": "2026-01-01T00:00:00Z",
                "dataVersion": "1",
                "data": {"text": "x" * 200},
            }
            for number in range(first, first + count)
        ]


async def _is_kept(
    session: aiohttp.ClientSession, program: Program, key: str, events: list[dict[str, Any]]
) -> bool:
    url = f"{program.url}/topics/{TOPIC}/api/events"
    try:
        answer: Awaitable[aiohttp.ClientResponse] = session.post(
            url, json=events, headers={"aeg-sas-key": key}
        )
        async with await answer as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
