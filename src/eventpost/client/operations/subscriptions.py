"""Event subscriptions: declare, change, hold, move, ask."""

from collections.abc import Mapping
from typing import Any

import msgspec

from eventpost.client.calls import UNBOUNDED, Call, Pages, call, listing, nothing, reading, segment
from eventpost.registry import models
from eventpost.registry.declarations import SubscriptionDeclaration
from eventpost.registry.models import MatchView, SubscriptionView

Declared = SubscriptionDeclaration | Mapping[str, Any]


def list_subscriptions(*, topic: str | None = None) -> Pages[SubscriptionView]:
    """The event subscriptions of one topic or of all, the oldest first, read page by page."""
    return listing("/subscriptions", models.SubscriptionList, query={"topic": topic})


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
