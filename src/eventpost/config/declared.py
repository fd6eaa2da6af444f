"""What a file declares, checked, with the line of every mistake."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from eventpost.config.file import ConfigFile, mapping
from eventpost.core.bounds import check_domain_topic_name, check_input_mapping
from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import LIMITS, Limits
from eventpost.registry import pulled, shapes
from eventpost.registry.declarations import (
    ConnectionDeclaration,
    DomainDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
    TopicDeclaration,
    from_core,
    to_connection,
    to_core,
)

Declared = TypeVar("Declared")


def declared_topics(file: ConfigFile) -> list[TopicDeclaration]:
    """The file's topics. Raises InvalidRequest with the line of what is wrong."""
    topics = []
    for key, value in file.topics.items():
        topic = _read(file, "topics", key, value, TopicDeclaration)
        _ = topic.schema  # raises for a name that is no schema
        topics.append(msgspec.structs.replace(topic, name=topic.name or key))
    return topics


def declared_domains(file: ConfigFile, limits: Limits = LIMITS) -> list[DomainDeclaration]:
    """The file's domains, each with topics. Raises InvalidRequest with the line."""
    domains = []
    for key, value in file.domains.items():
        domain = _read(file, "domains", key, value, DomainDeclaration)
        domain = msgspec.structs.replace(domain, name=domain.name or key)
        with placed(file.document.place(("domains", key))):
            check_input_mapping(domain.schema, domain.mapping, limits, is_domain=True)
            for topic in domain.topics:
                check_domain_topic_name(topic, limits)
        domains.append(domain)
    return domains


def declared_subscriptions(
    file: ConfigFile, limits: Limits = LIMITS
) -> list[SubscriptionDeclaration]:
    """The file's subscriptions, within the `limits`. Raises InvalidRequest with the line."""
    found: dict[tuple[str, str], str] = {}
    subscriptions = []
    for key, value in file.subscriptions.items():
        where = file.document.place(("subscriptions", key))
        subscription = _read(file, "subscriptions", key, value, SubscriptionDeclaration)
        subscription = msgspec.structs.replace(subscription, name=subscription.name or key)
        if not subscription.topic:
            raise InvalidRequest(
                "InvalidFile",
                f"{where}: subscriptions.{key} names no topic.",
                fix="Add a line `topic: NAME`.",
            )
        identity = subscription.topic, subscription.name
        if identity in found:
            raise InvalidRequest(
                "InvalidFile",
                f"{where}: {found[identity]} and {key} are the same subscription.",
                fix="Give one of them another name.",
            )
        found[identity] = key
        complete(subscription, where=where, limits=limits)  # raises for what is out of bounds
        subscriptions.append(subscription)
    return subscriptions


def declared_connections(file: ConfigFile, limits: Limits = LIMITS) -> list[ConnectionDeclaration]:
    """The file's connections: `kind`, and beside it the kind's own settings, which the server
    checks. Raises InvalidRequest with the line."""
    connections = []
    for key, value in file.connections.items():
        where = file.document.place(("connections", key))
        settings = dict(mapping(file.document, value, ("connections", key)))
        kind = settings.pop("kind", "")
        if not isinstance(kind, str) or not kind:
            raise InvalidRequest(
                "InvalidFile",
                f"{where}: connections.{key} names no kind.",
                fix="Add a line `kind: KIND`, such as aws or kafka.",
            )
        connection = ConnectionDeclaration(name=key, kind=kind, settings=settings)
        with placed(where):
            to_connection(connection, limits=limits)
        connections.append(connection)
    return connections


def declared_sources(file: ConfigFile, limits: Limits = LIMITS) -> list[SourceDeclaration]:
    """The file's sources. Raises InvalidRequest with the line."""
    sources = []
    for key, value in file.sources.items():
        where = file.document.place(("sources", key))
        source = _read(file, "sources", key, value, SourceDeclaration)
        source = msgspec.structs.replace(source, name=source.name or key)
        for field in ("topic", "kind", "queue"):
            if not getattr(source, field):
                raise InvalidRequest(
                    "InvalidFile",
                    f"{where}: sources.{key} names no {field}.",
                    fix=f"Add a line `{field}: ...`.",
                )
        with placed(where):
            pulled.completed(source, limits=limits)
        sources.append(source)
    return sources


def complete(
    subscription: SubscriptionDeclaration, *, where: str, limits: Limits | None = None
) -> SubscriptionDeclaration:
    """In the form in which the server shows it. Raises InvalidRequest naming the place."""
    with placed(where):
        draft = to_core(subscription, limits=limits)
        return from_core(draft, topic=subscription.topic, is_masked=False)


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Puts the place before what an error says."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(
            error.code, f"{where}: {error.what}", why=error.why, fix=error.fix
        ) from error


def _read(
    file: ConfigFile, section: str, key: str, value: object, kind: type[Declared]
) -> Declared:
    try:
        return shapes.read({} if value is None else value, kind, where=f"{section}.{key}")
    except shapes.InvalidField as error:
        place = file.document.place((section, key, *error.path))
        raise InvalidRequest(error.code, f"{place}: {error.what}", fix=error.fix) from error
