"""Connections as their management sees them: declared, changed, and kept while they are used."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from eventpost.app import asking
from eventpost.app.queues import settings_of
from eventpost.core.errors import Conflict, InvalidRequest, NotFound
from eventpost.core.source_bounds import check_connection
from eventpost.core.sources import Connection
from eventpost.core.subscriptions import Subscription
from eventpost.credentials import reports
from eventpost.credentials.reports import Report
from eventpost.grid import catalogue

if TYPE_CHECKING:
    from eventpost.app.application import App


class Connecting:
    """Implements `server.ports.ConnectionsPort`. All calls on the event loop's thread."""

    def __init__(self, app: "App") -> None:
        self._app = app
        self.on_changed: Callable[[str], None] = lambda _: None
        """Told the name of a connection whose settings changed."""

    def all(self) -> list[Connection]:
        return sorted(self._app.grid.connections.values(), key=lambda each: each.name)

    def get(self, name: str) -> Connection:
        found = self._app.grid.connections.get(name)
        if found is None:
            raise NotFound(
                "ConnectionNotFound",
                f"There is no connection {name!r}.",
                fix="eventpost connection list shows those there are.",
            )
        return found

    def users(self, name: str) -> list[str]:
        """What uses the connection, as `source NAME` and `subscription NAME of TOPIC`."""
        grid = self._app.grid
        sources = [
            f"source {each.name}" for each in grid.sources.values() if each.connection == name
        ]
        subscriptions = [
            f"subscription {each.name} of {grid.topics[each.topic_id].name}"
            for each in grid.subscriptions.values()
            if name in _used(each)
        ]
        return sorted(sources) + sorted(subscriptions)

    def credentials(self, name: str) -> Report | None:
        """Who answered when credentials were asked for; None as long as nobody has asked."""
        try:
            return reports.known(settings_of(self.get(name)))
        except InvalidRequest:  # its kind's library is gone
            return None

    async def create(self, draft: Connection) -> Connection:
        """Keep a connection. Nothing is connected to."""
        await self._check(draft)
        if draft.name in self._app.grid.connections:
            raise Conflict(
                "ConnectionExists",
                f"There is a connection {draft.name!r} already.",
                fix="choose another name, or use eventpost connection update",
            )
        return await self._put(msgspec.structs.replace(draft, created_ms=self._app.now_ms()))

    async def update(self, name: str, draft: Connection) -> Connection:
        """Replace the settings; what uses the connection goes on over a new one, and loses
        nothing."""
        await self._check(draft)
        current = self.get(name)
        if draft.kind != current.kind and self.users(name):
            raise InvalidRequest(
                "ConnectionInUse",
                f"The connection {name!r} is of the kind {current.kind}, and is used.",
                why=f"By {', '.join(self.users(name))}.",
                fix="create another connection, and move what uses this one to it",
            )
        return await self._put(msgspec.structs.replace(draft, created_ms=current.created_ms))

    async def delete(self, name: str) -> None:
        self.get(name)
        users = self.users(name)
        if users:
            raise Conflict(
                "ConnectionInUse",
                f"The connection {name!r} is used by {', '.join(users)}.",
                fix="delete these first, or give them another connection",
            )
        await asking.durable(lambda done: catalogue.remove_connection(self._app.grid, name, done))

    async def _check(self, draft: Connection) -> None:
        check_connection(draft, self._app.settings.limits)
        # The kind's module is imported, which may take a moment.
        await asyncio.to_thread(settings_of, draft)

    async def _put(self, connection: Connection) -> Connection:
        is_changed = connection.name in self._app.grid.connections
        await asking.durable(
            lambda done: catalogue.put_connection(self._app.grid, connection, done)
        )
        if is_changed:
            self.on_changed(connection.name)
        return connection


def _used(subscription: Subscription) -> list[str | None]:
    pending = subscription.pending_endpoint
    used = [subscription.endpoint.connection, subscription.deadletter_connection]
    return used if pending is None else [*used, pending.connection]
