"""From declarations to ladders: which looks make up the ladder of each thing.

Layer: app. What cannot be made into a ladder has one rung, which says why.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from eventpost.app.doctor import (
    aws,
    azure,
    endpoints,
    functions,
    kafka,
    queues,
    rabbitmq,
    redis,
    store,
    webhooks,
)
from eventpost.app.doctor.declarations import Declarations
from eventpost.app.doctor.settled import faulty, settings
from eventpost.app.queues import settings_of
from eventpost.core.domains import split
from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.core.events import Schema
from eventpost.core.subscriptions import Endpoint
from eventpost.credentials.aws_settings import AwsConnection
from eventpost.credentials.azure_settings import AzureStorageConnection
from eventpost.credentials.entra import EntraConnection
from eventpost.credentials.redis import RedisConnection
from eventpost.credentials.smtp import SmtpConnection
from eventpost.diagnosis.doctor.climbing import Step, Subject
from eventpost.queues import kinds
from eventpost.queues.interfaces import Address
from eventpost.queues.kafka.settings import KafkaConnection
from eventpost.queues.rabbitmq.settings import RabbitmqConnection
from eventpost.registry.declarations import (
    ConnectionDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
    to_connection,
    to_core,
)

Steps = list[tuple[str, Step]]
FOLDER = "folder:"
WAITS_MAX: dict[str, float] = {
    "connect_timeout_s": 3.0,
    "request_timeout_s": 4.0,
    "connect_timeout_ms": 3_000,
    "request_timeout_ms": 4_000,
}
"""Waits of a connection that are cut to this: the doctor has 15 s for all rungs together."""


def subjects(found: Declarations, *, is_round_trip: bool = False) -> list[Subject]:
    """Every ladder of what is declared: connections, sources, subscriptions, the store."""
    return [
        *_problems(found),
        *(_subject("connection", each.name, _connecting(each)) for each in found.connections),
        *(
            _subject("source", each.name, _pulling(found, each, is_round_trip))
            for each in found.sources
        ),
        *(
            _subject("subscription", each.name, _delivering(found, each, is_round_trip))
            for each in found.subscriptions
        ),
        Subject(kind="store", name="store", steps=store.steps_of(Path(found.settings.server.data))),
    ]


def named(all_subjects: Sequence[Subject], names: Iterable[str]) -> list[Subject]:
    """Those with one of these names. Raises InvalidRequest for a name that nothing has."""
    wanted = list(names)
    known = [each.name for each in all_subjects]
    for name in wanted:
        if name not in known:
            raise InvalidRequest(
                "NothingNamedSo",
                f"There is nothing named {name!r} to examine.",
                fix=f"Known: {', '.join(known)}.",
            )
    return [each for each in all_subjects if not wanted or each.name in wanted]


def _problems(found: Declarations) -> Iterable[Subject]:
    for problem in found.problems:
        name = "configuration" if problem.kind == "configuration" else "settings"
        error = problem.error
        yield Subject(
            kind=problem.kind,
            name=problem.name,
            steps=[(name, lambda error=error: faulty(error))],  # type: ignore[misc]  # mypy does not infer a lambda's default
        )


def _subject(kind: str, name: str, make: Callable[[], Steps]) -> Subject:
    """Its settings may be such that no ladder can be made of them; that is told at its rung."""
    try:
        return Subject(kind=kind, name=name, steps=make())
    except EventpostError as error:
        told = faulty(error)
        return Subject(kind=kind, name=name, steps=[("settings", lambda: told)])


def _connecting(declaration: ConnectionDeclaration) -> Callable[[], Steps]:
    def make() -> Steps:
        connection = _patient(declaration)
        if isinstance(connection, AwsConnection):
            return list(aws.connection_steps(connection))
        if isinstance(connection, AzureStorageConnection):
            return list(azure.connection_steps(connection))
        if isinstance(connection, KafkaConnection):
            return list(kafka.connection_steps(connection))
        if isinstance(connection, RabbitmqConnection):
            return list(rabbitmq.connection_steps(connection))
        if isinstance(connection, RedisConnection):
            return list(redis.connection_steps(connection))
        if isinstance(connection, SmtpConnection):
            return list(endpoints.smtp_steps(connection))
        return [("settings", settings(lambda: f"a connection of the kind {declaration.kind}"))]

    return make


def _patient(declaration: ConnectionDeclaration) -> msgspec.Struct:
    """The settings of a connection, with waits that end within the doctor's own bounds."""
    connection = settings_of(to_connection(declaration))
    shorter = {
        name: most
        for name, most in WAITS_MAX.items()
        if name in connection.__struct_fields__ and getattr(connection, name) > most
    }
    if isinstance(connection, AwsConnection) and not 0 < connection.attempts_max <= 2:
        shorter["attempts_max"] = 2
    return msgspec.structs.replace(connection, **shorter)


