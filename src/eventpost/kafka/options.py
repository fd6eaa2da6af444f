"""What a publisher may be told, by the names that users of kafka-python know.

Layer: kafka.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.queues.kafka.settings import (
    MESSAGE_BYTES_MAX,
    OVERHEAD_BYTES,
    KafkaConnection,
)

_ACKS = {-1: "all", 1: "1", 0: "0"}
"""kafka-python's numbers."""


class PublisherOptions(TypedDict, total=False):
    """All but the brokers, as a connection of kind `kafka` has them. Defaults are that one's."""

    client_id: str
    request_timeout_ms: int
    """The time of each record, retries included."""
    connect_timeout_ms: int
    retries: int
    acks: Literal["all", "1", "0", -1, 1, 0]
    linger_ms: int
    auth: Literal["none", "plain", "scram-sha-256", "scram-sha-512", "msk-iam"]
    username: str
    password: str
    """A reference: `env:NAME` or `file:PATH`."""
    region: str
    profile: str
    tls: bool
    ca_file: str
    certificate_file: str
    key_file: str
    tls_insecure: bool
    config: dict[str, str | int | bool | float]


def connection_of(
    bootstrap_servers: str | Sequence[str], options: PublisherOptions
) -> KafkaConnection:
    """Raises InvalidRequest for what a connection cannot have."""
    if isinstance(bootstrap_servers, str):
        bootstrap_servers = bootstrap_servers.split(",")
    settings: dict[str, object] = dict(options)
    acks = settings.get("acks")
    if isinstance(acks, int):
        settings["acks"] = _ACKS.get(acks, str(acks))
    settings["bootstrap"] = [address.strip() for address in bootstrap_servers if address.strip()]
    try:
        return msgspec.convert(settings, KafkaConnection)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            "InvalidOptions",
            f"The options of the publisher are not valid: {error}.",
            fix="Options are those of a connection of kind kafka; brokers are HOST:PORT.",
        ) from error


def producer_settings(connection: KafkaConnection) -> dict[str, object]:
    """librdkafka's settings of a producer, beside those of all clients."""
    return {
        "acks": connection.acks,
        "enable.idempotence": connection.acks == "all" and connection.retries > 0,
        "retries": connection.retries,
        "linger.ms": connection.linger_ms,
        "delivery.timeout.ms": max(connection.request_timeout_ms, connection.linger_ms + 1),
        "message.max.bytes": MESSAGE_BYTES_MAX + OVERHEAD_BYTES,
        # A topic that is not there is told of within a record's time, not after 30 s.
        "topic.metadata.propagation.max.ms": min(5_000, connection.request_timeout_ms // 2),
    }
