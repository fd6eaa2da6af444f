"""The Python client: management and publishing, synchronous and asynchronous.

from eventpost import Client

with Client() as client:
    client.create_topic("song-requests")
"""

from eventpost.client.clients import AsyncClient, Client
from eventpost.core.errors import ServerUnreachable

__all__ = ["AsyncClient", "Client", "ServerUnreachable"]
