"""Whether a topic can be used, found out without writing or taking anything.

Layer: queues.
"""

from collections.abc import Sequence
from typing import Any

from eventpost.core.outcomes import Failed, Stage
from eventpost.queues.interfaces import Rung
from eventpost.queues.kafka import topics
from eventpost.queues.kafka.clients import Cluster
from eventpost.queues.kafka.settings import Options

_RUNG_OF_STAGE = {
    Stage.SETTINGS: "settings",
    Stage.CREDENTIALS: "credentials",
    Stage.NAME: "name",
    Stage.CONNECT: "connect",
    Stage.TLS: "tls",
    Stage.WAIT: "protocol",
}
_WAY = ("settings", "credentials", "name", "connect", "tls", "protocol", "authentication")


def probe(cluster: Cluster, topic: str, retry_topic: str, options: Options) -> Sequence[Rung]:
    """The rungs in order, up to the first that does not hold."""
    metadata = cluster.attempt("probe", lambda: _cluster_of(cluster))
    if isinstance(metadata, Failed):
        return _up_to(_RUNG_OF_STAGE.get(metadata.evidence.stage, "authentication"), metadata)
    good = [Rung(name=name) for name in _way(cluster)]
    for rung_name, name in (("topic", topic), ("retry topic", retry_topic)):
        if not name:
            continue
        found = cluster.attempt("probe", lambda name=name: topics.described(cluster, name))  # type: ignore[misc]  # mypy infers no lambda with a default
        if isinstance(found, Failed):
            if options.create and found.evidence.code == topics.UNKNOWN:
                detail = "not there yet; it is made at its first use"
                return [*good, Rung(name=rung_name, detail=detail)]
            return [*good, Rung(name=rung_name, failed=found)]
        good.append(Rung(name=rung_name, detail=f"{len(found.partitions)} partitions"))
    group = cluster.attempt("probe", lambda: _group_of(cluster, options.group))
    if isinstance(group, Failed):
        return [*good, Rung(name="group", failed=group)]
    return [*good, Rung(name="group", detail=f"{options.group}: {group.state.name.lower()}")]


def _way(cluster: Cluster) -> Sequence[str]:
    is_signed = cluster.connection.auth != "none"
    skipped = set() if is_signed else {"credentials", "authentication"}
    if not cluster.connection.is_encrypted:
        skipped.add("tls")
    return [name for name in _WAY if name not in skipped]


def _up_to(name: str, failure: Failed) -> Sequence[Rung]:
    before = _WAY[: _WAY.index(name)]
    return [*(Rung(name=one) for one in before), Rung(name=name, failed=failure)]


def _cluster_of(cluster: Cluster) -> Any:
    asked = cluster.admin.get().describe_cluster(request_timeout=cluster.request_s)
    return asked.result(cluster.request_s + 1)


def _group_of(cluster: Cluster, group: str) -> Any:
    asked = cluster.admin.get().describe_consumer_groups([group], request_timeout=cluster.request_s)
    return asked[group].result(cluster.request_s + 1)
