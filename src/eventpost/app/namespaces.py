"""The namespace that a server is, once it was given a name: kept as a setting of the store."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from eventpost.app import asking
from eventpost.core.errors import Conflict, InvalidRequest, NotFound
from eventpost.core.limits import check_name
from eventpost.core.namespaces import Namespace, is_within
from eventpost.grid import catalogue

if TYPE_CHECKING:
    from eventpost.app.application import App

NAMESPACE = "namespace"
"""The setting's name."""
_NONE = b""


class Namespaces:
    """Implements `server.ports.NamespacesPort`. All calls on the event loop's thread."""

    def __init__(self, app: "App", new_key: Callable[[], str]) -> None:
        self._app = app
        self._new_key = new_key
        self._read: tuple[bytes, Namespace | None] = (_NONE, None)

    @property
    def namespace(self) -> Namespace | None:
        """None as long as it has no name."""
        kept = self._app.grid.settings.get(NAMESPACE, _NONE)
        if kept is not self._read[0]:
            found = msgspec.json.decode(kept, type=Namespace) if kept else None
            self._read = (kept, found)
        return self._read[1]

    def get(self, name: str) -> Namespace:
        """Raises NotFound. Names are the same in upper and lower case."""
        found = self.namespace
        if found is None or found.name.lower() != name.lower():
            raise NotFound(
                "NamespaceNotFound",
                f"There is no namespace {name!r}.",
                why="" if found is None else f"This server is the namespace {found.name!r}.",
            )
        return found

    async def create(self, name: str) -> Namespace:
        """Give the server its name. The same name again changes nothing."""
        check_name("namespace", name, self._app.settings.limits)
        found = self.namespace
        if found is not None:
            if found.name.lower() == name.lower():
                return found
            raise Conflict(
                "NamespaceExists",
                f"This server is the namespace {found.name!r}.",
                why="A server has one endpoint for publishing and pulling, and is one namespace.",
                fix="Use that one, or run another server.",
            )
        made = Namespace(
            name=name,
            key1=self._new_key(),
            key2=self._new_key(),
            created_ms=self._app.now_ms(),
        )
        return await self._put(made)

    async def regenerate_key(self, name: str, key_name: str) -> Namespace:
        """The other key goes on being good. Raises InvalidRequest for another key's name."""
        found = self.get(name)
        if key_name not in ("key1", "key2"):
            raise InvalidRequest(
                "InvalidKeyName", f"There is no key {key_name!r}.", fix="use key1 or key2"
            )
        return await self._put(msgspec.structs.replace(found, **{key_name: self._new_key()}))

    async def delete(self, name: str) -> None:
        """Take name and keys away. Raises Conflict while it has topics: each is deleted by who
        means it."""
        found = self.get(name)
        topics = sorted(topic.name for topic in self._app.topics() if is_within(topic))
        if topics:
            raise Conflict(
                "NamespaceNotEmpty",
                f"The namespace {found.name!r} has topics: {', '.join(topics[:10])}.",
                fix="Delete them first.",
            )
        await self._keep(_NONE)

    async def _put(self, namespace: Namespace) -> Namespace:
        await self._keep(msgspec.json.encode(namespace))
        return namespace

    async def _keep(self, value: bytes) -> None:
        grid = self._app.grid
        await asking.durable(lambda done: catalogue.put_setting(grid, NAMESPACE, value, done))
