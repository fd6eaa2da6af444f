"""The metrics, in Prometheus' text format, from values that were collected before.

`render` touches nothing shared, so the caller collects a `Snapshot` on the grid's thread and
renders it in another one. The books of a subscription are durable counters and balance:

    matched + replayed = delivered + dead-lettered + dropped + pending
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from eventpost.core.books import SubscriptionReport, Tally, TopicReport
from eventpost.core.histogram import BOUNDS_MS, Histogram
from eventpost.core.sources import SourceReport, SourceState
from eventpost.credentials.reports import Report
from eventpost.telemetry import inventory
from eventpost.telemetry.inventory import Described

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SUBSCRIPTIONS_MAX = 1_000
SOURCES_MAX = 1_000
OTHER = "_other"
"""The subscription label under which everything beyond `subscriptions_max` is summed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the metrics are made of. Nobody changes these objects any more."""

    topics: Sequence[TopicReport]
    subscriptions: Sequence[SubscriptionReport]
    """In the order of their creation, so that those with labels of their own stay the same."""
    delivery: Histogram
    """From the start of an attempt to its outcome."""
    publish: Histogram
    """From a whole publish request to its answer, the commit included."""
    store_bytes: int
    store_bytes_max: int
    sources: Sequence[SourceReport] = ()
    """By name."""
    credentials: Sequence[tuple[str, Report]] = ()
    """Of each connection by its name, where somebody has answered."""
    alerts: Sequence[tuple[str, str, str, str]] = ()
    """Kind, what it is of, topic and name of each that holds."""
    alerts_started: Mapping[str, int] = field(default_factory=dict)
    """By kind."""
    suppressed_log_records: int = 0
    dropped_log_lines: int = 0
    version: str = ""


def copied(histogram: Histogram) -> Histogram:
    """The histogram as it is now, for a snapshot."""
    copy = Histogram()
    copy.counts = list(histogram.counts)
    copy.sum_ms = histogram.sum_ms
    return copy


def render(
    snapshot: Snapshot,
    *,
    subscriptions_max: int = SUBSCRIPTIONS_MAX,
    sources_max: int = SOURCES_MAX,
) -> bytes:
    """The body of `/metrics`, as `CONTENT_TYPE`.

    Subscriptions beyond the first `subscriptions_max` are summed per topic under `OTHER`, so that
    the number of series is bounded and the books still balance; so are sources.
    """
    registry = CollectorRegistry()
    registry.register(_Collected(list(_families(snapshot, subscriptions_max, sources_max))))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Collected:
    """What prometheus_client asks for its metrics."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(snapshot: Snapshot, subscriptions_max: int, sources_max: int) -> Iterator[Metric]:
    subscriptions = bounded(snapshot.subscriptions, subscriptions_max)
    for described in inventory.SUBSCRIPTION:
        yield _by_subscription(described, subscriptions)
    for described in inventory.BY_REASON:
        yield _by_reason(described, subscriptions)
    for described in inventory.TOPIC:
        family, value = _family(described), attrgetter(described.value)
        for topic in snapshot.topics:
            family.add_metric((topic.topic,), value(topic))
        yield family
    sources = bounded_sources(snapshot.sources, sources_max)
    for described in inventory.SOURCE:
        family, value = _family(described), attrgetter(described.value)
        for source in sources:
            family.add_metric((source.topic, source.source), value(source))
        yield family
    yield from _credentials(snapshot.credentials)
    yield from _alerts(snapshot)
    for described in inventory.LATENCY:
        yield _histogram(described, attrgetter(described.value)(snapshot))
    for described in inventory.PROCESS:
        family = _family(described)
        family.add_metric((), attrgetter(described.value)(snapshot))
        yield family
    build = _family(inventory.BUILD)
    build.add_metric((snapshot.version,), 1)
    yield build


def _by_subscription(described: Described, reports: Iterable[SubscriptionReport]) -> Metric:
    family, value = _family(described), attrgetter(described.value)
    for report in reports:
        family.add_metric((report.topic, report.subscription), value(report))
    return family


