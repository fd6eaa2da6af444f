"""What the brokers let us do with a topic and its group, asked without doing any of it.

Layer: queues. Brokers tell it along with the description of a topic and of a group (KIP-430); some
do not, and then it is not known.
https://cwiki.apache.org/confluence/display/KAFKA/KIP-430
"""

from collections.abc import Collection, Sequence
from typing import Any

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.queues.interfaces import Permission
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.settings import SYSTEM

TOPIC_DENIED = "TOPIC_AUTHORIZATION_FAILED"
GROUP_DENIED = "GROUP_AUTHORIZATION_FAILED"


def permissions(cluster: Cluster, topic: str, group: str) -> Sequence[Permission] | Failed:
    """To write and to read the topic, and to commit for the group."""
    found = cluster.attempt("probe", lambda: _of_topic(cluster, topic))
    if isinstance(found, Failed):
        return found
    of_group = cluster.attempt("probe", lambda: _of_group(cluster, group))
    allowed = () if isinstance(of_group, Failed) else _names(of_group)
    on_topic = _names(found)
    return [
        _permission("send", "WRITE", on_topic, f"the topic {topic}", TOPIC_DENIED),
        _permission("receive", "READ", on_topic, f"the topic {topic}", TOPIC_DENIED),
        _permission("settle", "READ", allowed, f"the group {group}", GROUP_DENIED),
    ]


def _permission(
    operation: str, right: str, allowed: Collection[str], target: str, code: str
) -> Permission:
    if not allowed:
        return Permission(operation=operation, is_known=False)
    if right in allowed:
        return Permission(operation=operation)
    evidence = Evidence(
        stage=Stage.ANSWER,
        fault=Fault.CODE,
        system=SYSTEM,
        operation=operation,
        code=code,
        detail=f"We lack {right} on {target}; what we have there: {', '.join(sorted(allowed))}.",
    )
    return Permission(operation=operation, refused=Failed(evidence))


def _names(described: Any) -> Collection[str]:
    """Empty where the brokers did not say."""
    return frozenset(each.name for each in described.authorized_operations or ())


def _of_topic(cluster: Cluster, topic: str) -> Any:
    from confluent_kafka import TopicCollection

    asked = cluster.admin.get().describe_topics(
        TopicCollection([topic]),
        include_authorized_operations=True,
        request_timeout=cluster.request_s,
    )
    return asked[topic].result(cluster.request_s + 1)


def _of_group(cluster: Cluster, group: str) -> Any:
    asked = cluster.admin.get().describe_consumer_groups(
        [group], include_authorized_operations=True, request_timeout=cluster.request_s
    )
    return asked[group].result(cluster.request_s + 1)
