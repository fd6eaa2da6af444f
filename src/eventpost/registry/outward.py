"""From the core's value back to what would declare it, secrets hidden."""

from msgspec import UNSET

from eventpost.core import notation
from eventpost.core.events import Schema
from eventpost.core.operators import RULES, Arity
from eventpost.core.subscriptions import (
    AdvancedFilter,
    DeliveryAttribute,
    Filter,
    RetryPolicy,
    Subscription,
)
from eventpost.registry import forms, masks
from eventpost.registry.declared import (
    AdvancedFilterDeclaration,
    AttributeDeclaration,
    FilterDeclaration,
    RetryDeclaration,
    SubscriptionDeclaration,
)


def from_core(
    subscription: Subscription, *, topic: str = "", is_masked: bool = True
) -> SubscriptionDeclaration:
    """What would declare `subscription`; secrets hidden unless `is_masked` is False."""
    endpoint = subscription.endpoint
    schema = endpoint.delivery_schema
    return SubscriptionDeclaration(
        name=subscription.name,
        topic=topic,
        endpoint=masks.masked_url(endpoint.address) if is_masked else endpoint.address,
        endpoint_type=endpoint.type,
        connection=endpoint.connection,
        endpoint_options=endpoint.options,
        message_format=endpoint.format.value,
        message_properties=[
            _declared_attribute(attribute, is_masked=is_masked) for attribute in endpoint.properties
        ],
        filter=_declared_filter(subscription.filter),
        retry=_declared_retry(subscription.retry),
        deadletter=subscription.deadletter,
        deadletter_connection=subscription.deadletter_connection,
        event_delivery_schema=None if schema is None else _delivery_schema_name(schema),
        max_events_per_batch=endpoint.max_events_per_batch,
        preferred_batch_size_in_kilobytes=endpoint.preferred_batch_size_in_kilobytes,
        delivery_attribute_mappings=[
            _declared_attribute(attribute, is_masked=is_masked) for attribute in endpoint.attributes
        ],
        concurrency=endpoint.concurrency,
        rate=endpoint.rate_per_s,
        response_timeout=notation.duration_text(round(endpoint.response_timeout_s * 1000)),
        signing_secrets=list(endpoint.signing_secrets),
        tls_insecure=endpoint.tls_insecure,
        azure_active_directory_tenant_id=endpoint.azure_active_directory_tenant_id,
        azure_active_directory_application_id_or_uri=(
            endpoint.azure_active_directory_application_id_or_uri
        ),
        labels=list(subscription.labels),
        expiration_time_utc=forms.time_text(subscription.expiration_ms) or None,
        receive_lock_duration_in_seconds=_whole(endpoint.receive_lock_duration_s),
        max_delivery_count=endpoint.max_delivery_count,
    )


def _whole(number: float) -> int | float:
    """A whole number without its point, as it was most likely written."""
    return int(number) if number == int(number) else number


def _declared_filter(value: Filter) -> FilterDeclaration:
    types = value.included_event_types
    return FilterDeclaration(
        included_event_types=None if types is None else list(types),
        subject_begins_with=value.subject_begins_with,
        subject_ends_with=value.subject_ends_with,
        subject_case_sensitive=value.subject_case_sensitive,
        advanced_filters=[_declared_clause(clause) for clause in value.advanced],
        enable_advanced_filtering_on_arrays=value.advanced_filtering_on_arrays,
    )


def _declared_clause(clause: AdvancedFilter) -> AdvancedFilterDeclaration:
    operator = clause.operator_type
    values = [list(value) if isinstance(value, tuple) else value for value in clause.values]
    if RULES[operator].arity is Arity.ONE:
        (value,) = values
        assert not isinstance(value, list), "comparisons hold one plain value"
        return AdvancedFilterDeclaration(key=clause.key, operator_type=operator, value=value)
    return AdvancedFilterDeclaration(key=clause.key, operator_type=operator, values=values or UNSET)


def _declared_retry(policy: RetryPolicy) -> RetryDeclaration:
    is_whole = policy.event_ttl_ms % notation.MINUTE_MS == 0
    schedule = policy.schedule
    return RetryDeclaration(
        schedule=schedule
        if isinstance(schedule, str)
        else [notation.duration_text(rung) for rung in schedule],
        max_delivery_attempts=policy.max_delivery_attempts,
        event_ttl_minutes=policy.event_ttl_ms // notation.MINUTE_MS if is_whole else None,
        event_ttl=None if is_whole else notation.duration_text(policy.event_ttl_ms),
        final_statuses=policy.final_statuses,
    )


def _declared_attribute(attribute: DeliveryAttribute, *, is_masked: bool) -> AttributeDeclaration:
    if attribute.type == "dynamic":
        return AttributeDeclaration(
            name=attribute.name, type="dynamic", source_field=attribute.value
        )
    return AttributeDeclaration(
        name=attribute.name,
        value=masks.MASK if is_masked and attribute.is_secret else attribute.value,
        is_secret=attribute.is_secret,
    )


def _delivery_schema_name(schema: Schema) -> str:
    return "custominputschema" if schema is Schema.CUSTOM else schema.value
