"""Domains and their topics as Azure Resource Manager has them, both ways. Layer: registry."""

from typing import Any

import msgspec

from eventpost.core.domains import split
from eventpost.core.errors import InvalidRequest
from eventpost.core.subscriptions import DomainRules, Topic
from eventpost.registry.azure import topics
from eventpost.registry.azure.inward import Refuse, refused
from eventpost.registry.declared import DomainDeclaration

TYPE = "Microsoft.EventGrid/domains"
TOPIC_TYPE = f"{TYPE}/topics"
RULES = {
    "autoCreateTopicWithFirstSubscription": "auto_create_topic_with_first_subscription",
    "autoDeleteTopicWithLastSubscription": "auto_delete_topic_with_last_subscription",
}


def declared(name: str, body: dict[str, Any], refuse: Refuse = refused) -> DomainDeclaration:
    """What declares this domain. Raises InvalidRequest, and what `refuse` raises."""
    properties = dict(body.get("properties") or {})
    rules = _rules(properties)
    topic = topics.declared(name, body | {"properties": properties}, refuse)
    fields: dict[str, Any] = {each: getattr(topic, each) for each in topic.__struct_fields__}
    return DomainDeclaration(**fields | rules)


def patched(current: DomainDeclaration, body: dict[str, Any]) -> DomainDeclaration:
    """`current` with the rules that a PATCH names; nothing else of a domain can be changed. Raises
    InvalidRequest for what has no meaning here."""
    declared(current.name, body)
    return msgspec.structs.replace(current, **_rules(dict(body.get("properties") or {})))


def _rules(properties: dict[str, Any]) -> dict[str, bool]:
    """Taken out of `properties`; null is the default."""
    rules = {}
    for name, field in RULES.items():
        value = properties.pop(name, None)
        if value is None:
            continue
        if not isinstance(value, bool):
            raise InvalidRequest(
                "InvalidField", f"properties.{name} is no boolean.", fix="Give true or false."
            )
        rules[field] = value
    return rules


def shown(domain: Topic, resource_id: str, endpoint: str) -> dict[str, Any]:
    """As the management SDKs read it."""
    resource = topics.shown(domain, resource_id, endpoint)
    rules = domain.domain or DomainRules()
    resource["properties"] |= {name: getattr(rules, field) for name, field in RULES.items()}
    return resource | {"type": TYPE}


def topic_shown(topic: Topic, resource_id: str) -> dict[str, Any]:
    return {
        "id": resource_id,
        "name": split(topic.name)[1],
        "type": TOPIC_TYPE,
        "properties": {"provisioningState": "Succeeded"},
    }
