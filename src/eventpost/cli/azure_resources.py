"""Ids of Azure's resources, as `az eventgrid` takes them, turned into what they are here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventpost.client import Client


def resolve(declared: dict[str, object], client: "Client") -> None:
    """Replace resource ids in a declared subscription, in place: the container of its dead letters,
    and the queue or the container that it delivers to.

    A queue's account is found among the connections. Raises InvalidRequest for what is not.
    """
    from eventpost.formats import resources
    from eventpost.registry.azure import accounts

    place = declared.get("deadletter")
    if isinstance(place, str):
        declared["deadletter"] = resources.dead_letter_place(place)
    address = declared.get("endpoint")
    if isinstance(address, str) and resources.is_resource(address):
        declared |= accounts.endpoint(address, client.list_connections())
