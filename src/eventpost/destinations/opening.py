"""From a place, and the name of a connection, to the storage that keeps files there.

Layer: destinations. Which connection leads to a container may be left to the account's name.
"""

import importlib
from typing import cast

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.destinations.kinds import Services
from eventpost.destinations.places import Place
from eventpost.destinations.storages import Storage
from eventpost.http.failures import bounded
from eventpost.queues.kinds import check_library


class Opener:
    """Storages by their places. From any thread."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def settings(self, place: Place, connection: str | None) -> msgspec.Struct | None:
        """Of the connection, as it is now; None for a folder, which needs none. Raises
        InvalidRequest for one that there is not, and where two lead to an account."""
        kind = getattr(_module(place), "CONNECTION_KIND", None)
        if kind is None:
            return None
        if connection is None and place.account:
            connection = self._services.account_connection(place.account)
        return self._services.connection(kind, connection)

    def open(self, place: Place, settings: msgspec.Struct | None) -> Storage:
        """Nothing is connected to yet. Raises InvalidRequest."""
        module = _module(place)
        check_library(place.kind, module)
        return cast("Storage", module.new_storage(settings, place))  # type: ignore[attr-defined]


def unusable(error: InvalidRequest) -> Failed:
    """Why a place cannot be used: nothing was tried."""
    missing = error.code in ("SecretMissing", "ConnectionNotFound")
    fault = Fault.NOT_FOUND if missing else Fault.MALFORMED
    evidence = Evidence(stage=Stage.SETTINGS, fault=fault, detail=bounded(str(error)))
    return Failed(evidence, is_counted=False)


def _module(place: Place) -> object:
    return importlib.import_module(f"{__package__}.{place.kind}")
