"""Event subscriptions: declare, change, hold, move, and ask why an event matches or not.

A name is unique within its topic; `?topic=` is needed only when several topics have it. A topic of
a domain is named `DOMAIN/TOPIC`.
"""

from typing import Any
from urllib.parse import urlencode

import msgspec

from eventpost.core.subscriptions import Subscription, Topic
from eventpost.registry import declarations, forms, masks, shapes
from eventpost.registry.declarations import SubscriptionDeclaration
from eventpost.registry.models import (
    PAGE_MAX,
    FullUrl,
    MatchView,
    Position,
    Rewind,
    SubscriptionList,
    SubscriptionPage,
    SubscriptionView,
    TopicChoice,
)
from eventpost.server import paging, standing, views
from eventpost.server.ports import AppPort
from eventpost.server.routes import API_PREFIX, Call, Subject

subject = Subject("subscriptions")


@subject.get("/subscriptions")
async def list_subscriptions(call: Call[SubscriptionPage, None]) -> SubscriptionList:
    """List the event subscriptions of one topic or of all, the oldest first, a page at a time.

    `nextLink` leads to the next page.
    """
    query = call.query
    count = paging.checked("limit", query.limit, PAGE_MAX)
    wanted = paging.Page(query.after, count)
    page, after = paging.by_id(call.app.subscriptions(query.topic), wanted)
    return SubscriptionList(
        value=[view(call.app, call.app.topic_of(each), each) for each in page],
        next_link=None if after is None else _next_link(query, after),
    )


def _next_link(query: SubscriptionPage, after: str) -> str:
    topic = {} if query.topic is None else {"topic": query.topic}
    fields = {**topic, "limit": query.limit, "after": after}
    return f"{API_PREFIX}/subscriptions?{urlencode(fields)}"


@subject.post("/subscriptions", status=201)
async def create_subscription(call: Call[None, SubscriptionDeclaration]) -> SubscriptionView:
    """Create an event subscription, its endpoint's handshake included.

    When the endpoint refuses, nothing is kept and the problem says why. When it answers without
    the code, `provisioningState` is AwaitingManualAction until its validation URL is opened.
    """
    if not call.body.topic:
        raise shapes.InvalidField(
            "InvalidField", "topic is missing.", fix="Give the topic to subscribe to."
        )
    draft = declarations.to_core(call.body, limits=call.app.settings.limits)
    start = call.body.start_at(call.app.now_ms())
    subscription = await call.app.create_subscription(call.body.topic, draft, start)
    return view(call.app, call.app.topic_of(subscription), subscription)


@subject.get("/subscriptions/{name}")
async def show_subscription(call: Call[TopicChoice, None]) -> SubscriptionView:
    """Show one subscription, its books and its latest failures."""
    topic, subscription = _found(call)
    return view(call.app, topic, subscription, is_full=True)


@subject.put("/subscriptions/{name}")
async def replace_subscription(call: Call[TopicChoice, SubscriptionView]) -> SubscriptionView:
    """Replace what a subscription declares; its cursor stays.

    A new endpoint's handshake comes first; the old one serves until it consents. The filter applies
    from the cursor on. What was shown can be sent back: masked values stay as they are, and what
    only the server knows is ignored.
    """
    topic, current = _found(call)
    names = SubscriptionDeclaration.__struct_fields__
    declared = SubscriptionDeclaration(**{name: getattr(call.body, name) for name in names})
    return await _update(call.app, topic, current, declared)


@subject.patch("/subscriptions/{name}")
async def update_subscription(call: Call[TopicChoice, dict[str, object]]) -> SubscriptionView:
    """Change some fields of a subscription, as a JSON merge patch.

    A field that is null goes back to its default; lists are replaced as a whole.
    """
    topic, current = _found(call)
    declared = declarations.from_core(current, topic=topic.name)
    return await _update(call.app, topic, current, declarations.patched(declared, call.body))


@subject.delete("/subscriptions/{name}")
async def delete_subscription(call: Call[TopicChoice, None]) -> None:
    """Delete a subscription; what was pending is counted as dropped, SubscriptionDeleted."""
    topic, subscription = _found(call)
    await call.app.delete_subscription(topic.name, subscription.name)


@subject.get("/subscriptions/{name}/full-url")
async def show_full_url(call: Call[TopicChoice, None]) -> FullUrl:
    """Show the endpoint's whole address, the query included."""
    _, subscription = _found(call)
    return FullUrl(endpoint_url=subscription.endpoint.address)


