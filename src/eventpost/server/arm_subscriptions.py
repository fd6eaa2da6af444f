"""Event subscriptions of topics and domains, as Azure Resource Manager asks for them.

Layer: server.
"""

from functools import partial

from eventpost.core.errors import InvalidRequest, NotFound
from eventpost.core.subscriptions import Topic
from eventpost.server import arm_resources
from eventpost.server.arm_asked import Answer, Asked

_TOPICS_TYPE = "microsoft.eventgrid.topics"
_DOMAINS_TYPE = "microsoft.eventgrid.domains"


async def list_all(asked: Asked) -> Answer:
    kind = asked.parts.get("type", "")
    found = asked.app.subscriptions()
    if kind != "":
        found = [each for each in found if _type_of(asked.app.topic_of(each)) == kind.lower()]
    return asked.listed(found, partial(arm_resources.subscription, asked.app, asked.group))


def _type_of(topic: Topic) -> str:
    return _DOMAINS_TYPE if topic.is_domain or topic.domain_id else _TOPICS_TYPE


async def list_subscriptions(asked: Asked) -> Answer:
    found = asked.app.subscriptions(asked.topic.name)
    return asked.listed(found, partial(arm_resources.subscription, asked.app, asked.group))


async def show_subscription(asked: Asked) -> Answer:
    _, subscription = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    return 200, arm_resources.subscription(asked.app, asked.group, subscription)


async def put_subscription(asked: Asked) -> Answer:
    properties = asked.body.get("properties")
    if not isinstance(properties, dict):
        raise InvalidRequest("InvalidField", "properties is missing.", fix="Give properties.")
    topic, name = asked.scope, asked.parts["name"]
    try:
        _, current = arm_resources.found(asked.app, topic, name)
    except NotFound:
        made = await arm_resources.create(asked.app, topic, name, properties)
        return 201, arm_resources.subscription(asked.app, asked.group, made)
    changed = await arm_resources.update(asked.app, topic, current, properties, is_whole=True)
    return 201, arm_resources.subscription(asked.app, asked.group, changed)


async def patch_subscription(asked: Asked) -> Answer:
    """Its properties stand at the top, not in `properties`."""
    topic, current = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    changed = await arm_resources.update(asked.app, topic, current, asked.body, is_whole=False)
    return 201, arm_resources.subscription(asked.app, asked.group, changed)


async def delete_subscription(asked: Asked) -> Answer:
    try:
        topic, subscription = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    except NotFound:
        return 204, None
    await asked.app.delete_subscription(topic.name, subscription.name)
    return 204, None


async def show_full_url(asked: Asked) -> Answer:
    _, subscription = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    return 200, {"endpointUrl": subscription.endpoint.address}


async def show_attributes(asked: Asked) -> Answer:
    _, subscription = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    return 200, {"value": arm_resources.attributes(subscription)}
