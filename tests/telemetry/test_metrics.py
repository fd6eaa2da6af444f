"""The metrics are what the books say, in a form that Prometheus reads, with bounded labels."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from eventpost.core.books import SubscriptionReport, Tally, TopicReport
from eventpost.core.histogram import BOUNDS_MS, Histogram
from eventpost.telemetry.inventory import METRICS
from eventpost.telemetry.metrics import OTHER, Snapshot, bounded, copied, render


def report(name: str = "blues", topic: str = "songs", matched: int = 10) -> SubscriptionReport:
    return SubscriptionReport(
        topic=topic,
        subscription=name,
        tally=Tally(
            matched=matched,
            replayed=1,
            delivered=5,
            dead_lettered={"MaxDeliveryAttemptsExceeded": 2, "TimeToLiveExceeded": 1},
            dropped={"Superseded": 1},
        ),
        lag=7,
        in_flight=2,
        ladder=3,
        dead_letters=3,
        is_paused=False,
        is_breaker_open=True,
        attempts_failed=9,
        reconnects=4,
    )


def snapshot(*subscriptions: SubscriptionReport) -> Snapshot:
    delivery = Histogram()
    for elapsed_ms in (0.2, 3.0, 3.0, 99_000.0):
        delivery.observe(elapsed_ms)
    return Snapshot(
        topics=[TopicReport(topic="songs", published=30, unmatched=20, rejected=4)],
        subscriptions=subscriptions,
        delivery=delivery,
        publish=Histogram(),
        store_bytes=123,
        store_bytes_max=456,
        suppressed_log_records=5,
        dropped_log_lines=6,
        version="1.2.3",
    )


def samples(body: bytes) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def values(body: bytes, name: str) -> dict[tuple[str, ...], float]:
    """The samples of that name by their labels' values: topic, subscription, then any other."""
    order = ("topic", "subscription", "reason", "le", "version")
    return {
        tuple(labels[label] for label in order if label in labels): value
        for found, labels, value in samples(body)
        if found == name
    }


def test_the_books_are_exposed_per_subscription() -> None:
    """Every counter of the books comes out under its topic and subscription."""
    body = render(snapshot(report()))

    key = ("songs", "blues")
    assert values(body, "eventpost_matched_events_total") == {key: 10}
    assert values(body, "eventpost_replayed_events_total") == {key: 1}
    assert values(body, "eventpost_delivered_events_total") == {key: 5}
    assert values(body, "eventpost_pending_events") == {key: 2}
    assert values(body, "eventpost_dead_lettered_events_total") == {
        (*key, "MaxDeliveryAttemptsExceeded"): 2,
        (*key, "TimeToLiveExceeded"): 1,
    }
    assert values(body, "eventpost_dropped_events_total") == {(*key, "Superseded"): 1}


def test_states_of_a_subscription_are_exposed() -> None:
    """Lag, flights, ladder, dead letters, pause, breaker and failures come out too."""
    body = render(snapshot(report()))

    expected = {
        "eventpost_lag_events": 7,
        "eventpost_in_flight_deliveries": 2,
        "eventpost_ladder_deliveries": 3,
        "eventpost_dead_letters": 3,
        "eventpost_paused": 0,
        "eventpost_breaker_open": 1,
        "eventpost_failed_attempts_total": 9,
        "eventpost_reconnects_total": 4,
    }
    for name, value in expected.items():
        assert values(body, name) == {("songs", "blues"): value}, name


def test_topics_and_the_process_are_exposed() -> None:
    """What was published, the store's size, and the process's memory come out."""
    body = render(snapshot())

    assert values(body, "eventpost_published_events_total") == {("songs",): 30}
    assert values(body, "eventpost_unmatched_events_total") == {("songs",): 20}
    assert values(body, "eventpost_rejected_requests_total") == {("songs",): 4}
    assert values(body, "eventpost_store_bytes") == {(): 123}
    assert values(body, "eventpost_store_bytes_max") == {(): 456}
    assert values(body, "eventpost_suppressed_log_records_total") == {(): 5}
    assert values(body, "eventpost_dropped_log_lines_total") == {(): 6}
    assert values(body, "eventpost_build_info") == {("1.2.3",): 1}
    assert values(body, "process_resident_memory_bytes")[()] > 1_000_000


