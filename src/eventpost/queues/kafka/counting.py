"""How many records of a topic its group has not finished, and passing over all of them.

Layer: queues. Blocks, as any look at a cluster does.
"""

from collections.abc import Sequence
from typing import Any, Literal

from eventpost.core.outcomes import Failed
from eventpost.queues.kafka import topics
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.offsets import finished_of


def unfinished(cluster: Cluster, names: Sequence[str], group: str) -> int | Failed:
    """Of all these topics; one that does not exist has none."""
    return cluster.attempt("count", lambda: _unfinished(cluster, names, group))


def clear(cluster: Cluster, names: Sequence[str]) -> Failed | None:
    """Have the brokers remove all records that are there now, whichever groups want them."""
    failed = cluster.attempt("clear", lambda: _clear(cluster, names))
    return failed if isinstance(failed, Failed) else None


def _unfinished(cluster: Cluster, names: Sequence[str], group: str) -> int:
    from confluent_kafka import ConsumerGroupTopicPartitions

    places = _places(cluster, names)
    if not places:
        return 0
    admin = cluster.admin.get()
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])
    committed = asked[group].result(cluster.request_s + 1).topic_partitions
    marks = {(one.topic, one.partition): one for one in committed}
    first = _offsets(cluster, places, "earliest")
    end = _offsets(cluster, places, "latest")
    total = 0
    for place, end_offset in end.items():
        mark = marks.get(place)
        begin = first[place]
        above = 0
        if mark is not None and mark.offset >= 0:
            begin = max(begin, mark.offset)
            finished = finished_of(mark.offset, mark.metadata)
            above = sum(1 for offset in finished if begin <= offset < end_offset)
        total += max(0, end_offset - begin - above)
    return total


def _clear(cluster: Cluster, names: Sequence[str]) -> None:
    from confluent_kafka import TopicPartition

    places = _places(cluster, names)
    end = _offsets(cluster, places, "latest") if places else {}
    removed = [TopicPartition(topic, number, offset) for (topic, number), offset in end.items()]
    if removed:
        for done in cluster.admin.get().delete_records(removed).values():
            done.result(cluster.request_s + 1)


def _places(cluster: Cluster, names: Sequence[str]) -> list[Any]:
    from confluent_kafka import KafkaException, TopicPartition

    places = []
    for name in names:
        try:
            found = topics.described(cluster, name)
        except KafkaException as error:
            if error.args[0].name() != topics.UNKNOWN:
                raise
            continue
        places += [TopicPartition(name, each.id) for each in found.partitions]
    return places


def _offsets(
    cluster: Cluster, places: Sequence[Any], which: Literal["earliest", "latest"]
) -> dict[tuple[str, int], int]:
    from confluent_kafka import admin

    kinds: Any = admin.OffsetSpec
    spec = getattr(kinds, which)()
    asked = cluster.admin.get().list_offsets(dict.fromkeys(places, spec))
    return {
        (place.topic, place.partition): done.result(cluster.request_s + 1).offset
        for place, done in asked.items()
    }
