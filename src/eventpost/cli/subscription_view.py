"""One subscription as people read it: all that is set, in the words of the options."""

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from eventpost.cli import output

if TYPE_CHECKING:
    from eventpost.registry.declarations import (
        AdvancedFilterDeclaration,
        AttributeDeclaration,
        FilterDeclaration,
        RetryDeclaration,
    )
    from eventpost.registry.models.books import AttemptView
    from eventpost.server.models import SubscriptionView


def show(subscription: "SubscriptionView", arguments: argparse.Namespace) -> None:
    """What it declares, its books and its latest failures, as far as they are there."""
    if arguments.json:
        output.json(subscription)
        return
    output.fields(declared(subscription))
    if subscription.books is not None:
        output.line()
        output.fields(_books(subscription))
    if subscription.findings:
        output.line()
        output.table(
            ("finding", "what it is", "fix"),
            [(each.finding, each.title, each.fix) for each in subscription.findings],
            empty="",
        )
    if subscription.deadletter_failure is not None:
        output.line()
        output.fields(_export_failure(subscription.deadletter_failure))
    if subscription.last_failures:
        output.line()
        output.table(
            ("time", "attempt", "finding", "cause", "next attempt"),
            [
                (each.time, each.attempt, each.finding, each.cause, each.next_attempt_time)
                for each in subscription.last_failures
            ],
            empty="",
        )


def declared(subscription: "SubscriptionView") -> dict[str, object]:
    """Everything that is set; what has no value is left out by whoever prints it."""
    return {
        "name": subscription.name,
        "topic": subscription.topic,
        **_endpoint(subscription),
        "state": subscription.provisioning_state,
        "to be opened until": subscription.validation_deadline,
        "waiting endpoint": subscription.pending_endpoint,
        "paused": subscription.is_paused or None,
        **_filter(subscription.filter),
        **_delivery(subscription),
        **_retry(subscription.retry, is_pulled=subscription.endpoint_type == "pull"),
        "dead letters": subscription.deadletter or "rows only",
        "labels": subscription.labels,
        "expires": subscription.expiration_time_utc,
        "dead letters over": subscription.deadletter_connection,
        "created": subscription.created_time,
    }


def _endpoint(subscription: "SubscriptionView") -> dict[str, object]:
    is_webhook = subscription.endpoint_type == "webhook"
    is_pulled = subscription.endpoint_type == "pull"
    return {
        "endpoint": subscription.endpoint,
        "endpoint type": None if is_webhook else subscription.endpoint_type,
        "connection": subscription.connection,
        "endpoint options": [f"{key}={_value(value)}" for key, value in _options(subscription)],
        "message format": None if is_webhook or is_pulled else subscription.message_format,
        "message properties": _attributes(subscription.message_properties),
    }


def _options(subscription: "SubscriptionView") -> Iterable[tuple[str, object]]:
    return subscription.endpoint_options.items()


def _filter(wanted: "FilterDeclaration") -> dict[str, object]:
    return {
        "event types": wanted.included_event_types,
        "subject begins with": wanted.subject_begins_with,
        "subject ends with": wanted.subject_ends_with,
        "subject by case": wanted.subject_case_sensitive or None,
        "advanced filters": _joined(map(_clause, wanted.advanced_filters)),
        "filters see arrays": wanted.enable_advanced_filtering_on_arrays or None,
    }


def _clause(clause: "AdvancedFilterDeclaration") -> str:
    values = clause.values if isinstance(clause.values, list) else [clause.value]
    shown = [
        _value(value) for value in values if isinstance(value, bool | int | float | str | list)
    ]
    return " ".join([clause.key, clause.operator_type, *shown])


def _delivery(subscription: "SubscriptionView") -> dict[str, object]:
    if subscription.endpoint_type == "pull":
        return {
            "delivery schema": subscription.event_delivery_schema,
            "locked for": f"{subscription.receive_lock_duration_in_seconds:g} s",
            "handed out": f"{subscription.max_delivery_count} times at most",
        }
    batch: object = subscription.max_events_per_batch
    if subscription.max_events_per_batch > 1:
        batch = f"{batch}, or {subscription.preferred_batch_size_in_kilobytes} KB"
    rate = subscription.rate
    return {
        "delivery schema": subscription.event_delivery_schema,
        "events per request": batch,
        "requests in flight": subscription.concurrency,
        "rate": None if rate is None else rate if isinstance(rate, str) else f"{rate:g}/s",
        "response timeout": subscription.response_timeout,
        "delivery properties": _attributes(subscription.delivery_attribute_mappings),
        "signing secrets": subscription.signing_secrets,
        "token for": subscription.azure_active_directory_application_id_or_uri or None,
        "token of tenant": subscription.azure_active_directory_tenant_id or None,
        "certificate": "not verified" if subscription.tls_insecure else None,
    }


def _attributes(attributes: "Sequence[AttributeDeclaration]") -> str:
    return _joined(
        f"{each.name} {each.type} {each.source_field if each.type == 'dynamic' else each.value}"
        for each in attributes
    )


def _retry(retry: "RetryDeclaration", *, is_pulled: bool) -> dict[str, object]:
    if is_pulled:
        return {"time to live": retry.event_ttl or f"{retry.event_ttl_minutes} min"}
    return {
        "attempts at most": retry.max_delivery_attempts,
        "time to live": retry.event_ttl or f"{retry.event_ttl_minutes} min",
        "retry schedule": retry.schedule,
        "not retried": [str(status) for status in retry.final_statuses],
    }


def _books(subscription: "SubscriptionView") -> dict[str, object]:
    books = subscription.books
    assert books is not None
    return {
        "matched": books.matched,
        "replayed": books.replayed,
        "delivered": books.delivered,
        "dead-lettered": _by_reason(books.dead_lettered),
        "dropped": _by_reason(books.dropped),
        "pending": books.pending,
        "in flight": books.in_flight,
        "on the ladder": books.ladder,
        "not read yet": books.lag,
        "breaker": "open" if books.is_breaker_open else "closed",
    }


def _export_failure(failure: "AttemptView") -> dict[str, object]:
    return {
        "dead letters not written": failure.time,
        "finding": failure.finding,
        "cause": failure.cause,
        "fix": failure.fix,
        "detail": failure.evidence.detail if failure.evidence else None,
        "tried again": failure.next_attempt_time,
    }


def _by_reason(counts: dict[str, int]) -> str:
    if not counts:
        return "0"
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items()))
    return f"{sum(counts.values()):,} ({reasons})"


def _joined(parts: Iterable[str]) -> str:
    """Of things that hold blanks and commas themselves."""
    return "; ".join(parts)


def _value(value: object) -> str:
    """A filter's or an option's value as it is given in a command."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
