"""A real event grid in the test's process: SQLite on disk, sockets on loopback, a virtual clock.

    grid.topic("songs")
    grid.subscribe("songs", receiver, name="blues", filter={"subjectBeginsWith": "genre/"})
    grid.publish("songs", {"subject": "genre/blues"})
    grid.settle()
    assert grid.books("blues").delivered == 1

The server runs on an event loop in a thread of its own; everything here is for the test's thread.
"""

import asyncio
import json
import math
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from eventpost.app import compose
from eventpost.app.application import App
from eventpost.client import Client
from eventpost.config.settings import NetworkSettings, ServerSettings, Settings, StoreSettings
from eventpost.core.events import Schema
from eventpost.core.interfaces import Clock, Store
from eventpost.grid.engine import Engine
from eventpost.grid.limits import GridLimits
from eventpost.registry.models import Books, DeadLetterView, SubscriptionView, TopicView
from eventpost.server.serving import Running, loop_factory
from eventpost.stores.executor import ThreadExecutor
from eventpost.stores.sqlite.store import SqliteStore
from eventpost.testing import audit, steps
from eventpost.testing.activity import CountedExecutor, CountedFiles
from eventpost.testing.background import BackgroundLoop
from eventpost.testing.disk import Disk
from eventpost.testing.receiver import Receiver
from eventpost.testing.steps import GridClock

T = TypeVar("T")

REST_S_MAX = 120.0
"""A grid that is not at rest after so long is stuck, or waits for a handler outside of the test."""
GRID_LIMITS = GridLimits(outcome_delay_s=0.0, retention_interval_s=3_600.0)
"""Outcomes are committed without waiting for company, and a day takes 24 looks at old events."""
STORE_BYTES_MAX = 1_000_000_000


