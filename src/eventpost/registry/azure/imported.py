"""What `az eventgrid ... list` prints, and what an ARM template holds, as `eventpost.yaml`. Pure.

Layer: registry. What could not be carried over is listed with the reason, never left out silently.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from eventpost.core.domains import joined, split
from eventpost.core.errors import InvalidRequest
from eventpost.formats import resources
from eventpost.registry import declarations
from eventpost.registry.azure import accounts, domains, inward, namespaces, topics
from eventpost.registry.azure import imported_namespaces as spaces
from eventpost.registry.declarations import SubscriptionDeclaration, TopicDeclaration

_BESIDE = frozenset(
    (
        *("id", "name", "type", "location", "tags", "resourceGroup", "systemData", "etag", "kind"),
        *("apiVersion", "dependsOn", "scope", "comments", "sku", "identity", "extendedLocation"),
    )
)
"""What stands beside the properties of a resource, where the Azure CLI prints them flat."""
_IN_MAPPING = ("value", "isSecret", "sourceField")
_NAME = r"[A-Za-z0-9-]{3,50}\b"
_TOPIC = re.compile(
    rf"Microsoft\.EventGrid/topics(?:/|'\s*,\s*')(?P<topic>{_NAME})"
    rf"|Microsoft\.EventGrid/domains(?:/topics)?(?:/|'\s*,\s*')(?P<domain>{_NAME})"
    rf"(?:(?:/topics/|'\s*,\s*')(?P<domain_topic>{_NAME}))?",
    re.IGNORECASE,
)
_CHILD_TYPES = {
    "microsoft.eventgrid/topics/eventsubscriptions": 1,
    "microsoft.eventgrid/domains/eventsubscriptions": 1,
    "microsoft.eventgrid/domains/topics/eventsubscriptions": 2,
}
"""Parts of a child's name before its own, which say what it subscribes to."""
_PARAMETER = re.compile(r"\[parameters\('([^']+)'\)\]")
_UPPER = re.compile(r"([A-Z])")


@dataclass(frozen=True, slots=True)
class Left:
    """Something that could not be carried over. `field` is "" for the whole thing."""

    where: str
    field: str
    why: str


@dataclass(slots=True)
class Imported:
    """Sections of `eventpost.yaml`, and what is not in them."""

    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    topics: dict[str, dict[str, Any]] = field(default_factory=dict)
    domains: dict[str, dict[str, Any]] = field(default_factory=dict)
    subscriptions: dict[str, dict[str, Any]] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)

    @property
    def sections(self) -> dict[str, Any]:
        found = {
            "connections": self.connections,
            "topics": self.topics,
            "domains": self.domains,
            "subscriptions": self.subscriptions,
        }
        return {name: section for name, section in found.items() if section}


class _Account(msgspec.Struct, frozen=True):
    name: str
    kind: str
    settings: dict[str, object]


def read(document: object) -> Imported:
    """From a list, `{"value": [...]}`, one resource, or a template's `resources`.

    Raises InvalidRequest for anything else.
    """
    found = Imported()
    for item in _items(document):
        _take(item, found)
    return found


def _items(document: object) -> list[dict[str, Any]]:
    value: object = document
    if isinstance(document, dict):
        if isinstance(document.get("resources"), list):
            value = _resolved(document["resources"], document.get("parameters"))
        else:
            value = document.get("value", [document])
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise InvalidRequest(
            "InvalidImport",
            "The file holds no list of resources.",
            fix="Give what `az eventgrid event-subscription list` or `az eventgrid topic list` "
            "prints, or an ARM template.",
        )
    return [each for item in value for each in (item, *_nested(item))]


