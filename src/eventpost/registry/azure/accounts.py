"""Which connection leads to a storage account that a resource id names, or speaks for a tenant.

Layer: registry.
"""

from collections.abc import Iterable
from typing import Protocol

from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import excerpt
from eventpost.formats import resources

KIND = "azure-storage"
APPLICATIONS = "entra"


class Declared(Protocol):
    """A connection as it is declared."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def settings(self) -> dict[str, object]: ...


def endpoint(resource: str, connections: Iterable[Declared]) -> dict[str, object]:
    """The fields of a subscription that delivers to this queue of Azure Storage.

    Raises InvalidRequest for any other resource, and when no connection leads to the account.
    """
    found = resources.queue(resource)
    if found is None or not found.name:
        raise InvalidRequest(
            "ResourceNotSupported",
            f"{excerpt(resource)} cannot be delivered to.",
            why="Of Azure's resources queues of storage accounts are; the others are reached by "
            "the URL of a webhook.",
            fix="Give the URL that takes the events, or "
            ".../storageAccounts/ACCOUNT/queueServices/default/queues/QUEUE.",
        )
    name = connection(found.account, connections)
    return {"endpoint": found.name, "endpointType": "storagequeue", "connection": name}


def connection(account: str, connections: Iterable[Declared]) -> str:
    """The connection that declares the account, or is named like it. Raises InvalidRequest."""
    of_kind = [each for each in connections if each.kind == KIND]
    for each in of_kind:
        if str(each.settings.get("account", "")).lower() == account.lower():
            return each.name
    for each in of_kind:
        if each.name.lower() == account.lower():
            return each.name
    raise InvalidRequest(
        "AccountNotConnected",
        f"No connection leads to the storage account {excerpt(account)}.",
        why="A resource id says which account it is, not how it is reached from here.",
        fix=f"eventpost connection create {account} --kind {KIND} --set account={account}",
    )


def application(tenant: str, connections: Iterable[Declared]) -> str | None:
    """The connection that declares an application of that tenant; None where none does, and the
    SDK's own chain finds who we are. Raises InvalidRequest where several do."""
    found = [
        each.name
        for each in connections
        if each.kind == APPLICATIONS
        and str(each.settings.get("tenant_id", "")).lower() == tenant.lower()
    ]
    if len(found) > 1:
        raise InvalidRequest(
            "ConnectionAmbiguous",
            f"The connections {' and '.join(sorted(found))} are for the tenant {excerpt(tenant)}.",
            fix="Say which with eventpost subscription update --connection NAME, or delete one.",
        )
    return found[0] if found else None
