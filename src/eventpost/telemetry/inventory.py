"""Every metric: its name, its kind, its labels, what it counts, and where its value comes from."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Described:
    """One metric. `value` is the attribute that holds it, of the report or the snapshot."""

    name: str
    kind: Kind
    value: str
    help: str
    labels: tuple[str, ...] = ()


def _group(labels: tuple[str, ...], *rows: tuple[str, Kind, str, str]) -> tuple[Described, ...]:
    return tuple(Described(*row, labels) for row in rows)


SUBSCRIPTION = _group(
    ("topic", "subscription"),
    (
        "eventpost_matched_events_total",
        "counter",
        "tally.matched",
        "Events that the subscription took.",
    ),
    (
        "eventpost_replayed_events_total",
        "counter",
        "tally.replayed",
        "Dead letters put back to be delivered.",
    ),
    (
        "eventpost_delivered_events_total",
        "counter",
        "tally.delivered",
        "Events that the endpoint accepted.",
    ),
    ("eventpost_pending_events", "gauge", "tally.pending", "Events taken and not settled yet."),
    (
        "eventpost_lag_events",
        "gauge",
        "lag",
        "Events of the topic that the subscription has not read yet.",
    ),
    ("eventpost_in_flight_deliveries", "gauge", "in_flight", "Deliveries under way right now."),
    ("eventpost_ladder_deliveries", "gauge", "ladder", "Deliveries that wait for a retry."),
    ("eventpost_dead_letters", "gauge", "dead_letters", "Dead letters kept and not replayed."),
    (
        "eventpost_failed_attempts_total",
        "counter",
        "attempts_failed",
        "Attempts that failed since the process started.",
    ),
    (
        "eventpost_reconnects_total",
        "counter",
        "reconnects",
        "Kept connections found closed, with a fresh one tried, since the process started.",
    ),
    ("eventpost_paused", "gauge", "is_paused", "1 while the subscription is paused."),
    (
        "eventpost_breaker_open",
        "gauge",
        "is_breaker_open",
        "1 while the endpoint gets probes only.",
    ),
)

BY_REASON = _group(
    ("topic", "subscription", "reason"),
    (
        "eventpost_dead_lettered_events_total",
        "counter",
        "tally.dead_lettered",
        "Events given up, by the reason of the dead letter.",
    ),
    (
        "eventpost_dropped_events_total",
        "counter",
        "tally.dropped",
        "Events that ended neither delivered nor as a dead letter.",
    ),
)

TOPIC = _group(
    ("topic",),
    ("eventpost_published_events_total", "counter", "published", "Events accepted."),
    (
        "eventpost_unmatched_events_total",
        "counter",
        "unmatched",
        "Events that no subscription wanted.",
    ),
    (
        "eventpost_rejected_requests_total",
        "counter",
        "rejected",
        "Publish requests refused since the process started.",
    ),
)

SOURCE = _group(
    ("topic", "source"),
    (
        "eventpost_source_received_messages_total",
        "counter",
        "received",
        "Messages received since the process started, repeated ones included.",
    ),
    (
        "eventpost_source_taken_messages_total",
        "counter",
        "taken",
        "Messages that became events, durably.",
    ),
    (
        "eventpost_source_published_events_total",
        "counter",
        "events",
        "Events that messages became.",
    ),
    (
        "eventpost_source_poison_messages_total",
        "counter",
        "poison",
        "Messages of which no event could be made: dead letters.",
    ),
    (
        "eventpost_source_redelivered_messages_total",
        "counter",
        "redelivered",
        "Messages that came again although they had been taken, and were only settled.",
    ),
    (
        "eventpost_source_settled_messages_total",
        "counter",
        "settled",
        "Messages that their queue confirmed to be gone.",
    ),
    (
        "eventpost_source_released_messages_total",
        "counter",
        "released",
        "Messages given back to their queue.",
    ),
    (
        "eventpost_source_lost_leases_total",
        "counter",
        "lost",
        "Messages whose lease ended before they were settled.",
    ),
    (
        "eventpost_source_failed_calls_total",
        "counter",
        "failed_calls",
        "Calls to the queue that failed, entry by entry.",
    ),
    ("eventpost_source_held_messages", "gauge", "held", "Messages received and not taken yet."),
    (
        "eventpost_source_unsettled_messages",
        "gauge",
        "unsettled",
        "Messages taken that their queue still has.",
    ),
    (
        "eventpost_source_oldest_unsettled_seconds",
        "gauge",
        "oldest_unsettled_s",
        "How long the oldest of these has waited to be settled.",
    ),
    (
        "eventpost_source_dead_letters",
        "gauge",
        "dead_letters",
        "Dead letters of the source, kept and not replayed.",
    ),
    ("eventpost_source_paused", "gauge", "is_paused", "1 while the source is paused."),
    (
        "eventpost_source_failing",
        "gauge",
        "is_failing",
        "1 while the source gets nothing from its queue, or the store takes nothing of it.",
    ),
)

CREDENTIALS = _group(
    ("connection", "system", "link"),
    (
        "eventpost_credentials_found",
        "gauge",
        "found",
        "1 for the link of the SDK's chain that answered.",
    ),
    (
        "eventpost_credentials_expiry_timestamp_seconds",
        "gauge",
        "expires_s",
        "When a connection's credentials expire, in Unix time; absent while nobody knows.",
    ),
)

ALERTS = _group(
    ("alert", "of", "topic", "name"),
    ("eventpost_alert_active", "gauge", "active", "1 while the alert holds."),
)
ALERTS_STARTED = Described(
    "eventpost_alerts_started_total",
    "counter",
    "started",
    "Alerts that began, since the process started.",
    ("alert",),
)

LATENCY = _group(
    (),
    (
        "eventpost_publish_seconds",
        "histogram",
        "publish",
        "From a whole publish request to its answer, the commit included.",
    ),
    (
        "eventpost_delivery_seconds",
        "histogram",
        "delivery",
        "From the start of a delivery attempt to its outcome.",
    ),
)

PROCESS = _group(
    (),
    ("eventpost_store_bytes", "gauge", "store_bytes", "Bytes that the store uses."),
    (
        "eventpost_store_bytes_max",
        "gauge",
        "store_bytes_max",
        "Bytes at which publishing is refused.",
    ),
    (
        "eventpost_suppressed_log_records_total",
        "counter",
        "suppressed_log_records",
        "Log records not written because the same was said too often.",
    ),
    (
        "eventpost_dropped_log_lines_total",
        "counter",
        "dropped_log_lines",
        "Log lines lost because their output was too slow or gone.",
    ),
)

BUILD = Described(
    "eventpost_build_info", "gauge", "version", "1, with the version as label.", ("version",)
)

OPERATING_SYSTEM = _group(
    (),
    ("process_resident_memory_bytes", "gauge", "", "Resident memory."),
    ("process_virtual_memory_bytes", "gauge", "", "Virtual memory."),
    ("process_cpu_seconds_total", "counter", "", "CPU time used, user and system."),
    ("process_start_time_seconds", "gauge", "", "Start of the process, in Unix time."),
    ("process_open_fds", "gauge", "", "File descriptors in use."),
    ("process_max_fds", "gauge", "", "File descriptors allowed."),
)
"""Read from the operating system by prometheus_client itself; Linux only."""

METRICS = (
    *SUBSCRIPTION,
    *BY_REASON,
    *TOPIC,
    *SOURCE,
    *CREDENTIALS,
    *ALERTS,
    ALERTS_STARTED,
    *LATENCY,
    *PROCESS,
    BUILD,
    *OPERATING_SYSTEM,
)
