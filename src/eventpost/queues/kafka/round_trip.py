"""One record to a topic, read back at the place that the broker gave it. Outside of any group.

Layer: queues. The record stays in the topic, as every record does. Blocks.
"""

import time
from typing import Any

from eventpost.core.outcomes import Failed
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.refusals import Causes
from eventpost.queues.kafka.settings import KafkaConnection, Options

KEY = b"eventpost-doctor"


def round_trip(
    connection: KafkaConnection, topic: str, options: Options, body: bytes, *, reads: bool
) -> str | Failed:
    """Where the record lies; and with `reads`, that it was read there. No group is joined, and no
    offset committed: who consumes the topic loses nothing."""
    cluster = Cluster(connection, "eventpost-doctor", Causes(time.monotonic))
    place = cluster.attempt("send", lambda: _sent(cluster, topic, body))
    if isinstance(place, Failed):
        return place
    told = f"a record was stored as {place.partition()}/{place.offset()} of the topic"
    if not reads:
        return told
    read = cluster.attempt("receive", lambda: _read(cluster, place, options))
    if isinstance(read, Failed):
        return read
    return f"{told}, and read there" if read == body else f"{told}; it was not read in time"


def _sent(cluster: Cluster, topic: str, body: bytes) -> Any:
    from confluent_kafka import KafkaError, KafkaException, Producer

    reports: list[tuple[Any, Any]] = []
    timeout_ms = cluster.connection.request_timeout_ms
    producer = cluster.made(Producer, **{"message.timeout.ms": timeout_ms, "acks": "all"})
    producer.produce(topic, body, key=KEY, on_delivery=lambda *told: reports.append(told))
    producer.flush(cluster.request_s + 1)
    cluster.ended(producer)
    if not reports:
        raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))
    [(error, message)] = reports
    if error is not None:
        raise KafkaException(error)
    return message


def _read(cluster: Cluster, message: Any, options: Options) -> bytes | None:
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    settings = {"group.id": options.group, "enable.auto.commit": False}
    consumer = cluster.made(Consumer, **settings)
    try:
        place = TopicPartition(message.topic(), message.partition(), message.offset())
        consumer.assign([place])
        found = consumer.poll(cluster.request_s)
        if found is not None and found.error() is not None:
            raise KafkaException(found.error())
        return None if found is None else bytes(found.value() or b"")
    finally:
        consumer.close()
        cluster.ended(consumer)
