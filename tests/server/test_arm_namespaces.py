"""Namespaces, their topics and pull subscriptions with the official management SDK, unchanged."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridConsumerClient, EventGridPublisherClient
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid import models as m

from eventpost.testing import Receiver
from tests.server.running import Served, served
from tests.server.test_arm import GROUP, SUBSCRIPTION, AdminToken, Client, webhook

RADIO = ("radio", "station")
SONGS = (*RADIO, "songs")
BLUES = (*SONGS, "blues")
DELIVERY = b'{"properties": {"deliveryConfiguration": %b}}'
QUEUE = b'{"deliveryMode": "Queue", "queue": %b}'
TTL = b'{"eventTimeToLive": %b}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("arm"), tls_dev=True) as found:
        yield found


@pytest.fixture
def client(server: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """With the namespace `station` and its topic `songs`."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.data / "tls/ca.pem"))
    credential = AdminToken(server.token)
    with EventGridManagementClient(credential, SUBSCRIPTION, base_url=server.url) as made:
        found: Client = made
        found.namespaces.begin_create_or_update(*RADIO, m.Namespace(location="x")).result()
        found.namespace_topics.begin_create_or_update(*SONGS, m.NamespaceTopic()).result()
        yield found
        for topic in found.topics.list_by_resource_group("radio"):
            if not topic.name.startswith("eventpost."):
                found.topics.begin_delete("radio", topic.name).result()
        found.namespaces.begin_delete(*RADIO).result()


def pulled(**queue: Any) -> m.Subscription:
    delivery = m.DeliveryConfiguration(delivery_mode="Queue", queue=m.QueueInfo(**queue))
    return m.Subscription(delivery_configuration=delivery)


def subscribe(client: Client, wanted: m.Subscription) -> Any:
    operations = client.namespace_topic_event_subscriptions
    return operations.begin_create_or_update(*BLUES, wanted).result()


def test_a_namespace(server: Served, client: Client) -> None:
    """It is made, shown, listed, changed and made again; a server is one, so that another name is
    refused, and it goes only when it is empty."""
    sku = m.NamespaceSku(name="Standard", capacity=2)
    again = client.namespaces.begin_create_or_update(
        *RADIO, m.Namespace(location="x", sku=sku)
    ).result()
    changed = client.namespaces.begin_update(
        *RADIO, m.NamespaceUpdateParameters(public_network_access="Enabled")
    ).result()

    assert again.provisioning_state == changed.provisioning_state == "Succeeded"
    assert f"https://{again.topics_configuration.hostname}" == server.url
    assert client.namespaces.get("radio", "STATION").name == "station"
    for found in (
        client.namespaces.list_by_resource_group("radio"),
        client.namespaces.list_by_subscription(),
    ):
        assert [each.name for each in found] == ["station"]
    with pytest.raises(ResourceExistsError, match="is the namespace 'station'"):
        client.namespaces.begin_create_or_update("radio", "other", m.Namespace(location="x"))
    with pytest.raises(ResourceExistsError, match="has topics: songs"):
        client.namespaces.begin_delete(*RADIO)
    with pytest.raises(ResourceNotFoundError, match="no namespace 'other'"):
        client.namespaces.get("radio", "other")
    client.namespaces.begin_delete("radio", "other").result()


