"""From declared connections and addresses to queue systems: what could be opened, and what not."""

from collections.abc import Callable, Iterable

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.sources import Connection
from eventpost.credentials.azure_settings import account_of
from eventpost.queues import kinds
from eventpost.queues.interfaces import Address, Queue

STORAGE_ACCOUNT = "azure-storage"


class Queues:
    """Opens queues over connections by their names. `connection_of` is asked from any thread."""

    def __init__(
        self,
        connection_of: Callable[[str], Connection | None],
        services: kinds.Services,
        *,
        connections: Callable[[], Iterable[Connection]] = tuple,
    ) -> None:
        self._connection_of = connection_of
        self._services = services
        self._connections = connections

    def opener(self, kind: str, connection: str | None, address: Address) -> Callable[[], Queue]:
        """What opens the queue, over the connection as it is then. See `destinations.kinds`."""

        def open_queue() -> Queue:
            settings = self._settings(connection)
            return kinds.open_queue(kind, settings, address, self._services)

        return open_queue

    def connection(self, kind: str, name: str | None) -> msgspec.Struct:
        """The settings of a connection of that kind as it is now. See `destinations.kinds`."""
        settings = self._settings(name)
        wanted = kinds.connection_class(kind)
        if settings is None:
            return kinds.read_settings({}, wanted, where="connection")
        if not isinstance(settings, wanted):
            raise InvalidRequest(
                "WrongConnectionKind", f"The connection {name!r} is not of the kind {kind}."
            )
        return settings

    def account_connection(self, account: str) -> str | None:
        """The connection that leads to a storage account: the one that says so, or else the one of
        that name. See `destinations.kinds`."""
        known = [each for each in self._connections() if each.kind == STORAGE_ACCOUNT]
        found = sorted(each.name for each in known if _account(each) == account)
        if len(found) > 1:
            raise InvalidRequest(
                "ConnectionAmbiguous",
                f"The connections {' and '.join(found)} lead to the account {account!r}.",
                fix="Say which: --deadletter-connection NAME, or --connection NAME.",
            )
        return found[0] if found else next((e.name for e in known if e.name == account), None)

    def connection_kind(self, name: str) -> str:
        """See `destinations.kinds`."""
        return self._found(name).kind

    def _settings(self, name: str | None) -> msgspec.Struct | None:
        return None if name is None else settings_of(self._found(name))

    def _found(self, name: str) -> Connection:
        found = self._connection_of(name)
        if found is None:
            raise InvalidRequest(
                "ConnectionNotFound",
                f"There is no connection {name!r}.",
                fix="eventpost connection list shows those there are.",
            )
        return found


def _account(connection: Connection) -> str:
    url = str(connection.settings.get("account_url", ""))
    return str(connection.settings.get("account", "")) or (account_of(url) if url else "")


NO_CONNECTIONS = Queues(lambda _: None, kinds.Services())
"""For an application without any."""


def settings_of(connection: Connection) -> msgspec.Struct:
    """A connection's settings as its kind's own. Raises InvalidRequest. From any thread."""
    kind = kinds.connection_class(connection.kind)
    return kinds.read_settings(connection.settings, kind)


def check_queue(kind: str, connection: Connection | None, address: Address) -> None:
    """Raises InvalidRequest unless such a queue could be opened: it is, and nothing is connected
    to. A secret that is not there yet is none of its faults. From any thread, blocks."""
    system = kinds.queue_system(kind)
    if connection is not None and connection.kind != system.CONNECTION_KIND:
        raise InvalidRequest(
            "WrongConnectionKind",
            f"A {kind} queue needs a connection of the kind {system.CONNECTION_KIND}.",
            why=f"{connection.name} is one of the kind {connection.kind}.",
            fix=f"Make one: eventpost connection create NAME --kind {system.CONNECTION_KIND}",
        )
    settings = None if connection is None else settings_of(connection)
    try:
        kinds.open_queue(kind, settings, address, kinds.Services()).close()
    except InvalidRequest as error:
        if error.code != "SecretMissing":
            raise
