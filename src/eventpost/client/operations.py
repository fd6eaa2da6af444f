"""Every operation of the management API, once, for the synchronous and the asynchronous client.

Names are the API's `operationId`s. Each function builds a call; the clients send it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

import msgspec

from eventpost.client.calls import (
    JSON,
    UNBOUNDED,
    Call,
    Lines,
    Pages,
    call,
    nothing,
    reading,
    segment,
)
from eventpost.registry import models
from eventpost.registry.declarations import SubscriptionDeclaration, TopicDeclaration
from eventpost.registry.models import (
    DeadLetterView,
    KeysView,
    MatchView,
    Progress,
    SettingView,
    StoryView,
    SubscriptionView,
    TailedEvent,
    TopicView,
)

SILENCE_S_MAX = 60.0
"""A tail without a byte for so long is broken: the server sends an empty line every 15 s."""
PAGE = 500

Declared = SubscriptionDeclaration | Mapping[str, Any]
Events = Mapping[str, Any] | Sequence[Mapping[str, Any]] | bytes


class Selection(TypedDict, total=False):
    """Which dead letters; everything given must hold. Times as ISO 8601 or an age (`2h`)."""

    topic: str | None
    subscription: str | None
    ids: Sequence[str] | None
    since: str | None
    until: str | None
    reason: str | None
    finding: str | None
    replayed: bool


# --- topics -------------------------------------------------------------------------------------


def list_topics() -> Call[list[TopicView]]:
    """All topics, the built-in ones included."""
    return call("GET", "/topics", lambda body: reading(models.TopicList)(body).value)


def create_topic(name: str, *, input_schema: str = "eventgridschema") -> Call[TopicView]:
    """Create a topic. Raises Conflict when the name is taken, InvalidRequest when it is no name."""
    declared = TopicDeclaration(name=name, input_schema=input_schema)
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


# --- subscriptions ------------------------------------------------------------------------------


def list_subscriptions(*, topic: str | None = None) -> Call[list[SubscriptionView]]:
    """The event subscriptions of one topic or of all."""
    read = reading(models.SubscriptionList)
    return call("GET", "/subscriptions", lambda body: read(body).value, query={"topic": topic})


def create_subscription(declared: Declared) -> Call[SubscriptionView]:
    """Create an event subscription, its endpoint's handshake included.

    Raises HandshakeFailed, and nothing is kept; Conflict; InvalidRequest. When the answer's
    `provisioning_state` is AwaitingManualAction, the validation URL must be opened.
    """
    read = reading(SubscriptionView)
    return call("POST", "/subscriptions", read, body=declared, answer_s_max=UNBOUNDED)


def show_subscription(name: str, *, topic: str | None = None) -> Call[SubscriptionView]:
    """One subscription with its books and latest failures. Raises NotFound, Conflict (say which
    with `topic`)."""
    return _of("GET", name, topic, SubscriptionView)


def replace_subscription(
    name: str, declared: Declared, *, topic: str | None = None
) -> Call[SubscriptionView]:
    """Replace what a subscription declares; its cursor stays."""
    path = f"/subscriptions/{segment(name)}"
    read, query = reading(SubscriptionView), {"topic": topic}
    return call("PUT", path, read, query=query, body=declared, answer_s_max=UNBOUNDED)


def update_subscription(
    name: str, changes: Mapping[str, Any], *, topic: str | None = None
) -> Call[SubscriptionView]:
    """Change some fields; a field that is None goes back to its default."""
    path = f"/subscriptions/{segment(name)}"
    read, query = reading(SubscriptionView), {"topic": topic}
    return call("PATCH", path, read, query=query, body=changes, answer_s_max=UNBOUNDED)


def delete_subscription(name: str, *, topic: str | None = None) -> Call[None]:
    """Delete a subscription; what was pending is counted as dropped."""
    return call("DELETE", f"/subscriptions/{segment(name)}", nothing, query={"topic": topic})


def show_full_url(name: str, *, topic: str | None = None) -> Call[str]:
    """The endpoint's whole address, its query included."""
    read = reading(models.FullUrl)
    path = f"/subscriptions/{segment(name)}/full-url"
    return call("GET", path, lambda body: read(body).endpoint_url, query={"topic": topic})


def pause_subscription(name: str, *, topic: str | None = None) -> Call[SubscriptionView]:
    """Stop delivering; the cursor stays."""
    return _of("POST", name, topic, SubscriptionView, "/pause")


def resume_subscription(name: str, *, topic: str | None = None) -> Call[SubscriptionView]:
    """Go on delivering from the cursor."""
    return _of("POST", name, topic, SubscriptionView, "/resume")


def rewind_subscription(name: str, to: str | int, *, topic: str | None = None) -> Call[int]:
    """Move the cursor to a position, a time, an age, `earliest` or `now`; returns its position."""
    read = reading(models.Position)
    return call(
        "POST",
        f"/subscriptions/{segment(name)}/rewind",
        lambda body: read(body).position,
        query={"topic": topic},
        body=models.Rewind(to=to),
    )


