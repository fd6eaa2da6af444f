"""Whether a topic is there, and making it where that was asked for.

Layer: queues. Asked of the admin API, because a producer's own look would have the brokers make a
topic of whatever name (`auto.create.topics.enable`).
"""

import time
from typing import Any

from eventpost.core.outcomes import Failed
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.settings import Options

UNKNOWN = "UNKNOWN_TOPIC_OR_PART"
KNOWN_S_MAX = 5.0
"""How long a topic that was made is waited for."""
KNOWN_AGAIN_S = 0.05


def missing(cluster: Cluster, topic: str, options: Options, operation: str) -> Failed | None:
    """None when the topic is there, or has been made now."""
    found = partitions(cluster, topic, options, operation, options.partitions)
    return found if isinstance(found, Failed) else None


def partitions(
    cluster: Cluster, topic: str, options: Options, operation: str, wanted_count: int
) -> int | Failed:
    """How many the topic has; it is made with `wanted_count` of them if that was asked for."""
    found = cluster.attempt(operation, lambda: described(cluster, topic))
    if not isinstance(found, Failed):
        return len(found.partitions)
    if found.evidence.code != UNKNOWN or not options.create:
        return found
    new = (topic, wanted_count, options.replication_factor, options.topic_config)
    made = cluster.attempt(operation, lambda: _made(cluster, *new))
    if isinstance(made, Failed) and made.evidence.code != "TOPIC_ALREADY_EXISTS":
        return made
    return _made_known(cluster, topic, operation)


def _made_known(cluster: Cluster, topic: str, operation: str) -> int | Failed:
    """A controller has made it, and brokers learn of it a moment later."""
    end_s = time.monotonic() + KNOWN_S_MAX
    while True:
        found = cluster.attempt(operation, lambda: described(cluster, topic))
        if not isinstance(found, Failed):
            return len(found.partitions)
        if found.evidence.code != UNKNOWN or time.monotonic() >= end_s:
            return found
        time.sleep(KNOWN_AGAIN_S)


def described(cluster: Cluster, topic: str) -> Any:
    from confluent_kafka import TopicCollection

    admin = cluster.admin.get()
    asked = admin.describe_topics(TopicCollection([topic]), request_timeout=cluster.request_s)
    return asked[topic].result(cluster.request_s + 1)


def _made(
    cluster: Cluster, topic: str, count: int, replication_factor: int, config: dict[str, str]
) -> Any:
    from confluent_kafka.admin import NewTopic

    new = NewTopic(topic, count, replication_factor, config=config)
    asked = cluster.admin.get().create_topics([new], request_timeout=cluster.request_s)
    return asked[topic].result(cluster.request_s + 1)
