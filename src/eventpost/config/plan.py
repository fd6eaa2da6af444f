"""What must change so that a server has what a file declares. Pure: values in, changes out.

What the server has and the file does not name is left alone unless pruning is asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from eventpost.config.differences import Difference, between
from eventpost.core.domains import joined, split
from eventpost.core.errors import InvalidRequest
from eventpost.core.subscriptions import BUILTIN_TOPIC_PREFIX, PULL
from eventpost.registry import shapes
from eventpost.registry.declarations import (
    ConnectionDeclaration,
    DomainDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
    TopicDeclaration,
)

Declaration = (
    TopicDeclaration
    | DomainDeclaration
    | SubscriptionDeclaration
    | ConnectionDeclaration
    | SourceDeclaration
)
DOMAIN_RULES = (
    "autoCreateTopicWithFirstSubscription",
    "autoDeleteTopicWithLastSubscription",
)
"""What of a domain can be changed."""


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    IMPOSSIBLE = "impossible"  # only deleting and creating anew would do it


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """Everything that a file declares, or that a server has."""

    topics: Sequence[TopicDeclaration] = ()
    domains: Sequence[DomainDeclaration] = ()
    subscriptions: Sequence[SubscriptionDeclaration] = ()
    connections: Sequence[ConnectionDeclaration] = ()
    sources: Sequence[SourceDeclaration] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step. `declaration` is what is to be; None when something goes."""

    action: Action
    kind: str
    """`connection`, `topic`, `domain`, `domain topic`, `subscription` or `source`."""
    topic: str
    """"" for a connection; the domain for a topic of one."""
    name: str
    declaration: Declaration | None = None
    differences: list[Difference] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"


def plan(wanted: Declarations, current: Declarations, *, is_pruning: bool = False) -> list[Change]:
    """The changes, in the order in which they can be made: a source begins to pull once those who
    wait for its events are there.

    Raises InvalidRequest for a subscription or a source of a topic, or over a connection, that is
    neither declared nor there.
    """
    _check_topics(wanted, current)
    _check_connections(wanted, current)
    changes = [
        *_connection_changes(wanted, current),
        *_topic_changes(wanted, current),
        *_domain_changes(wanted, current),
        *_subscription_changes(wanted, current),
        *_source_changes(wanted, current),
    ]
    return [*changes, *_pruned(wanted, current)] if is_pruning else changes


# --- what must be there ---------------------------------------------------------------------------


def _check_topics(wanted: Declarations, current: Declarations) -> None:
    """A topic of a domain comes with its first subscription, or the server says why not."""
    domains = {each.name for each in (*wanted.domains, *current.domains)}
    known = sorted({each.name for each in (*wanted.topics, *current.topics)} | domains)
    users = [
        *(("Subscription", each.name, each.topic) for each in wanted.subscriptions),
        *(("Source", each.name, each.topic) for each in wanted.sources),
    ]
    for what, name, topic in users:
        if topic not in known and split(topic)[0] not in domains:
            raise InvalidRequest(
                "TopicNotFound",
                f"{what} {name}: there is no topic `{topic}`.",
                why="The file does not declare it, and the server has none of that name.",
                fix=f"{shapes.nearest(topic, known)}Declare it under topics.",
            )


def _check_connections(wanted: Declarations, current: Declarations) -> None:
    known = sorted({each.name for each in (*wanted.connections, *current.connections)})
    users = [
        *(("Subscription", each.name, each.connection) for each in wanted.subscriptions),
        *(("Source", each.name, each.connection) for each in wanted.sources),
    ]
    for what, name, connection in users:
        if connection and connection not in known:
            raise InvalidRequest(
                "ConnectionNotFound",
                f"{what} {name}: there is no connection `{connection}`.",
                why="The file does not declare it, and the server has none of that name.",
                fix=f"{shapes.nearest(connection, known)}Declare it under connections.",
            )


# --- what is made and changed ---------------------------------------------------------------------


def _connection_changes(wanted: Declarations, current: Declarations) -> Iterable[Change]:
    has = {each.name: each for each in current.connections}
    for connection in wanted.connections:
        yield from _change("connection", "", connection, has.get(connection.name))


def _topic_changes(wanted: Declarations, current: Declarations) -> Iterable[Change]:
    has = {each.name: each for each in current.topics}
    for topic in wanted.topics:
        known = has.get(topic.name)
        differences = [] if known is None else between(known, topic)
        if known is not None and not differences:
            continue
        yield Change(
            action=Action.IMPOSSIBLE if known else Action.CREATE,
            kind="topic",
            topic=topic.name,
            name=topic.name,
            declaration=topic,
            differences=differences,
        )


