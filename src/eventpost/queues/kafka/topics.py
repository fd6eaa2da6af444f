"""Whether a topic is there, and making it where that was asked for.

Layer: queues. Asked of the admin API, because a producer's own look would have the brokers make a
topic of whatever name (`auto.create.topics.enable`).
"""

from typing import Any

from eventpost.core.outcomes import Failed
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.settings import Options


def missing(cluster: Cluster, topic: str, options: Options, operation: str) -> Failed | None:
    """None when the topic is there, or has been made now."""
    found = cluster.attempt(operation, lambda: _described(cluster, topic))
    if not isinstance(found, Failed):
        return None
    if found.evidence.code != "UNKNOWN_TOPIC_OR_PART" or not options.create:
        return found
    made = cluster.attempt(operation, lambda: _made(cluster, topic, options))
    is_there = not isinstance(made, Failed) or made.evidence.code == "TOPIC_ALREADY_EXISTS"
    return None if is_there else made


def _described(cluster: Cluster, topic: str) -> Any:
    from confluent_kafka import TopicCollection

    admin = cluster.admin.get()
    asked = admin.describe_topics(TopicCollection([topic]), request_timeout=cluster.request_s)
    return asked[topic].result(cluster.request_s + 1)


def _made(cluster: Cluster, topic: str, options: Options) -> Any:
    from confluent_kafka.admin import NewTopic

    new = NewTopic(topic, options.partitions, options.replication_factor)
    asked = cluster.admin.get().create_topics([new], request_timeout=cluster.request_s)
    return asked[topic].result(cluster.request_s + 1)
