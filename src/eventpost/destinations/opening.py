"""From a place, and the name of a connection, to the storage that keeps files there.

Layer: destinations. Which connection leads to a container may be left to the account's name.
"""

import importlib
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.destinations.kinds import Connecting
from eventpost.destinations.places import Place
from eventpost.destinations.storages import Storage
from eventpost.queues.kinds import check_library


class Connections(Protocol):
    """What leads to places; `kinds.Services` has it."""

    @property
    def connection(self) -> Connecting: ...
    @property
    def account_connection(self) -> Callable[[str], str | None]: ...


class Opener:
    """Storages by their places. From any thread."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def settings(self, place: Place, connection: str | None) -> msgspec.Struct | None:
        """Of the connection, as it is now; None for a folder, which needs none. Raises
        InvalidRequest for one that there is not, and where two lead to an account."""
        kind = getattr(_module(place), "CONNECTION_KIND", None)
        if kind is None:
            return None
        if connection is None and place.account:
            connection = self._connections.account_connection(place.account)
        settings = self._connections.connection(kind, connection)
        if place.account != connection:  # a connection's name will do for its account's
            _check_account(settings, place.account)
        return settings

    def open(self, place: Place, settings: msgspec.Struct | None) -> Storage:
        """Nothing is connected to yet. Raises InvalidRequest."""
        module = _module(place)
        check_library(place.kind, module)
        return cast("Storage", module.new_storage(settings, place))  # type: ignore[attr-defined]


def _check_account(settings: msgspec.Struct, account: str) -> None:
    """Raises InvalidRequest when the connection leads to another account, as far as it says."""
    known = str(getattr(settings, "account", ""))
    if known and account and known != account:
        raise InvalidRequest(
            "OtherAccount",
            f"The connection leads to the account {known!r}, and the place is in {account!r}.",
            fix="Name the connection of that account, or write the place as the connection has it.",
        )


def _module(place: Place) -> object:
    return importlib.import_module(f"{__package__}.{place.kind}")
