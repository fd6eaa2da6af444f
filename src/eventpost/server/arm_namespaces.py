"""Namespaces, their topics and event subscriptions, as Azure Resource Manager asks for them.

Layer: server. A server is one namespace; its topics are the topics of CloudEvents, and what their
event subscriptions are is the same whichever way they were made.
"""

from functools import partial
from typing import Any
from urllib.parse import urlsplit

from eventpost.core.errors import Conflict, InvalidRequest, NotFound
from eventpost.core.events import Schema
from eventpost.core.namespaces import is_within
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.registry import declarations
from eventpost.registry.azure import namespaces
from eventpost.registry.azure.inward import as_object
from eventpost.registry.declarations import SubscriptionDeclaration
from eventpost.server import arm_resources
from eventpost.server.arm_asked import Answer, Asked

_DAY_S = 86_400


# --- namespaces -----------------------------------------------------------------------------------


async def list_namespaces(asked: Asked) -> Answer:
    found = asked.app.namespaces.namespace
    return 200, {"value": [] if found is None else [_namespace(asked, found.name)]}


async def show_namespace(asked: Asked) -> Answer:
    return 200, _namespace(asked)


async def put_namespace(asked: Asked) -> Answer:
    namespaces.check(asked.body)
    await asked.app.namespaces.create(asked.parts["namespace"])
    return 201, _namespace(asked)


async def patch_namespace(asked: Asked) -> Answer:
    namespaces.check(asked.body)
    return 200, _namespace(asked)


async def delete_namespace(asked: Asked) -> Answer:
    try:
        await asked.app.namespaces.delete(asked.parts["namespace"])
    except NotFound:
        return 204, None
    return 204, None


async def list_keys(asked: Asked) -> Answer:
    found = asked.app.namespaces.get(asked.parts["namespace"])
    return 200, {"key1": found.key1, "key2": found.key2}


async def regenerate_key(asked: Asked) -> Answer:
    name = str(asked.body.get("keyName"))
    found = await asked.app.namespaces.regenerate_key(asked.parts["namespace"], name)
    return 200, {"key1": found.key1, "key2": found.key2}


def _namespace(asked: Asked, name: str = "") -> dict[str, Any]:
    """Raises NotFound."""
    found = asked.app.namespaces.get(name or asked.parts["namespace"])
    resource_id = f"{asked.group}/providers/{namespaces.TYPE}/{found.name}"
    return namespaces.shown(found, resource_id, urlsplit(asked.app.public_url).netloc)


# --- topics ---------------------------------------------------------------------------------------


async def list_topics(asked: Asked) -> Answer:
    asked.app.namespaces.get(asked.parts["namespace"])
    found = (topic for topic in asked.app.topics() if is_within(topic))
    return asked.listed(found, partial(_shown_topic, asked))


async def show_topic(asked: Asked) -> Answer:
    return 200, _shown_topic(asked, _topic(asked))


async def put_topic(asked: Asked) -> Answer:
    asked.app.namespaces.get(asked.parts["namespace"])
    namespaces.check_topic(asked.body, _retention_days(asked))
    try:
        topic = asked.topic
    except NotFound:
        topic = await asked.app.create_topic(asked.parts["topic"], Schema.CLOUD_EVENTS)
    if not is_within(topic):
        raise Conflict(
            "TopicExists",
            f"There is a topic {topic.name!r} with another input schema.",
            why="Topics of a namespace take CloudEvents.",
            fix="Delete it first, or choose another name.",
        )
    return 201, _shown_topic(asked, topic)


async def patch_topic(asked: Asked) -> Answer:
    topic = _topic(asked)
    namespaces.check_topic(asked.body, _retention_days(asked))
    return 200, _shown_topic(asked, topic)


async def delete_topic(asked: Asked) -> Answer:
    try:
        await asked.app.delete_topic(_topic(asked).name)
    except NotFound:
        return 204, None
    return 204, None


async def list_topic_keys(asked: Asked) -> Answer:
    topic = _topic(asked)
    return 200, {"key1": topic.key1, "key2": topic.key2}


async def regenerate_topic_key(asked: Asked) -> Answer:
    name = str(asked.body.get("keyName"))
    topic = await asked.app.regenerate_key(_topic(asked).name, name)
    return 200, {"key1": topic.key1, "key2": topic.key2}


