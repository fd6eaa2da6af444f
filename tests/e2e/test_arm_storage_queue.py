"""A storage queue's event subscription, made by the management SDK, and what reaches Azurite."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid import models as m
from azure.storage.queue import QueueClient

from tests.destinations.storages import new_name
from tests.server.running import EVENT, served, until
from tests.server.test_arm import GROUP, SUBSCRIPTION, AdminToken
from tests.services.azurite import ACCOUNT, KEY, Azurite

pytestmark = pytest.mark.slow

TTL_S = 300


@pytest.mark.parametrize("way", ["declared", "named"])
def test_a_message_reaches_the_queue(
    tmp_path: Path, azurite: Azurite, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The account of the `resourceId` leads to the connection that declares it, or is called like
    it; what is published arrives in the queue, with the time to live that was asked for."""
    monkeypatch.setenv("STATION_KEY", KEY)
    monkeypatch.setenv("STATION_STRING", azurite.connection_string)
    declared = {
        "account": ACCOUNT,
        "account_url": azurite.queue_url,
        "account_key": "env:STATION_KEY",
    }
    settings = declared if way == "declared" else {"connection_string": "env:STATION_STRING"}
    name, account = ("station", ACCOUNT) if way == "declared" else ("bluesradio", "bluesradio")
    resource = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/{account}"
    queue_name = new_name()
    with (
        QueueClient.from_connection_string(azurite.connection_string, queue_name) as queue,
        served(tmp_path / "data", tls_dev=True) as server,
    ):
        queue.create_queue()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.data / "tls/ca.pem"))
        with server.admin() as http:
            connection = {"name": name, "kind": "azure-storage", "settings": settings}
            assert http.post("/connections", json=connection).status_code == 201
        with EventGridManagementClient(
            AdminToken(server.token), SUBSCRIPTION, base_url=server.url
        ) as made:
            client: Any = made
            client.topics.begin_create_or_update("radio", "songs", m.Topic(location="x")).result()
            destination = m.StorageQueueEventSubscriptionDestination(
                resource_id=resource,
                queue_name=queue_name,
                queue_message_time_to_live_in_seconds=TTL_S,
            )
            client.topic_event_subscriptions.begin_create_or_update(
                "radio", "songs", "to-queue", m.EventSubscription(destination=destination)
            ).result()

        with server.admin() as http:
            assert http.post("/topics/songs/publish", json=[EVENT]).status_code == 200

        until(lambda: len(queue.peek_messages(max_messages=10)) == 1)
        [message] = queue.receive_messages()
        event = json.loads(base64.b64decode(message.content))
        assert (event["id"], event["data"]) == (EVENT["id"], EVENT["data"])
        assert message.inserted_on is not None
        assert message.expires_on == message.inserted_on + timedelta(seconds=TTL_S)
        queue.delete_queue()
