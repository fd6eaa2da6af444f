"""Namespaces, their topics and event subscriptions as Azure Resource Manager has them, both ways.

Layer: registry. Shapes: Microsoft.EventGrid, api-version 2025-02-15. Pull subscriptions are those
with the delivery mode `Queue`; `Push` goes to a webhook or a storage queue.
"""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from eventpost.core.errors import InvalidRequest
from eventpost.core.namespaces import Namespace
from eventpost.core.subscriptions import PULL, Subscription, Topic
from eventpost.registry import forms
from eventpost.registry.azure import inward, outward, topics
from eventpost.registry.azure.accounts import Declared
from eventpost.registry.azure.inward import NO_IDENTITY, Refuse, as_object, refused

TYPE = "Microsoft.EventGrid/namespaces"
SCHEMA = "CloudEventSchemaV1_0"
PUSH_SCHEDULE = ["10s", "30s", "1m", "5m"]
PUSH_FINAL_STATUSES = [400, 401, 403, 404, 414]
"""Of a namespace that pushes: namespace-delivery-retry in Event Grid's documentation."""

_BESIDE = frozenset({"location", "properties", "name", "type", "id", "systemData", "tags"})
_SHOWN_ONLY = frozenset({"provisioningState", "topicsConfiguration", "privateEndpointConnections"})
_HARMLESS: dict[str, tuple[object, ...]] = {
    "publicNetworkAccess": ("Enabled",),
    "inboundIpRules": ([],),
    "minimumTlsVersionAllowed": ("1.0", "1.1", "1.2"),
    "isZoneRedundant": (False,),
}
_TOPIC = {"publisherType": ("Custom",), "inputSchema": (SCHEMA,), "eventRetentionInDays": ()}
_DURATION = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.IGNORECASE,
)
_MS = timedelta(milliseconds=1)


def check(body: dict[str, Any], refuse: Refuse = refused) -> None:
    """Refuse what a namespace does not have here, by its name."""
    for field, value in body.items():
        if field in _BESIDE or value in (None, {}, []):
            continue
        if field == "sku" and as_object(value, field).get("name") in (None, "Standard"):
            continue  # how much it may do is not bought here
        if field == "identity" and as_object(value, field).get("type") in (None, "None"):
            continue
        refuse(field, NO_IDENTITY if field == "identity" else "A namespace has no such field here.")
    for field, value in as_object(body.get("properties") or {}, "properties").items():
        if field in _SHOWN_ONLY or value is None or value in _HARMLESS.get(field, ()):
            continue
        why = "MQTT is not spoken here." if field == "topicSpacesConfiguration" else ""
        refuse(f"properties.{field}", why or "A namespace has nothing of the kind here.")


def check_topic(body: dict[str, Any], retention_days: float, refuse: Refuse = refused) -> None:
    """The same of a topic; it is kept as long as the server keeps events."""
    for field, value in as_object(body.get("properties") or {}, "properties").items():
        if field == "provisioningState" or value is None or value in _TOPIC.get(field, ()):
            continue
        if field != "eventRetentionInDays":
            refuse(f"properties.{field}", f"A topic of a namespace has {SCHEMA} only.")
        elif not isinstance(value, int | float) or value > max(1, retention_days):
            kept = f"Events are kept for {retention_days:g} days (store.retention_s)."
            refuse(f"properties.{field}", kept)


def shown(namespace: Namespace, resource_id: str, host: str) -> dict[str, Any]:
    """As the management SDKs read it."""
    properties = {
        "provisioningState": "Succeeded",
        "topicsConfiguration": {"hostname": host},
        "isZoneRedundant": False,
        "publicNetworkAccess": "Enabled",
        "inboundIpRules": [],
    }
    return {
        "id": resource_id,
        "name": namespace.name,
        "type": TYPE,
        "location": topics.LOCATION,
        "tags": {},
        "sku": {"name": "Standard", "capacity": 1},
        "properties": properties,
    }


def shown_topic(topic: Topic, resource_id: str, retention_days: float) -> dict[str, Any]:
    properties = {
        "provisioningState": "Succeeded",
        "publisherType": "Custom",
        "inputSchema": SCHEMA,
        "eventRetentionInDays": max(1, round(retention_days)),
    }
    return {"id": resource_id, "name": topic.name, "type": f"{TYPE}/topics"} | {
        "properties": properties
    }


# --- event subscriptions --------------------------------------------------------------------------


def subscription(
    properties: dict[str, Any], connections: Iterable[Declared], refuse: Refuse = refused
) -> dict[str, Any]:
    """The fields of a declaration that these properties set; absent ones set nothing.

    Raises InvalidRequest for a value that cannot be read, and what `refuse` raises.
    """
    changes: dict[str, Any] = {}
    for name, value in properties.items():
        if value is None or name == "provisioningState":
            continue
        if name == "deliveryConfiguration":
            changes |= _delivery(as_object(value, name), connections, refuse)
        elif name == "filtersConfiguration":
            changes["filter"] = _filter(as_object(value, name), refuse)
        elif name == "expirationTimeUtc":
            changes[name] = value
        elif name != "eventDeliverySchema" or value != SCHEMA:
            refuse(f"properties.{name}", f"Known here, with {SCHEMA}: deliveryConfiguration, ...")
    return changes


