"""Topics as Azure Resource Manager has them, both ways. Layer: registry."""

from typing import Any

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema
from eventpost.core.subscriptions import Topic
from eventpost.registry.azure.inward import NO_IDENTITY, Refuse, as_object, refused
from eventpost.registry.declared import TopicDeclaration

SCHEMA_NAMES = {
    Schema.EVENT_GRID: "EventGridSchema",
    Schema.CLOUD_EVENTS: "CloudEventSchemaV1_0",
    Schema.CUSTOM: "CustomEventSchema",
}
TYPE = "Microsoft.EventGrid/topics"
LOCATION = "local"

_SHOWN_ONLY = frozenset({"endpoint", "provisioningState", "metricResourceId"})
_HARMLESS: dict[str, tuple[object, ...]] = {
    "publicNetworkAccess": ("Enabled",),
    "inboundIpRules": ([],),
    "disableLocalAuth": (False,),
    "minimumTlsVersionAllowed": ("1.0", "1.1", "1.2"),
    "dataResidencyBoundary": ("WithinGeopair", "WithinRegion"),
    "privateEndpointConnections": ([],),
}
"""Fields that say what holds here anyhow; any other value of them is refused."""
_MAPPED = ("id", "topic", "eventTime", "eventType", "subject", "dataVersion")


def declared(name: str, body: dict[str, Any], refuse: Refuse = refused) -> TopicDeclaration:
    """What declares this topic. Raises InvalidRequest, and what `refuse` raises."""
    for field, value in body.items():
        if field in ("location", "properties", "name", "type", "id", "systemData", "apiVersion"):
            continue
        if field == "identity" and as_object(value or {}, field).get("type") in (None, "None"):
            continue
        if value not in (None, {}, []) and (field, value) != ("sku", {"name": "Basic"}):
            refuse(field, NO_IDENTITY if field == "identity" else "A topic has no such field here.")
    properties = as_object(body.get("properties") or {}, "properties")
    fields, defaults = _mapping(properties.get("inputSchemaMapping"), refuse)
    for field, value in properties.items():
        if field in ("inputSchema", "inputSchemaMapping", *_SHOWN_ONLY) or value is None:
            continue
        if value not in _HARMLESS.get(field, ()):
            refuse(f"properties.{field}", "A topic has nothing of the kind here.")
    schema = str(properties.get("inputSchema") or "EventGridSchema")
    if schema.lower() not in {each.lower() for each in SCHEMA_NAMES.values()}:
        raise InvalidRequest(
            "InvalidSchema",
            f"properties.inputSchema is {schema!r}, which is no schema.",
            fix=f"Schemas: {', '.join(SCHEMA_NAMES.values())}.",
        )
    return TopicDeclaration(
        name=name,
        input_schema=schema.lower(),
        input_mapping_fields=fields,
        input_mapping_default_values=defaults,
    )


def _mapping(value: Any, refuse: Refuse) -> tuple[dict[str, str], dict[str, str]]:
    fields: dict[str, str] = {}
    defaults: dict[str, str] = {}
    for name, mapped in ((value or {}).get("properties") or {}).items():
        if name not in _MAPPED:
            refuse(f"properties.inputSchemaMapping.properties.{name}", "It cannot be mapped.")
            continue
        source, default = (mapped or {}).get("sourceField"), (mapped or {}).get("defaultValue")
        if source:
            fields[name.lower()] = source
        if default:
            defaults[name.lower()] = default
    return fields, defaults


def shown(topic: Topic, resource_id: str, endpoint: str) -> dict[str, Any]:
    """As the management SDKs read it."""
    properties: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "endpoint": endpoint,
        "inputSchema": SCHEMA_NAMES[topic.input_schema],
        "metricResourceId": str(topic.id),
        "publicNetworkAccess": "Enabled",
        "disableLocalAuth": False,
    }
    if topic.input_schema is Schema.CUSTOM:
        properties["inputSchemaMapping"] = _shown_mapping(topic)
    return {
        "id": resource_id,
        "name": topic.name,
        "type": TYPE,
        "location": LOCATION,
        "tags": {},
        "properties": properties,
    }


def _shown_mapping(topic: Topic) -> dict[str, Any]:
    fields, defaults = topic.input_mapping.fields, topic.input_mapping.defaults
    mapped: dict[str, dict[str, str]] = {}
    for name in _MAPPED:
        found = {
            "sourceField": fields.get(name.lower()),
            "defaultValue": defaults.get(name.lower()),
        }
        mapped[name] = {key: value for key, value in found.items() if value is not None}
    return {"inputSchemaMappingType": "Json", "properties": mapped}
