"""Whether a topic is there, and making it where that was asked for.

Layer: queues. Asked of the admin API, because a producer's own look would have the brokers make a
topic of whatever name (`auto.create.topics.enable`).
"""

from typing import Any

from eventpost.core.outcomes import Failed
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.settings import Options

UNKNOWN = "UNKNOWN_TOPIC_OR_PART"


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
    return wanted_count


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
