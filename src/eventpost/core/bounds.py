"""What a user may declare: names, filters, retry policies, endpoints, each with its bounds.

The API, the command line and the configuration file all check here, so that they refuse the same
things with the same words. Bounds are Event Grid's where it has one; `Limits` names them all.
"""

import re

from eventpost.core.endpoint_bounds import check_endpoint
from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema
from eventpost.core.filter_bounds import check_filter
from eventpost.core.limits import (
    LIMITS,
    Limits,
    check_between,
    check_count,
    check_name,
    excerpt,
)
from eventpost.core.notation import (
    duration_text,
    parse_advanced_filter,
    parse_duration_ms,
    parse_event_ttl_ms,
    parse_schedule,
    read_advanced_filter,
)
from eventpost.core.retry import DELAY_MS_MIN
from eventpost.core.source_bounds import check_topic_mapping
from eventpost.core.sources import InputMapping
from eventpost.core.subscriptions import (
    BUILTIN_TOPIC_PREFIX,
    RETRY_SCHEDULES_MS,
    RetryPolicy,
    Subscription,
)

__all__ = [
    "Limits",
    "check_delivery_schema",
    "check_domain_topic_name",
    "check_endpoint",
    "check_filter",
    "check_input_mapping",
    "check_retry",
    "check_subscription",
    "check_subscription_name",
    "check_topic_name",
    "parse_advanced_filter",
    "parse_duration_ms",
    "parse_event_ttl_ms",
    "parse_schedule",
    "read_advanced_filter",
]

_DEADLETTER = re.compile(r"(folder:|azureblob://|s3://).+", re.DOTALL)


def check_topic_name(name: str, limits: Limits = LIMITS, *, is_builtin: bool = False) -> None:
    """Raises InvalidRequest unless `name` may name a topic; only built-in ones have the prefix."""
    own = name.removeprefix(BUILTIN_TOPIC_PREFIX)
    if is_builtin or own == name:
        check_name("topic", own if is_builtin else name, limits)
        return
    raise InvalidRequest(
        "InvalidTopicName",
        f"The topic name {name!r} begins with {BUILTIN_TOPIC_PREFIX!r}.",
        why="That prefix belongs to the topics that eventpost makes itself.",
        fix="Choose a name of letters, digits and '-'.",
    )


