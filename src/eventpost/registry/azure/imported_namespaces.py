"""Topics and event subscriptions of namespaces, as `az-import` finds them. Pure.

Layer: registry. A server is one namespace, so that its name is not carried over.
"""

import re
from typing import Any

from eventpost.core.errors import InvalidRequest
from eventpost.core.notation import parse_duration_ms
from eventpost.registry.azure import namespaces
from eventpost.registry.azure.inward import Refuse

TYPE = namespaces.TYPE.lower()
TOPIC_TYPE = f"{TYPE}/topics"
SUBSCRIPTION_TYPE = f"{TYPE}/topics/eventsubscriptions"
TOPIC: dict[str, Any] = {"input_schema": namespaces.SCHEMA.lower()}
"""What each of its topics is."""
RETENTION_DAYS = 1.0
TTL_MS_MAX = 86_400_000
"""What a server allows that was told nothing else: `store.retention_s`, `limits.event_ttl_max`."""

_ID = re.compile(
    r"Microsoft\.EventGrid/namespaces/[^/]+/topics/(?P<topic>[^/]+)"
    r"(?:/eventSubscriptions/(?P<name>[^/]+))?$",
    re.IGNORECASE,
)


def names(item: dict[str, Any]) -> tuple[str, str]:
    """Its topic, and its own name where it is a subscription: from its id, or in a template from a
    name such as `NAMESPACE/TOPIC/NAME`. Raises InvalidRequest."""
    match = _ID.search(str(item.get("id", "")))
    if match is not None:
        return match["topic"], match["name"] or ""
    is_subscription = str(item.get("type", "")).lower() == SUBSCRIPTION_TYPE
    parts = str(item.get("name", "")).split("/")
    if len(parts) != 2 + is_subscription:
        raise InvalidRequest(
            "InvalidImport", f"{item.get('name')} does not say which topic of a namespace it is of."
        )
    return parts[1], parts[2] if is_subscription else ""


def within_bounds(changes: dict[str, Any], refuse: Refuse) -> dict[str, Any]:
    """A time to live that this server would not take is left out, and told."""
    ttl = (changes.get("retry") or {}).get("eventTtl")
    if ttl is None or parse_duration_ms(ttl) <= TTL_MS_MAX:
        return changes
    refuse(
        "deliveryConfiguration eventTimeToLive",
        "It is more than a day: raise limits.event_ttl_max and set event_ttl, or it is a day.",
    )
    retry = {name: value for name, value in changes["retry"].items() if "eventTtl" not in name}
    return {name: value for name, value in changes.items() if name != "retry"} | (
        {"retry": retry} if retry else {}
    )
