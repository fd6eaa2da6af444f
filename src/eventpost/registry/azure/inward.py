"""Event subscriptions as Azure Resource Manager has them, turned into what declares them here.

Layer: registry. Shapes: Microsoft.EventGrid, api-version 2025-02-15. What eventpost does not have
is told by its name: to `Refuse`, which raises for the management routes and collects for an import.
"""

from collections.abc import Callable, Iterable
from typing import Any

from eventpost.core.errors import InvalidRequest
from eventpost.formats import resources
from eventpost.registry.azure import accounts
from eventpost.registry.azure.accounts import Declared

Refuse = Callable[[str, str], None]
"""Told of a field (its path) that is not supported, and why."""

_SHOWN_ONLY = frozenset({"topic", "provisioningState", "endpointBaseUrl", "systemData"})
_SUBSCRIPTION = (
    *("destination", "deliveryWithResourceIdentity", "filter", "labels", "expirationTimeUtc"),
    *("eventDeliverySchema", "retryPolicy", "deadLetterDestination"),
    "deadLetterWithResourceIdentity",
)
_FILTER = {
    "includedEventTypes": "includedEventTypes",
    "subjectBeginsWith": "subjectBeginsWith",
    "subjectEndsWith": "subjectEndsWith",
    "isSubjectCaseSensitive": "subjectCaseSensitive",
    "enableAdvancedFilteringOnArrays": "enableAdvancedFilteringOnArrays",
    "advancedFilters": "advancedFilters",
}
_SCHEMAS = {
    "eventgridschema": "eventgridschema",
    "cloudeventschemav1_0": "cloudeventschemav1_0",
    "custominputschema": "custominputschema",
}
_WEBHOOK = {
    "maxEventsPerBatch": "maxEventsPerBatch",
    "preferredBatchSizeInKilobytes": "preferredBatchSizeInKilobytes",
}
_TLS_SERVED = ("1.0", "1.1", "1.2")
_ENTRA = ("azureActiveDirectoryTenantId", "azureActiveDirectoryApplicationIdOrUri")
NO_IDENTITY = "There are no managed identities here; a connection says who we are."


def refused(field: str, why: str) -> None:
    """The `Refuse` that raises."""
    raise InvalidRequest(
        "FieldNotSupported",
        f"The field {field} is not supported.",
        why=why,
        fix="Leave it out.",
    )


def subscription(
    properties: dict[str, Any], connections: Iterable[Declared], refuse: Refuse = refused
) -> dict[str, Any]:
    """The fields of a declaration that these properties set, by their names there; None takes one
    back to its default. Properties that are absent set nothing.

    Raises InvalidRequest for a value that cannot be read, and what `refuse` raises.
    """
    changes: dict[str, Any] = {}
    for name, value in properties.items():
        match name:
            case "destination":
                if value is not None:
                    changes |= _destination(as_object(value, name), connections, refuse)
            case "deadLetterDestination":
                changes["deadletter"] = _dead_letters(value, refuse)
            case "filter":
                changes["filter"] = _filter(value, refuse)
            case "retryPolicy":
                changes["retry"] = _retry(value, refuse)
            case "eventDeliverySchema":
                changes["eventDeliverySchema"] = _schema(value)
            case "labels":
                changes["labels"] = value
            case "expirationTimeUtc":
                changes["expirationTimeUtc"] = value
            case _:
                _others(name, value, refuse)
    return changes


def absent(properties: dict[str, Any]) -> dict[str, Any]:
    """What a PUT that leaves these properties out sets back."""
    defaults: dict[str, dict[str, Any]] = {
        "deadLetterDestination": {"deadletter": None},
        "filter": {"filter": None},
        "retryPolicy": {"retry": {"maxDeliveryAttempts": None, "eventTtlMinutes": None}},
        "eventDeliverySchema": {"eventDeliverySchema": None},
        "labels": {"labels": None},
        "expirationTimeUtc": {"expirationTimeUtc": None},
    }
    missing = (change for name, change in defaults.items() if properties.get(name) is None)
    return {key: value for change in missing for key, value in change.items()}


def _others(name: str, value: object, refuse: Refuse) -> None:
    if name in _SHOWN_ONLY or value is None:
        return
    if name.endswith("WithResourceIdentity"):
        refuse(name, NO_IDENTITY)
    elif value not in ([], {}):
        refuse(name, f"Known here: {', '.join(_SUBSCRIPTION)}.")


# --- destinations ---------------------------------------------------------------------------------


def _destination(
    value: dict[str, Any], connections: Iterable[Declared], refuse: Refuse
) -> dict[str, Any]:
    kind = str(value.get("endpointType", ""))
    properties = as_object(value.get("properties") or {}, "destination.properties")
    match kind.lower():
        case "webhook":
            return _webhook(properties, connections, refuse)
        case "storagequeue":
            return _storage_queue(properties, connections, refuse)
    refuse(
        "destination.endpointType",
        f"{kind or 'nothing'} is no endpoint of eventpost; WebHook and StorageQueue are.",
    )
    return {}


