"""The ladder of one queue: the way to its service, and what the queue's own probe sees there.

Layer: app. A probe takes nothing and writes nothing.
"""

import ssl
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from eventpost.app.doctor import aws, azure, kafka, rabbitmq, round_trip
from eventpost.app.doctor.settled import faulty, settings
from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Failed
from eventpost.credentials import aws as aws_sessions
from eventpost.credentials.aws_settings import AwsConnection
from eventpost.credentials.azure_settings import AzureStorageConnection
from eventpost.diagnosis.doctor import steps
from eventpost.diagnosis.doctor.climbing import Step
from eventpost.diagnosis.doctor.ladder import Faulty, Rung, Seen, rung
from eventpost.diagnosis.doctor.network import Peer
from eventpost.diagnosis.history import Attempt
from eventpost.diagnosis.ranking import Circumstances, rank
from eventpost.queues import kinds
from eventpost.queues.interfaces import Address, Permission, Permitting, Queue
from eventpost.queues.interfaces import Rung as Probed
from eventpost.queues.kafka.settings import KafkaConnection
from eventpost.queues.kafka.settings import Options as KafkaOptions
from eventpost.queues.rabbitmq.settings import RabbitmqConnection
from eventpost.queues.sqs.address import place

Open = Callable[[], Queue]
Names = Callable[[], tuple[str, ...]]
"""Asks the resolver for every name that it goes over to the service."""
_LOOKED_AT = frozenset({"settings", "credentials", "name", "connect", "tls"})
"""Rungs of a probe that the doctor has climbed by itself, with more to tell."""
_SOURCE_NEEDS = ("receive", "settle", "extend")
_DESTINATION_NEEDS = ("send",)
_NAMES = {"connect": "route"}
_FIFO = ".fifo"


def _no_names() -> tuple[str, ...]:
    return ()


def steps_of(
    kind: str,
    connection: msgspec.Struct | None,
    address: Address,
    *,
    is_source: bool,
    is_round_trip: bool = False,
) -> list[tuple[str, Step]]:
    """The ladder of a queue. `connection` None: the kind's defaults."""

    def open_queue() -> Queue:
        return kinds.open_queue(kind, connection, address, kinds.Services())

    def settled() -> str:
        open_queue().close()
        return f"{kind} {address.name}"

    if connection is None:
        connection = _defaults(kind)
    first: list[tuple[str, Step]] = [("settings", settings(settled))]
    if isinstance(connection, KafkaConnection):
        return [*first, *_of_kafka(connection, address, open_queue, is_source, is_round_trip)]
    needed = _SOURCE_NEEDS if is_source else _DESTINATION_NEEDS
    names = _names(connection)
    found = [
        *first,
        *_way(connection, address),
        probe(open_queue, names),
        permissions(open_queue, needed, names),
    ]
    if is_round_trip:
        is_fifo = address.name.endswith(_FIFO)
        found.append(round_trip.step(open_queue, is_fifo=is_fifo, is_source=is_source))
    return found


def _of_kafka(
    connection: KafkaConnection,
    address: Address,
    open_queue: Open,
    is_source: bool,
    is_round_trip: bool,
) -> list[tuple[str, Step]]:
    own: list[tuple[str, Step]] = list(kafka.connection_steps(connection)[:-1])
    options = kinds.options_of(address, KafkaOptions)
    if connection.config:
        own.append(probe(open_queue))
    else:
        own += kafka.topic_steps(connection, address.name, options, is_source=is_source)
    if is_round_trip:
        own.append(kafka.round_trip_step(connection, address.name, options, is_source=is_source))
    return own


def permissions(
    open_queue: Open, needed: Sequence[str], names: Names = _no_names
) -> tuple[str, Step]:
    """The operations that are needed, each for itself: some may work while others are refused."""

    def look() -> Seen:
        queue = open_queue()
        try:
            found = queue.permissions() if isinstance(queue, Permitting) else ()
        finally:
            queue.close()
        return found if isinstance(found, Failed) else judged(found, needed, names)

    return "authorization", look


