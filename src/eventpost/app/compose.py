"""Puts a grid together from settings: store, engine, destinations, and who is let in."""

import asyncio
import random
import secrets
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from eventpost.app import tokens
from eventpost.app.application import App
from eventpost.app.clock import AppClock, LoopClock
from eventpost.app.endpoints import Endpoints
from eventpost.app.queues import Queues
from eventpost.app.supervisor import Supervisor
from eventpost.app.watching import LogWatcher
from eventpost.config import local
from eventpost.config.checks import address
from eventpost.config.settings import Settings
from eventpost.core.errors import StoreError
from eventpost.core.interfaces import Clock, CommitFailed, Recovered, Store
from eventpost.core.outcomes import Evidence
from eventpost.credentials.secrets import resolve
from eventpost.diagnosis import codes
from eventpost.diagnosis.classify import classify
from eventpost.formats import topics
from eventpost.grid.engine import Engine, Surroundings
from eventpost.queues import kinds as queue_kinds
from eventpost.stores.sqlite.store import SqliteStore
from eventpost.telemetry.logs import log

NewStore = Callable[[Path, Clock], Store]


def build(
    settings: Settings,
    loop: asyncio.AbstractEventLoop,
    *,
    clock: AppClock | None = None,
    new_store: NewStore = SqliteStore,
) -> App:
    """An application that is not started yet. Makes the data directory and the admin token.

    Tests bring a clock and a store of their own. Raises EventpostError.
    """
    data = Path(settings.server.data).absolute()
    _make_private(data)
    steady = clock or LoopClock(loop)
    queues = Queues(
        lambda name: app.grid.connections.get(name),
        queue_kinds.Services(log=log),
        connections=lambda: list(app.grid.connections.values()),
    )
    endpoints = Endpoints(settings, loop, steady, origin=_origin(settings), queues=queues)
    limits = settings.grid_limits(disk_free_bytes=_room(data))
    source = random.Random()

    def resource(name: str) -> str:
        return topics.resource(name, settings.server.topic_resource_prefix)

    def new_engine(
        store: Store, recovered: Recovered, on_failed: Callable[[CommitFailed], None]
    ) -> Engine:
        surroundings = Surroundings(
            store=store,
            clock=steady,
            random=source,
            new_event_id=lambda: str(uuid.uuid4()),
            new_destination=endpoints.new_destination,
            topic_resource=resource,
            files=endpoints.files,
            classify=classify,
            finding_expired=_finding_expired,
            limits=limits,
            watcher=LogWatcher(),
            on_failed=on_failed,
        )
        return Engine(surroundings, recovered)

    store = new_store(data, steady)
    supervisor = Supervisor(store, new_engine, log, drain_s=limits.drain_s)
    app = App(
        settings,
        supervisor,
        endpoints,
        admin_token=_admin_token(settings, data),
        public_url=settings.server.public_url.rstrip("/") or f"http://{settings.server.listen}",
        topic_resource=lambda topic: topics.resource_of(
            topic, settings.server.topic_resource_prefix
        ),
        opener=queues.opener,
        bearer=tokens.make(settings, steady),
    )
    supervisor.on_reopened = app.reopened
    return app


def _room(data: Path) -> int:
    """Bytes that the store may come to use: what is free, and what it holds already."""
    own = sum(each.stat().st_size for each in data.iterdir() if each.is_file())
    return shutil.disk_usage(data).free + own


def _finding_expired(evidence: Evidence | None) -> str:
    """What kept it from being delivered in time, where something did."""
    return codes.TIME_TO_LIVE_EXCEEDED if evidence is None else classify(evidence)


def _make_private(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            codes.DATA_DIRECTORY_NOT_WRITABLE,
            f"The data directory {data} cannot be made: {error.strerror}.",
            fix="choose another one with --data",
        ) from error


def _admin_token(settings: Settings, data: Path) -> str:
    """From the setting, else from the data directory, where the first start puts a new one."""
    if settings.server.admin_token:
        return resolve(settings.server.admin_token)
    token = local.read_token(data)
    if token is None:
        token = secrets.token_urlsafe(32)
        local.write_private(data / local.TOKEN_FILE, token)
    return token


def _origin(settings: Settings) -> str:
    """`WebHook-Request-Origin`: the host of the public URL."""
    if settings.server.public_url:
        return urlsplit(settings.server.public_url).hostname or "localhost"
    return address(settings.server.listen)[0] or "localhost"
