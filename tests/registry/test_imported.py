"""What Azure's tools print becomes `eventpost.yaml`, and what cannot is listed."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from eventpost.config import yaml12, yaml_text
from eventpost.config.declared import declared_connections, declared_subscriptions, declared_topics
from eventpost.config.file import load
from eventpost.core.errors import InvalidRequest
from eventpost.registry.azure import imported

GROUP = "/subscriptions/5f750a97-50d9-4e36-8081-c9ee4c0210d4/resourceGroups/radio"
TOPIC = f"{GROUP}/providers/Microsoft.EventGrid/topics/song-requests"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/bluesradio"
LISTED: dict[str, Any] = {
    "deadLetterDestination": {
        "blobContainerName": "deadletterevents",
        "endpointType": "StorageBlob",
        "resourceId": ACCOUNT,
    },
    "deadLetterWithResourceIdentity": None,
    "deliveryWithResourceIdentity": None,
    "destination": {
        "azureActiveDirectoryApplicationIdOrUri": "api://station",
        "azureActiveDirectoryTenantId": "contoso.example",
        "deliveryAttributeMappings": [
            {"name": "X-Station", "type": "Static", "isSecret": False, "value": "blues"},
            {"name": "X-Key", "type": "Static", "isSecret": True, "value": None},
            {"name": "X-Genre", "type": "Dynamic", "sourceField": "data.genre"},
        ],
        "endpointBaseUrl": "https://station.example/api/songs",
        "endpointType": "WebHook",
        "endpointUrl": None,
        "maxEventsPerBatch": 10,
        "preferredBatchSizeInKilobytes": 64,
    },
    "eventDeliverySchema": "EventGridSchema",
    "expirationTimeUtc": None,
    "filter": {
        "advancedFilters": [
            {"key": "data.year", "operatorType": "NumberGreaterThan", "value": 1950.0}
        ],
        "enableAdvancedFilteringOnArrays": None,
        "includedEventTypes": ["Song.Requested"],
        "isSubjectCaseSensitive": None,
        "subjectBeginsWith": "genre/",
        "subjectEndsWith": "",
    },
    "id": f"{TOPIC}/providers/Microsoft.EventGrid/eventSubscriptions/song-request-sub",
    "labels": ["blues"],
    "name": "song-request-sub",
    "provisioningState": "Succeeded",
    "resourceGroup": "radio",
    "retryPolicy": {"eventTimeToLiveInMinutes": 1, "maxDeliveryAttempts": 2},
    "systemData": None,
    "topic": TOPIC,
    "type": "Microsoft.EventGrid/eventSubscriptions",
}
"""As `az eventgrid event-subscription list` prints one."""


def listed(**changed: Any) -> dict[str, Any]:
    return {**copy.deepcopy(LISTED), **changed}


def test_a_listed_subscription(tmp_path: Path) -> None:
    """All of a subscription is carried over, and the file that comes of it is one that `apply`
    reads; what is not printed is told."""
    found = imported.read([listed()])

    file = tmp_path / "eventpost.yaml"
    file.write_text(yaml_text.written(found.sections))
    (subscription,) = declared_subscriptions(load(str(file)))
    assert subscription.topic == "song-requests"
    assert subscription.endpoint == "https://station.example/api/songs"
    assert subscription.azure_active_directory_tenant_id == "contoso.example"
    assert subscription.azure_active_directory_application_id_or_uri == "api://station"
    assert subscription.max_events_per_batch == 10
    assert subscription.filter.included_event_types == ["Song.Requested"]
    assert subscription.filter.subject_begins_with == "genre/"
    assert subscription.filter.advanced_filters[0].value == 1950
    assert subscription.retry.max_delivery_attempts == 2
    assert subscription.retry.event_ttl_minutes == 1
    assert subscription.deadletter == "azureblob://bluesradio/deadletterevents"
    assert subscription.labels == ["blues"]
    names = [each.name for each in subscription.delivery_attribute_mappings]
    assert names == ["X-Station", "X-Genre"]
    (topic,) = declared_topics(load(str(file)))
    assert topic.name == "song-requests"
    assert [left.field for left in found.left] == [
        "destination.endpointUrl",
        "deliveryAttributeMappings X-Key",
    ]


def test_a_queue_brings_its_connection(tmp_path: Path) -> None:
    """A queue of a storage account needs a connection: it is declared beside it."""
    destination = {"endpointType": "StorageQueue", "resourceId": ACCOUNT, "queueName": "songs"}
    found = imported.read({"value": [listed(destination=destination)]})

    file = tmp_path / "eventpost.yaml"
    file.write_text(yaml_text.written(found.sections))
    (connection,) = declared_connections(load(str(file)))
    (subscription,) = declared_subscriptions(load(str(file)))
    assert (connection.name, connection.kind) == ("bluesradio", "azure-storage")
    assert connection.settings == {"account": "bluesradio"}
    assert (subscription.endpoint_type, subscription.endpoint) == ("storagequeue", "songs")
    assert subscription.connection == "bluesradio"


def test_an_arm_template() -> None:
    """Topics and event subscriptions of a template are found, with the defaults of its parameters,
    inside a topic, beside it, and by their scope."""
    properties = {
        "destination": {
            "endpointType": "WebHook",
            "properties": {"endpointUrl": "https://station.example/?code=1"},
        }
    }
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "parameters": {"topicName": {"type": "string", "defaultValue": "songs"}},
        "resources": [
            {
                "type": "Microsoft.EventGrid/topics",
                "name": "[parameters('topicName')]",
                "location": "westus2",
                "tags": {"team": "radio"},
                "properties": {"inputSchema": "CloudEventSchemaV1_0"},
                "resources": [
                    {
                        "type": "providers/eventSubscriptions",
                        "name": "a/Microsoft.EventGrid/inside",
                        "properties": properties,
                    }
                ],
            },
            {
                "type": "Microsoft.EventGrid/topics/eventSubscriptions",
                "name": "songs/beside",
                "properties": properties,
            },
            {
                "type": "Microsoft.EventGrid/eventSubscriptions",
                "name": "scoped",
                "scope": "[resourceId('Microsoft.EventGrid/topics', 'songs')]",
                "properties": properties,
            },
            {"type": "Microsoft.Storage/storageAccounts", "name": "bluesradio", "properties": {}},
        ],
    }  # fmt: skip

    found = imported.read(template)

    assert found.topics == {"songs": {"input_schema": "cloudeventschemav1_0"}}
    assert set(found.subscriptions) == {"inside", "beside", "scoped"}
    assert {each["topic"] for each in found.subscriptions.values()} == {"songs"}
    assert found.subscriptions["beside"]["endpoint"] == "https://station.example/?code=1"
    assert [(left.where, left.field) for left in found.left] == [
        ("topic songs", "tags"),
        ("storageaccounts bluesradio", ""),
    ]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (listed(topic=ACCOUNT, id=ACCOUNT), "no topic or domain of Microsoft.EventGrid"),
        (listed(name="[variables('x')]"), "expression"),
        (listed(destination={"endpointType": "EventHub", "resourceId": "/x"}), "destination"),
        (listed(retryPolicy={"maxDeliveryAttempts": 31}), "31"),
        (listed(name="x"), "cannot name"),
    ],
)
def test_what_cannot_be_carried_over(item: dict[str, Any], why: str) -> None:
    """A whole subscription that cannot be is listed with the reason; the others are not lost."""
    found = imported.read([item, listed(name="good")])

    assert set(found.subscriptions) == {"good"}
    assert any(why in left.why for left in found.left)


def test_the_same_name_on_two_topics() -> None:
    """Names are unique within a topic only: both are carried over under keys of their own."""
    other = listed(topic=TOPIC.replace("song-requests", "orders"))
    found = imported.read([listed(), other])

    assert set(found.subscriptions) == {"song-request-sub", "orders-song-request-sub"}
    assert found.subscriptions["orders-song-request-sub"]["name"] == "song-request-sub"


@pytest.mark.parametrize("document", [7, "x", None, [1], {"value": 7}, {"resources": [1]}])
def test_what_is_no_list(document: object) -> None:
    """Anything else is refused, and says what to give."""
    with pytest.raises(InvalidRequest) as refused:
        imported.read(document)

    assert "az eventgrid" in refused.value.fix


def test_written_yaml_is_read_back() -> None:
    """Words that YAML would take for something else come back as they were."""
    sections = {
        "a": {"yes": "no", "n": "1e3", "x": "0o17", "empty": "", "null": "null", "t": "true"},
        "b": {"list": ["a: b", 1, 2.5, True, None], "nested": {"k": {}}, "s": "# no comment"},
        "c": {
            "quoted": 'a "b"',
            "unicode": "\u00e9 \u2013 \u201c",
            "dash": "- x",
            "lines": "a\nb",
            "colon": "a:b",
        },
    }

    assert yaml12.read(yaml_text.written(sections), name="f").value == sections
    assert json.loads(json.dumps(sections)) == sections


def test_domains_and_who_subscribes_to_them() -> None:
    """Domains, their topics, and subscriptions to both are carried over, listed or in a template;
    what is subscribed to is declared, whether or not it was in the file."""
    prefix = ACCOUNT.partition("/providers/")[0] + "/providers/Microsoft.EventGrid/domains"
    document = [
        {
            "name": "stations",
            "type": "Microsoft.EventGrid/domains",
            "inputSchema": "CloudEventSchemaV1_0",
            "autoDeleteTopicWithLastSubscription": False,
            "autoCreateTopicWithFirstSubscription": True,
        },
        {
            "name": "radio-1",
            "id": f"{prefix}/stations/topics/radio-1",
            "type": "Microsoft.EventGrid/domains/topics",
        },
        listed(name="whole", topic=f"{prefix}/stations", id=f"{prefix}/stations/x"),
        listed(name="one", topic=f"{prefix}/stations/topics/radio-2", id="/x"),
        {
            **listed(name="others/radio-3/blues", topic=None, id=None),
            "type": "Microsoft.EventGrid/domains/topics/eventSubscriptions",
        },
    ]

    found = imported.read(document)

    assert found.domains == {
        "stations": {
            "input_schema": "cloudeventschemav1_0",
            "auto_delete_topic_with_last_subscription": False,
            "topics": ["radio-1", "radio-2"],
        },
        "others": {"topics": ["radio-3"]},
    }
    assert found.topics == {}
    scopes = {name: each["topic"] for name, each in found.subscriptions.items()}
    assert scopes == {"whole": "stations", "one": "stations/radio-2", "blues": "others/radio-3"}


SPACE = f"{GROUP}/providers/Microsoft.EventGrid/namespaces/station"
KIND = "Microsoft.EventGrid/namespaces/topics/eventSubscriptions"
QUEUE = {
    "deliveryMode": "Queue",
    "push": None,
    "queue": {
        "deadLetterDestinationWithResourceIdentity": None,
        "eventTimeToLive": "PT1H",
        "maxDeliveryCount": 5,
        "receiveLockDurationInSeconds": 120,
    },
}


def pulled(**changed: Any) -> dict[str, Any]:
    """As `az eventgrid namespace topic event-subscription list` prints one."""
    found = {
        "deliveryConfiguration": copy.deepcopy(QUEUE),
        "eventDeliverySchema": "CloudEventSchemaV1_0",
        "expirationTimeUtc": None,
        "filtersConfiguration": {
            "filters": [{"key": "data.year", "operatorType": "NumberGreaterThan", "value": 1950.0}],
            "includedEventTypes": ["Song.Requested"],
        },
        "id": f"{SPACE}/topics/songs/eventSubscriptions/blues",
        "name": "blues",
        "provisioningState": "Succeeded",
        "resourceGroup": "radio",
        "systemData": None,
        "type": KIND,
    }
    return found | changed


def read_back(found: imported.Imported, directory: Path) -> Any:
    """The one subscription of the file that comes of it."""
    file = directory / "eventpost.yaml"
    file.write_text(yaml_text.written(found.sections))
    assert [each.input_schema for each in declared_topics(load(str(file)))] == [
        "cloudeventschemav1_0"
    ]
    (subscription,) = declared_subscriptions(load(str(file)))
    return subscription


def test_a_pull_subscription_of_a_namespace(tmp_path: Path) -> None:
    """What is pulled from a namespace is carried over with its lock, its counts, its time to live
    and its filter, and its topic takes CloudEvents."""
    found = imported.read([pulled()])

    subscription = read_back(found, tmp_path)
    assert (subscription.topic, subscription.endpoint_type) == ("songs", "pull")
    assert subscription.receive_lock_duration_in_seconds == 120
    assert subscription.max_delivery_count == 5
    assert subscription.retry.event_ttl == "3600000ms"
    assert subscription.filter.included_event_types == ["Song.Requested"]
    assert subscription.filter.advanced_filters[0].value == 1950
    assert found.left == []


def test_a_template_with_a_namespace(tmp_path: Path) -> None:
    """A namespace, its topic and a subscription that pushes, as a template has them."""
    push = {
        "deliveryMode": "Push",
        "push": {
            "maxDeliveryCount": 3,
            "destination": {
                "endpointType": "WebHook",
                "properties": {"endpointUrl": "https://station.example/songs"},
            },
        },
    }
    found = imported.read(
        {
            "resources": [
                {"type": "Microsoft.EventGrid/namespaces", "name": "station", "location": "x"},
                {
                    "type": "Microsoft.EventGrid/namespaces/topics",
                    "name": "station/songs",
                    "properties": {"inputSchema": "CloudEventSchemaV1_0"},
                },
                {
                    "type": KIND,
                    "name": "station/songs/blues",
                    "properties": {"deliveryConfiguration": push},
                },
            ]
        }
    )

    subscription = read_back(found, tmp_path)
    assert subscription.endpoint == "https://station.example/songs"
    assert subscription.retry.max_delivery_attempts == 3
    assert found.left == []


@pytest.mark.parametrize(
    ("queue", "field"),
    [
        ({"eventTimeToLive": "P7D"}, "deliveryConfiguration eventTimeToLive"),
        (
            {"deadLetterDestinationWithResourceIdentity": {"identity": {}}},
            "deliveryConfiguration.queue.deadLetterDestinationWithResourceIdentity",
        ),
    ],
)
def test_what_a_namespaces_subscription_loses(
    tmp_path: Path, queue: dict[str, Any], field: str
) -> None:
    """What a server does not take as it is, is left out and told; the rest is carried over."""
    found = imported.read([pulled(deliveryConfiguration={"deliveryMode": "Queue", "queue": queue})])

    assert read_back(found, tmp_path).endpoint_type == "pull"
    [left] = found.left
    assert (left.where, left.field) == ("event subscription blues", field)
    assert left.why


@pytest.mark.parametrize(
    "item",
    [
        pulled(id="", name="blues"),
        pulled(id="", name="[variables('x')]/songs/blues/more"),
        pulled(deliveryConfiguration={"deliveryMode": "Carrier pigeon"}),
        pulled(deliveryConfiguration=7),
        {"type": "Microsoft.EventGrid/namespaces/clients", "name": "station/dj"},
        {"type": "Microsoft.EventGrid/namespaces", "name": "s", "tags": {}, "identity": 7},
    ],
)
def test_what_of_a_namespace_is_not_carried_over(item: dict[str, Any]) -> None:
    """Whatever cannot be read is listed, and nothing comes of it."""
    found = imported.read([item])

    assert found.subscriptions == {}
    assert [each.why for each in found.left] != []
