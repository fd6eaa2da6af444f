"""From declared connections and addresses to queue systems: what could be opened, and what not."""

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.sources import Connection
from eventpost.queues import kinds
from eventpost.queues.interfaces import Address


def settings_of(connection: Connection) -> msgspec.Struct:
    """A connection's settings as its kind's own. Raises InvalidRequest. From any thread."""
    kind = kinds.connection_class(connection.kind)
    return kinds.read_settings(connection.settings, kind)


def check_queue(kind: str, connection: Connection | None, address: Address) -> None:
    """Raises InvalidRequest unless such a queue could be opened. From any thread."""
    system = kinds.queue_system(kind)
    if connection is not None and connection.kind != system.CONNECTION_KIND:
        raise InvalidRequest(
            "WrongConnectionKind",
            f"A {kind} queue needs a connection of the kind {system.CONNECTION_KIND}.",
            why=f"{connection.name} is one of the kind {connection.kind}.",
            fix=f"Make one: eventpost connection create NAME --kind {system.CONNECTION_KIND}",
        )
    kinds.options_of(address, system.Options)
