"""An application on a real store whose endpoints answer handshakes and deliveries as a test says.

Its clock is virtual; the event loop's own time passes only as far as threads need it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from eventpost.app.application import App
from eventpost.app.endpoints import Endpoints
from eventpost.app.supervisor import Supervisor
from eventpost.config.settings import AlertSettings, Settings
from eventpost.core.errors import StoreError
from eventpost.core.events import Schema
from eventpost.core.interfaces import CommitFailed, Recovered, Store
from eventpost.core.outcomes import DELIVERED
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.destinations.handshake import Consent, Result
from eventpost.formats import topics
from eventpost.grid.engine import Engine, Surroundings
from eventpost.stores.sqlite import SqliteSettings, SqliteStore
from eventpost.testing.clock import VirtualClock
from tests.grid.rig import LIMITS, Files, HeldExecutor, Onlooker, Scripted

T = TypeVar("T")
PUBLIC_URL = "https://station.example"


class ScriptedEndpoints(Endpoints):
    """Endpoints that consent, or not, as `consents` says, and take what they are sent."""

    def __init__(self, clock: VirtualClock, directory: Path) -> None:
        settings = msgspec.structs.replace(Settings())
        super().__init__(settings, asyncio.get_running_loop(), clock, origin="station.example")
        self._virtual = clock
        self.asked: list[tuple[Subscription, str]] = []
        """Each question: of which subscription, and which URL consents later."""
        self.consents: Callable[[Subscription], Awaitable[Result]] = _consent
        self.destinations: dict[int, Scripted] = {}

    async def handshake(
        self, topic: Topic, subscription: Subscription, *, code: str, later_url: str
    ) -> Result:
        self.asked.append((subscription, later_url))
        return await self.consents(subscription)

    def new_destination(self, topic: Topic, subscription: Subscription) -> Scripted:
        made = Scripted(self._virtual)
        self.destinations[subscription.id] = made
        return made


async def _consent(_: Subscription) -> Result:
    return Consent()


def answering(result: Result) -> Callable[[Subscription], Awaitable[Result]]:
    async def answer(_: Subscription) -> Result:
        return result

    return answer


class FickleStore(SqliteStore):
    """A store that cannot be opened while `refusals` are left, and whose commits fail when told."""

    refusals: int = 0
    opened: int = 0

    def open(self) -> Recovered:
        self.opened += 1
        if self.refusals:
            self.refusals -= 1
            raise StoreError("EP3007", "The disk does not answer.")
        return super().open()


class Station:
    """The application and what it stands on. Made inside a running event loop."""

    def __init__(self, directory: Path, *, vfs: str | None = None) -> None:
        self.clock = VirtualClock()
        self.executor = HeldExecutor(self.clock)
        settings = SqliteSettings(synchronous="NORMAL") if vfs is None else SqliteSettings()
        self.store = FickleStore(
            directory / "data", self.clock, settings, executor=self.executor, vfs=vfs
        )
        self.endpoints = ScriptedEndpoints(self.clock, directory)
        self.files = Files(self.clock)
        self.watcher = Onlooker()
        self.logged: list[str] = []
        self.waits: list[float] = []
        """How long the supervisor waited before each opening."""
        self.may_wait: Callable[[float], Awaitable[object]] = _no_wait
        self.supervisor = Supervisor(
            self.store, self._new_engine, self._log, sleep=self._wait_for_store
        )
        self.app = App(
            Settings(alerts=AlertSettings(interval_s=0)),  # its loop leaps to whatever is due
            self.supervisor,
            self.endpoints,
            admin_token="token",
            public_url=PUBLIC_URL,
            topic_resource=topics.resource_of,
        )
        self.supervisor.on_reopened = self.app.reopened

    def _log(self, name: str, **_: object) -> None:
        self.logged.append(name)

    async def _wait_for_store(self, seconds: float) -> None:
        self.waits.append(seconds)
        await self.may_wait(seconds)

    def _new_engine(
        self, store: Store, recovered: Recovered, on_failed: Callable[[CommitFailed], None]
    ) -> Engine:
        surroundings = Surroundings(
            store=store,
            clock=self.clock,
            random=random.Random(7),
            new_event_id=iter(f"notice-{number}" for number in range(1_000_000)).__next__,
            new_destination=self.endpoints.new_destination,
            topic_resource=topics.resource,
            files=self.files,
            classify=lambda _: "EP-test",
            finding_expired=lambda _: "EP-expired",
            limits=LIMITS,
            watcher=self.watcher,
            on_failed=on_failed,
        )
        return Engine(surroundings, recovered)

    # --- turning --------------------------------------------------------------------------------

    async def pump(self) -> None:
        """Let the engine's turns happen, for ever."""
        while True:
            self.clock.advance(0.0)
            await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def settled(self) -> None:
        """Until everything that waits for no time has happened."""
        for _ in range(20):
            self.clock.advance(0.0)
            await asyncio.sleep(0)

    def finish(self) -> None:
        """Answer every attempt, so that the end waits for none."""
        self.may_wait = _no_wait
        for kind in list(self.executor.held):
            self.executor.release(kind)
        for destination in self.endpoints.destinations.values():
            destination.always(DELIVERED)

    def destination(self, name: str = "handler") -> Scripted:
        _, subscription = self.app.subscription(name, None)
        return self.endpoints.destinations[subscription.id]

    async def publish(self, count: int = 1, topic: str = "songs") -> None:
        events = [
            {
                "id": f"e{number}",
                "eventType": "T",
                "subject": "s",
                "eventTime": "2026-01-01T00:00:00Z",
                "data": {},
                "dataVersion": "1",
            }
            for number in range(count)
        ]
        assert await self.app.publish(topic, msgspec.json.encode(events)) == count


async def _no_wait(_: float) -> None:
    await asyncio.sleep(0)


def draft(
    name: str = "handler", address: str = "https://one.example/", **more: Any
) -> Subscription:
    """What a user declares."""
    endpoint = Endpoint(address=address, **more)
    return Subscription(id=0, topic_id=0, name=name, created_ms=0, endpoint=endpoint)


def run(
    directory: Path,
    scenario: Callable[[Station], Coroutine[Any, Any, T]],
    *,
    vfs: str | None = None,
) -> T:
    """A scenario on an application with the topic `songs`, which ends with it."""

    async def whole() -> T:
        station = Station(directory, vfs=vfs)
        pumping = asyncio.create_task(station.pump())
        try:
            await station.app.start()
            await station.app.create_topic("songs", Schema.EVENT_GRID)
            return await scenario(station)
        finally:
            station.finish()
            await station.app.close()
            pumping.cancel()

    return asyncio.run(asyncio.wait_for(whole(), 30))