def _nested(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Event subscriptions inside a template's topic or domain."""
    for each in item.get("resources") or ():
        if isinstance(each, dict):
            name = str(each.get("name", "")).rpartition("/")[2]
            kind = "domains" if _is_domain(str(item.get("type", ""))) else "topics"
            scope = f"Microsoft.EventGrid/{kind}/{item.get('name', '')}"
            yield {**each, "name": name, "scope": each.get("scope", scope)}


def _resolved(value: Any, parameters: Any) -> Any:
    """A template with the default values of its parameters in their places."""
    if isinstance(value, list):
        return [_resolved(each, parameters) for each in value]
    if isinstance(value, dict):
        return {name: _resolved(each, parameters) for name, each in value.items()}
    match = _PARAMETER.fullmatch(value) if isinstance(value, str) else None
    parameter = (parameters or {}).get(match[1]) if match else None
    default = parameter.get("defaultValue") if isinstance(parameter, dict) else None
    return value if default is None else default


def _take(item: dict[str, Any], found: Imported) -> None:
    kind = str(item.get("type", "")).lower()
    name = str(item.get("name", ""))
    where = f"{kind.rpartition('/')[2] or 'resource'} {name}"
    try:
        if kind.startswith(spaces.TYPE):
            _take_of_namespace(item, kind, found)
        elif kind.endswith("eventsubscriptions") or "destination" in _properties(item):
            _take_subscription(item, name.rpartition("/")[2], found)
        elif kind == topics.TYPE.lower():
            _take_topic(item, name, found)
        elif _is_domain(kind):
            _take_domain(item, name, found)
        elif kind == domains.TOPIC_TYPE.lower():
            _take_domain_topic(item, name, found)
        else:
            why = "It is no topic, no domain and no event subscription."
            found.left.append(Left(where, "", why))
    except InvalidRequest as error:
        found.left.append(Left(where, "", str(error)))


def _properties(item: dict[str, Any]) -> dict[str, Any]:
    wrapped = item.get("properties")
    if isinstance(wrapped, dict):
        return wrapped
    return {name: value for name, value in item.items() if name not in _BESIDE}


def _is_expression(text: str) -> bool:
    return text.startswith("[") and text.endswith("]")


# --- topics ---------------------------------------------------------------------------------------


def _take_topic(item: dict[str, Any], name: str, found: Imported) -> None:
    where = f"topic {name}"
    _check_name(name)
    refuse = partial(_left, found, where)
    found.topics[name] = _shown(topics.declared(name, _body(item), refuse))


def _take_domain(item: dict[str, Any], name: str, found: Imported) -> None:
    where = f"domain {name}"
    _check_name(name)
    declared = domains.declared(name, _body(item), partial(_left, found, where))
    shown = _shown(declared)
    for rule in domains.RULES.values():
        if not getattr(declared, rule):
            shown[rule] = False
    found.domains[name] = shown | found.domains.get(name, {})


def _take_domain_topic(item: dict[str, Any], name: str, found: Imported) -> None:
    """Its name is `DOMAIN/TOPIC` in a template, and the last part of its id else."""
    match = _TOPIC.search(str(item.get("id", "")))
    domain, _, topic = name.partition("/")
    if match and match["domain_topic"]:
        domain, topic = match["domain"], match["domain_topic"]
    _check_name(domain)
    if not topic:
        raise InvalidRequest("InvalidImport", f"The topic {name} names no domain.")
    _use(joined(domain, topic), found)


def _use(scope: str, found: Imported) -> None:
    """What is subscribed to is declared, too."""
    domain, topic = split(scope)
    if topic:
        named = found.domains.setdefault(domain, {}).setdefault("topics", [])
        if topic not in named:
            named.append(topic)
    elif domain not in found.domains:
        found.topics.setdefault(domain, {})


def _is_domain(kind: str) -> bool:
    return kind.lower() == domains.TYPE.lower()


def _body(item: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"properties": _properties(item)}
    return body | {key: item[key] for key in ("tags", "identity", "sku") if key in item}


def _shown(declared: TopicDeclaration) -> dict[str, Any]:
    shown: dict[str, Any] = {"input_schema": declared.input_schema}
    if declared.input_mapping_fields:
        shown["input_mapping_fields"] = declared.input_mapping_fields
    if declared.input_mapping_default_values:
        shown["input_mapping_default_values"] = declared.input_mapping_default_values
    return shown


def _left(found: Imported, where: str, field: str, why: str) -> None:
    found.left.append(Left(where, field, why))


def _check_name(name: str) -> None:
    if _is_expression(name):
        raise InvalidRequest(
            "TemplateExpression",
            f"The name {name} is an expression of the template.",
            fix="Import what `az eventgrid event-subscription list` prints once it is deployed.",
        )


# --- namespaces -----------------------------------------------------------------------------------


def _take_of_namespace(item: dict[str, Any], kind: str, found: Imported) -> None:
    """A namespace itself is the server: only what it does not have here is told."""
    if kind == spaces.TYPE:
        refuse = partial(_left, found, f"namespace {item.get('name', '')}")
        namespaces.check(_body(item), refuse)
        return
    if kind not in (spaces.TOPIC_TYPE, spaces.SUBSCRIPTION_TYPE):
        why = "It is no topic and no event subscription of a namespace."
        found.left.append(Left(f"{kind.rpartition('/')[2]} {item.get('name', '')}", "", why))
        return
    topic, name = spaces.names(item)
    _check_name(topic)
    if kind == spaces.TOPIC_TYPE:
        refuse = partial(_left, found, f"topic {topic}")
        namespaces.check_topic(_body(item), spaces.RETENTION_DAYS, refuse)
        found.topics[topic] = dict(spaces.TOPIC)
        return
    found.topics.setdefault(topic, dict(spaces.TOPIC))
    _check_name(name)
    refuse = partial(_left, found, f"event subscription {name}")
    properties = dict(_properties(item))
    wanted: list[_Account] = []
    delivery = properties["deliveryConfiguration"] = dict(
        inward.as_object(properties.get("deliveryConfiguration") or {}, "deliveryConfiguration")
    )
    if isinstance(delivery.get("push"), dict):
        pushed = _unflattened({"destination": delivery["push"].get("destination")})
        _use_base_url(pushed, refuse)
        wanted = _connections(pushed)
        delivery["push"] = delivery["push"] | pushed
    changes = namespaces.subscription(properties, wanted, refuse)
    _declare(name, topic, spaces.within_bounds(changes, refuse), wanted, found)


# --- event subscriptions --------------------------------------------------------------------------


def _take_subscription(item: dict[str, Any], name: str, found: Imported) -> None:
    where = f"event subscription {name}"
    _check_name(name)
    properties = _unflattened(_properties(item))
    topic = _topic(item, properties, found)

    def refuse(field: str, why: str) -> None:
        _left(found, where, field, why)

    _use_base_url(properties, refuse)
    wanted = _connections(properties)
    changes = inward.subscription(properties, wanted, refuse)
    if "endpointType" not in changes:
        raise InvalidRequest(
            "DestinationNotSupported",
            "Its destination cannot be carried over.",
            fix="Deliver to the URL of a webhook instead.",
        )
    _drop_hidden(changes, refuse)
    _declare(name, topic, changes, wanted, found)


def _declare(
    name: str, topic: str, changes: dict[str, Any], wanted: list[_Account], found: Imported
) -> None:
    """Keep a subscription, its connections and its topic. Raises InvalidRequest for what is out of
    bounds."""
    given = {key: value for key, value in changes.items() if value not in (None, {}, [])}
    declared = declarations.patched(SubscriptionDeclaration(name=name, topic=topic), given)
    declarations.to_core(declared)  # within the bounds
    for connection in wanted:
        found.connections[connection.name] = {"kind": connection.kind, **connection.settings}
    _use(topic, found)
    key = name if name not in found.subscriptions else f"{topic.replace('/', '-')}-{name}"
    named = {} if key == name else {"name": name}
    found.subscriptions[key] = {**named, "topic": topic, **_snake(given)}


def _topic(item: dict[str, Any], properties: dict[str, Any], found: Imported) -> str:
    """The topic, the domain or the topic of one that it subscribes to. Raises InvalidRequest for
    another source of events."""
    kind = str(item.get("type", "")).lower()
    parents = str(item.get("name", "")).split("/")[:-1]
    if parents and len(parents) == _CHILD_TYPES.get(kind) and not _is_expression(parents[0]):
        if "/domains/" in kind:
            found.domains.setdefault(parents[0], {})
        return "/".join(parents)
    for text in (properties.get("topic"), item.get("scope"), item.get("id"), item.get("name")):
        match = _TOPIC.search(text) if isinstance(text, str) else None
        if match is None:
            continue
        if match["topic"]:
            return match["topic"]
        found.domains.setdefault(match["domain"], {})
        topic = match["domain_topic"]
        return joined(match["domain"], topic) if topic else match["domain"]
    source = properties.get("topic") or item.get("scope") or "something"
    raise InvalidRequest(
        "SourceNotSupported",
        f"It subscribes to {source}, which is no topic or domain of Microsoft.EventGrid.",
        why="Events of Azure's own services do not arise here.",
        fix="Let a webhook in Azure forward them to a topic.",
    )


def _unflattened(properties: dict[str, Any]) -> dict[str, Any]:
    """As ARM has them: the Azure CLI prints the properties of a destination beside its type."""
    changed = dict(properties)
    for name in ("destination", "deadLetterDestination"):
        value = changed.get(name)
        if isinstance(value, dict) and "properties" not in value:
            rest = {key: each for key, each in value.items() if key != "endpointType"}
            changed[name] = {"endpointType": value.get("endpointType"), "properties": rest}
    inner = (changed.get("destination") or {}).get("properties")
    if isinstance(inner, dict) and isinstance(inner.get("deliveryAttributeMappings"), list):
        inner["deliveryAttributeMappings"] = [
            {**each, "properties": {key: each[key] for key in _IN_MAPPING if key in each}}
            if isinstance(each, dict) and "properties" not in each
            else each
            for each in inner["deliveryAttributeMappings"]
        ]
    return changed


def _use_base_url(properties: dict[str, Any], refuse: inward.Refuse) -> None:
    destination = properties.get("destination") or {}
    inner = destination.get("properties") or {}
    if str(destination.get("endpointType")).lower() == "webhook" and not inner.get("endpointUrl"):
        inner["endpointUrl"] = inner.get("endpointBaseUrl")
        refuse(
            "destination.endpointUrl",
            "What is printed has no query: add the one of "
            "`az eventgrid event-subscription show --include-full-endpoint-url`, if there is one.",
        )


def _connections(properties: dict[str, Any]) -> list[_Account]:
    """A connection for the account of its queue, by the account's name."""
    inner = (properties.get("destination") or {}).get("properties") or {}
    queue = resources.queue(str(inner.get("resourceId", "")))
    if queue is None:
        return []
    return [_Account(queue.account, accounts.KIND, {"account": queue.account})]


def _drop_hidden(changes: dict[str, Any], refuse: inward.Refuse) -> None:
    """Secret values are not printed: such a property is left out, and told."""
    kept = []
    for each in changes.get("deliveryAttributeMappings") or ():
        if each.get("isSecret") and not each.get("value"):
            refuse(f"deliveryAttributeMappings {each['name']}", "The secret value is not printed.")
        else:
            kept.append(each)
    if kept or "deliveryAttributeMappings" in changes:
        changes["deliveryAttributeMappings"] = kept


def _snake(value: Any) -> Any:
    """Names as `eventpost.yaml` has them."""
    if isinstance(value, dict):
        return {
            _UPPER.sub(lambda match: "_" + match[1].lower(), name): _snake(each)
            for name, each in value.items()
        }
    return [_snake(each) for each in value] if isinstance(value, list) else value