class Grid:
    """Running from when it is made until `close`.

    `directory` gets its data; `settings` may say anything but the data directory, `receivers` are
    those whose hanging requests are not waited for (`subscribe` adds to them). `clock` is the
    grid's only clock: nothing happens by itself that has to wait for a time.
    """

    def __init__(
        self,
        directory: Path,
        clock: GridClock,
        settings: Settings | None = None,
        *,
        limits: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.disk = Disk(directory / "disk", seed)
        self.receivers: list[Receiver] = []
        self.settings = _settings(settings or Settings(), directory / "data", limits or {})
        self._background = BackgroundLoop(
            "eventpost-grid", loop_factory() or asyncio.new_event_loop
        )
        self._executor: CountedExecutor | None = None
        self._files: CountedFiles | None = None
        self._running: Running | None = None
        self._client: Client | None = None
        self._clients: list[Client] = []
        self._http = httpx.Client(trust_env=False, verify=False, timeout=REST_S_MAX)  # noqa: S501  plain http
        self.start()

    # --- its life -----------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        return self._running is not None

    @property
    def running(self) -> Running:
        assert self._running is not None, "the grid is stopped"
        return self._running

    @property
    def app(self) -> App:
        """The application inside; look at it with `call` only."""
        return self.running.app

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def client(self) -> Client:
        """Of the management API."""
        assert self._client is not None, "the grid is stopped"
        return self._client

    def client_of_its_own(self) -> Client:
        """A further client, for another thread. It is closed with the grid."""
        client = Client(self.url, token=self.app.admin_token)
        self._clients.append(client)
        return client

    def start(self) -> None:
        """Start on what the directory holds; returns when each lane has again what it held."""
        assert self._running is None, "the grid runs"
        self.clock.attach(self._background, rest=self._rest, is_busy=self._is_busy)
        self._running = self._background.run(self._start())
        self._client = Client(self.url, token=self.app.admin_token)
        # A change of a subscription waits for that by the clock, which stands still.
        self.wait_until(audit.is_restored)

    async def _start(self) -> Running:
        build = partial(self._build, clock=self.clock, new_store=self._new_store)
        return await Running.start(self.settings, build=build)

    def _build(self, *arguments: Any, **named: Any) -> App:
        app = compose.build(*arguments, **named)
        self._files = CountedFiles(app.endpoints.files)
        app.endpoints.files = self._files
        return app

    def _new_store(self, directory: Path, clock: Clock) -> Store:
        self._executor = CountedExecutor(ThreadExecutor(clock))
        return SqliteStore(directory, clock, executor=self._executor, vfs=self.disk.name)

    def stop(self) -> None:
        """Stop as SIGTERM does: finish what is under way and keep what came of it."""
        running, self._running = self.running, None
        self._background.run(running.stop())
        self.clock.detach()
        self.client.close()

    def restart(self) -> None:
        """Stop in order and start again."""
        self.stop()
        self.start()

    def crash(self) -> None:
        """End as `kill -9` does, and start again: what was not committed never happened."""
        self._die(self.disk.kill)

    def cut_power(self) -> None:
        """End with the machine, and start again: what was not synced is lost or torn."""
        self._die(self.disk.cut_power)

    def _die(self, death: Callable[[], None]) -> None:
        def die() -> None:
            assert self._executor is not None
            self._executor.settle()
            self.app.grid.stop()
            death()

        self.call(die)
        self.restart()

    def close(self) -> None:
        """Stop, if it runs, and let go of everything. Idempotent."""
        if self._running is not None:
            self.stop()
        self._http.close()
        for client in self._clients:
            client.close()
        self._background.close()
        self.disk.close()

    # --- rest -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until everything published is routed and every attempt has its outcome on disk, so
        that only time can move the grid. Requests that a receiver lets hang are not waited for.

        Raises TimeoutError.
        """
        self._background.run(self._rest())

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(REST_S_MAX):
                while not self._is_at_rest():
                    await steps.soon()
        except TimeoutError:
            raise TimeoutError(
                f"The grid did not come to rest within {REST_S_MAX:g} s: {self._unrest()}"
            ) from None

    def _is_at_rest(self) -> bool:
        return not any(self._unrest().values())

    def _unrest(self) -> dict[str, int]:
        """What keeps the grid from being at rest, counted."""
        assert self._executor is not None
        assert self._files is not None
        return {
            "turns": self.clock.turns_pending,
            "store": self._executor.pending,
            "files": self._files.pending,
            "requests": self._requests() - self._held(),
            "tokens": self._tokens(),
            "reopening": 0 if self._running is None else self.app.supervisor.failure is not None,
        }

    def _requests(self) -> int:
        """Requests to endpoints that are under way. Also looks at their deadlines."""
        if self._running is None:
            return 0
        client = self.app.endpoints.client
        client.sweep()
        stats = client.stats()
        return stats.connections - stats.idle + stats.waiting

    def _tokens(self) -> int:
        """Tokens of Microsoft Entra that are asked for."""
        return 0 if self._running is None else self.app.endpoints.tokens.asking_count

    def _held(self) -> int:
        return sum(receiver.held_count for receiver in self.receivers)

    def _is_busy(self) -> bool:
        return self._requests() > 0 or self._tokens() > 0

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function on the grid's thread, to look inside."""
        return self._background.call(function, *arguments)

    def wait_until(self, condition: Callable[[Engine], object]) -> None:
        """Wait until something holds inside, as seen on the grid's thread. Raises TimeoutError."""
        self._background.run(self._wait_until(condition))

    async def _wait_until(self, condition: Callable[[Engine], object]) -> None:
        async with asyncio.timeout(REST_S_MAX):
            while not condition(self.app.grid):
                await steps.soon()

    # --- topics and subscriptions ---------------------------------------------------------------

    def topic(
        self, name: str, *, input_schema: str = "eventgridschema", **mapping: Mapping[str, str]
    ) -> TopicView:
        """Create a topic; of a custom schema with `input_mapping_fields` and
        `input_mapping_default_values`."""
        return self.client.create_topic(name, input_schema=input_schema, **mapping)

    def key(self, topic: str) -> str:
        """An access key of the topic."""
        return self.call(self.app.topic, topic).key1

    def subscribe(
        self, topic: str, to: Receiver | str, *, name: str = "handler", **declared: Any
    ) -> SubscriptionView:
        """Create an event subscription with the fields of its declaration in snake case, such as
        `retry={"maxDeliveryAttempts": 3}` or `max_events_per_batch=10`. Raises HandshakeFailed."""
        if isinstance(to, Receiver):
            self.watch(to)
        fields = {_camel(field): value for field, value in declared.items()}
        endpoint = to.url if isinstance(to, Receiver) else to
        return self.client.create_subscription(
            {"topic": topic, "name": name, "endpoint": endpoint, **fields}
        )

    def watch(self, receiver: Receiver) -> None:
        """Do not wait for what this receiver lets hang."""
        if receiver not in self.receivers:
            self.receivers.append(receiver)

    # --- events ---------------------------------------------------------------------------------

    def publish(self, topic: str, *events: Mapping[str, Any], count: int = 1) -> list[str]:
        """Publish over HTTP with the topic's key, and wait for the 200; returns the ids.

        Each mapping holds what matters of an event; the rest is filled in. Without any, `count`
        events. Raises EventpostError.
        """
        found = self.call(self.app.topic, topic)
        whole = [_event(found.input_schema, each) for each in (events or [{}] * count)]
        self.client.publish_events(topic, whole, key=found.key1)
        return [event.get("id", "") for event in whole]

    def post(
        self, topic: str, body: bytes | str | object, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """POST anything to the publish endpoint, with the topic's key unless `headers` has one."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        defaults = {"Content-Type": "application/json", "aeg-sas-key": self.key(topic)}
        return self._http.post(
            f"{self.url}/topics/{topic}/api/events",
            content=content,
            headers={**defaults, **(headers or {})},
        )

    def get(self, url: str) -> httpx.Response:
        """GET any URL of the grid, without a credential."""
        return self._http.get(httpx.URL(self.url).join(url))

    # --- what came of them ----------------------------------------------------------------------

    def books(self, subscription: str = "handler", *, topic: str | None = None) -> Books:
        """What became of every delivery of a subscription."""
        books = self.client.show_subscription(subscription, topic=topic).books
        assert books is not None
        return books

    def dead_letters(self, **selection: Any) -> list[DeadLetterView]:
        """The dead letters, oldest first; see `eventpost.Client.dead_letters`."""
        return list(self.client.dead_letters(**selection))

    def check_books(self) -> None:
        """Assert that the books of every subscription balance with what its lanes and the ladder
        hold."""
        assert self.call(audit.unbalanced, self.app.grid) == []

    def check_kept(self) -> None:
        """Stop, and assert that the store tells the same books as the engine did."""
        self.disk.fail_sync_at = self.disk.full_at_write = None
        self.settle()
        known = self.call(audit.known, self.app.grid)
        self.stop()
        store = SqliteStore(self.directory / "data", self.clock, vfs=self.disk.name)
        try:
            assert audit.kept(store.open()) == known
        finally:
            store.close()

    # --- faults ---------------------------------------------------------------------------------

    def fail_next_commit(self) -> None:
        """The next sync of the disk fails with EIO: its publishers get 503, the store reopens."""
        self.disk.fail_sync_at = self.disk.syncs + 1

    def fill_disk(self) -> None:
        """The next write finds no room."""
        self.disk.full_at_write = self.disk.writes + 1

    @contextmanager
    def holding_commits(self) -> Iterator["HeldCommits"]:
        """No sync of the disk returns before the block ends; `wait` for the first one to come."""
        held = HeldCommits()
        self.disk.on_sync = held.hold
        try:
            yield held
        finally:
            self.disk.on_sync = lambda: None
            held.end()

    @contextmanager
    def holding_scans(self) -> Iterator[None]:
        """No long read of the store (dead letters, usage, traces) is answered before the block
        ends."""
        executor, released = self._executor, threading.Event()
        assert executor is not None
        self.call(executor.scan, released.wait, bool)
        try:
            yield
        finally:
            released.set()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Publishing answers 503 with Retry-After, as at the store's byte limit."""
        self._set_full(is_full=True)
        try:
            yield
        finally:
            self._set_full(is_full=False)

    def _set_full(self, *, is_full: bool) -> None:
        self.call(setattr, self.app.grid, "is_full", is_full)


class HeldCommits:
    """Syncs that wait, on the store's thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._come = 0
        self._let: float = 0

    def hold(self) -> None:
        """Called before each sync."""
        with self._changed:
            self._come += 1
            turn = self._come
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._let >= turn)

    def wait(self) -> None:
        """Wait until a sync is held."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._come > self._let, REST_S_MAX):
                raise TimeoutError(f"No sync came within {REST_S_MAX:g} s.")

    def let(self) -> None:
        """Let pass what is held, and hold what comes."""
        with self._changed:
            self._let = self._come
            self._changed.notify_all()

    def end(self) -> None:
        """Hold nothing any more."""
        with self._changed:
            self._let = math.inf
            self._changed.notify_all()


def _settings(given: Settings, data: Path, limits: Mapping[str, Any]) -> Settings:
    """The settings with what a grid in a test needs, where they are as by default."""
    replace = msgspec.structs.replace
    defaults = Settings()
    server = replace(given.server, data=str(data))
    if server.listen == ServerSettings().listen:
        server = replace(server, listen="127.0.0.1:0")
    grid = GRID_LIMITS if given.grid == defaults.grid else given.grid
    return replace(
        given,
        server=server,
        grid=replace(grid, **limits),
        network=NetworkSettings(proxies="none")
        if given.network == defaults.network
        else given.network,
        store=StoreSettings(bytes_max=STORE_BYTES_MAX)
        if given.store == defaults.store
        else given.store,
    )


def _event(schema: Schema, given: Mapping[str, Any]) -> dict[str, Any]:
    if schema is Schema.CUSTOM:
        return dict(given)
    if schema is Schema.CLOUD_EVENTS:
        filled = {"specversion": "1.0", "source": "/tests", "type": "Tests.Happened"}
    else:
        filled = {
            "eventType": "Tests.Happened",
            "subject": "tests",
            "eventTime": "2026-01-01T00:00:00Z",
            "dataVersion": "1.0",
        }
    return {"id": str(uuid.uuid4()), **filled, **given}


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.title() for word in rest)
