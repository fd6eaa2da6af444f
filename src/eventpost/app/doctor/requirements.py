"""What each connection needs of a network and of an account, for the people who run these.

Layer: app. Pure, but for names that are looked up when somebody asks for addresses.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from eventpost.app.doctor.declarations import Declarations
from eventpost.app.queues import settings_of
from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.core.outcomes import Failed
from eventpost.credentials.aws_settings import AwsConnection
from eventpost.credentials.azure_settings import AzureStorageConnection, Service, url_of
from eventpost.credentials.smtp import SmtpConnection
from eventpost.destinations.places import parse, parse_as
from eventpost.diagnosis.doctor import network
from eventpost.diagnosis.doctor.bounds import BOUNDS
from eventpost.diagnosis.doctor.network import Peer
from eventpost.queues.kafka.settings import KafkaConnection
from eventpost.queues.rabbitmq.settings import RabbitmqConnection
from eventpost.registry.declarations import SubscriptionDeclaration, to_connection

LookUp = Callable[[Peer], Sequence[str]]
RECEIVE, SEND = "receive", "send"

AWS_METADATA = Peer("169.254.169.254", 80)
ENTRA = Peer("login.microsoftonline.com", 443)
_SQS = {
    RECEIVE: ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueUrl"),
    SEND: ("SendMessage", "GetQueueUrl"),
}
_AWS: dict[str, dict[str, tuple[str, ...]]] = {
    "sqs": _SQS,
    "s3": {SEND: ("PutObject",)},
    "lambda": {SEND: ("InvokeFunction",)},
}
"""Actions, by service."""
_STORAGE = {
    RECEIVE: "Storage Queue Data Contributor",
    SEND: "Storage Queue Data Message Sender",
}
_BLOB = "Storage Blob Data Contributor"
_KAFKA = {
    RECEIVE: ("Connect", "DescribeTopic", "ReadData", "DescribeGroup", "AlterGroup"),
    SEND: ("Connect", "DescribeTopic", "WriteData", "WriteDataIdempotently"),
}
_RABBITMQ = {RECEIVE: ("read",), SEND: ("write",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one connection, or one webhook, needs."""

    name: str
    kind: str
    used_by: tuple[str, ...] = ()
    peers: tuple[Peer, ...] = ()
    rights: tuple[str, ...] = ()
    """Roles, actions or permissions, with what they are needed on."""
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By host, as the names resolve here and now."""


def needs(found: Declarations, look_up: LookUp | None = None) -> list[Need]:
    """One for each connection and for each webhook. What cannot be read is left out: the doctor
    tells of it."""
    made = []
    for declaration in found.connections:
        uses = _uses(found, declaration.name)
        try:
            connection = settings_of(to_connection(declaration))
            peers, rights = _of_connection(connection, uses)
        except EventpostError:
            continue
        users = tuple(f"{use.what} {use.name}" for use in uses)
        made.append(_need(declaration.name, declaration.kind, users, peers, rights, look_up))
    for subscription in found.subscriptions:
        if subscription.endpoint_type == "webhook":
            peer = _peer(subscription.endpoint)
            if peer is not None:
                used_by = (f"subscription {subscription.name}",)
                made.append(_need(str(peer), "webhook", used_by, [peer], [], look_up))
    return made


@dataclass(frozen=True, slots=True)
class _Use:
    what: str
    name: str
    kind: str
    target: str
    right: str


def _uses(found: Declarations, connection: str) -> list[_Use]:
    pulled = [
        _Use("source", each.name, each.kind, each.queue, RECEIVE)
        for each in found.sources
        if each.connection == connection
    ]
    sent = [use for each in found.subscriptions for use in _sends(each, connection)]
    return pulled + sent


def _sends(subscription: SubscriptionDeclaration, connection: str) -> Iterator[_Use]:
    """What a subscription writes over a connection: deliveries, and files of its dead letters."""
    name, kind, target = subscription.name, subscription.endpoint_type, subscription.endpoint
    if connection in _ways(kind, target, subscription.connection):
        yield _Use("subscription", name, kind, target, SEND)
    if subscription.deadletter is not None:
        try:
            kind, target = parse(subscription.deadletter).kind, subscription.deadletter
        except InvalidRequest:
            return
        if connection in _ways(kind, target, subscription.deadletter_connection):
            yield _Use("dead letters of", name, kind, target, SEND)


def _ways(kind: str, target: str, connection: str | None) -> tuple[str, ...]:
    """The connection that is named, or the one of the account that a container's address names."""
    if connection is not None:
        return (connection,)
    return (_account(target),) if kind == "azureblob" else ()


