"""What a user may say about a Kafka cluster and about one topic of it, and what Kafka can do.

Layer: queues. Names are those of kafka-python where it has one; `config` reaches librdkafka's own.
"""

import re
from dataclasses import replace
from typing import Any, Literal

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import reports, secrets
from eventpost.credentials.aws_settings import AwsConnection
from eventpost.credentials.msk import MSKTokenProvider, region_of_broker
from eventpost.credentials.secrets import Reference
from eventpost.queues.interfaces import Traits
from eventpost.queues.kafka.copies import TIERS_MAX

SYSTEM = "kafka"
MESSAGE_BYTES_MAX = 1_000_000
"""Key, headers and body of one record. Brokers take 1,048,588 bytes of a batch by default
(`message.max.bytes`); what is left is for the batch around it."""
OVERHEAD_BYTES = 40_000
NAME_CHARS_MAX = 249
RELEASE_DELAY_S_MAX = 900.0
"""Without a retry topic a record that is given back waits in this process's memory, and holds its
offset back."""
RETRY_DELAY_S_MAX = 30 * 86_400.0
"""With one; the topic's retention matters only for one wait, of 4.3 hours at most."""
OWN_SETTINGS = frozenset({"enable.auto.commit", "enable.auto.offset.store", "group.id"})
"""What a user may not set: what is committed, and when, is what this module is for."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_SECRETS = re.compile(r"password|secret|token|jaas|key\.pem|private", re.IGNORECASE)


class KafkaConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one cluster. Secrets are references."""

    bootstrap: tuple[str, ...] = ()
    """`HOST:PORT` of brokers."""
    auth: Literal["none", "plain", "scram-sha-256", "scram-sha-512", "msk-iam"] = "none"
    username: str = ""
    password: Reference = ""
    region: str = ""
    """Of an MSK cluster; read from the brokers' names when it is not given."""
    profile: str = ""
    """Of AWS's shared configuration, with `msk-iam`."""
    tls: bool | None = None
    """None: with `msk-iam` only, which knows nothing else."""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    tls_insecure: bool = False
    client_id: str = ""
    """What the brokers' logs show; the host's name by default."""
    request_timeout_ms: int = 15_000
    connect_timeout_ms: int = 5_000
    retries: int = 2_147_483_647
    acks: Literal["all", "1", "0"] = "all"
    linger_ms: int = 5
    config: dict[str, str | int | bool | float] = {}
    """Any other setting of librdkafka. No secret belongs here."""

    def __post_init__(self) -> None:
        for address in self.bootstrap:
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f"bootstrap holds {address!r}, which is not HOST:PORT")
        for name in self.config:
            if name in OWN_SETTINGS:
                raise ValueError(f"config.{name} cannot be set: eventpost commits what is finished")
            if _SECRETS.search(name):
                raise ValueError(f"config.{name} may hold a secret: use the connection's own field")
        if self.auth in {"plain", "scram-sha-256", "scram-sha-512"}:
            self._check_pair()
        elif self.username or self.password:
            raise ValueError("username and password belong to auth plain or scram")
        if not 100 <= self.request_timeout_ms <= 300_000:
            raise ValueError("request_timeout_ms is from 100 to 300000")

    def __hash__(self) -> int:
        """`config` has none of its own."""
        return hash((self.bootstrap, self.auth, self.username, self.region, self.profile))

    def _check_pair(self) -> None:
        missing = "username" if not self.username else "" if self.password else "password"
        if missing:
            raise InvalidRequest(
                "KeysIncomplete",
                f"A connection with auth {self.auth} lacks its {missing}.",
                fix="Give both, username and password.",
            )

    @property
    def is_encrypted(self) -> bool:
        return self.auth == "msk-iam" if self.tls is None else self.tls


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of one topic."""

    group: str = "eventpost"
    """The consumer group that receives."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group begins that has committed nothing."""
    content_mode: Literal["structured", "binary"] = "structured"
    """How a CloudEvent is sent: whole in the value, or its attributes as headers."""
    create: bool = False
    """Whether a topic that does not exist is made when it is first used."""
    partitions: int = 1
    replication_factor: int = -1
    """Of a topic that is made; -1 leaves it to the brokers."""
    topic_config: dict[str, str] = {}
    """Settings of a topic that is made, by the brokers' names (`retention.ms`)."""
    unfinished_max: int = 10_000
    """Records between the committed offset and the newest one taken, of one partition; at it the
    partition pauses."""
    prefetch: int = 500
    """Records in memory that nobody asked for yet; at it no more are taken, and after a second all
    partitions pause. Of copies that are due soon, as many may wait for each partition."""
    session_timeout_ms: int = 45_000
    """A consumer that is silent for so long loses its partitions."""
    retry: bool = False
    """Whether what is released is appended to a retry topic. Without, it waits in memory."""
    retry_topic: str = ""
    """`TOPIC.GROUP.retry` by default."""
    retry_partitions: int = TIERS_MAX
    """Of a retry topic that is made: each of the first 12 is a wait of another length."""

    def __post_init__(self) -> None:
        if not 1 <= self.retry_partitions <= 10_000:
            raise ValueError("retry_partitions is from 1 to 10000")
        if not 1 <= self.unfinished_max <= 1_000_000:
            raise ValueError("unfinished_max is from 1 to 1000000")
        if not 1 <= self.prefetch <= 100_000:
            raise ValueError("prefetch is from 1 to 100000")


