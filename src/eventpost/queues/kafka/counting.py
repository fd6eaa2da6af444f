"""How many records of a topic its group has not finished, or not fetched, and removing all of them.

Layer: queues. Asked of the admin API, which needs no member of the group. Blocks, as any look at a
cluster does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Depth
from eventpost.queues.kafka import topics
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.offsets import finished_of
from eventpost.queues.kafka.records import Place
from eventpost.queues.kafka.settings import Options


def unfinished(cluster: Cluster, names: Sequence[str], group: str) -> int | Failed:
    """Of all these topics; one that does not exist has none."""
    return cluster.attempt("count", lambda: _unfinished(cluster, names, group))


def depth(
    cluster: Cluster, topic: str, options: Options, fetched: Mapping[int, int]
) -> Depth | Failed:
    """From where the group has committed, or where this process has fetched to (`fetched`: the next
    offset of each partition that it has), to the end. A topic that does not exist is a failure."""
    return cluster.attempt("probe", lambda: _depth(cluster, topic, options, fetched))


def clear(cluster: Cluster, names: Sequence[str]) -> Failed | None:
    """Have the brokers remove all records that are there now, whichever groups want them."""
    failed = cluster.attempt("clear", lambda: _clear(cluster, names))
    return failed if isinstance(failed, Failed) else None


def _unfinished(cluster: Cluster, names: Sequence[str], group: str) -> int:
    places = _present(cluster, names)
    if not places:
        return 0
    marks = _committed(cluster, group, places)
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


def _depth(cluster: Cluster, topic: str, options: Options, fetched: Mapping[int, int]) -> Depth:
    places = _places(cluster, topic)
    marks = _committed(cluster, options.group, places)
    first = _offsets(cluster, places, "earliest")
    end = _offsets(cluster, places, "latest")
    total = 0
    for place, end_offset in end.items():
        mark = marks.get(place)
        at = fetched.get(place.partition, -1 if mark is None else mark.offset)
        if at < 0:
            at = first[place] if options.start == "earliest" else end_offset
        total += max(0, end_offset - max(at, first[place]))
    return Depth(total=total)


def _clear(cluster: Cluster, names: Sequence[str]) -> None:
    from confluent_kafka import TopicPartition

    places = _present(cluster, names)
    end = _offsets(cluster, places, "latest") if places else {}
    removed = [TopicPartition(topic, number, offset) for (topic, number), offset in end.items()]
    if removed:
        asked = cluster.admin.get().delete_records(removed, request_timeout=cluster.request_s)
        for done in asked.values():
            done.result(cluster.request_s + 1)


def _present(cluster: Cluster, names: Sequence[str]) -> list[Any]:
    """The partitions of those topics that there are."""
    from confluent_kafka import KafkaException

    places: list[Any] = []
    for name in names:
        try:
            places += _places(cluster, name)
        except KafkaException as error:
            if error.args[0].name() != topics.UNKNOWN:
                raise
    return places


def _places(cluster: Cluster, topic: str) -> list[Any]:
    from confluent_kafka import TopicPartition

    return [TopicPartition(topic, one.id) for one in topics.described(cluster, topic).partitions]


def _committed(cluster: Cluster, group: str, places: Sequence[Any]) -> dict[Place, Any]:
    from confluent_kafka import ConsumerGroupTopicPartitions

    wanted = ConsumerGroupTopicPartitions(group, list(places))
    asked = cluster.admin.get().list_consumer_group_offsets(
        [wanted], request_timeout=cluster.request_s
    )
    found = asked[group].result(cluster.request_s + 1).topic_partitions
    return {Place(one.topic, one.partition): one for one in found if one.error is None}


def _offsets(
    cluster: Cluster, places: Sequence[Any], which: Literal["earliest", "latest"]
) -> dict[Place, int]:
    from confluent_kafka import admin

    kinds: Any = admin.OffsetSpec  # its functions have no types
    asked = cluster.admin.get().list_offsets(
        dict.fromkeys(places, getattr(kinds, which)()), request_timeout=cluster.request_s
    )
    return {
        Place(place.topic, place.partition): done.result(cluster.request_s + 1).offset
        for place, done in asked.items()
    }
