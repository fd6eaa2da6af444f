"""Topics, domains and event subscriptions between Azure Resource Manager and the application.

Layer: server.
"""

from typing import Any

from eventpost.core.domains import split
from eventpost.core.errors import InvalidRequest, NotFound
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.registry import declarations
from eventpost.registry.azure import domains as azure_domains
from eventpost.registry.azure import inward, outward, topics
from eventpost.registry.declarations import (
    DomainDeclaration,
    SubscriptionDeclaration,
    TopicDeclaration,
)
from eventpost.server import domains
from eventpost.server.ports import AppPort

attributes = outward.attributes
_PROVIDER = "providers/Microsoft.EventGrid"


def declared_topic(name: str, body: dict[str, Any]) -> TopicDeclaration:
    """Raises InvalidRequest for what a topic does not have here, by its name."""
    return topics.declared(name, body)


def topic(app: AppPort, group: str, shown: Topic) -> dict[str, Any]:
    endpoint = f"{app.public_url.rstrip('/')}/topics/{shown.name}/api/events"
    return topics.shown(shown, resource_id(group, shown), endpoint)


def declared_domain(name: str, body: dict[str, Any]) -> DomainDeclaration:
    """Raises InvalidRequest for what a domain does not have here, by its name."""
    return azure_domains.declared(name, body)


def patched_domain(current: Topic, body: dict[str, Any]) -> DomainDeclaration:
    """The domain as a PATCH leaves it; what it says nothing of stays. Raises InvalidRequest."""
    return azure_domains.patched(domains.declared(current), body)


def domain(app: AppPort, group: str, shown: Topic) -> dict[str, Any]:
    return azure_domains.shown(shown, resource_id(group, shown), domains.endpoint(app, shown))


def domain_topic(group: str, shown: Topic) -> dict[str, Any]:
    return azure_domains.topic_shown(shown, resource_id(group, shown))


def resource_id(group: str, topic: Topic) -> str:
    """Of a topic, a domain, or a topic of one."""
    domain, name = split(topic.name)
    if not (topic.is_domain or topic.domain_id):
        return f"{group}/{_PROVIDER}/topics/{topic.name}"
    own = f"{group}/{_PROVIDER}/domains/{domain}"
    return f"{own}/topics/{name}" if name else own


def found(app: AppPort, topic: Topic, name: str) -> tuple[Topic, Subscription]:
    """Raises NotFound. Azure compares names without regard to case."""
    folded = name.lower()
    of_name = [each for each in app.subscriptions(topic.name) if each.name.lower() == folded]
    if len(of_name) == 1:
        return topic, of_name[0]
    return app.subscription(name, topic.name)


def subscription(app: AppPort, group: str, shown: Subscription) -> dict[str, Any]:
    topic = app.topic_of(shown)
    topic_id = resource_id(group, topic)
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