def test_a_topic(server: Served, client: Client) -> None:
    """A topic of the namespace is a topic of CloudEvents, whichever way it was made."""
    operations = client.namespace_topics
    shown = operations.get(*SONGS)
    updated = operations.begin_update(
        *SONGS, m.NamespaceTopicUpdateParameters(event_retention_in_days=1)
    ).result()
    client.topics.begin_create_or_update(
        "radio", "letters", m.Topic(location="x", input_schema="CloudEventSchemaV1_0")
    ).result()
    client.topics.begin_create_or_update("radio", "orders", m.Topic(location="x")).result()

    assert shown.input_schema == updated.input_schema == "CloudEventSchemaV1_0"
    assert shown.event_retention_in_days == 1
    assert shown.id.endswith("/namespaces/station/topics/songs")
    names = [each.name for each in operations.list_by_namespace(*RADIO)]
    assert sorted(names) == ["letters", "songs"]
    with pytest.raises(ResourceNotFoundError, match="in no namespace"):
        operations.get(*RADIO, "orders")
    with pytest.raises(ResourceExistsError, match="another input schema"):
        operations.begin_create_or_update(*RADIO, "orders", m.NamespaceTopic())
    operations.begin_delete(*RADIO, "letters").result()
    operations.begin_delete(*RADIO, "letters").result()
    with pytest.raises(ResourceNotFoundError):
        operations.get(*RADIO, "letters")


def test_publish_and_pull_with_what_was_made(server: Served, client: Client) -> None:
    """The namespace's keys open its topics for the official clients, and a renewed one does; those
    of another namespace's time do not. The topic's own keys open it, too."""
    subscribe(client, pulled())
    keys = client.namespaces.list_shared_access_keys(*RADIO)
    own = client.namespace_topics.list_shared_access_keys(*SONGS)
    other = client.namespace_topics.begin_regenerate_key(
        *SONGS, m.TopicRegenerateKeyRequest(key_name="key2")
    ).result()
    assert other.key1 == own.key1
    assert other.key2 != own.key2

    def round_trip(key: str) -> list[str]:
        credential = AzureKeyCredential(key)
        where = {"namespace_topic": "songs"}
        with (
            EventGridPublisherClient(server.url, credential, **where) as publisher,
            EventGridConsumerClient(
                server.url, credential, subscription="blues", **where
            ) as consumer,
        ):
            publisher.send([CloudEvent(source="/radio", type="Song.Requested", data={"a": 1})])
            [received] = consumer.receive(max_events=10, max_wait_time=10)
            done = consumer.acknowledge(lock_tokens=[received.broker_properties.lock_token])
            return list(done.succeeded_lock_tokens)

    for key in (keys.key1, keys.key2, own.key1):
        assert len(round_trip(key)) == 1
    renewed = client.namespaces.begin_regenerate_key(
        *RADIO, m.NamespaceRegenerateKeyRequest(key_name="key1")
    ).result()
    assert renewed.key2 == keys.key2
    assert len(round_trip(renewed.key1)) == 1
    with pytest.raises(HttpResponseError):
        round_trip(keys.key1)


def test_the_namespaces_keys_open_nothing_else(server: Served, client: Client) -> None:
    """Neither a topic of another schema, nor a built-in one, nor the management."""
    client.topics.begin_create_or_update("radio", "orders", m.Topic(location="x")).result()
    key = client.namespaces.list_shared_access_keys(*RADIO).key1

    with server.http() as http:
        headers = {"Authorization": f"SharedAccessKey {key}"}
        for topic in ("orders", "eventpost.deadletters"):
            assert http.post(f"/topics/{topic}:publish", headers=headers).status_code == 401
        answer = http.post("/topics/songs/api/events", headers={"aeg-sas-key": key}, json=[])
        assert answer.status_code == 401
        assert http.get("/admin/v1/topics", headers=headers).status_code == 401