def _webhook(
    properties: dict[str, Any], connections: Iterable[Declared], refuse: Refuse
) -> dict[str, Any]:
    tenant = str(properties.get(_ENTRA[0]) or "")
    application = accounts.application(tenant, connections) if tenant else None
    changes: dict[str, Any] = {"endpointType": "webhook", "connection": application}
    changes |= dict.fromkeys(_ENTRA)
    where = "destination.properties"
    for name, value in properties.items():
        if name == "endpointUrl":
            changes["endpoint"] = value
        elif name in _WEBHOOK:
            changes[_WEBHOOK[name]] = value
        elif name == "deliveryAttributeMappings":
            changes["deliveryAttributeMappings"] = [_attribute(each) for each in value or []]
        elif name in _ENTRA:
            changes[name] = value or None
        elif name == "minimumTlsVersionAllowed":
            if value not in (None, *_TLS_SERVED):
                refuse(f"{where}.{name}", "The least version of TLS is 1.2, always.")
        elif value is not None and name not in _SHOWN_ONLY:
            refuse(f"{where}.{name}", "A webhook has no such property.")
    return changes


def _attribute(value: object) -> dict[str, Any]:
    mapping = as_object(value, "deliveryAttributeMappings")
    properties = as_object(mapping.get("properties") or {}, "deliveryAttributeMappings.properties")
    name, kind = mapping.get("name", ""), str(mapping.get("type", "static")).lower()
    if kind == "dynamic":
        return {"name": name, "type": kind, "sourceField": properties.get("sourceField", "")}
    static = {"name": name, "type": kind, "value": properties.get("value") or ""}
    return static | {"isSecret": bool(properties.get("isSecret"))}


def _storage_queue(
    properties: dict[str, Any], connections: Iterable[Declared], refuse: Refuse
) -> dict[str, Any]:
    account = resources.queue(str(properties.get("resourceId", "")))
    if account is None:
        raise InvalidRequest(
            "ResourceNotSupported",
            "destination.properties.resourceId is no storage account.",
            fix="Give .../providers/Microsoft.Storage/storageAccounts/ACCOUNT.",
        )
    ttl_s = properties.get("queueMessageTimeToLiveInSeconds")
    for name, value in properties.items():
        known = ("resourceId", "queueName", "queueMessageTimeToLiveInSeconds")
        if name not in known and value is not None:
            refuse(f"destination.properties.{name}", "A queue has no such property.")
    return {
        "endpointType": "storagequeue",
        "endpoint": properties.get("queueName") or account.name,
        "connection": accounts.connection(account.account, connections),
        "endpointOptions": {} if ttl_s is None else {"ttl_s": ttl_s},
    }


def _dead_letters(value: object, refuse: Refuse) -> str | None:
    if value is None:
        return None
    destination = as_object(value, "deadLetterDestination")
    if str(destination.get("endpointType", "")).lower() != "storageblob":
        refuse("deadLetterDestination.endpointType", "Only StorageBlob is there.")
        return None
    properties = as_object(destination.get("properties") or {}, "deadLetterDestination.properties")
    resource = str(properties.get("resourceId", "")).rstrip("/")
    container = properties.get("blobContainerName")
    if container:
        resource += f"/blobServices/default/containers/{container}"
    if not resources.is_resource(resource):
        raise InvalidRequest(
            "InvalidDeadLetterEndpoint",
            "deadLetterDestination.properties.resourceId is no storage account.",
            fix="Give .../providers/Microsoft.Storage/storageAccounts/ACCOUNT.",
        )
    return resources.dead_letter_place(resource)


# --- the rest -------------------------------------------------------------------------------------


def _filter(value: object, refuse: Refuse) -> dict[str, Any] | None:
    if value is None:
        return None
    wanted: dict[str, Any] = {}
    for name, each in as_object(value, "filter").items():
        if name not in _FILTER:
            refuse(f"filter.{name}", f"Known here: {', '.join(_FILTER)}.")
        elif each is not None:
            wanted[_FILTER[name]] = each
    if wanted.get("includedEventTypes") in (["All"], ["all"]):
        del wanted["includedEventTypes"]
    return wanted


def _retry(value: object, refuse: Refuse) -> dict[str, Any] | None:
    if value is None:
        return None
    names = {
        "maxDeliveryAttempts": "maxDeliveryAttempts",
        "eventTimeToLiveInMinutes": "eventTtlMinutes",
    }
    found: dict[str, Any] = {}
    for name, each in as_object(value, "retryPolicy").items():
        if name not in names:
            refuse(f"retryPolicy.{name}", f"Known here: {', '.join(names)}.")
        elif each is not None:
            found[names[name]] = each
    return found


def _schema(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and value.lower() in _SCHEMAS:
        return _SCHEMAS[value.lower()]
    raise InvalidRequest(
        "InvalidSchema",
        f"eventDeliverySchema is {value!r}, which is no schema.",
        fix="Schemas: EventGridSchema, CustomInputSchema, CloudEventSchemaV1_0.",
    )


def as_object(value: object, where: str) -> dict[str, Any]:
    """Raises InvalidRequest for anything else than an object of JSON."""
    if isinstance(value, dict):
        return value
    raise InvalidRequest(
        "InvalidField", f"{where} is no object.", fix=f"Give {where} as an object."
    )