TRAITS = Traits(
    system=SYSTEM,
    message_bytes_max=MESSAGE_BYTES_MAX,
    send_count_max=10_000,
    receive_count_max=1_000,
    batch_count_max=1_000,
    wait_s_max=30.0,
    lease_s_max=0.0,
    can_extend=False,
    delay_s_max=0.0,
    release_delay_s_max=RELEASE_DELAY_S_MAX,
    has_ids=True,
    has_receive_count=False,
    is_log=True,
)


def traits_of(options: Options) -> Traits:
    if not options.retry:
        return TRAITS
    return replace(TRAITS, release_delay_s_max=RETRY_DELAY_S_MAX, releases_anew=True)


def retry_topic_of(topic: str, options: Options) -> str:
    """ "" without one. Raises InvalidRequest for a name that no topic can have."""
    if not options.retry:
        return ""
    return check_topic(options.retry_topic or f"{topic}.{options.group}.retry")


def check_topic(name: str) -> str:
    """A topic's name as Kafka has it. Raises InvalidRequest."""
    if not _NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX or name in {".", ".."}:
        raise InvalidRequest(
            "InvalidTopic",
            f"{name[:64]!r} is no name of a Kafka topic.",
            fix=f"Letters, digits, '.', '_' and '-', at most {NAME_CHARS_MAX} of them.",
        )
    return name


def client_settings(connection: KafkaConnection, client_id: str) -> dict[str, Any]:
    """librdkafka's settings common to all clients of a connection. Reads secrets: raises
    InvalidRequest for one that is missing. Nothing is connected."""
    if not connection.bootstrap:
        raise InvalidRequest(
            "NoBootstrap",
            "A connection of the kind kafka names no broker.",
            fix="Give bootstrap: [HOST:PORT, ...].",
        )
    encrypted = "SSL" if connection.is_encrypted else "PLAINTEXT"
    protocol = encrypted if connection.auth == "none" else f"SASL_{encrypted}"
    settings: dict[str, Any] = {
        "bootstrap.servers": ",".join(connection.bootstrap),
        "client.id": connection.client_id or client_id,
        "security.protocol": protocol,
        "socket.connection.setup.timeout.ms": connection.connect_timeout_ms,
        "socket.timeout.ms": max(connection.request_timeout_ms, 10_000),
        "socket.keepalive.enable": True,
        "log_level": 6,  # a broker that closes at the first request is told of at this level only
        **_tls(connection),
        **_signed_in(connection),
        **connection.config,
    }
    return settings


def _tls(connection: KafkaConnection) -> dict[str, Any]:
    named = {
        "ssl.ca.location": connection.ca_file,
        "ssl.certificate.location": connection.certificate_file,
        "ssl.key.location": connection.key_file,
    }
    settings: dict[str, Any] = {name: value for name, value in named.items() if value}
    if connection.tls_insecure:
        settings["enable.ssl.certificate.verification"] = False
    return settings


def _signed_in(connection: KafkaConnection) -> dict[str, Any]:
    if connection.auth == "none":
        return {}
    if connection.auth == "msk-iam":
        return {"sasl.mechanism": "OAUTHBEARER"}  # and a callback for the tokens of each client
    return {
        "sasl.mechanism": connection.auth.upper(),
        "sasl.username": connection.username,
        "sasl.password": secrets.resolve(connection.password),
    }


def token_provider(connection: KafkaConnection) -> MSKTokenProvider:
    """Tokens of the untouched default chain. Raises InvalidRequest without a region."""
    from eventpost.credentials import aws

    regions = (region_of_broker(address) for address in connection.bootstrap)
    region = connection.region or next((one for one in regions if one), "")
    if not region:
        raise InvalidRequest(
            "RegionMissing",
            "The region of the MSK cluster is not known: its brokers' names do not tell.",
            fix="Give the connection its region.",
        )
    session = aws.session(AwsConnection(region=region, profile=connection.profile))
    reports.remember(connection, session)
    return MSKTokenProvider(region, session=session)