def judged(found: Sequence[Permission], needed: Sequence[str], names: Names = _no_names) -> Seen:
    """What a matrix of operations comes to, for who needs some of them. Pure."""
    if not found:
        return None
    told = ", ".join(f"{each.operation} {_word(each)}" for each in found)
    for each in found:
        if each.refused is not None and each.operation in needed:
            evidence = each.refused.evidence
            known = Circumstances(attempts=_attempts(found), names=names())
            code = rank(evidence, known).code
            return Faulty(code=code, detail=f"{told}. {evidence.detail}", evidence=evidence)
    return told


def _attempts(found: Sequence[Permission]) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(
            at_ms=0,
            operation=each.operation,
            evidence=None if each.refused is None else each.refused.evidence,
        )
        for each in found
        if each.is_known
    )


def _word(permission: Permission) -> str:
    if permission.refused is not None:
        return "refused"
    if permission.is_inferred and permission.is_known:
        return "not refused"
    return "allowed" if permission.is_known else "not known"


def probe(open_queue: Open, names: Names = _no_names) -> tuple[str, Step]:
    """The probe's rungs, without what was looked at already."""

    def look() -> Sequence[Rung]:
        try:
            queue = open_queue()
        except EventpostError as error:
            found = rung("settings", faulty(error))
            return [] if found is None else [found]
        try:
            return [each for one in queue.probe() for each in _told(one, names)]
        finally:
            queue.close()

    return "authentication", look


def _told(probed: Probed, names: Names) -> list[Rung]:
    if probed.failed is None and probed.name in _LOOKED_AT:
        return []
    name = _NAMES.get(probed.name, probed.name)
    seen: Seen = probed.detail
    if isinstance(probed.failed, Failed):
        evidence = probed.failed.evidence
        code = rank(evidence, Circumstances(names=names())).code
        seen = Faulty(code=code, detail=evidence.detail, evidence=evidence)
    found = rung(name, seen)
    return [] if found is None else [found]


def _names(connection: msgspec.Struct | None) -> Names:
    """What else the service is called on the way to it, where that tells something."""
    if isinstance(connection, AzureStorageConnection):
        return partial(azure.names_of, connection)
    return _no_names


def _defaults(kind: str) -> msgspec.Struct:
    system = kinds.queue_system(kind)
    return kinds.read_settings({}, kinds.connection_class(system.CONNECTION_KIND))


def _way(connection: msgspec.Struct, address: Address) -> list[tuple[str, Step]]:
    """Who we are and the way there, for the kinds that are built in; else the probe tells."""
    if isinstance(connection, AwsConnection):
        return list(_way_to_sqs(connection, address))
    if isinstance(connection, AzureStorageConnection):
        return list(azure.connection_steps(connection)[1:])
    if isinstance(connection, RabbitmqConnection):
        return list(rabbitmq.way(connection))
    return []


def _way_to_sqs(connection: AwsConnection, address: Address) -> list[tuple[str, Step]]:
    where = place(address.name)
    changes = {"region": where.region} if where.region and not connection.region else {}
    if where.endpoint:
        changes["endpoint_url"] = where.endpoint
    session = aws_sessions.session(msgspec.structs.replace(connection, **changes))
    return aws_way(session, "sqs")


def aws_way(session: aws_sessions.Session, service: str) -> list[tuple[str, Step]]:
    """Credentials, clock, name, route and TLS of a service's endpoint."""

    def peers() -> Sequence[Peer]:
        return [aws.endpoint_of(session, service)]

    def is_tls() -> bool:
        return str(session.client(service).meta.endpoint_url).startswith("https:")

    return [
        ("credentials", aws.credentials(session)),
        ("endpoint", aws.endpoint(session, service)),
        ("clock", lambda: steps.clock(peers, is_tls=is_tls())()),
        ("name", steps.name(peers)),
        ("route", steps.route(peers)),
        ("tls", lambda: steps.tls(peers, ssl.create_default_context)() if is_tls() else None),
    ]
