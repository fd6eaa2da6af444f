"""Dramatiq on Kafka: one topic for each queue, one group for all workers of a namespace.

Layer: workers.

    import dramatiq
    from eventpost.workers.kafka import KafkaBroker

    dramatiq.set_broker(KafkaBroker(bootstrap=["localhost:9092"]))

A record that is finished above an unfinished one is remembered beside the committed offset and in
the ledger. What is delayed or given back goes through a retry topic, whose partitions are waits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dramatiq import Middleware

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import secrets
from eventpost.queues import tasks
from eventpost.queues.kafka.queue import KafkaQueue
from eventpost.queues.kafka.settings import SYSTEM, KafkaConnection, Options
from eventpost.queues.kinds import Services, check_library
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.limits import WorkerLimits

Auth = Literal["none", "plain", "scram", "scram-sha-256", "scram-sha-512", "msk-iam"]


class KafkaBroker(LeaseBroker):
    """Topics of one cluster. See LeaseBroker for the words that all brokers share.

    `auth="scram"` is SCRAM-SHA-512. With `msk-iam` the AWS SDK's own chain finds who we are,
    untouched; `region` is needed where the brokers' names do not tell it. `config` reaches any
    other setting of librdkafka. A worker that is silent for `session_timeout_s` loses its
    partitions to others.
    """

    def __init__(
        self,
        *,
        bootstrap: Sequence[str],
        auth: Auth = "none",
        username: str = "",
        password: str = "",
        region: str = "",
        profile: str = "",
        tls: bool | None = None,
        ca_file: str = "",
        config: Mapping[str, str | int | bool | float] | None = None,
        partitions: int = tasks.PARTITIONS,
        replication_factor: int = -1,
        session_timeout_s: float = 45.0,
        namespace: str = "",
        lease_s: float = 60.0,
        ledger: str | Path | None = None,
        create: Literal["auto", "never"] = "auto",
        receives_max: int = 10,
        middleware: list[Middleware] | None = None,
        limits: WorkerLimits | None = None,
    ) -> None:
        connection = _connection(
            bootstrap,
            auth=auth,
            username=username,
            password=secrets.keep(password) if password else "",
            region=region,
            profile=profile,
            tls=tls,
            ca_file=ca_file,
            config=dict(config or {}),
        )
        options = Options(
            group=namespace or tasks.GROUP,
            create=create == "auto",
            partitions=partitions,
            replication_factor=replication_factor,
            session_timeout_ms=int(session_timeout_s * 1000),
            topic_config=tasks.KEPT,
            retry=True,
        )
        super().__init__(
            KafkaTransport(connection, options),
            namespace=namespace,
            lease_s=lease_s,
            ledger=ledger,
            receives_max=receives_max,
            middleware=middleware,
            limits=limits,
        )


class KafkaTransport:
    """Implements `workers.transport.Transport`."""

    system = SYSTEM
    resends_delayed = False
    """A copy in the retry topic begins anew with each wait."""

    def __init__(self, connection: KafkaConnection, options: Options) -> None:
        from eventpost.queues import kafka

        check_library("kafka", kafka)
        self._connection = connection
        self._options = options

    def name_of(self, queue: str) -> str:
        return tasks.kafka_name(queue, self._options.group)

    def open(self, name: str) -> KafkaQueue:
        return KafkaQueue(self._connection, name, self._options, Services())

    def wire(self, body: bytes) -> bytes:
        """A record is bytes."""
        return body


def _connection(bootstrap: Sequence[str], *, auth: Auth, **given: Any) -> KafkaConnection:
    if isinstance(bootstrap, str) or not bootstrap:
        raise InvalidRequest(
            "NoBootstrap",
            "bootstrap is no list of brokers.",
            fix='Give bootstrap=["HOST:PORT", ...].',
        )
    try:
        return KafkaConnection(
            bootstrap=tuple(bootstrap),
            auth="scram-sha-512" if auth == "scram" else auth,
            **given,
        )
    except ValueError as error:
        raise InvalidRequest(
            "InvalidField", f"{error}.", fix="Correct what the broker was given."
        ) from error
