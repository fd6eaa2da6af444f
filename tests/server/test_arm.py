"""The official management SDK, with another `base_url` and credential and nothing else."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid import models as m

from eventpost.testing import Receiver
from tests.server.running import Served, served

Client = Any
"""An EventGridManagementClient; its models call every field optional, which answers are not."""
SUBSCRIPTION = "5f750a97-50d9-4e36-8081-c9ee4c0210d4"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/radio"
SCOPE = f"{GROUP}/providers/Microsoft.EventGrid/topics/songs"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/bluesradio"


class AdminToken:
    """A credential that holds the admin token, as the page shows it."""

    def __init__(self, token: str) -> None:
        self.token = token

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(self.token, int(time.time()) + 3_600)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("arm"), tls_dev=True) as found:
        yield found


@pytest.fixture
def client(server: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.data / "tls/ca.pem"))
    credential = AdminToken(server.token)
    with EventGridManagementClient(credential, SUBSCRIPTION, base_url=server.url) as made:
        found: Client = made
        found.topics.begin_create_or_update("radio", "songs", m.Topic(location="local")).result()
        yield found
        for topic in found.topics.list_by_resource_group("radio"):
            if not topic.name.startswith("eventpost."):
                found.topics.begin_delete("radio", topic.name).result()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def webhook(url: str, **properties: Any) -> m.WebHookEventSubscriptionDestination:
    return m.WebHookEventSubscriptionDestination(endpoint_url=url, **properties)


def admin(server: Served, path: str) -> Any:
    with server.admin() as http:
        answer = http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


# --- topics ---------------------------------------------------------------------------------------


def test_a_topic_and_its_keys(server: Served, client: Client) -> None:
    """A topic that the SDK makes is a topic: it is listed, its keys publish, and one is renewed."""
    made = client.topics.begin_create_or_update(
        "radio", "orders", m.Topic(location="westus2", input_schema="CloudEventSchemaV1_0")
    ).result()
    keys = client.topics.list_shared_access_keys("radio", "orders")
    renewed = client.topics.begin_regenerate_key(
        "radio", "orders", m.TopicRegenerateKeyRequest(key_name="key1")
    ).result()

    assert made.endpoint == f"{server.url}/topics/orders/api/events"
    assert made.provisioning_state == "Succeeded"
    assert made.input_schema == "CloudEventSchemaV1_0"
    assert made.id == SCOPE.replace("songs", "orders")
    assert (renewed.key1, renewed.key2) != (keys.key1, keys.key2)
    assert renewed.key2 == keys.key2
    assert server.key("orders") == renewed.key1
    listed = {topic.name for topic in client.topics.list_by_resource_group("radio")}
    assert {"songs", "orders"} <= listed
    assert listed == {topic.name for topic in client.topics.list_by_subscription()}
    assert listed == {topic["name"] for topic in admin(server, "/topics")["value"]}
    assert client.topics.get("radio", "ORDERS").name == "orders"


def test_a_topic_again(client: Client) -> None:
    """PUT of what is there changes nothing; another schema is refused, deleting twice is not."""
    again = client.topics.begin_create_or_update("radio", "songs", m.Topic(location="x")).result()
    assert again.name == "songs"

    with pytest.raises(ResourceExistsError, match="another input schema"):
        client.topics.begin_create_or_update(
            "radio", "songs", m.Topic(location="x", input_schema="CloudEventSchemaV1_0")
        )
    parameters = m.TopicUpdateParameters(public_network_access="Enabled")
    client.topics.begin_update("radio", "songs", parameters).result()
    client.topics.begin_delete("radio", "nowhere").result()
    with pytest.raises(ResourceNotFoundError, match="no topic 'nowhere'"):
        client.topics.get("radio", "nowhere")


def test_a_mapping(client: Client) -> None:
    """The input mapping of a custom schema comes back as it was given."""
    mapping = m.JsonInputSchemaMapping(
        id=m.JsonField(source_field="number"),
        event_type=m.JsonFieldWithDefault(source_field="kind", default_value="Song"),
        subject=m.JsonFieldWithDefault(default_value="station"),
    )
    topic = m.Topic(location="x", input_schema="CustomEventSchema", input_schema_mapping=mapping)

    client.topics.begin_create_or_update("radio", "custom", topic).result()
    found = client.topics.get("radio", "custom")

    assert found.input_schema == "CustomEventSchema"
    shown: Any = found.input_schema_mapping
    assert shown.input_schema_mapping_type == "Json"
    assert shown.id.source_field == "number"
    assert (shown.event_type.source_field, shown.event_type.default_value) == ("kind", "Song")
    assert shown.subject.default_value == "station"


@pytest.mark.parametrize(
    ("topic", "field"),
    [
        ({"tags": {"team": "a"}}, "tags"),
        ({"identity": m.IdentityInfo(type="SystemAssigned")}, "identity"),
        ({"public_network_access": "Disabled"}, "properties.publicNetworkAccess"),
        ({"inbound_ip_rules": [m.InboundIpRule(ip_mask="10.0.0.1")]}, "properties.inboundIpRules"),
        ({"disable_local_auth": True}, "properties.disableLocalAuth"),
        ({"minimum_tls_version_allowed": "1.3"}, "properties.minimumTlsVersionAllowed"),
    ],
)
def test_what_a_topic_does_not_have(client: Client, topic: dict[str, Any], field: str) -> None:
    """A field without a meaning here is refused by its name, and no topic is made."""
    with pytest.raises(HttpResponseError, match=f"field {field} is not supported") as refused:
        client.topics.begin_create_or_update("radio", "with", m.Topic(location="x", **topic))

    assert refused.value.status_code == 400
    assert refused.value.error is not None
    assert refused.value.error.code == "FieldNotSupported"
    with pytest.raises(ResourceNotFoundError):
        client.topics.get("radio", "with")


# --- event subscriptions --------------------------------------------------------------------------


def test_a_webhook_from_its_making_to_its_end(
    server: Served, client: Client, receiver: Receiver
) -> None:
    """A webhook subscription with everything that it can have is made, its handshake included, and
    shown by both views; it gets events, is changed, and deleted."""
    url = f"{receiver.url}?code=secret"
    wanted = m.EventSubscription(
        destination=webhook(
            url,
            max_events_per_batch=10,
            preferred_batch_size_in_kilobytes=128,
            delivery_attribute_mappings=[
                m.StaticDeliveryAttributeMapping(name="X-Key", value="k", is_secret=True),
                m.DynamicDeliveryAttributeMapping(name="X-Genre", source_field="data.genre"),
            ],
        ),
        filter=m.EventSubscriptionFilter(
            included_event_types=["Song.Requested"],
            subject_begins_with="genre/",
            is_subject_case_sensitive=True,
            advanced_filters=[m.NumberGreaterThanAdvancedFilter(key="data.year", value=1950)],
        ),
        labels=["blues"],
        expiration_time_utc=datetime(2100, 1, 1, tzinfo=UTC),
        event_delivery_schema="CloudEventSchemaV1_0",
        retry_policy=m.RetryPolicy(max_delivery_attempts=2, event_time_to_live_in_minutes=1),
        dead_letter_destination=m.StorageBlobDeadLetterDestination(
            resource_id=ACCOUNT, blob_container_name="deadletters"
        ),
    )

    operations = client.topic_event_subscriptions
    made = operations.begin_create_or_update("radio", "songs", "blues", wanted).result()

    assert made.provisioning_state == "Succeeded"
    assert made.topic == SCOPE
    shown = operations.get("radio", "songs", "BLUES")
    assert shown.destination.endpoint_base_url == receiver.url
    assert shown.destination.endpoint_url is None
    assert shown.destination.max_events_per_batch == 10
    assert shown.filter.included_event_types == ["Song.Requested"]
    assert shown.filter.is_subject_case_sensitive
    assert shown.filter.advanced_filters[0].value == 1950
    assert shown.labels == ["blues"]
    assert shown.expiration_time_utc == datetime(2100, 1, 1, tzinfo=UTC)
    assert shown.event_delivery_schema == "CloudEventSchemaV1_0"
    assert shown.retry_policy.max_delivery_attempts == 2
    assert shown.dead_letter_destination.blob_container_name == "deadletters"
    assert operations.get_full_url("radio", "songs", "blues").endpoint_url == url
    attributes = operations.get_delivery_attributes("radio", "songs", "blues").value
    assert [each.name for each in attributes] == ["X-Key", "X-Genre"]
    assert attributes[0].value is None
    other_view = admin(server, "/subscriptions/blues?topic=songs")
    assert other_view["deadletter"] == "azureblob://bluesradio/deadletters"
    assert other_view["maxEventsPerBatch"] == 10

    song = {"subject": "genre/blues", "eventType": "Song.Requested", "data": {"year": 1951}}
    event = {"id": "1", "eventTime": "2026-01-01T00:00:00Z", "dataVersion": "1", **song}
    with server.http() as http:
        path, headers = "/topics/songs/api/events", {"aeg-sas-key": server.key("songs")}
        assert http.post(path, json=[event], headers=headers).status_code == 200
    (request,) = receiver.wait_for(1)
    assert request.events[0]["source"].endswith("/topics/songs")
    assert request.headers["x-key"] == "k"

    change = m.EventSubscriptionUpdateParameters(labels=["rock"])
    assert operations.begin_update("radio", "songs", "blues", change).result().labels == ["rock"]
    kept = operations.get("radio", "songs", "blues")
    assert kept.retry_policy.max_delivery_attempts == 2
    assert operations.get_full_url("radio", "songs", "blues").endpoint_url == url
    operations.begin_delete("radio", "songs", "blues").result()
    assert list(operations.list("radio", "songs")) == []


@pytest.mark.parametrize(
    "scope", [SCOPE, SCOPE.removeprefix("/"), SCOPE.replace("/topics", "/TOPICS")]
)
def test_the_style_by_scope(client: Client, receiver: Receiver, scope: str) -> None:
    """The older style names the topic by its whole id; its answers are what its client takes, also
    when something is there already."""
    operations = client.event_subscriptions
    wanted = m.EventSubscription(destination=webhook(receiver.url), labels=["a"])

    for _ in range(2):
        made = operations.begin_create_or_update(scope, "by-scope", wanted).result()
        assert made.name == "by-scope"
    change = m.EventSubscriptionUpdateParameters(
        filter=m.EventSubscriptionFilter(subject_ends_with="x")
    )
    changed = operations.begin_update(scope, "by-scope", change).result()

    assert changed.filter.subject_ends_with == "x"
    assert changed.labels == ["a"]
    assert operations.get(scope, "by-scope").name == "by-scope"
    assert operations.get_full_url(scope, "by-scope").endpoint_url == receiver.url
    assert operations.get_delivery_attributes(scope, "by-scope").value == []
    lists = [
        operations.list_by_resource("radio", "Microsoft.EventGrid", "topics", "songs"),
        operations.list_global_by_resource_group("radio"),
        operations.list_global_by_subscription(),
        operations.list_global_by_subscription_for_topic_type("Microsoft.EventGrid.Topics"),
        operations.list_regional_by_subscription("westus2"),
    ]
    assert [[each.name for each in found] for found in lists] == [["by-scope"]] * 5
    other = operations.list_global_by_subscription_for_topic_type(
        "Microsoft.Storage.StorageAccounts"
    )
    assert list(other) == []
    operations.begin_delete(scope, "by-scope").result()
    operations.begin_delete(scope, "by-scope").result()


def test_put_sets_back_what_it_leaves_out(
    server: Served, client: Client, receiver: Receiver
) -> None:
    """A PUT is the whole of what Azure knows; what only eventpost has stays as it is."""
    operations = client.topic_event_subscriptions
    first = m.EventSubscription(
        destination=webhook(receiver.url),
        labels=["a"],
        filter=m.EventSubscriptionFilter(subject_begins_with="x"),
        retry_policy=m.RetryPolicy(max_delivery_attempts=2, event_time_to_live_in_minutes=3),
    )
    operations.begin_create_or_update("radio", "songs", "whole", first).result()
    with server.admin() as http:
        changes = {"rate": "5/s", "retry": {"schedule": "1s,2s"}}
        assert http.patch("/subscriptions/whole", json=changes).status_code == 200

    second = m.EventSubscription(destination=webhook(receiver.url))
    operations.begin_create_or_update("radio", "songs", "whole", second).result()

    shown = admin(server, "/subscriptions/whole")
    assert shown["labels"] == []
    assert shown["filter"]["subjectBeginsWith"] == ""
    assert shown["retry"]["maxDeliveryAttempts"] == 30
    assert shown["retry"]["eventTtlMinutes"] == 1440
    assert shown["retry"]["schedule"] == ["1s", "2s"]
    assert shown["rate"] == 5


def test_a_storage_queue(server: Served, client: Client) -> None:
    """A queue of a storage account is delivered to over the connection that declares the account;
    without one the answer says how to make it."""
    operations = client.topic_event_subscriptions
    queue = m.StorageQueueEventSubscriptionDestination(
        resource_id=ACCOUNT, queue_name="songs", queue_message_time_to_live_in_seconds=300
    )
    wanted = m.EventSubscription(destination=queue)
    with pytest.raises(HttpResponseError, match="connection create bluesradio"):
        operations.begin_create_or_update("radio", "songs", "to-queue", wanted)
    with server.admin() as http:
        settings = {"account": "bluesradio"}
        connection = {"name": "station", "kind": "azure-storage", "settings": settings}
        assert http.post("/connections", json=connection).status_code == 201

    operations.begin_create_or_update("radio", "songs", "to-queue", wanted).result()

    shown = operations.get("radio", "songs", "to-queue").destination
    assert isinstance(shown, m.StorageQueueEventSubscriptionDestination)
    assert (shown.resource_id, shown.queue_name) == (ACCOUNT, "songs")
    assert shown.queue_message_time_to_live_in_seconds == 300
    view = admin(server, "/subscriptions/to-queue")
    assert (view["endpointType"], view["connection"]) == ("storagequeue", "station")
    operations.begin_delete("radio", "songs", "to-queue").result()
    with server.admin() as http:
        assert http.delete("/connections/station").status_code == 204


def test_an_endpoint_that_refuses(client: Client, receiver: Receiver) -> None:
    """A handshake that fails is an error with its finding, and nothing is kept."""
    receiver.consent = False
    wanted = m.EventSubscription(destination=webhook(receiver.url))

    with pytest.raises(HttpResponseError, match="did not consent") as refused:
        client.topic_event_subscriptions.begin_create_or_update("radio", "songs", "refused", wanted)

    assert refused.value.error is not None
    assert str(refused.value.error.code).startswith("EP26")
    assert list(client.topic_event_subscriptions.list("radio", "songs")) == []


URL = "https://station.example/api"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"destination": m.EventHubEventSubscriptionDestination(resource_id="/x")}, "EventHub"),
        ({"destination": m.AzureFunctionEventSubscriptionDestination(resource_id="/x")}, "Azure"),
        ({"destination": webhook(URL, azure_active_directory_tenant_id="t")}, "URI is missing"),
        ({"destination": webhook(URL, minimum_tls_version_allowed="1.3")}, "minimumTlsVersion"),
        (
            {
                "delivery_with_resource_identity": m.DeliveryWithResourceIdentity(
                    destination=webhook(URL)
                ),
                "destination": webhook(URL),
            },
            "deliveryWithResourceIdentity",
        ),
        (
            {
                "destination": webhook(URL),
                "dead_letter_with_resource_identity": m.DeadLetterWithResourceIdentity(),
            },
            "deadLetterWithResourceIdentity",
        ),
    ],
)
def test_what_a_subscription_does_not_have(
    client: Client, wanted: dict[str, Any], field: str
) -> None:
    """A destination or a field that is not supported is named, never passed over."""
    with pytest.raises(HttpResponseError, match=field) as refused:
        client.topic_event_subscriptions.begin_create_or_update(
            "radio", "songs", "odd", m.EventSubscription(**wanted)
        )

    assert refused.value.status_code == 400
    assert list(client.topic_event_subscriptions.list("radio", "songs")) == []


def test_what_is_not_managed_here(client: Client) -> None:
    """System topics and the rest are told not to be here."""
    with pytest.raises(ResourceNotFoundError, match="system topics"):
        client.system_topics.get("radio", "stations")
    with pytest.raises(ResourceNotFoundError, match="ResourceNotSupported"):
        client.partner_topics.get("radio", "stations")


# --- who may, and malformed requests --------------------------------------------------------------


def test_only_the_admin_token(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another token manages nothing."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.data / "tls/ca.pem"))
    with (
        EventGridManagementClient(AdminToken("x"), SUBSCRIPTION, base_url=server.url) as client,
        pytest.raises(ClientAuthenticationError, match="admin token"),
    ):
        client.topics.get("radio", "songs")


BAD_WEBHOOK = b'{"properties": {"destination": {"endpointType": "WebHook", "properties": 7}}}'


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", SCOPE, b"{", 400),
        ("PUT", SCOPE, b"[]", 400),
        ("PUT", f"{SCOPE}/eventSubscriptions/x-1", b"{}", 400),
        ("PUT", f"{SCOPE}/eventSubscriptions/x-1", b'{"properties": {}}', 400),
        ("PUT", f"{SCOPE}/eventSubscriptions/x-1", b'{"properties": {"destination": 7}}', 400),
        ("PUT", f"{SCOPE}/eventSubscriptions/x-1", BAD_WEBHOOK, 400),
        ("POST", SCOPE, b"", 405),
        ("POST", f"{SCOPE}/regenerateKey", b"{}", 400),
        ("GET", f"{SCOPE}/eventSubscriptions?$filter=x", b"", 400),
        ("GET", f"{SCOPE}/nothing", b"", 404),
        ("GET", "/subscriptions", b"", 404),
    ],
)  # fmt: skip
def test_malformed_requests(
    server: Served,
    client: Client,
    method: str,
    path: str,
    body: bytes,
    status: int,
) -> None:
    """What cannot be read is refused in the form that ARM's clients read."""
    assert client is not None
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.url, headers=headers, verify=False, timeout=60) as http:
        answer = http.request(method, path, content=body)

    assert answer.status_code == status
    if path.startswith(GROUP):
        assert answer.json()["error"]["message"]


def test_the_path_of_the_data(tmp_path: Path) -> None:
    """The routes are there without TLS as well, for clients that do not insist on it."""
    with served(tmp_path) as server, server.http() as http:
        headers = {"Authorization": f"Bearer {server.token}"}
        answer = http.get(f"{GROUP}/providers/Microsoft.EventGrid/topics", headers=headers)

    assert "eventpost.deadletters" in [topic["name"] for topic in answer.json()["value"]]