def _credentials(reports: Iterable[tuple[str, Report]]) -> Iterator[Metric]:
    found, expiry = map(_family, inventory.CREDENTIALS)
    for connection, report in reports:
        labels = (connection, report.system, report.link)
        found.add_metric(labels, 1)
        if report.expires_ms is not None:
            expiry.add_metric(labels, report.expires_ms / 1_000)
    yield from (found, expiry)


def _alerts(snapshot: Snapshot) -> Iterator[Metric]:
    [active], started = map(_family, inventory.ALERTS), _family(inventory.ALERTS_STARTED)
    for labels in snapshot.alerts:
        active.add_metric(labels, 1)
    for kind, count in snapshot.alerts_started.items():
        started.add_metric((kind,), count)
    yield from (active, started)


def _by_reason(described: Described, reports: Iterable[SubscriptionReport]) -> Metric:
    family, counts = _family(described), attrgetter(described.value)
    for report in reports:
        for reason, count in counts(report).items():
            family.add_metric((report.topic, report.subscription, reason), count)
    return family


def bounded(
    reports: Sequence[SubscriptionReport], subscriptions_max: int
) -> list[SubscriptionReport]:
    """The first `subscriptions_max` reports, and one sum per topic of all the others."""
    kept = list(reports[:subscriptions_max])
    others: dict[str, SubscriptionReport] = {}
    for report in reports[subscriptions_max:]:
        other = others.get(report.topic)
        if other is None:
            other = others[report.topic] = _nothing(report.topic)
        _add(other, report)
    return kept + list(others.values())


def bounded_sources(reports: Sequence[SourceReport], sources_max: int) -> list[SourceReport]:
    """The first `sources_max` reports, and one sum per topic of all the others."""
    kept = list(reports[:sources_max])
    others: dict[str, SourceReport] = {}
    for report in reports[sources_max:]:
        other = others.get(report.topic, SourceReport(source=OTHER, topic=report.topic))
        sums = {name: getattr(other, name) + getattr(report, name) for name in _SUMMED}
        is_failing = other.is_failing or report.is_failing
        others[report.topic] = msgspec.structs.replace(
            other,
            **sums,
            oldest_unsettled_s=max(other.oldest_unsettled_s, report.oldest_unsettled_s),
            is_paused=other.is_paused or report.is_paused,
            state=SourceState.FAILING if is_failing else SourceState.RUNNING,
        )
    return kept + list(others.values())


_SUMMED = (
    *("received", "taken", "events", "poison", "redelivered", "settled", "released", "lost"),
    *("failed_calls", "held", "unsettled", "dead_letters"),
)


def _nothing(topic: str) -> SubscriptionReport:
    return SubscriptionReport(
        topic=topic,
        subscription=OTHER,
        tally=Tally(),
        lag=0,
        in_flight=0,
        ladder=0,
        dead_letters=0,
        is_paused=False,
        is_breaker_open=False,
        attempts_failed=0,
    )


def _add(total: SubscriptionReport, report: SubscriptionReport) -> None:
    """Sum up; a pause or an open breaker of any of them shows."""
    total.tally.add(report.tally)
    total.lag += report.lag
    total.in_flight += report.in_flight
    total.ladder += report.ladder
    total.dead_letters += report.dead_letters
    total.is_paused |= report.is_paused
    total.is_breaker_open |= report.is_breaker_open
    total.attempts_failed += report.attempts_failed
    total.reconnects += report.reconnects


def _family(described: Described) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
    return kind(described.name, described.help, labels=described.labels)


def _histogram(described: Described, histogram: Histogram) -> HistogramMetricFamily:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound_ms, count in zip((*BOUNDS_MS, None), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound_ms is None else str(bound_ms / 1_000), total))
    family = HistogramMetricFamily(described.name, described.help)
    family.add_metric((), buckets, histogram.sum_ms / 1_000)
    return family