def test_a_pull_subscription(server: Served, client: Client) -> None:
    """It is made, shown in both views, changed and deleted, with its filter and its times."""
    operations = client.namespace_topic_event_subscriptions
    wanted = pulled(
        receive_lock_duration_in_seconds=90,
        max_delivery_count=3,
        event_time_to_live=timedelta(hours=23, minutes=12),
    )
    wanted.event_delivery_schema = "CloudEventSchemaV1_0"
    wanted.filters_configuration = m.FiltersConfiguration(
        included_event_types=["Song.Requested"],
        filters=[m.NumberGreaterThanFilter(key="data.year", value=1950)],
    )

    made = subscribe(client, wanted)

    queue = made.delivery_configuration.queue
    assert made.delivery_configuration.delivery_mode == "Queue"
    assert (queue.receive_lock_duration_in_seconds, queue.max_delivery_count) == (90, 3)
    assert queue.event_time_to_live == timedelta(hours=23, minutes=12)
    assert made.filters_configuration.included_event_types == ["Song.Requested"]
    [clause] = made.filters_configuration.filters
    assert (clause.operator_type, clause.key, clause.value) == (
        "NumberGreaterThan",
        "data.year",
        1950,
    )
    with server.admin() as http:
        view = http.get("/subscriptions/blues").json()
    assert (view["endpointType"], view["topic"]) == ("pull", "songs")
    assert view["receiveLockDurationInSeconds"] == 90

    operations.begin_update(
        *BLUES,
        m.SubscriptionUpdateParameters(
            delivery_configuration=m.DeliveryConfiguration(
                delivery_mode="Queue", queue=m.QueueInfo(max_delivery_count=5)
            )
        ),
    ).result()
    changed = operations.get(*BLUES)
    assert changed.delivery_configuration.queue.max_delivery_count == 5
    assert changed.delivery_configuration.queue.receive_lock_duration_in_seconds == 90
    assert changed.filters_configuration.included_event_types == ["Song.Requested"]
    again = subscribe(client, pulled(max_delivery_count=5))
    assert again.filters_configuration.included_event_types is None
    assert [each.name for each in operations.list_by_namespace_topic(*SONGS)] == ["blues"]
    operations.begin_delete(*BLUES).result()
    operations.begin_delete(*BLUES).result()
    assert list(operations.list_by_namespace_topic(*SONGS)) == []


def test_a_subscription_that_pushes(client: Client) -> None:
    """It delivers to a webhook, with a namespace's schedule and final answers."""
    receiver = Receiver()
    push = m.PushInfo(
        max_delivery_count=4,
        event_time_to_live="PT1H",
        destination=webhook(receiver.url),
    )
    delivery = m.DeliveryConfiguration(delivery_mode="Push", push=push)

    made = subscribe(client, m.Subscription(delivery_configuration=delivery))

    found = made.delivery_configuration.push
    assert found.max_delivery_count == 4
    assert found.event_time_to_live == "PT3600S"
    assert found.destination.endpoint_base_url == receiver.url
    url = client.namespace_topic_event_subscriptions.get_full_url(*BLUES)
    assert url.endpoint_url == receiver.url
    assert len(receiver.handshakes) == 1
    receiver.close()


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (
            pulled(
                dead_letter_destination_with_resource_identity=m.DeadLetterWithResourceIdentity()
            ),
            "queue.deadLetterDestinationWithResourceIdentity",
        ),
        (pulled(receive_lock_duration_in_seconds=10), "lock duration"),
        (pulled(max_delivery_count=11), "handed out"),
        (m.Subscription(delivery_configuration=m.DeliveryConfiguration()), "deliveryMode"),
        (m.Subscription(), "deliveryConfiguration is missing"),
        (
            m.Subscription(
                delivery_configuration=m.DeliveryConfiguration(
                    delivery_mode="Push",
                    push=m.PushInfo(
                        destination=m.EventHubEventSubscriptionDestination(resource_id="/x")
                    ),
                )
            ),
            "EventHub",
        ),
        (
            m.Subscription(
                delivery_configuration=m.DeliveryConfiguration(
                    delivery_mode="Push",
                    push=m.PushInfo(
                        delivery_with_resource_identity=m.DeliveryWithResourceIdentity()
                    ),
                )
            ),
            "push.deliveryWithResourceIdentity",
        ),
    ],
)
def test_what_a_subscription_does_not_have(
    client: Client, wanted: m.Subscription, field: str
) -> None:
    """What is not supported, or out of its bounds, is named, and nothing is kept."""
    with pytest.raises(HttpResponseError, match=field) as refused:
        subscribe(client, wanted)

    assert refused.value.status_code == 400
    found = client.namespace_topic_event_subscriptions.list_by_namespace_topic(*SONGS)
    assert list(found) == []


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (m.Namespace(location="x", is_zone_redundant=True), "isZoneRedundant"),
        (m.Namespace(location="x", public_network_access="Disabled"), "publicNetworkAccess"),
        (m.Namespace(location="x", identity=m.IdentityInfo(type="SystemAssigned")), "identity"),
        (
            m.Namespace(
                location="x",
                topic_spaces_configuration=m.TopicSpacesConfiguration(state="Enabled"),
            ),
            "topicSpacesConfiguration",
        ),
    ],
)
def test_what_a_namespace_does_not_have(client: Client, wanted: m.Namespace, field: str) -> None:
    """A field without a meaning here is refused by its name."""
    with pytest.raises(HttpResponseError, match=field) as refused:
        client.namespaces.begin_create_or_update(*RADIO, wanted)

    assert refused.value.status_code == 400


