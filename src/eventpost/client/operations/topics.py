"""Topics, their keys, publishing and following."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from eventpost.client.calls import JSON, Call, Lines, call, nothing, reading, segment
from eventpost.registry import models
from eventpost.registry.declarations import TopicDeclaration
from eventpost.registry.models import KeysView, TailedEvent, TopicView

SILENCE_S_MAX = 60.0
"""A tail without a byte for so long is broken: the server sends an empty line every 15 s."""

Events = Mapping[str, Any] | Sequence[Mapping[str, Any]] | bytes


def list_topics() -> Call[list[TopicView]]:
    """All topics, the built-in ones included."""
    return call("GET", "/topics", lambda body: reading(models.TopicList)(body).value)


def create_topic(
    name: str,
    *,
    input_schema: str = "eventgridschema",
    input_mapping_fields: Mapping[str, str] | None = None,
    input_mapping_default_values: Mapping[str, str] | None = None,
) -> Call[TopicView]:
    """Create a topic. Raises Conflict when the name is taken, InvalidRequest when it is no name.

    The mapping is for `customeventschema`: where type, subject and so on stand in an event.
    """
    declared = TopicDeclaration(
        name=name,
        input_schema=input_schema,
        input_mapping_fields=dict(input_mapping_fields or {}),
        input_mapping_default_values=dict(input_mapping_default_values or {}),
    )
    return call("POST", "/topics", reading(TopicView), body=declared)


def show_topic(name: str) -> Call[TopicView]:
    """One topic. Raises NotFound."""
    return call("GET", f"/topics/{segment(name)}", reading(TopicView))


def delete_topic(name: str) -> Call[None]:
    """Delete a topic with its events, subscriptions and dead letters. Raises NotFound."""
    return call("DELETE", f"/topics/{segment(name)}", nothing)


def list_keys(topic: str) -> Call[KeysView]:
    """Both access keys of a topic."""
    return call("GET", f"/topics/{segment(topic)}/keys", reading(KeysView))


def regenerate_key(topic: str, key_name: str) -> Call[KeysView]:
    """Make `key1` or `key2` anew; the other one keeps working."""
    path = f"/topics/{segment(topic)}/keys/regenerate"
    return call("POST", path, reading(KeysView), body=models.KeyChoice(key_name=key_name))


def publish_events(topic: str, events: Events, *, key: str | None = None) -> Call[int]:
    """Publish one event or several, in the topic's schema; returns how many, once on disk.

    With `key`, an access key of the topic, the publish endpoint is used, as by any publisher; else
    the admin token. Raises InvalidEvent, Unauthorized, NotFound, Overloaded (nothing was kept).
    """
    body = events if isinstance(events, bytes) else msgspec.json.encode(events)
    if key is None:
        return Call(
            method="POST",
            path=f"/admin/v1/topics/{segment(topic)}/publish",
            read=lambda answer: reading(models.Published)(answer).event_count,
            body=body,
            headers={"Content-Type": JSON},
        )
    return Call(
        method="POST",
        path=f"/topics/{segment(topic)}/api/events",
        read=lambda _: len(_elements(body)),
        body=body,
        headers={"aeg-sas-key": key, "Content-Type": _content_type(body)},
        has_token=False,
    )


def tail_topic(topic: str) -> Lines[TailedEvent]:
    """Each event published to a topic from now on, until the iterator is closed."""
    path = f"/topics/{segment(topic)}/tail"
    return Lines(call("GET", path, reading(TailedEvent)), SILENCE_S_MAX)


def _elements(body: bytes) -> list[msgspec.Raw]:
    if not body.lstrip().startswith(b"["):
        return [msgspec.Raw(body)]
    return msgspec.json.decode(body, type=list[msgspec.Raw])


def _content_type(body: bytes) -> str:
    """CloudEvents are known by their `specversion`, which Event Grid events do not have."""
    try:
        first = msgspec.json.decode(_elements(body)[0])
    except (msgspec.DecodeError, IndexError):
        return JSON  # the server says what is wrong with it
    if not isinstance(first, dict) or "specversion" not in first:
        return JSON
    is_batch = body.lstrip().startswith(b"[")
    return f"application/cloudevents{'-batch' if is_batch else ''}+json; charset=utf-8"