def _domain_changes(wanted: Declarations, current: Declarations) -> Iterable[Change]:
    has = {each.name: each for each in current.domains}
    for domain in wanted.domains:
        known = has.get(domain.name)
        if known is None:
            yield from _change("domain", domain.name, domain, None)
            continue
        differences = between(known, domain)
        if differences:
            is_possible = all(each.field in DOMAIN_RULES for each in differences)
            yield Change(
                action=Action.UPDATE if is_possible else Action.IMPOSSIBLE,
                kind="domain",
                topic=domain.name,
                name=domain.name,
                declaration=domain,
                differences=differences,
            )
        there = {name.casefold() for name in known.topics}
        for topic in domain.topics:
            if topic.casefold() not in there:
                yield Change(
                    action=Action.CREATE, kind="domain topic", topic=domain.name, name=topic
                )


def _subscription_changes(wanted: Declarations, current: Declarations) -> Iterable[Change]:
    has = {(each.topic, each.name): each for each in current.subscriptions}
    for each in wanted.subscriptions:
        known = has.get((each.topic, each.name))
        if known is not None and (known.endpoint_type == PULL) != (each.endpoint_type == PULL):
            yield _impossible_way(each, known)
        else:
            yield from _change("subscription", each.topic, each, known)


def _impossible_way(wanted: SubscriptionDeclaration, current: SubscriptionDeclaration) -> Change:
    """From pull to push, or the other way."""
    return Change(
        action=Action.IMPOSSIBLE,
        kind="subscription",
        topic=wanted.topic,
        name=wanted.name,
        declaration=wanted,
        differences=[Difference("endpointType", current.endpoint_type, wanted.endpoint_type)],
    )


def _source_changes(wanted: Declarations, current: Declarations) -> Iterable[Change]:
    has = {each.name: each for each in current.sources}
    for source in wanted.sources:
        known = has.get(source.name)
        if known is not None and known.topic != source.topic:
            yield Change(
                action=Action.IMPOSSIBLE,
                kind="source",
                topic=source.topic,
                name=source.name,
                declaration=source,
                differences=[Difference("topic", known.topic, source.topic)],
            )
        else:
            yield from _change("source", source.topic, source, known)


def _change(
    kind: str,
    topic: str,
    wanted: Declaration,
    current: Declaration | None,
) -> Iterable[Change]:
    differences = [] if current is None else between(current, wanted)
    if current is None or differences:
        yield Change(
            action=Action.CREATE if current is None else Action.UPDATE,
            kind=kind,
            topic=topic,
            name=wanted.name,
            declaration=wanted,
            differences=differences,
        )


# --- what goes ------------------------------------------------------------------------------------


def _pruned(wanted: Declarations, current: Declarations) -> Iterable[Change]:
    """What uses something goes before what it uses."""
    sources = {each.name for each in wanted.sources}
    for source in current.sources:
        if source.name not in sources:
            yield _gone("source", source.topic, source.name)
    kept = {(each.topic, each.name) for each in wanted.subscriptions}
    for each in current.subscriptions:
        if (each.topic, each.name) not in kept:
            yield _gone("subscription", each.topic, each.name)
    topics = {
        *(topic.name for topic in wanted.topics),
        *(each.topic for each in wanted.subscriptions),
        *(each.topic for each in wanted.sources),
    }
    for topic in current.topics:
        if topic.name not in topics and not topic.name.startswith(BUILTIN_TOPIC_PREFIX):
            yield _gone("topic", topic.name, topic.name)
    yield from _pruned_domains(wanted, current)
    connections = {
        *(connection.name for connection in wanted.connections),
        *(each.connection for each in wanted.subscriptions),
        *(each.connection for each in wanted.sources),
    }
    for connection in current.connections:
        if connection.name not in connections:
            yield _gone("connection", "", connection.name)


def _pruned_domains(wanted: Declarations, current: Declarations) -> Iterable[Change]:
    """A topic that goes with its last subscription is left to that."""
    scopes = {each.topic for each in wanted.subscriptions}
    subscribed = {each.topic for each in current.subscriptions}
    names = {domain.name: domain for domain in wanted.domains}
    for domain in current.domains:
        if domain.name not in names and domain.name not in {split(each)[0] for each in scopes}:
            yield _gone("domain", domain.name, domain.name)
            continue
        declared = names[domain.name].topics if domain.name in names else ()
        kept = {joined(domain.name, topic) for topic in declared} | scopes
        for topic in domain.topics:
            scope = joined(domain.name, topic)
            goes_anyhow = domain.rules.auto_delete_topic_with_last_subscription
            if scope not in kept and not (goes_anyhow and scope in subscribed):
                yield _gone("domain topic", domain.name, topic)


def _gone(kind: str, topic: str, name: str) -> Change:
    return Change(action=Action.DELETE, kind=kind, topic=topic, name=name)