def test_a_topic_is_not_kept_longer_than_the_server_keeps(client: Client) -> None:
    """A retention that does not hold is refused, and the setting that would make it hold named."""
    with pytest.raises(HttpResponseError, match=r"store\.retention_s"):
        client.namespace_topics.begin_create_or_update(
            *RADIO, "long", m.NamespaceTopic(event_retention_in_days=7)
        )


def test_it_outlives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name and keys are kept with the topics."""
    keys = []
    for _ in range(2):
        with served(tmp_path / "data", tls_dev=True) as server:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.data / "tls/ca.pem"))
            with EventGridManagementClient(
                AdminToken(server.token), SUBSCRIPTION, base_url=server.url
            ) as made:
                client: Client = made
                client.namespaces.begin_create_or_update(*RADIO, m.Namespace(location="x")).result()
                keys.append(client.namespaces.list_shared_access_keys(*RADIO).key1)

    assert keys[0] == keys[1]


PATH = f"{GROUP}/providers/Microsoft.EventGrid/namespaces/station"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "", b"{", 400),
        ("PUT", "", b'{"properties": 7}', 400),
        ("PUT", "", b'{"sku": 7}', 400),
        ("PUT", "", b'{"identity": 7}', 400),
        ("PATCH", "/topics/songs", b'{"properties": {"eventRetentionInDays": "x"}}', 400),
        ("PUT", "/topics/songs", b'{"properties": []}', 201),
        ("PUT", "/topics/songs", b'{"properties": 7}', 400),
        ("PUT", "/topics/songs/eventSubscriptions/x-1", b"{}", 400),
        ("PUT", "/topics/songs/eventSubscriptions/x-1", DELIVERY % b"7", 400),
        ("PUT", "/topics/songs/eventSubscriptions/x-1", DELIVERY % QUEUE % b"7", 400),
        ("PUT", "/topics/songs/eventSubscriptions/x-1", DELIVERY % QUEUE % TTL % b'"P"', 400),
        ("PUT", "/topics/songs/eventSubscriptions/x-1", DELIVERY % QUEUE % TTL % b'"PT1H30"', 400),
        ("PUT", "/topics/songs/eventSubscriptions/x-1", DELIVERY % QUEUE % TTL % b"7", 400),
        ("PATCH", "/topics/songs/eventSubscriptions/x-1", b"{}", 404),
        ("POST", "/regenerateKey", b"{}", 400),
        ("POST", "", b"", 405),
        ("GET", "/topicSpaces", b"", 404),
    ],
)  # fmt: skip
def test_malformed_requests(
    server: Served, client: Client, method: str, path: str, body: bytes, status: int
) -> None:
    """Whatever is wrong with a request is a clear error of Azure's form."""
    with server.http() as http:
        answer = http.request(
            method,
            f"{PATH}{path}",
            content=body,
            headers={"Authorization": f"Bearer {server.token}"},
        )

    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.json()["error"]["message"]
