"""How many records of a topic a group has not fetched yet.

Layer: queues. Asked of the admin API, which needs no member of the group.
"""

from collections.abc import Mapping
from typing import Any

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Depth
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.settings import Options


def depth(
    cluster: Cluster, topic: str, options: Options, fetched: Mapping[int, int]
) -> Depth | Failed:
    """From where the group has committed, or where this process has fetched to (`fetched`: the next
    offset of each partition that it has), to the end."""
    return cluster.attempt("probe", lambda: _depth(cluster, topic, options, fetched))


def _depth(cluster: Cluster, topic: str, options: Options, fetched: Mapping[int, int]) -> Depth:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec

    partitions = _partitions(cluster, topic)
    ends = _offsets(cluster, topic, partitions, _spec(OffsetSpec, "latest"))
    begins = _offsets(cluster, topic, partitions, _spec(OffsetSpec, "earliest"))
    committed = _committed(
        cluster, options.group, [TopicPartition(topic, one) for one in partitions]
    )
    total = 0
    for partition in partitions:
        at = fetched.get(partition, committed.get(partition, -1))
        if at < 0:
            at = begins[partition] if options.start == "earliest" else ends[partition]
        total += max(0, ends[partition] - max(at, begins[partition]))
    return Depth(total=total)


def _spec(kinds: Any, name: str) -> Any:
    """The library's functions for these have no types."""
    return getattr(kinds, name)()


def _partitions(cluster: Cluster, topic: str) -> list[int]:
    from confluent_kafka import TopicCollection

    asked = cluster.admin.get().describe_topics(
        TopicCollection([topic]), request_timeout=cluster.request_s
    )
    return [each.id for each in asked[topic].result(cluster.request_s + 1).partitions]


def _offsets(cluster: Cluster, topic: str, partitions: list[int], spec: Any) -> dict[int, int]:
    from confluent_kafka import TopicPartition

    asked = cluster.admin.get().list_offsets(
        {TopicPartition(topic, one): spec for one in partitions}, request_timeout=cluster.request_s
    )
    return {
        place.partition: future.result(cluster.request_s + 1).offset
        for place, future in asked.items()
    }


def _committed(cluster: Cluster, group: str, places: list[Any]) -> dict[int, int]:
    from confluent_kafka import ConsumerGroupTopicPartitions

    wanted = ConsumerGroupTopicPartitions(group, places)
    asked = cluster.admin.get().list_consumer_group_offsets(
        [wanted], request_timeout=cluster.request_s
    )
    found = asked[group].result(cluster.request_s + 1).topic_partitions
    return {each.partition: each.offset for each in found if each.error is None}
