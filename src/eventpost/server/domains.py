"""Domains, their keys, and their topics.

Events are published to a domain, and followed, by its name among the topics.
"""

from typing import Any
from urllib.parse import urlencode

from eventpost.core.domains import split
from eventpost.core.errors import Conflict
from eventpost.core.subscriptions import DomainRules, Topic
from eventpost.formats import topics as topic_format
from eventpost.registry import declarations, forms
from eventpost.registry.declarations import DomainDeclaration
from eventpost.registry.models import (
    PAGE_MAX,
    DomainList,
    DomainTopicDeclaration,
    DomainTopicList,
    DomainTopicView,
    DomainView,
    KeyChoice,
    KeysView,
    PageChoice,
)
from eventpost.server import paging
from eventpost.server.ports import AppPort
from eventpost.server.routes import API_PREFIX, Call, Subject

subject = Subject("domains")


@subject.get("/domains")
async def list_domains(call: Call[None, None]) -> DomainList:
    """List all domains."""
    return DomainList(value=[view(call.app, domain) for domain in call.app.domains.all()])


@subject.post("/domains", status=201)
async def create_domain(call: Call[None, DomainDeclaration]) -> DomainView:
    """Create a domain, and the topics of it that are named.

    It has two keys from the start; the key routes show them. 409 when the name is taken, by a topic
    too.
    """
    body = call.body
    domain = await call.app.domains.create(body.name, body.schema, body.mapping, body.rules)
    await call.app.domains.create_topics(domain.name, body.topics)
    return view(call.app, domain)


@subject.get("/domains/{domain}")
async def show_domain(call: Call[None, None]) -> DomainView:
    """Show one domain and where to publish to it."""
    return view(call.app, _domain(call))


@subject.patch("/domains/{domain}")
async def update_domain(call: Call[None, dict[str, object]]) -> DomainView:
    """Change when the topics of a domain come and go by themselves, as a JSON merge patch.

    Schema and mapping stay as they were made; topics have routes of their own.
    """
    domain = _domain(call)
    current = declared(domain)
    wanted = declarations.patched(current, call.body)
    changed = await change(call.app, domain, wanted)
    await call.app.domains.create_topics(domain.name, wanted.topics)
    return view(call.app, changed)


@subject.delete("/domains/{domain}")
async def delete_domain(call: Call[None, None]) -> None:
    """Delete a domain with its events, topics, subscriptions and dead letters."""
    await call.app.delete_topic(_domain(call).name)


@subject.get("/domains/{domain}/keys")
async def list_domain_keys(call: Call[None, None]) -> KeysView:
    """Show the two access keys of a domain."""
    return _keys(_domain(call))


@subject.post("/domains/{domain}/keys/regenerate")
async def regenerate_domain_key(call: Call[None, KeyChoice]) -> KeysView:
    """Make one key anew; the other one keeps working."""
    return _keys(await call.app.regenerate_key(_domain(call).name, call.body.key_name))


@subject.get("/domains/{domain}/topics")
async def list_domain_topics(call: Call[PageChoice, None]) -> DomainTopicList:
    """List the topics of a domain by name, a page at a time.

    `nextLink` leads to the next page.
    """
    count = paging.checked("limit", call.query.limit, PAGE_MAX)
    domain = call.app.domains.get(call.path["domain"]).name
    found = call.app.domains.page(domain, call.query.after, count + 1)
    page, after = paging.cut(
        found, paging.Page(call.query.after, count), [split(each.name)[1] for each in found]
    )
    return DomainTopicList(
        value=[topic_view(call.app, each, len(call.app.subscriptions(each.name))) for each in page],
        next_link=None
        if after is None
        else f"{API_PREFIX}/domains/{domain}/topics?{urlencode({'limit': count, 'after': after})}",
    )


@subject.post("/domains/{domain}/topics", status=201)
async def create_domain_topic(call: Call[None, DomainTopicDeclaration]) -> DomainTopicView:
    """Create a topic of a domain. 409 when there is one of that name, in any case."""
    [topic] = await call.app.domains.create_topics(call.path["domain"], [call.body.name])
    return topic_view(call.app, topic, 0)


@subject.get("/domains/{domain}/topics/{topic}")
async def show_domain_topic(call: Call[None, None]) -> DomainTopicView:
    """Show one topic of a domain."""
    topic = call.app.domains.topic(call.path["domain"], call.topic)
    return topic_view(call.app, topic, len(call.app.subscriptions(topic.name)))


@subject.delete("/domains/{domain}/topics/{topic}")
async def delete_domain_topic(call: Call[None, None]) -> None:
    """Delete a topic of a domain with its subscriptions and their dead letters.

    Events that name it stay in the domain's log, and reach who subscribes to the whole domain.
    """
    topic = call.app.domains.topic(call.path["domain"], call.topic)
    await call.app.delete_topic(topic.name)


async def change(app: AppPort, domain: Topic, wanted: DomainDeclaration) -> Topic:
    """Raises Conflict for what a domain cannot change."""
    if (wanted.schema, wanted.mapping) != (domain.input_schema, domain.input_mapping):
        raise Conflict(
            "DomainExists",
            f"There is a domain {domain.name!r} with another input schema.",
            fix="A domain keeps schema and mapping: delete it first, or choose another name.",
        )
    return await app.domains.change(domain.name, wanted.rules)


def declared(domain: Topic) -> DomainDeclaration:
    rules = domain.domain or DomainRules()
    return DomainDeclaration(
        name=domain.name,
        input_schema=domain.input_schema.value,
        input_mapping_fields=domain.input_mapping.fields,
        input_mapping_default_values=domain.input_mapping.defaults,
        auto_create_topic_with_first_subscription=rules.auto_create_topic_with_first_subscription,
        auto_delete_topic_with_last_subscription=rules.auto_delete_topic_with_last_subscription,
    )


def view(app: AppPort, domain: Topic) -> DomainView:
    shown = declared(domain)
    return DomainView(
        name=domain.name,
        id=topic_format.resource_of(domain, app.settings.server.topic_resource_prefix),
        endpoint=endpoint(app, domain),
        input_schema=shown.input_schema,
        input_mapping_fields=shown.input_mapping_fields,
        input_mapping_default_values=shown.input_mapping_default_values,
        auto_create_topic_with_first_subscription=shown.auto_create_topic_with_first_subscription,
        auto_delete_topic_with_last_subscription=shown.auto_delete_topic_with_last_subscription,
        created_time=forms.time_text(domain.created_ms),
    )


def endpoint(app: AppPort, domain: Topic) -> str:
    """Where to publish to it."""
    return f"{app.public_url.rstrip('/')}/domains/{domain.name}/api/events"


def topic_view(app: AppPort, topic: Topic, subscription_count: int) -> DomainTopicView:
    return DomainTopicView(
        name=split(topic.name)[1],
        id=topic_format.resource_of(topic, app.settings.server.topic_resource_prefix),
        topic=topic.name,
        created_time=forms.time_text(topic.created_ms),
        subscription_count=subscription_count,
    )


def _domain(call: Call[None, Any]) -> Topic:
    return call.app.domains.get(call.path["domain"])


def _keys(domain: Topic) -> KeysView:
    return KeysView(key1=domain.key1, key2=domain.key2)