def _settings_named(found: Declarations, name: str | None) -> msgspec.Struct | None:
    if name is None:
        return None
    for each in found.connections:
        if each.name == name:
            return _patient(each)
    raise InvalidRequest(
        "ConnectionNotFound",
        f"There is no connection {name!r}, or its own settings cannot be used.",
        fix="Declare it under connections.",
    )


def _connecting_of(found: Declarations) -> Callable[[str, str | None], msgspec.Struct]:
    """Settings of connections by kind and name, as destinations ask for them."""

    def connection(kind: str, name: str | None) -> msgspec.Struct:
        settings = _settings_named(found, name)
        wanted = kinds.connection_class(kind)
        if settings is None:
            return kinds.read_settings({}, wanted, where="connection")
        if not isinstance(settings, wanted):
            raise InvalidRequest(
                "WrongConnectionKind", f"The connection {name!r} is not of the kind {kind}."
            )
        return settings

    return connection


def _pulling(
    found: Declarations, source: SourceDeclaration, is_round_trip: bool
) -> Callable[[], Steps]:
    def make() -> Steps:
        connection = _settings_named(found, source.connection)
        address = Address(name=source.queue, options=source.options)
        return queues.steps_of(
            source.kind, connection, address, is_source=True, is_round_trip=is_round_trip
        )

    return make


def _delivering(
    found: Declarations, subscription: SubscriptionDeclaration, is_round_trip: bool
) -> Callable[[], Steps]:
    def make() -> Steps:
        draft = to_core(subscription, limits=None)
        made = _endpoint(found, draft.endpoint, _schema(found, subscription), is_round_trip)
        if draft.deadletter is not None and draft.deadletter.startswith(FOLDER):
            path = Path(draft.deadletter.removeprefix(FOLDER)).expanduser()
            made.append(("dead letters", store.folder(path)))
        elif draft.deadletter is not None:
            where = draft.deadletter, draft.deadletter_connection
            made.append(("dead letters", endpoints.deadletter_step(*where, _connecting_of(found))))
        return made

    return make


def _endpoint(
    found: Declarations, endpoint: Endpoint, schema: Schema, is_round_trip: bool
) -> Steps:
    if endpoint.type == "webhook":
        application = _settings_named(found, endpoint.connection)
        if application is not None and not isinstance(application, EntraConnection):
            raise InvalidRequest("WrongConnectionKind", "webhook needs a connection of kind entra.")
        return webhooks.steps_of(
            endpoint,
            found.settings,
            schema,
            is_round_trip=is_round_trip,
            application=application,
        )
    connection = _settings_named(found, endpoint.connection)
    if endpoint.type == "lambda":
        if connection is not None and not isinstance(connection, AwsConnection):
            raise InvalidRequest("WrongConnectionKind", "lambda needs a connection of kind aws.")
        return functions.steps_of(endpoint, connection or AwsConnection())
    if kinds.is_system(endpoint.type):
        address = Address(name=endpoint.address, options=endpoint.options)
        return queues.steps_of(
            endpoint.type, connection, address, is_source=False, is_round_trip=is_round_trip
        )
    return endpoints.steps_of(endpoint, _connecting_of(found))


def _schema(found: Declarations, subscription: SubscriptionDeclaration) -> Schema:
    log, _ = split(subscription.topic)
    for topic in found.topics:
        if topic.name == log:
            return topic.schema
    return Schema.EVENT_GRID