def absent(properties: dict[str, Any]) -> dict[str, Any]:
    """What a PUT that leaves these properties out sets back."""
    defaults = {"filtersConfiguration": "filter", "expirationTimeUtc": "expirationTimeUtc"}
    return {field: None for name, field in defaults.items() if properties.get(name) is None}


def _delivery(
    value: dict[str, Any], connections: Iterable[Declared], refuse: Refuse
) -> dict[str, Any]:
    mode = str(value.get("deliveryMode") or "")
    for name, given in value.items():
        if name not in ("deliveryMode", "queue", "push") and given is not None:
            refuse(f"deliveryConfiguration.{name}", "Known here: deliveryMode, queue, push.")
    match mode.lower():
        case "queue":
            return {"endpointType": PULL} | _queue(
                as_object(value.get("queue") or {}, "queue"), refuse
            )
        case "push":
            return _push(as_object(value.get("push") or {}, "push"), connections, refuse)
    raise InvalidRequest(
        "InvalidField",
        f"deliveryConfiguration.deliveryMode is {mode!r}.",
        fix="Use Queue (consumers pull) or Push.",
    )


def _queue(value: dict[str, Any], refuse: Refuse) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name, given in value.items():
        match name:
            case "receiveLockDurationInSeconds" | "maxDeliveryCount":
                changes[name] = given
            case "eventTimeToLive":
                changes["retry"] = {"eventTtl": _ttl(given), "eventTtlMinutes": None}
            case _ if given is not None:
                _refuse_rest("queue", name, refuse)
    return {name: given for name, given in changes.items() if given is not None}


def _push(value: dict[str, Any], connections: Iterable[Declared], refuse: Refuse) -> dict[str, Any]:
    retry: dict[str, Any] = {"schedule": PUSH_SCHEDULE, "finalStatuses": PUSH_FINAL_STATUSES}
    changes: dict[str, Any] = {}
    retry["maxDeliveryAttempts"] = value.get("maxDeliveryCount") or 10
    for name, given in value.items():
        if given is None or name == "maxDeliveryCount":
            continue
        if name == "eventTimeToLive":
            retry |= {"eventTtl": _ttl(given), "eventTtlMinutes": None}
        elif name == "destination":
            changes = inward.subscription({"destination": given}, connections, refuse)
        else:
            _refuse_rest("push", name, refuse)
    return changes | {"retry": retry}


def _refuse_rest(mode: str, name: str, refuse: Refuse) -> None:
    where = f"deliveryConfiguration.{mode}.{name}"
    if name.startswith("deadLetter"):
        refuse(where, f"{NO_IDENTITY} Name the place with --deadletter-endpoint.")
        return
    refuse(where, NO_IDENTITY if name.endswith("Identity") else "There is no such field.")


def _ttl(value: object) -> str | None:
    """An ISO 8601 duration as a duration of ours."""
    if value is None:
        return None
    match = _DURATION.fullmatch(str(value))
    parts = {name: int(part) for name, part in match.groupdict().items() if part} if match else {}
    if not parts:
        raise InvalidRequest(
            "InvalidField",
            f"eventTimeToLive is {value!r}, which is no duration.",
            fix="Write such as PT1H, P1D or PT23H12M.",
        )
    return f"{timedelta(**parts) // _MS}ms"


def _filter(value: dict[str, Any], refuse: Refuse) -> dict[str, Any]:
    names = {"includedEventTypes": "includedEventTypes", "filters": "advancedFilters"}
    for name, given in value.items():
        if name not in names and given is not None:
            refuse(f"filtersConfiguration.{name}", f"Known here: {', '.join(names)}.")
    return {names[name]: given for name, given in value.items() if given is not None}


def shown_subscription(
    subscription: Subscription, topic: Topic, resource_id: str, pushed: dict[str, Any]
) -> dict[str, Any]:
    """As the management SDKs read it. `pushed` is what `outward.shown` makes of it."""
    ttl = f"PT{subscription.retry.event_ttl_ms // 1_000}S"
    wanted = pushed["properties"]["filter"]
    delivery: dict[str, Any]
    if subscription.endpoint.is_pulled:
        queue = {
            "receiveLockDurationInSeconds": round(subscription.endpoint.receive_lock_duration_s),
            "maxDeliveryCount": subscription.endpoint.max_delivery_count,
            "eventTimeToLive": ttl,
        }
        delivery = {"deliveryMode": "Queue", "queue": queue}
    else:
        push = {
            "maxDeliveryCount": subscription.retry.max_delivery_attempts,
            "eventTimeToLive": ttl,
            "destination": pushed["properties"]["destination"],
        }
        delivery = {"deliveryMode": "Push", "push": push}
    properties = {
        "provisioningState": subscription.provisioning_state.value,
        "deliveryConfiguration": delivery,
        "eventDeliverySchema": SCHEMA,
        "filtersConfiguration": {
            "includedEventTypes": wanted["includedEventTypes"],
            "filters": wanted["advancedFilters"],
        },
    }
    if subscription.expiration_ms:
        properties["expirationTimeUtc"] = forms.time_text(subscription.expiration_ms)
    kind = f"{TYPE}/topics/eventSubscriptions"
    found = {"id": resource_id, "name": subscription.name, "type": kind}
    return found | {"properties": properties}


attributes = outward.attributes