def _topic(asked: Asked) -> Topic:
    """Raises NotFound, for a topic that is not the namespace's, too."""
    asked.app.namespaces.get(asked.parts["namespace"])
    topic = asked.topic
    if not is_within(topic):
        raise NotFound(
            "TopicNotFound",
            f"The topic {topic.name!r} is in no namespace.",
            why="It does not take CloudEvents.",
            fix="It is managed below .../Microsoft.EventGrid/topics.",
        )
    return topic


def _shown_topic(asked: Asked, topic: Topic) -> dict[str, Any]:
    return namespaces.shown_topic(topic, _topic_id(asked, topic), _retention_days(asked))


def _topic_id(asked: Asked, topic: Topic) -> str:
    namespace = asked.app.namespaces.get(asked.parts["namespace"]).name
    return f"{asked.group}/providers/{namespaces.TYPE}/{namespace}/topics/{topic.name}"


def _retention_days(asked: Asked) -> float:
    return asked.app.settings.store.retention_s / _DAY_S


# --- event subscriptions --------------------------------------------------------------------------


async def list_subscriptions(asked: Asked) -> Answer:
    found = asked.app.subscriptions(_topic(asked).name)
    return asked.listed(found, partial(_shown, asked))


async def show_subscription(asked: Asked) -> Answer:
    return 200, _shown(asked, _subscription(asked))


async def put_subscription(asked: Asked) -> Answer:
    topic, properties = _topic(asked), asked.body.get("properties")
    if not isinstance(properties, dict) or not properties.get("deliveryConfiguration"):
        raise InvalidRequest(
            "InvalidField",
            "properties.deliveryConfiguration is missing.",
            fix='Give one, such as {"deliveryMode": "Queue"}.',
        )
    try:
        current = _subscription(asked)
    except NotFound:
        return 201, _shown(asked, await _create(asked, topic, properties))
    changes = namespaces.absent(properties)
    return 201, _shown(asked, await _update(asked, topic, current, properties, changes))


async def patch_subscription(asked: Asked) -> Answer:
    current = _subscription(asked)
    properties = as_object(asked.body.get("properties") or {}, "properties")
    return 200, _shown(asked, await _update(asked, _topic(asked), current, properties, {}))


async def delete_subscription(asked: Asked) -> Answer:
    try:
        found = _subscription(asked)
    except NotFound:
        return 204, None
    await asked.app.delete_subscription(_topic(asked).name, found.name)
    return 204, None


async def show_full_url(asked: Asked) -> Answer:
    return 200, {"endpointUrl": _subscription(asked).endpoint.address}


async def show_attributes(asked: Asked) -> Answer:
    return 200, {"value": namespaces.attributes(_subscription(asked))}


def _subscription(asked: Asked) -> Subscription:
    return arm_resources.found(asked.app, _topic(asked), asked.parts["name"])[1]


async def _create(asked: Asked, topic: Topic, properties: dict[str, Any]) -> Subscription:
    """Its handshake included, where it pushes."""
    app = asked.app
    changes = namespaces.subscription(properties, app.connections.all())
    declared = SubscriptionDeclaration(name=asked.parts["name"], topic=topic.name)
    declared = declarations.patched(declared, changes)
    draft = declarations.to_core(declared, limits=app.settings.limits)
    return await app.create_subscription(topic.name, draft, "now")


async def _update(
    asked: Asked,
    topic: Topic,
    current: Subscription,
    properties: dict[str, Any],
    changes: dict[str, Any],
) -> Subscription:
    """`changes` are what goes back to its default; what only eventpost has stays as it is."""
    app = asked.app
    changes = changes | namespaces.subscription(properties, app.connections.all())
    declared = declarations.from_core(current, topic=topic.name)
    if "filter" in changes:  # a filter is replaced as a whole
        declared = declarations.patched(declared, {"filter": None})
    declared = declarations.patched(declared, changes)
    draft = declarations.to_core(declared, current=current, limits=app.settings.limits)
    return await app.update_subscription(topic.name, current.name, draft)


def _shown(asked: Asked, subscription: Subscription) -> dict[str, Any]:
    topic = _topic(asked)
    resource_id = f"{_topic_id(asked, topic)}/eventSubscriptions/{subscription.name}"
    pushed = arm_resources.subscription(asked.app, asked.group, subscription)
    return namespaces.shown_subscription(subscription, topic, resource_id, pushed)