def _account(target: str) -> str:
    """The account that a container's address names, or ""."""
    try:
        return parse_as("azureblob", target).account
    except InvalidRequest:
        return ""


def _need(
    name: str,
    kind: str,
    used_by: tuple[str, ...],
    peers: Sequence[Peer],
    rights: Sequence[str],
    look_up: LookUp | None,
) -> Need:
    addresses = {} if look_up is None else {peer.host: tuple(look_up(peer)) for peer in peers}
    return Need(
        name=name,
        kind=kind,
        used_by=used_by,
        peers=tuple(dict.fromkeys(peers)),
        rights=tuple(dict.fromkeys(rights)),
        addresses=addresses,
    )


def addresses_of(peer: Peer) -> Sequence[str]:
    """As the name resolves here; nothing when it does not."""
    found = network.look_up(peer, BOUNDS)
    return () if isinstance(found, Failed) else found


def _of_connection(
    connection: msgspec.Struct, uses: Sequence[_Use]
) -> tuple[list[Peer], list[str]]:
    if isinstance(connection, AwsConnection):
        return _of_aws(connection, uses)
    if isinstance(connection, AzureStorageConnection):
        return _of_azure(connection, uses)
    if isinstance(connection, KafkaConnection):
        return _of_kafka(connection, uses)
    if isinstance(connection, RabbitmqConnection):
        server = connection.server()
        rights = [f"{right} on {use.target}" for use in uses for right in _RABBITMQ[use.right]]
        return [Peer(server.host, server.port)], rights
    if isinstance(connection, SmtpConnection):
        return [Peer(*connection.address)], [f"mails to {use.target}" for use in uses]
    return [], []


def _of_aws(connection: AwsConnection, uses: Sequence[_Use]) -> tuple[list[Peer], list[str]]:
    given = _peer(connection.endpoint_url)
    region = connection.region or "REGION"
    services = sorted({use.kind for use in uses})
    peers = [given or Peer(f"{each}.{region}.amazonaws.com", 443) for each in services]
    if not connection.has_keys:
        peers += [Peer(f"sts.{region}.amazonaws.com", 443), AWS_METADATA]
    rights = [
        f"{use.kind}:{action} on {use.target}"
        for use in uses
        for action in _AWS.get(use.kind, {}).get(use.right, ())
    ]
    return peers, rights


def _of_azure(
    connection: AzureStorageConnection, uses: Sequence[_Use]
) -> tuple[list[Peer], list[str]]:
    peers, rights = [], []
    if not uses:
        peers += _of_account(connection, "queue")
    for use in uses:
        is_blob = use.kind == "azureblob"
        service: Service = "blob" if is_blob else "queue"
        peers += _of_account(connection, service, _account(use.target) if is_blob else "")
        if is_blob:
            rights.append(f"{_BLOB} on the container {use.target}")
        else:
            rights.append(f"{_STORAGE[use.right]} on the queue {use.target}")
    if connection.kind == "token":
        peers += [ENTRA, AWS_METADATA]
    return peers, rights


def _of_account(
    connection: AzureStorageConnection, service: Service, account: str = ""
) -> list[Peer]:
    """Where a service of the account is. Raises EventpostError where nothing says it."""
    is_said = connection.account or connection.account_url or connection.connection_string
    named = connection if is_said else msgspec.structs.replace(connection, account=account)
    peer = _peer(url_of(named, service))
    return [] if peer is None else [peer]


def _of_kafka(connection: KafkaConnection, uses: Sequence[_Use]) -> tuple[list[Peer], list[str]]:
    peers = []
    for address in connection.bootstrap:
        host, _, port = address.rpartition(":")
        peers.append(Peer(host.strip("[]"), int(port)))
    if connection.auth != "msk-iam":
        return peers, [f"{use.right} on the topic {use.target}" for use in uses]
    rights = [
        f"kafka-cluster:{action} for {use.target}" for use in uses for action in _KAFKA[use.right]
    ]
    return peers, rights


def _peer(url: str) -> Peer | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return Peer(parts.hostname, port or (80 if parts.scheme == "http" else 443))
