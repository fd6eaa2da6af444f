"""Topics and event subscriptions between Azure Resource Manager's form and the application.

Layer: server.
"""

from typing import Any

from eventpost.core.errors import InvalidRequest, NotFound
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.registry import declarations
from eventpost.registry.azure import inward, outward, topics
from eventpost.registry.declarations import SubscriptionDeclaration, TopicDeclaration
from eventpost.server.ports import AppPort

attributes = outward.attributes
_TOPICS = "providers/Microsoft.EventGrid/topics"


def declared_topic(name: str, body: dict[str, Any]) -> TopicDeclaration:
    """Raises InvalidRequest for what a topic does not have here, by its name."""
    return topics.declared(name, body)


def topic(app: AppPort, group: str, shown: Topic) -> dict[str, Any]:
    endpoint = f"{app.public_url.rstrip('/')}/topics/{shown.name}/api/events"
    return topics.shown(shown, f"{group}/{_TOPICS}/{shown.name}", endpoint)


def found(app: AppPort, topic: Topic, name: str) -> tuple[Topic, Subscription]:
    """Raises NotFound. Azure compares names without regard to case."""
    folded = name.lower()
    of_name = [each for each in app.subscriptions(topic.name) if each.name.lower() == folded]
    if len(of_name) == 1:
        return topic, of_name[0]
    return app.subscription(name, topic.name)


def subscription(app: AppPort, group: str, shown: Subscription) -> dict[str, Any]:
    topic = next(each for each in app.topics() if each.id == shown.topic_id)
    topic_id = f"{group}/{_TOPICS}/{topic.name}"
    return outward.shown(
        shown,
        topic,
        resource_id=f"{topic_id}/providers/Microsoft.EventGrid/eventSubscriptions/{shown.name}",
        topic_id=topic_id,
        account_id=f"{group}/providers/Microsoft.Storage/storageAccounts/{_account(app, shown)}",
        group=group,
    )


async def create(app: AppPort, topic: Topic, name: str, properties: dict[str, Any]) -> Subscription:
    """Its handshake included. Raises what `App.create_subscription` does, and InvalidRequest."""
    if not isinstance(properties.get("destination"), dict):
        raise InvalidRequest(
            "InvalidField",
            "properties.destination is missing.",
            fix="Give a destination of the endpointType WebHook or StorageQueue.",
        )
    given = inward.subscription(properties, app.connections.all())
    changes = {field: value for field, value in given.items() if value is not None}
    declared = declarations.patched(SubscriptionDeclaration(name=name, topic=topic.name), changes)
    draft = declarations.to_core(declared, limits=app.settings.limits)
    return await app.create_subscription(topic.name, draft, "now")


async def update(
    app: AppPort,
    topic: Topic,
    current: Subscription,
    properties: dict[str, Any],
    *,
    is_whole: bool,
) -> Subscription:
    """What only eventpost has (a rate, signing secrets) stays as it is. With `is_whole`, what the
    properties leave out goes back to its default, as a PUT wants it."""
    changes = inward.subscription(properties, app.connections.all())
    if is_whole:
        changes = inward.absent(properties) | changes
    declared = declarations.from_core(current, topic=topic.name)
    if "filter" in changes:  # a filter is replaced as a whole
        declared = declarations.patched(declared, {"filter": None})
    declared = declarations.patched(declared, changes)
    draft = declarations.to_core(declared, current=current, limits=app.settings.limits)
    return await app.update_subscription(topic.name, current.name, draft)


def _account(app: AppPort, shown: Subscription) -> str:
    """Of the connection that it delivers over."""
    name = shown.endpoint.connection
    if name is None:
        return ""
    try:
        return str(app.connections.get(name).settings.get("account") or name)
    except NotFound:
        return name
