"""From a declaration to the core's value, checked by the core's bounds."""

import msgspec
from msgspec import UNSET

from eventpost.core import bounds, notation
from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import LIMITS, Limits
from eventpost.core.subscriptions import (
    AdvancedFilter,
    DeliveryAttribute,
    Endpoint,
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
    format_named,
    schema_named,
)


def to_core(
    declared: SubscriptionDeclaration,
    *,
    current: Subscription | None = None,
    limits: Limits | None = LIMITS,
) -> Subscription:
    """The checked draft of a subscription; ids and times are the application's to give.

    With `current`, masked values (a secret attribute, the query of the endpoint) keep what they
    were. Without `limits` the bounds are not checked: what a server shows has passed its own.
    Raises InvalidRequest naming the field.
    """
    draft = Subscription(
        id=0,
        topic_id=0,
        name=declared.name,
        created_ms=0,
        filter=_filter(declared.filter),
        endpoint=_endpoint(declared, current.endpoint if current else None),
        retry=_retry(declared.retry),
        deadletter=declared.deadletter or None,
        labels=tuple(declared.labels),
        expiration_ms=_expiration_ms(declared.expiration_time_utc),
        deadletter_connection=declared.deadletter_connection or None,
    )
    if limits is not None:
        bounds.check_subscription(draft, limits)
    return draft


def _expiration_ms(text: str | None) -> int:
    return forms.time_ms(text, field="expirationTimeUtc") if text else 0


def _filter(declared: FilterDeclaration) -> Filter:
    types = declared.included_event_types
    return Filter(
        included_event_types=None if types is None else tuple(types),
        subject_begins_with=declared.subject_begins_with,
        subject_ends_with=declared.subject_ends_with,
        subject_case_sensitive=declared.subject_case_sensitive,
        advanced=tuple(_clause(clause) for clause in declared.advanced_filters),
        advanced_filtering_on_arrays=declared.enable_advanced_filtering_on_arrays,
    )


def _clause(declared: AdvancedFilterDeclaration) -> AdvancedFilter:
    fields = msgspec.structs.asdict(declared)
    wire = {"key": declared.key, "operatorType": declared.operator_type}
    given = {name: fields[name] for name in ("value", "values") if fields[name] is not UNSET}
    return notation.read_advanced_filter(wire | given)


def _endpoint(declared: SubscriptionDeclaration, current: Endpoint | None) -> Endpoint:
    kept = {each.name: each for each in current.attributes if each.is_secret} if current else {}
    address = declared.endpoint
    if current and address == masks.masked_url(current.address):
        address = current.address
    schema = declared.event_delivery_schema
    return Endpoint(
        type=declared.endpoint_type,
        address=address,
        connection=declared.connection or None,
        options=declared.endpoint_options,
        format=format_named(declared.message_format, "messageFormat"),
        properties=tuple(
            _attribute(attribute, {}, f"messageProperties[{index}]")
            for index, attribute in enumerate(declared.message_properties)
        ),
        delivery_schema=None if schema is None else schema_named(schema, "eventDeliverySchema"),
        max_events_per_batch=declared.max_events_per_batch,
        preferred_batch_size_in_kilobytes=declared.preferred_batch_size_in_kilobytes,
        concurrency=declared.concurrency,
        rate_per_s=None if declared.rate is None else forms.rate_per_s(declared.rate),
        response_timeout_s=notation.parse_duration_ms(declared.response_timeout) / 1000,
        attributes=tuple(
            _attribute(attribute, kept, f"deliveryAttributeMappings[{index}]")
            for index, attribute in enumerate(declared.delivery_attribute_mappings)
        ),
        signing_secrets=tuple(declared.signing_secrets),
        tls_insecure=declared.tls_insecure,
        azure_active_directory_tenant_id=declared.azure_active_directory_tenant_id,
        azure_active_directory_application_id_or_uri=(
            declared.azure_active_directory_application_id_or_uri
        ),
        receive_lock_duration_s=declared.receive_lock_duration_in_seconds,
        max_delivery_count=declared.max_delivery_count,
    )


def _attribute(
    declared: AttributeDeclaration, kept: dict[str, DeliveryAttribute], field: str
) -> DeliveryAttribute:
    kind = declared.type.lower()
    if kind not in {"static", "dynamic"}:
        raise InvalidRequest(
            "InvalidDeliveryAttribute",
            f"{field}.type is {declared.type!r}.",
            fix="Use static (with value) or dynamic (with sourceField).",
        )
    if kind == "dynamic":
        path = declared.source_field or declared.value
        return DeliveryAttribute(name=declared.name, type="dynamic", value=path)
    value = declared.value
    if declared.is_secret and value == masks.MASK and declared.name in kept:
        value = kept[declared.name].value
    return DeliveryAttribute(
        name=declared.name, type="static", value=value, is_secret=declared.is_secret
    )


def _retry(declared: RetryDeclaration) -> RetryPolicy:
    return RetryPolicy(
        schedule=forms.schedule(declared.schedule),
        max_delivery_attempts=declared.max_delivery_attempts,
        event_ttl_ms=_event_ttl_ms(declared),
        final_statuses=declared.final_statuses,
    )


def _event_ttl_ms(declared: RetryDeclaration) -> int:
    given = [each for each in (declared.event_ttl_minutes, declared.event_ttl) if each is not None]
    if len(given) > 1:
        raise InvalidRequest(
            "InvalidRetryPolicy",
            "retry has both eventTtl and eventTtlMinutes.",
            fix="Give one of them.",
        )
    return notation.parse_event_ttl_ms(str(given[0])) if given else RetryPolicy().event_ttl_ms
