"""The bounds of what users declare, by name, and the words in which a bound refuses."""

import re

import msgspec

from eventpost.core.errors import InvalidRequest

_NAME = re.compile(r"[A-Za-z0-9-]*")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The most (and least) that a declaration may ask for. Every bound is inclusive."""

    name_chars_min: int = 3
    name_chars_max: int = 50
    domain_topics_max: int = 100_000
    """Topics of one domain."""
    domain_subscriptions_max: int = 50
    """Subscriptions to a whole domain."""
    domain_topic_subscriptions_max: int = 500
    """Subscriptions to one topic of a domain."""
    event_types_max: int = 500
    """Included event types of one subscription."""
    advanced_filters_max: int = 25
    advanced_values_max: int = 25
    """Values of all advanced filters of one subscription together; a range counts once."""
    filter_string_chars_max: int = 512
    """Each value, key, event type and subject text of a filter."""
    delivery_attempts_max: int = 30
    event_ttl_min: str = "10ms"
    """The shortest time to live of an event, a duration with its unit."""
    event_ttl_max: str = "24h"
    """The longest time to live of an event, a duration with its unit such as `72h` or `7d`."""
    schedule_rungs_max: int = 30
    batch_events_max: int = 5_000
    batch_kilobytes_max: int = 1_024
    concurrency_max: int = 1_024
    """Requests of one subscription in flight."""
    rate_per_s_min: float = 0.001
    rate_per_s_max: float = 1_000_000.0
    receive_lock_s_min: float = 60.0
    """The shortest lock of a subscription that is pulled; `serve --allow-short-locks` lowers it."""
    receive_lock_s_max: float = 300.0
    """The longest such lock."""
    delivery_count_max: int = 10
    """How often a subscription that is pulled may hand an event out."""
    response_timeout_s_min: float = 0.01
    response_timeout_s_max: float = 600.0
    url_chars_max: int = 2_048
    deadletter_chars_max: int = 2_048
    delivery_attributes_max: int = 10
    delivery_attribute_bytes_max: int = 4_096
    delivery_attribute_name_chars_max: int = 128
    signing_secrets_max: int = 5
    message_properties_max: int = 10
    """Message properties of one subscription to a queue."""
    settings_bytes_max: int = 16_384
    """A connection's settings, or a queue's options, as JSON."""
    queue_chars_max: int = 2_048
    """The longest name, URL or ARN of a queue."""
    lease_s_min: float = 1.0
    lease_s_max: float = 43_200.0
    prefetch_max: int = 10_000
    """The largest `--prefetch` of a source."""
    receives_max: int = 1_000
    """The largest `--receives-max` of a source."""
    mapping_chars_max: int = 512
    """Each path and each default of an input mapping, of a source or of a topic."""
    labels_max: int = 50
    """Labels of one subscription."""
    label_chars_max: int = 256
    """The longest label of a subscription."""


LIMITS = Limits()


def check_count(code: str, things: str, count: int, least: int, most: int) -> None:
    """Raises InvalidRequest unless least <= count <= most."""
    if not least <= count <= most:
        raise InvalidRequest(
            code,
            f"There are {count} {things}.",
            fix=f"Give {least} to {most}." if least else f"Give at most {most}.",
        )


def check_between(code: str, name: str, value: float, least: float, most: float) -> None:
    """Raises InvalidRequest unless least <= value <= most (so not for NaN)."""
    if not least <= value <= most:
        raise InvalidRequest(code, f"{name} is {value}.", fix=f"Give {least} to {most}.")


def is_name(name: str, limits: Limits = LIMITS) -> bool:
    """Whether `name` may name a topic, a domain or a subscription."""
    is_long_enough = limits.name_chars_min <= len(name) <= limits.name_chars_max
    return is_long_enough and _NAME.fullmatch(name) is not None


def check_name(what: str, name: str, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest unless `name` may name a `what`, such as a topic."""
    least, most = limits.name_chars_min, limits.name_chars_max
    if is_name(name, limits):
        return
    is_long_enough = least <= len(name) <= most
    why = (
        f"It has {len(name)} characters."
        if not is_long_enough
        else "It holds characters other than letters, digits and '-'."
    )
    raise InvalidRequest(
        f"Invalid{what.title()}Name",
        f"{excerpt(name)} cannot name a {what}.",
        why=why,
        fix=f"Use {least} to {most} letters (a-z, A-Z), digits and '-'.",
    )


def excerpt(value: object) -> str:
    """`value` as an error shows it: quoted and short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
