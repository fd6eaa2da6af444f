"""Domains by the official management SDK, with another `base_url` and credential."""

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid import models as m

from eventpost.testing import Receiver
from tests.server.running import EVENT, Served, served, until
from tests.server.test_arm import GROUP, SUBSCRIPTION, AdminToken, Client, admin, webhook

DOMAIN = f"{GROUP}/providers/Microsoft.EventGrid/domains/stations"
TOPIC = f"{DOMAIN}/topics/radio-1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("arm"), tls_dev=True) as found:
        yield found


@pytest.fixture
def client(server: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """With a domain `stations`."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.data / "tls/ca.pem"))
    credential = AdminToken(server.token)
    with EventGridManagementClient(credential, SUBSCRIPTION, base_url=server.url) as made:
        found: Client = made
        put(found, "stations")
        yield found
        for domain in found.domains.list_by_resource_group("radio"):
            found.domains.begin_delete("radio", domain.name).result()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def put(client: Client, name: str, **properties: Any) -> Any:
    domain = m.Domain(location="local", **properties)
    return client.domains.begin_create_or_update("radio", name, domain).result()


def test_a_domain_and_its_keys(server: Served, client: Client) -> None:
    """A domain that the SDK makes is a domain: listed, changed, its keys shown and renewed."""
    made = put(
        client,
        "clouds",
        input_schema="CloudEventSchemaV1_0",
        auto_create_topic_with_first_subscription=False,
    )
    keys = client.domains.list_shared_access_keys("radio", "clouds")
    renewed = client.domains.regenerate_key(
        "radio", "clouds", m.DomainRegenerateKeyRequest(key_name="key1")
    )

    assert made.id == DOMAIN.replace("stations", "clouds")
    assert made.endpoint == f"{server.url}/domains/clouds/api/events"
    assert (made.input_schema, made.provisioning_state) == ("CloudEventSchemaV1_0", "Succeeded")
    assert made.auto_create_topic_with_first_subscription is False
    assert made.auto_delete_topic_with_last_subscription is True
    assert (renewed.key1 != keys.key1, renewed.key2) == (True, keys.key2)
    assert server.key("clouds") == renewed.key1
    listed = {each.name for each in client.domains.list_by_resource_group("radio")}
    assert listed == {"clouds", "stations"}
    assert listed == {each.name for each in client.domains.list_by_subscription()}
    assert listed == {each["name"] for each in admin(server, "/domains")["value"]}
    assert not listed & {each.name for each in client.topics.list_by_resource_group("radio")}
    changed = client.domains.begin_update(
        "radio",
        "CLOUDS",
        m.DomainUpdateParameters(auto_delete_topic_with_last_subscription=False),
    ).result()
    assert changed.auto_create_topic_with_first_subscription is False
    assert changed.auto_delete_topic_with_last_subscription is False


def test_a_domain_again(client: Client) -> None:
    """PUT of what is there changes its rules; another schema is refused, deleting twice is not."""
    again = put(client, "stations", auto_delete_topic_with_last_subscription=False)
    assert again.auto_delete_topic_with_last_subscription is False

    with pytest.raises(ResourceExistsError, match="another input schema"):
        put(client, "stations", input_schema="CloudEventSchemaV1_0")
    client.domains.begin_delete("radio", "nowhere").result()
    with pytest.raises(ResourceNotFoundError, match="no domain 'nowhere'"):
        client.domains.get("radio", "nowhere")
    with pytest.raises(ResourceNotFoundError, match="a domain, and no topic"):
        client.topics.get("radio", "stations")


@pytest.mark.parametrize(
    ("domain", "field"),
    [
        ({"tags": {"team": "a"}}, "tags"),
        ({"disable_local_auth": True}, "properties.disableLocalAuth"),
        ({"identity": m.IdentityInfo(type="SystemAssigned")}, "identity"),
    ],
)
def test_what_a_domain_does_not_have(client: Client, domain: dict[str, Any], field: str) -> None:
    """A field without a meaning here is refused by its name, and no domain is made."""
    with pytest.raises(HttpResponseError, match=f"field {field} is not supported"):
        put(client, "with", **domain)

    with pytest.raises(ResourceNotFoundError):
        client.domains.get("radio", "with")


def test_topics_of_a_domain(client: Client) -> None:
    """A topic of a domain is made on demand, shown, listed and deleted."""
    operations = client.domain_topics
    made = operations.begin_create_or_update("radio", "stations", "radio-1").result()
    again = operations.begin_create_or_update("radio", "stations", "RADIO-1").result()

    assert (made.id, made.name, made.provisioning_state) == (TOPIC, "radio-1", "Succeeded")
    assert again.id == made.id
    assert operations.get("radio", "stations", "radio-1").id == TOPIC
    assert [each.name for each in operations.list_by_domain("radio", "stations")] == ["radio-1"]
    operations.begin_delete("radio", "stations", "radio-1").result()
    operations.begin_delete("radio", "stations", "radio-1").result()
    with pytest.raises(ResourceNotFoundError, match="no topic 'radio-1'"):
        operations.get("radio", "stations", "radio-1")


def test_subscriptions_below_a_domain(server: Served, client: Client, receiver: Receiver) -> None:
    """Subscriptions to a domain and to a topic of it are made, which makes the topic; they get
    their events, are changed and deleted, and the topic goes with its last one."""
    wanted = m.EventSubscription(destination=webhook(f"{receiver.url}?code=x"))
    of_domain, of_topic = client.domain_event_subscriptions, client.domain_topic_event_subscriptions
    whole = of_domain.begin_create_or_update("radio", "stations", "same", wanted).result()
    one = of_topic.begin_create_or_update("radio", "stations", "radio-1", "same", wanted).result()

    assert whole.id == f"{DOMAIN}/providers/Microsoft.EventGrid/eventSubscriptions/same"
    assert (whole.topic, one.topic) == (DOMAIN, TOPIC)
    assert one.id == f"{TOPIC}/providers/Microsoft.EventGrid/eventSubscriptions/same"
    assert [each.id for each in of_domain.list("radio", "stations")] == [whole.id]
    assert [each.id for each in of_topic.list("radio", "stations", "radio-1")] == [one.id]
    assert client.domain_topics.get("radio", "stations", "radio-1").id == TOPIC
    publish(server, "radio-1", "radio-2")
    receiver.wait_for(3)
    assert of_topic.get_full_url("radio", "stations", "radio-1", "same").endpoint_url.endswith("=x")
    assert of_domain.get_delivery_attributes("radio", "stations", "same").value == []
    changes = m.EventSubscriptionUpdateParameters(labels=["blues"])
    of_topic.begin_update("radio", "stations", "radio-1", "same", changes).result()
    assert of_topic.get("radio", "stations", "radio-1", "same").labels == ["blues"]
    assert not of_domain.get("radio", "stations", "same").labels
    of_topic.begin_delete("radio", "stations", "radio-1", "same").result()
    of_domain.begin_delete("radio", "stations", "same").result()
    assert list(client.domain_topics.list_by_domain("radio", "stations")) == []
    until(lambda: len(receiver.farewells) == 2)


def test_subscriptions_by_their_scope(client: Client, receiver: Receiver) -> None:
    """The other path style makes the same, lists them by kind of topic, and deletes them."""
    wanted = m.EventSubscription(destination=webhook(receiver.url))
    operations = client.event_subscriptions
    for scope in (DOMAIN, TOPIC):
        made = operations.begin_create_or_update(scope, "blues", wanted).result()
        assert made.topic == scope
        assert operations.get(scope, "blues").id == made.id
        operations.begin_create_or_update(scope, "blues", wanted).result()

    kind = "Microsoft.EventGrid.Domains"
    found = operations.list_global_by_resource_group_for_topic_type("radio", kind)
    assert {each.topic for each in found} == {DOMAIN, TOPIC}
    by_topic = operations.list_by_domain_topic("radio", "stations", "radio-1")
    assert [each.topic for each in by_topic] == [TOPIC]
    kind = "Microsoft.EventGrid.Topics"
    assert list(operations.list_global_by_resource_group_for_topic_type("radio", kind)) == []
    for scope in (DOMAIN, TOPIC):
        operations.begin_delete(scope, "blues").result()


def test_a_topic_that_nobody_made(client: Client, receiver: Receiver) -> None:
    """A domain whose topics are managed by hand refuses a subscription to one that is not there."""
    put(client, "stations", auto_create_topic_with_first_subscription=False)
    wanted = m.EventSubscription(destination=webhook(receiver.url))

    with pytest.raises(ResourceNotFoundError, match="autoCreateTopicWithFirstSubscription"):
        client.domain_topic_event_subscriptions.begin_create_or_update(
            "radio", "stations", "radio-9", "blues", wanted
        )


def publish(server: Served, *topics: str) -> None:
    events = [EVENT | {"topic": topic, "id": topic} for topic in topics]
    with server.http() as http:
        headers = {"aeg-sas-key": server.key("stations")}
        answer = http.post("/domains/stations/api/events", json=events, headers=headers)
        assert answer.status_code == 200, answer.text