@subject.post("/subscriptions/{name}/pause")
async def pause_subscription(call: Call[TopicChoice, None]) -> SubscriptionView:
    """Stop delivering; the cursor stays, events keep being kept for it."""
    topic, subscription = _found(call)
    await call.app.pause(topic.name, subscription.name)
    return _shown(call.app, topic, subscription.name)


@subject.post("/subscriptions/{name}/resume")
async def resume_subscription(call: Call[TopicChoice, None]) -> SubscriptionView:
    """Go on delivering from the cursor."""
    topic, subscription = _found(call)
    await call.app.resume(topic.name, subscription.name)
    return _shown(call.app, topic, subscription.name)


@subject.post("/subscriptions/{name}/rewind")
async def rewind_subscription(call: Call[TopicChoice, Rewind]) -> Position:
    """Move the cursor to a position or a time, backward or forward.

    What was outstanding is settled as dropped, Superseded; what a move forward passes over as
    Skipped. Answers the new position.
    """
    topic, subscription = _found(call)
    position, at_ms = _target(call.body.to, call.app.now_ms())
    moved = await call.app.rewind(topic.name, subscription.name, position, at_ms)
    return Position(position=moved)


@subject.post("/subscriptions/{name}/test")
async def test_subscription(call: Call[TopicChoice, bytes]) -> MatchView:
    """Hold an event against the filter: does it match, and which clause said no.

    The body is the event, in the topic's schema. Nothing is published.
    """
    topic, subscription = _found(call)
    clauses = call.app.explain_match(topic.name, subscription.name, call.body)
    return MatchView(
        is_match=all(clause.is_met for clause in clauses),
        clauses=[views.clause(each) for each in clauses],
    )


def view(
    app: AppPort, topic: Topic, subscription: Subscription, *, is_full: bool = False
) -> SubscriptionView:
    declared = declarations.from_core(subscription, topic=topic.name)
    pending = subscription.pending_endpoint
    export = app.export_failure(topic.name, subscription.name) if is_full else None
    report = app.status(topic.name, subscription.name) if is_full else None
    return SubscriptionView(
        **{name: getattr(declared, name) for name in declared.__struct_fields__},
        provisioning_state=subscription.provisioning_state.value,
        created_time=forms.time_text(subscription.created_ms),
        is_paused=subscription.is_paused,
        validation_deadline=forms.time_text(subscription.validation_deadline_ms),
        pending_endpoint=masks.masked_url(pending.address) if pending else None,
        books=None if report is None else views.books(report),
        findings=[] if report is None else standing.findings(subscription, report),
        last_failures=[
            views.attempt(record) for record in app.last_failures(topic.name, subscription.name)
        ]
        if is_full
        else [],
        deadletter_failure=None if export is None else views.attempt(export),
    )


def _found(call: Call[TopicChoice, Any]) -> tuple[Topic, Subscription]:
    return call.app.subscription(call.name, call.query.topic)


def _shown(app: AppPort, topic: Topic, name: str) -> SubscriptionView:
    _, subscription = app.subscription(name, topic.name)
    return view(app, topic, subscription)


async def _update(
    app: AppPort, topic: Topic, current: Subscription, declared: SubscriptionDeclaration
) -> SubscriptionView:
    if declared.topic not in ("", topic.name) or declared.name not in ("", current.name):
        raise shapes.InvalidField(
            "InvalidField",
            f"{current.name} of {topic.name} cannot become {declared.name} of {declared.topic}.",
            fix="A subscription keeps its name and topic; create another one instead.",
        )
    named = msgspec.structs.replace(declared, name=current.name)
    draft = declarations.to_core(named, current=current, limits=app.settings.limits)
    subscription = await app.update_subscription(topic.name, current.name, draft)
    return view(app, topic, subscription)


def _target(to: int | str, now_ms: int) -> tuple[int | None, int | None]:
    """(position, None) or (None, UTC milliseconds)."""
    if isinstance(to, int) or to.strip().isdigit():
        return max(0, int(to)), None
    if to == "earliest":
        return 0, None
    if to == "now":
        return None, now_ms + 1  # behind what was published in this very millisecond
    return None, forms.time_ms(to, field="to", now_ms=now_ms)