def test_latencies_are_cumulative_and_in_seconds() -> None:
    """Each bucket counts what took at most its bound, and the last one counts everything."""
    body = render(snapshot())

    buckets = values(body, "eventpost_delivery_seconds_bucket")
    assert buckets[("0.00025",)] == 1
    assert buckets[("0.0025",)] == 1
    assert buckets[("0.005",)] == 3
    assert buckets[("30.0",)] == 3
    assert buckets[("+Inf",)] == 4
    assert len(buckets) == len(BOUNDS_MS) + 1
    assert values(body, "eventpost_delivery_seconds_count") == {(): 4}
    assert values(body, "eventpost_delivery_seconds_sum")[()] == pytest.approx(99.0062)


def test_every_metric_of_the_list_exists_and_no_other() -> None:
    """What the documentation lists is what comes out, each with its kind."""
    body = render(snapshot(report())).decode()

    told = {
        line.split()[2]: line.split()[3] for line in body.splitlines() if line.startswith("# TYPE")
    }
    assert told == {described.name: described.kind for described in METRICS}


@pytest.mark.parametrize(("count", "names"), [(1, ["0"]), (2, ["0", "1"]), (3, ["0", "1", OTHER])])
def test_labels_are_bounded(count: int, names: list[str]) -> None:
    """Up to the bound every subscription has its own series; what is beyond it is summed."""
    reports = [report(str(index)) for index in range(count)]

    assert [one.subscription for one in bounded(reports, 2)] == names


def test_the_rest_is_summed_per_topic() -> None:
    """The sum of the others keeps its topic, adds everything up, and shows an open breaker."""
    reports = [report("a"), report("b"), report("c", matched=20), report("d", topic="news")]

    kept, songs, news = bounded(reports, 1)

    assert kept is reports[0]
    assert (songs.topic, songs.subscription) == ("songs", OTHER)
    assert songs.tally.matched == 30
    assert songs.tally.dead_lettered["TimeToLiveExceeded"] == 2
    assert (songs.lag, songs.in_flight, songs.ladder, songs.dead_letters) == (14, 4, 6, 6)
    assert songs.is_breaker_open
    assert (news.topic, news.tally.matched) == ("news", 10)


def test_summing_leaves_the_reports_alone() -> None:
    """A report is never changed by being summed: it belongs to who collected it."""
    reports = [report("a"), report("b")]

    bounded(reports, 0)
    bounded(reports, 0)

    assert reports == [report("a"), report("b")]


@given(
    counts=st.lists(st.tuples(st.sampled_from(["songs", "news"]), st.integers(0, 10**9))),
    subscriptions_max=st.integers(0, 5),
)
def test_the_books_balance_whatever_is_summed(
    counts: list[tuple[str, int]], subscriptions_max: int
) -> None:
    """The sum over all series is the sum over all subscriptions, however few labels are allowed."""
    reports = [report(str(i), topic, matched) for i, (topic, matched) in enumerate(counts)]

    series = bounded(reports, subscriptions_max)

    assert sum(one.tally.matched for one in series) == sum(matched for _, matched in counts)
    assert sum(one.tally.pending for one in series) == sum(one.tally.pending for one in reports)
    assert len(series) <= subscriptions_max + 2


def test_names_with_odd_characters_are_escaped() -> None:
    """A topic's name with quotes or line breaks cannot forge a sample."""
    odd = 'a"} 1\nforged 1'

    body = render(snapshot(report(odd)))

    assert values(body, "eventpost_lag_events") == {("songs", odd): 7}


def test_a_copied_histogram_stays_as_it_was() -> None:
    """What is observed after the copy does not show in it."""
    histogram = Histogram()
    histogram.observe(1)

    copy = copied(histogram)
    histogram.observe(1)

    assert sum(copy.counts) == 1
    assert copy.sum_ms == 1
