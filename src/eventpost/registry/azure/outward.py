"""An event subscription as Azure Resource Manager has it. Layer: registry. Secrets are hidden."""

from typing import Any

import msgspec

from eventpost.core.subscriptions import DeliveryAttribute, Endpoint, Subscription, Topic
from eventpost.registry.azure.topics import SCHEMA_NAMES
from eventpost.registry.outward import from_core

TYPE = "Microsoft.EventGrid/eventSubscriptions"
_MINUTE_MS = 60_000


def shown(
    subscription: Subscription,
    topic: Topic,
    *,
    resource_id: str,
    topic_id: str,
    account_id: str,
    group: str,
) -> dict[str, Any]:
    """As the management SDKs read it. `account_id` is the storage account that it delivers to, and
    `group` the resource group's path, below which that of its dead letters is named."""
    schema = subscription.endpoint.delivery_schema or topic.input_schema
    declared = msgspec.to_builtins(from_core(subscription))
    wanted = declared["filter"]
    properties: dict[str, Any] = {
        "topic": topic_id,
        "provisioningState": subscription.provisioning_state.value,
        "destination": _destination(subscription, declared, account_id),
        "filter": {
            "includedEventTypes": wanted["includedEventTypes"],
            "subjectBeginsWith": wanted["subjectBeginsWith"],
            "subjectEndsWith": wanted["subjectEndsWith"],
            "isSubjectCaseSensitive": wanted["subjectCaseSensitive"],
            "enableAdvancedFilteringOnArrays": wanted["enableAdvancedFilteringOnArrays"],
            "advancedFilters": wanted["advancedFilters"],
        },
        "labels": declared["labels"],
        "expirationTimeUtc": declared["expirationTimeUtc"],
        "eventDeliverySchema": SCHEMA_NAMES[schema].replace("CustomEvent", "CustomInput"),
        "retryPolicy": {
            "maxDeliveryAttempts": subscription.retry.max_delivery_attempts,
            "eventTimeToLiveInMinutes": max(1, subscription.retry.event_ttl_ms // _MINUTE_MS),
        },
        "deadLetterDestination": _dead_letters(subscription.deadletter, group),
    }
    present = {name: value for name, value in properties.items() if value is not None}
    return {"id": resource_id, "name": subscription.name, "type": TYPE, "properties": present}


def attributes(subscription: Subscription) -> list[dict[str, Any]]:
    """Its delivery properties; the value of a secret one is null."""
    return [_attribute(each) for each in subscription.endpoint.attributes]


def _destination(
    subscription: Subscription, declared: dict[str, Any], account_id: str
) -> dict[str, Any]:
    endpoint = subscription.endpoint
    if endpoint.type == "webhook":
        return {
            "endpointType": "WebHook",
            "properties": {
                "endpointBaseUrl": endpoint.address.partition("?")[0],
                "maxEventsPerBatch": endpoint.max_events_per_batch,
                "preferredBatchSizeInKilobytes": endpoint.preferred_batch_size_in_kilobytes,
                "deliveryAttributeMappings": attributes(subscription),
                **_token(subscription.endpoint),
            },
        }
    if endpoint.type == "storagequeue":
        properties = {
            "resourceId": account_id,
            "queueName": endpoint.address,
            "queueMessageTimeToLiveInSeconds": endpoint.options.get("ttl_s"),
        }
        return {"endpointType": "StorageQueue", "properties": properties}
    properties = {"endpoint": declared["endpoint"], "connection": endpoint.connection}
    return {"endpointType": endpoint.type, "properties": properties}


def _token(endpoint: Endpoint) -> dict[str, str]:
    if not endpoint.wants_token:
        return {}
    application = endpoint.azure_active_directory_application_id_or_uri
    return {
        "azureActiveDirectoryTenantId": endpoint.azure_active_directory_tenant_id,
        "azureActiveDirectoryApplicationIdOrUri": application,
    }


def _attribute(attribute: DeliveryAttribute) -> dict[str, Any]:
    if attribute.type == "dynamic":
        properties: dict[str, Any] = {"sourceField": attribute.value}
        return {"name": attribute.name, "type": "Dynamic", "properties": properties}
    value = None if attribute.is_secret else attribute.value
    properties = {"value": value, "isSecret": attribute.is_secret}
    return {"name": attribute.name, "type": "Static", "properties": properties}


def _dead_letters(place: str | None, group: str) -> dict[str, Any] | None:
    """A container as such; another place as what it is called here."""
    if place is None:
        return None
    scheme, _, rest = place.partition("://")
    account, _, container = rest.partition("/")
    if scheme != "azureblob":
        return {"endpointType": place.partition(":")[0], "properties": {"place": place}}
    resource = f"{group}/providers/Microsoft.Storage/storageAccounts/{account}"
    properties = {"resourceId": resource, "blobContainerName": container}
    return {"endpointType": "StorageBlob", "properties": properties}