def check_domain_topic_name(name: str, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest unless `name` may name a topic of a domain."""
    check_name("topic", name, limits)


def check_subscription_name(name: str, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest unless `name` may name an event subscription."""
    check_name("subscription", name, limits)


def check_subscription(subscription: Subscription, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest for the first thing in `subscription` that is out of bounds.

    Whether its kind of endpoint, its connection and its topic exist is not asked here.
    """
    check_subscription_name(subscription.name, limits)
    check_filter(subscription.filter, limits)
    check_endpoint(subscription.endpoint, limits)
    check_retry(subscription.retry, limits)
    if subscription.deadletter is not None:
        _check_deadletter(subscription.deadletter, limits)
    elif subscription.deadletter_connection is not None:
        raise InvalidRequest(
            "InvalidDeadLetterEndpoint",
            "A connection for dead letters is named, and no place for them.",
            fix="Name the place too: azureblob://ACCOUNT/CONTAINER or s3://BUCKET/PREFIX.",
        )
    _check_labels(subscription.labels, limits)


def _check_labels(labels: tuple[str, ...], limits: Limits) -> None:
    check_count("InvalidLabels", "labels", len(labels), 0, limits.labels_max)
    for label in labels:
        least, most = 1, limits.label_chars_max
        check_count("InvalidLabels", f"characters in {excerpt(label)}", len(label), least, most)


def check_input_mapping(
    schema: Schema, mapping: InputMapping, limits: Limits = LIMITS, *, is_domain: bool = False
) -> None:
    """Raises InvalidRequest unless a topic of `schema` may have this input mapping; that of a
    domain must say where an event names its topic."""
    if is_domain and schema is Schema.CUSTOM and "topic" not in mapping.fields:
        raise InvalidRequest(
            "InvalidMapping",
            "The field topic is not mapped.",
            why="Every event of a domain names its topic, and nothing says where.",
            fix="Add topic to the mapping's fields: --input-mapping-fields topic=PATH.",
        )
    if mapping == InputMapping():
        return
    if schema is not Schema.CUSTOM:
        raise InvalidRequest(
            "InvalidMapping",
            f"A topic of {schema.value} has no input mapping.",
            why="Its events say themselves what they are.",
            fix="Leave the mapping out, or use --input-schema customeventschema.",
        )
    check_topic_mapping(mapping, limits)
    if "topic" in mapping.fields and not is_domain:
        raise InvalidRequest(
            "InvalidMapping",
            "The field topic is mapped.",
            why="Every event of a topic is of that topic; only a domain looks into its events.",
            fix="Leave topic out of the mapping's fields.",
        )


def check_delivery_schema(input_schema: Schema, delivery_schema: Schema | None) -> None:
    """Raises InvalidRequest when events of `input_schema` cannot be delivered in the other one."""
    if delivery_schema in (None, input_schema):
        return
    if input_schema is Schema.CUSTOM or delivery_schema is Schema.CLOUD_EVENTS:
        return
    raise InvalidRequest(
        "InvalidDeliverySchema",
        f"A topic of {input_schema.value} cannot deliver {delivery_schema}.",
        why="What the schemas do not share, such as extension attributes, would be lost.",
        fix=f"Use --event-delivery-schema {input_schema.value} or leave it out.",
    )


def check_retry(policy: RetryPolicy, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest unless attempts, time to live, schedule and statuses are in bounds."""
    attempts, attempts_max = policy.max_delivery_attempts, limits.delivery_attempts_max
    check_between("InvalidRetryPolicy", "The number of attempts", attempts, 1, attempts_max)
    _check_event_ttl(policy.event_ttl_ms, limits)
    _check_schedule(policy.schedule, limits)
    for status in policy.final_statuses:
        check_between("InvalidRetryPolicy", "A status that is not retried", status, 300, 599)


def _check_event_ttl(event_ttl_ms: int, limits: Limits) -> None:
    least, most = limits.event_ttl_min, limits.event_ttl_max
    if parse_duration_ms(least) <= event_ttl_ms <= parse_duration_ms(most):
        return
    raise InvalidRequest(
        "InvalidRetryPolicy",
        f"The time to live of events is {duration_text(event_ttl_ms)}.",
        why=f"It must be between {least} and {most}.",
        fix=f"Give minutes or a duration up to {most}, or raise limits.event_ttl_max.",
    )


def _check_schedule(schedule: str | tuple[int, ...], limits: Limits) -> None:
    if isinstance(schedule, str):
        if schedule in RETRY_SCHEDULES_MS:
            return
        raise InvalidRequest(
            "InvalidRetryPolicy",
            f"There is no retry schedule {schedule!r}.",
            fix=f"Use {', '.join(RETRY_SCHEDULES_MS)} or steps such as 10s,30s,1m.",
        )
    code = "InvalidRetryPolicy"
    check_count(code, "steps of the retry schedule", len(schedule), 1, limits.schedule_rungs_max)
    for rung in schedule:
        _check_rung(rung, limits)


def _check_rung(rung_ms: int, limits: Limits) -> None:
    least, most = duration_text(DELAY_MS_MIN), limits.event_ttl_max
    if DELAY_MS_MIN <= rung_ms <= parse_duration_ms(most):
        return
    raise InvalidRequest(
        "InvalidRetryPolicy",
        f"A step of the retry schedule is {duration_text(rung_ms)}.",
        why=f"It must be between {least} and {most}, the longest time to live.",
        fix="Write steps such as 10s,30s,1m.",
    )


def _check_deadletter(place: str, limits: Limits) -> None:
    if len(place) <= limits.deadletter_chars_max and _DEADLETTER.fullmatch(place):
        if place.startswith("folder:") and not place.startswith("folder:/"):
            raise InvalidRequest(
                "RelativeFolder",
                f"{excerpt(place)} is a relative path.",
                why="What it is relative to would depend on how the server was started.",
                fix="Write folder:/ and the absolute path of a folder on the server's machine.",
            )
        return
    raise InvalidRequest(
        "InvalidDeadLetterEndpoint",
        f"{excerpt(place)} is no place for dead letters.",
        fix="Write folder:PATH, azureblob://ACCOUNT/CONTAINER or s3://BUCKET/PREFIX.",
    )
