"""The whole server with a source, whose queue is a strict one in memory that fails when told to."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import msgspec

from eventpost.app import compose
from eventpost.config.settings import Settings
from eventpost.core.outcomes import Delivered
from eventpost.queues.interfaces import Message, Traits
from eventpost.queues.leases import LeaseLimits
from eventpost.server.serving import Build
from eventpost.sources.limits import SourceLimits
from eventpost.testing.memory_queue import LEASED, MemoryServer
from tests.server.running import Served, served, until
from tests.services.service import fresh_name

TOPIC = "songs"
SOURCE = "letters"
QUICK = msgspec.structs.replace(
    Settings(),
    sources=SourceLimits(
        hold_s_min=0.01, hold_s_max=0.05, open_s_min=0.01, open_s_max=0.05, forget_s=0.02
    ),
    leases=LeaseLimits(
        receive_delay_s_min=0.01,
        receive_delay_s_max=0.05,
        settle_delay_s_min=0.01,
        settle_delay_s_max=0.05,
        settle_delay_s_late=0.05,
        settle_linger_s=0.0,
        idle_s_min=0.01,
        idle_s_max=0.05,
        pending_lease_s=1.0,
        tell_s=0.05,
    ),
)
"""Waits are short: what is waited for here is a queue in memory."""


class Station:
    """A server, a topic `songs`, and the queue `letters` of a loft of its own."""

    def __init__(self, server: Served, admin: httpx.Client, loft: str) -> None:
        self.server = server
        self.admin = admin
        self.loft = loft
        self.queue: MemoryServer = import_module("eventpost_pigeon").LOFTS[loft]
        self.queue.create(SOURCE)

    def declare(self, **changes: Any) -> dict[str, Any]:
        """The topic, the connection and the source."""
        self.admin.post("/topics", json={"name": TOPIC})
        connection = {"name": "home", "kind": "pigeon", "settings": {"loft": self.loft}}
        self.admin.post("/connections", json=connection)
        declared = {
            "name": SOURCE,
            "topic": TOPIC,
            "kind": "pigeon",
            "queue": SOURCE,
            "connection": "home",
            "format": "raw",
            "prefetch": 20,
        }
        created = self.admin.post("/sources", json=declared | changes)
        assert created.status_code == 201, created.text
        found: dict[str, Any] = created.json()
        return found

    def send(self, *bodies: str | bytes, **message: Any) -> None:
        messages = [
            Message(body=each if isinstance(each, bytes) else each.encode(), **message)
            for each in bodies
        ]
        outcomes = self.queue.queue(SOURCE).send(messages)
        assert all(isinstance(each, Delivered) for each in outcomes)

    def published(self) -> Counter[str]:
        """How often each body stands in the log."""
        return self.server.loop.run(bodies_of(self.server, TOPIC))

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = self.admin.get(f"/sources/{SOURCE}").json()
        return found

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.shown()["counts"]
        return found

    @property
    def left(self) -> int:
        """Messages that the queue still has."""
        return self.queue.message_count(SOURCE)

    def remembered(self) -> int:
        """Ids that the store still keeps."""
        return self.server.loop.run(_remembered(self.server))

    def until_published(self, *bodies: str) -> None:
        until(lambda: self.published() == Counter(bodies))

    def until_idle(self) -> None:
        """The queue is empty, and nothing is remembered of it."""
        until(lambda: self.left == 0)
        until(lambda: self.remembered() == 0)

    def letters(self, **query: Any) -> list[dict[str, Any]]:
        """Dead letters, whole."""
        listed = self.admin.get("/deadletters", params=query).json()["value"]
        return [self.admin.get(f"/deadletters/{each['id']}").json() for each in listed]


async def bodies_of(server: Served, name: str) -> Counter[str]:
    """From the segments of a topic, as they lie in the store."""
    import asyncio

    grid = server.app.grid
    topic = server.app.topic(name)
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    grid.store.read(topic.id, 0, 0, 1 << 30, answer.set_result)
    segments = await answer
    wires = [json.loads(wire) for segment in segments for wire in segment.wires]
    return Counter(json.dumps(wire["data"]) for wire in wires)


async def _remembered(server: Served) -> int:
    import asyncio

    import apsw

    path = server.data / "eventpost.db"

    def count() -> int:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            ((found,),) = connection.execute("SELECT count(*) FROM taken")
            return int(found)
        finally:
            connection.close()

    return await asyncio.to_thread(count)


@contextmanager
def station(
    directory: Path,
    *,
    settings: Settings = QUICK,
    traits: Traits = LEASED,
    loft: str = "",
    ignores_old_receipts: bool = False,
    build: Build = compose.build,
) -> Iterator[Station]:
    """A server in `directory`. With `loft` one that is there already, with what it holds."""
    name = loft or fresh_name("loft")
    lofts = import_module("eventpost_pigeon").LOFTS
    if not loft:
        own = replace(traits, system="pigeon", message_bytes_max=2_000_000)
        lofts[name] = MemoryServer(own, ignores_old_receipts=ignores_old_receipts)
    with served(directory / "data", settings, build=build) as server, server.admin() as admin:
        yield Station(server, admin, name)
