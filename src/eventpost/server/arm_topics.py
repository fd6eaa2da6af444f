"""Topics, domains, their topics and their keys, as Azure Resource Manager asks for them.

Layer: server.
"""

from functools import partial

from eventpost.core.domains import split
from eventpost.core.errors import Conflict, NotFound
from eventpost.server import arm_resources, domains, paging
from eventpost.server.arm_asked import Answer, Asked


async def list_topics(asked: Asked) -> Answer:
    found = (each for each in asked.app.topics() if not each.is_domain)
    return asked.listed(found, partial(arm_resources.topic, asked.app, asked.group))


async def show_topic(asked: Asked) -> Answer:
    return 200, arm_resources.topic(asked.app, asked.group, asked.topic)


async def put_topic(asked: Asked) -> Answer:
    declared = arm_resources.declared_topic(asked.parts["topic"], asked.body)
    try:
        topic = asked.topic
    except NotFound:
        app = asked.app
        topic = await app.create_topic(declared.name, declared.schema, declared.mapping)
    if (topic.input_schema, topic.input_mapping) != (declared.schema, declared.mapping):
        raise Conflict(
            "TopicExists",
            f"There is a topic {topic.name!r} with another input schema.",
            fix="A topic keeps schema and mapping: delete it first, or choose another name.",
        )
    return 201, arm_resources.topic(asked.app, asked.group, topic)


async def patch_topic(asked: Asked) -> Answer:
    topic = asked.topic
    arm_resources.declared_topic(topic.name, asked.body)  # what has no meaning here is refused
    return 200, arm_resources.topic(asked.app, asked.group, topic)


async def delete_topic(asked: Asked) -> Answer:
    try:
        await asked.app.delete_topic(asked.topic.name)
    except NotFound:
        return 204, None
    return 204, None


async def list_keys(asked: Asked) -> Answer:
    topic = asked.topic
    return 200, {"key1": topic.key1, "key2": topic.key2}


async def regenerate_key(asked: Asked) -> Answer:
    name = asked.body.get("keyName")
    topic = await asked.app.regenerate_key(asked.topic.name, str(name))
    return 200, {"key1": topic.key1, "key2": topic.key2}


# --- domains --------------------------------------------------------------------------------------


async def list_domains(asked: Asked) -> Answer:
    found = asked.app.domains.all()
    return asked.listed(found, partial(arm_resources.domain, asked.app, asked.group))


async def show_domain(asked: Asked) -> Answer:
    return 200, arm_resources.domain(asked.app, asked.group, asked.topic)


async def put_domain(asked: Asked) -> Answer:
    declared = arm_resources.declared_domain(asked.parts["domain"], asked.body)
    app = asked.app
    try:
        domain = asked.topic
    except NotFound:
        domain = await app.domains.create(
            declared.name, declared.schema, declared.mapping, declared.rules
        )
    else:
        domain = await domains.change(app, domain, declared)
    return 201, arm_resources.domain(app, asked.group, domain)


async def patch_domain(asked: Asked) -> Answer:
    declared = arm_resources.patched_domain(asked.topic, asked.body)
    domain = await domains.change(asked.app, asked.topic, declared)
    return 200, arm_resources.domain(asked.app, asked.group, domain)


async def list_domain_topics(asked: Asked) -> Answer:
    wanted = asked.page
    found = asked.app.domains.page(asked.parts["domain"], wanted.after, wanted.limit + 1)
    page, after = paging.cut(found, wanted, [split(each.name)[1] for each in found])
    return asked.shown([arm_resources.domain_topic(asked.group, each) for each in page], after)


async def show_domain_topic(asked: Asked) -> Answer:
    return 200, arm_resources.domain_topic(asked.group, asked.topic)


async def put_domain_topic(asked: Asked) -> Answer:
    try:
        topic = asked.topic
    except NotFound:
        domain, name = asked.parts["domain"], asked.parts["domain_topic"]
        [topic] = await asked.app.domains.create_topics(domain, [name])
    return 201, arm_resources.domain_topic(asked.group, topic)
