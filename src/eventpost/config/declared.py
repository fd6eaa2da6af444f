"""The topics and subscriptions that a file declares, checked, with the line of every mistake."""

from typing import TypeVar

import msgspec

from eventpost.config.file import ConfigFile
from eventpost.core.errors import InvalidRequest
from eventpost.registry import shapes
from eventpost.registry.declarations import (
    SubscriptionDeclaration,
    TopicDeclaration,
    from_core,
    to_core,
)

Declaration = TypeVar("Declaration", TopicDeclaration, SubscriptionDeclaration)


def declared_topics(file: ConfigFile) -> list[TopicDeclaration]:
    """The file's topics. Raises InvalidRequest with the line of what is wrong."""
    topics = _declared(file, "topics", TopicDeclaration)
    for topic in topics:
        _ = topic.schema  # raises for a name that is no schema
    return topics


def declared_subscriptions(file: ConfigFile) -> list[SubscriptionDeclaration]:
    """The file's subscriptions, defaults filled in. Raises InvalidRequest with the line."""
    found: dict[tuple[str, str], str] = {}
    subscriptions = _declared(file, "subscriptions", SubscriptionDeclaration)
    for key, subscription in zip(file.subscriptions, subscriptions, strict=True):
        where = file.document.place(("subscriptions", key))
        if not subscription.topic:
            raise InvalidRequest(
                "InvalidFile",
                f"{where}: subscriptions.{key} names no topic.",
                fix="Add a line `topic: NAME`.",
            )
        identity = subscription.topic, subscription.name.lower()
        if identity in found:
            raise InvalidRequest(
                "InvalidFile",
                f"{where}: {found[identity]} and {key} are the same subscription.",
                fix="Give one of them another name.",
            )
        found[identity] = key
        complete(subscription, where=where)
    return subscriptions


def complete(subscription: SubscriptionDeclaration, *, where: str) -> SubscriptionDeclaration:
    """In the form in which the server shows it. Raises InvalidRequest naming the place."""
    try:
        return from_core(to_core(subscription), topic=subscription.topic, is_masked=False)
    except InvalidRequest as error:
        raise InvalidRequest(
            error.code, f"{where}: {error.what}", why=error.why, fix=error.fix
        ) from error


def _declared(file: ConfigFile, section: str, kind: type[Declaration]) -> list[Declaration]:
    declarations = []
    for key, value in getattr(file, section).items():
        where = f"{section}.{key}"
        try:
            declared = shapes.read(value if value is not None else {}, kind, where=where)
        except shapes.InvalidField as problem:
            place = file.document.place((section, key, *problem.path))
            what = f"{place}: {problem.what}"
            raise InvalidRequest(problem.code, what, fix=problem.fix) from problem
        if not declared.name:
            declared = msgspec.structs.replace(declared, name=key)
        declarations.append(declared)
    return declarations