def test_subscription(
    name: str,
    event: Mapping[str, Any] | bytes,
    *,
    topic: str | None = None,  # noqa: PT028 - no test: the API calls it so
) -> Call[MatchView]:
    """Hold an event against the filter: does it match, and which clause said no."""
    read = reading(MatchView)
    body = msgspec.Raw(event) if isinstance(event, bytes) else event
    path = f"/subscriptions/{segment(name)}/test"
    return call("POST", path, read, query={"topic": topic}, body=body)


def _of(
    method: str, name: str, topic: str | None, kind: type[SubscriptionView], verb: str = ""
) -> Call[SubscriptionView]:
    path = f"/subscriptions/{segment(name)}{verb}"
    return call(method, path, reading(kind), query={"topic": topic})


# --- dead letters and events --------------------------------------------------------------------


def list_dead_letters(
    *, limit: int = 100, after: str | None = None, **selection: Unpack[Selection]
) -> Call[list[DeadLetterView]]:
    """At most `limit` dead letters (up to 1,000), oldest first, those after the id `after`."""
    read = reading(models.DeadLetterList)
    query = {**selection, "limit": limit, "after": after}
    return call("GET", "/deadletters", lambda body: read(body).value, query=query)


def dead_letters(**selection: Unpack[Selection]) -> Pages[DeadLetterView]:
    """All matching dead letters, oldest first, read page by page."""
    read = reading(models.DeadLetterList)

    def page(body: bytes) -> tuple[list[DeadLetterView], str | None]:
        answer = read(body)
        return answer.value, answer.next_link

    return Pages(call("GET", "/deadletters", page, query={**selection, "limit": PAGE}))


def count_dead_letters(**selection: Unpack[Selection]) -> Call[int]:
    """How many match, without reading them."""
    read = reading(models.Count)
    return call("GET", "/deadletters/count", lambda body: read(body).count, query=selection)


def show_dead_letter(id: str) -> Call[DeadLetterView]:  # noqa: A002 - the API's name
    """One dead letter with its event. Raises NotFound."""
    return call("GET", f"/deadletters/{segment(id)}", reading(DeadLetterView))


def replay(
    *, rate: str | float | None = None, dry_run: bool = False, **selection: Unpack[Selection]
) -> Lines[Progress]:
    """Put dead letters back on the ladder; yields how far it is. Iterate to the end.

    A replay that is cut off can be started again: each is moved and marked in one transaction.
    """
    body = {**selection, "rate": rate, "dryRun": dry_run}
    return Lines(call("POST", "/deadletters/replay", reading(Progress), body=body))


def purge(*, dry_run: bool = False, **selection: Unpack[Selection]) -> Lines[Progress]:
    """Throw dead letters away for good; yields how far it is. Iterate to the end."""
    body = {**selection, "dryRun": dry_run}
    return Lines(call("POST", "/deadletters/purge", reading(Progress), body=body))


def trace_event(
    id: str,  # noqa: A002 - the API's name
    *,
    topic: str | None = None,
    since: str | None = None,
) -> Call[list[StoryView]]:
    """The stories of all events of that id, newest first; an unknown one has none."""
    read = reading(models.StoryList)
    return call(
        "GET",
        f"/events/{segment(id)}/trace",
        lambda body: read(body).value,
        query={"topic": topic, "since": since},
        answer_s_max=UNBOUNDED,
    )


# --- store and server ---------------------------------------------------------------------------


def show_usage() -> Call[models.UsageView]:
    """How much the store holds."""
    return call("GET", "/store/usage", reading(models.UsageView))


def verify_store() -> Call[models.Verified]:
    """Check every segment's checksum and the books, while serving."""
    read = reading(models.Verified)
    return call("POST", "/store/verify", read, answer_s_max=UNBOUNDED)


def backup_store(path: str) -> Call[models.BackedUp]:
    """Write a consistent copy to an absolute path on the server's machine."""
    read, body = reading(models.BackedUp), models.BackupRequest(path=path)
    return call("POST", "/store/backup", read, body=body, answer_s_max=UNBOUNDED)


def show_status() -> Call[models.StatusView]:
    """Version, address, age and health of the server."""
    return call("GET", "/status", reading(models.StatusView))


def show_health() -> Call[models.HealthView]:
    """Every worker inside and what is wrong with it, if anything."""
    return call("GET", "/health", reading(models.HealthView))


def show_report() -> Call[models.Report]:
    """The books of every topic and subscription."""
    return call("GET", "/report", reading(models.Report))


def show_config() -> Call[list[SettingView]]:
    """Every setting that holds, secrets masked."""
    return call("GET", "/config", lambda body: reading(models.SettingList)(body).value)
