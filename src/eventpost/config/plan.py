"""What must change so that a server has what a file declares. Pure: values in, changes out.

What the server has and the file does not name is left alone unless pruning is asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from eventpost.config.declared import complete
from eventpost.core.errors import InvalidRequest
from eventpost.core.subscriptions import BUILTIN_TOPIC_PREFIX
from eventpost.registry import masks, shapes
from eventpost.registry.declarations import SubscriptionDeclaration, TopicDeclaration


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    IMPOSSIBLE = "impossible"  # only deleting and creating anew would do it


@dataclass(frozen=True, slots=True)
class Difference:
    """One field, by its path on the wire; values as they may be shown, secrets masked."""

    field: str
    before: object
    after: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step. `declaration` is what is to be; None when something goes."""

    action: Action
    kind: str
    """`topic` or `subscription`."""
    topic: str
    name: str
    declaration: TopicDeclaration | SubscriptionDeclaration | None = None
    differences: list[Difference] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"topic {self.name}" if self.kind == "topic" else f"subscription {self.name}"


def plan(
    *,
    topics: Sequence[TopicDeclaration],
    subscriptions: Sequence[SubscriptionDeclaration],
    current_topics: Sequence[TopicDeclaration],
    current_subscriptions: Sequence[SubscriptionDeclaration],
    is_pruning: bool = False,
) -> list[Change]:
    """The changes, in the order in which they can be made.

    Raises InvalidRequest for a subscription to a topic that is neither declared nor there.
    """
    has_topics = {topic.name: topic for topic in current_topics}
    _check_topics(subscriptions, {*has_topics, *(topic.name for topic in topics)})
    has = {(each.topic, each.name): each for each in current_subscriptions}
    changes = [
        *_topic_changes(topics, has_topics),
        *_subscription_changes(subscriptions, has),
    ]
    if not is_pruning:
        return changes
    kept = {(each.topic, each.name) for each in subscriptions}
    kept_topics = {topic.name for topic in topics} | {each.topic for each in subscriptions}
    gone = [
        *(
            Change(action=Action.DELETE, kind="subscription", topic=each.topic, name=each.name)
            for identity, each in has.items()
            if identity not in kept
        ),
        *(
            Change(action=Action.DELETE, kind="topic", topic=name, name=name)
            for name in has_topics
            if name not in kept_topics and not name.startswith(BUILTIN_TOPIC_PREFIX)
        ),
    ]
    return [*changes, *gone]


def _check_topics(subscriptions: Sequence[SubscriptionDeclaration], known: set[str]) -> None:
    for subscription in subscriptions:
        if subscription.topic not in known:
            raise InvalidRequest(
                "TopicNotFound",
                f"Subscription {subscription.name}: there is no topic `{subscription.topic}`.",
                why="The file does not declare it, and the server has none of that name.",
                fix=f"{shapes.nearest(subscription.topic, sorted(known))}Declare it under topics.",
            )


def _topic_changes(
    topics: Iterable[TopicDeclaration], has: Mapping[str, TopicDeclaration]
) -> Iterable[Change]:
    for topic in topics:
        current = has.get(topic.name)
        if current is not None and current.schema is topic.schema:
            continue
        before = current.schema.value if current else ""
        yield Change(
            action=Action.IMPOSSIBLE if current else Action.CREATE,
            kind="topic",
            topic=topic.name,
            name=topic.name,
            declaration=topic,
            differences=[Difference("inputSchema", before, topic.schema.value)] if current else [],
        )


def _subscription_changes(
    subscriptions: Iterable[SubscriptionDeclaration],
    has: Mapping[tuple[str, str], SubscriptionDeclaration],
) -> Iterable[Change]:
    for subscription in subscriptions:
        current = has.get((subscription.topic, subscription.name))
        differences = differences_between(current, subscription) if current else []
        if current is None or differences:
            yield Change(
                action=Action.CREATE if current is None else Action.UPDATE,
                kind="subscription",
                topic=subscription.topic,
                name=subscription.name,
                declaration=subscription,
                differences=differences,
            )


def differences_between(
    current: SubscriptionDeclaration, wanted: SubscriptionDeclaration
) -> list[Difference]:
    """The fields in which they differ, in their fullest form.

    A value that the server hides (a secret property, the query of an endpoint) counts as equal:
    it cannot be compared.
    """
    before, after = _fields(current), _fields(wanted)
    return [
        Difference(path, _shown(before.get(path)), _shown(value))
        for path, value in after.items()
        if before.get(path) != value and not _is_hidden(before.get(path), value)
    ]


def _fields(subscription: SubscriptionDeclaration) -> dict[str, object]:
    """Every field by its path on the wire, nested ones dotted."""
    full = complete(_plain(subscription), where=f"subscription {subscription.name}")
    found: dict[str, object] = {}
    _flatten("", msgspec.to_builtins(full), found)
    for left_out in ("start", "name", "topic"):
        found.pop(left_out, None)
    return found


def _plain(subscription: SubscriptionDeclaration) -> SubscriptionDeclaration:
    """Without what a server's view adds."""
    names = SubscriptionDeclaration.__struct_fields__
    return SubscriptionDeclaration(**{name: getattr(subscription, name) for name in names})


def _flatten(prefix: str, value: object, found: dict[str, object]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(f"{prefix}.{key}" if prefix else key, item, found)
    else:
        found[prefix] = value


def _shown(value: object) -> object:
    """Without the value of a secret property, without the values in a URL's query."""
    if isinstance(value, str):
        return masks.masked_url(value) if "://" in value else value
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, dict) and value.get("isSecret"):
        return value | {"value": masks.MASK}
    return value


def _is_hidden(before: object, after: object) -> bool:
    """Whether the two differ only where the server shows a mask."""
    if isinstance(before, str) and isinstance(after, str):
        return before in (masks.MASK, masks.masked_url(after))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(
            before[key] == after[key] or _is_hidden(before[key], after[key]) for key in before
        )
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(
            one == other or _is_hidden(one, other) for one, other in zip(before, after, strict=True)
        )
    return False
