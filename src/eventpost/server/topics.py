"""Topics, their keys, and publishing to them as an administrator."""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from eventpost.core import bounds
from eventpost.core.errors import NotFound
from eventpost.core.subscriptions import Topic
from eventpost.formats import topics as topic_format
from eventpost.registry import forms
from eventpost.registry.declarations import TopicDeclaration
from eventpost.registry.models import (
    KeyChoice,
    KeysView,
    Published,
    TailedEvent,
    TopicList,
    TopicView,
)
from eventpost.server.ports import AppPort
from eventpost.server.routes import Call, Lines, Subject

subject = Subject("topics")


@subject.get("/topics")
async def list_topics(call: Call[None, None]) -> TopicList:
    """List all topics, the built-in ones included; domains and their topics are listed apart."""
    topics = [topic for topic in call.app.topics() if not topic.is_domain]
    return TopicList(value=[view(call.app, topic) for topic in topics])


@subject.post("/topics", status=201)
async def create_topic(call: Call[None, TopicDeclaration]) -> TopicView:
    """Create a topic.

    It has two keys from the start; the key routes show them. 409 when the name is taken.
    """
    bounds.check_topic_name(call.body.name, call.app.settings.limits)
    topic = await call.app.create_topic(call.body.name, call.body.schema, call.body.mapping)
    return view(call.app, topic)


@subject.get("/topics/{topic}")
async def show_topic(call: Call[None, None]) -> TopicView:
    """Show one topic and where to publish to it."""
    return view(call.app, _topic(call))


@subject.delete("/topics/{topic}")
async def delete_topic(call: Call[None, None]) -> None:
    """Delete a topic with its events, subscriptions and dead letters."""
    await call.app.delete_topic(_topic(call).name)


@subject.get("/topics/{topic}/keys")
async def list_keys(call: Call[None, None]) -> KeysView:
    """Show the two access keys of a topic."""
    return _keys(_topic(call))


@subject.post("/topics/{topic}/keys/regenerate")
async def regenerate_key(call: Call[None, KeyChoice]) -> KeysView:
    """Make one key anew; the other one keeps working.

    Move publishers to the other key first, and nothing is refused meanwhile.
    """
    return _keys(await call.app.regenerate_key(_topic(call).name, call.body.key_name))


@subject.post("/topics/{topic}/publish")
async def publish_events(call: Call[None, bytes]) -> Published:
    """Publish events with the admin token: one event or an array, in the topic's schema.

    The answer comes once they are on disk, as on the data plane. A domain is published to by its
    name, and each event names its topic.
    """
    return Published(event_count=await call.app.publish(call.topic, call.body))


@subject.get("/topics/{topic}/tail")
async def tail_topic(call: Call[None, None]) -> Lines[TailedEvent]:
    """Follow a topic: each event published from now on, until the caller goes away.

    NDJSON, or server-sent events when `Accept` asks for `text/event-stream`.
    """
    call.app.topic(call.topic)
    return Lines(_tailed(call.app, call.topic), is_endless=True)


async def _tailed(app: AppPort, topic: str) -> AsyncGenerator[TailedEvent, None]:
    events = app.tail(topic)
    try:
        async for position, published_ms, event in events:
            yield TailedEvent(
                position=position,
                publish_time=forms.time_text(published_ms),
                event=msgspec.Raw(event.wire),
            )
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def view(app: AppPort, topic: Topic) -> TopicView:
    return TopicView(
        name=topic.name,
        id=topic_format.resource_of(topic, app.settings.server.topic_resource_prefix),
        endpoint=f"{app.public_url.rstrip('/')}/topics/{topic.name}/api/events",
        input_schema=topic.input_schema.value,
        input_mapping_fields=topic.input_mapping.fields,
        input_mapping_default_values=topic.input_mapping.defaults,
        created_time=forms.time_text(topic.created_ms),
        is_builtin=topic.is_builtin,
    )


def _topic(call: Call[None, Any]) -> Topic:
    """Raises NotFound for a domain, which has routes of its own."""
    topic = call.app.topic(call.topic)
    if topic.is_domain or topic.domain_id:
        raise NotFound(
            "TopicNotFound",
            f"{topic.name} is a domain, or a topic of one.",
            fix="See eventpost domain.",
        )
    return topic


def _keys(topic: Topic) -> KeysView:
    return KeysView(key1=topic.key1, key2=topic.key2)
