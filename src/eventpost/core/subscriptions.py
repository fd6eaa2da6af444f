"""Topics and event subscriptions as values: what a user declares and the store keeps.

Bounds are Event Grid's where it has one. They are checked by `core.bounds`, so that the API, the
command line and the configuration file refuse the same things with the same words.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from eventpost.core.events import Schema
from eventpost.core.sources import InputMapping, MessageFormat

BUILTIN_TOPIC_PREFIX = "eventpost."
DEAD_LETTER_TOPIC = "eventpost.deadletters"
HEALTH_TOPIC = "eventpost.health"

RETRY_SCHEDULES_MS: dict[str, tuple[int, ...]] = {
    "event-grid": (10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000),
    "event-grid-2023": (
        *(10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000),
        *(3_600_000, 10_800_000, 21_600_000, 43_200_000),
    ),
}
"""Rungs in milliseconds; the last one repeats. Event Grid's documentation of 2020 and of 2023."""

FINAL_STATUSES = (400, 401, 403, 413)


class DomainRules(msgspec.Struct, frozen=True, kw_only=True):
    """When the topics of a domain come and go by themselves, by Event Grid's names."""

    auto_create_topic_with_first_subscription: bool = True
    auto_delete_topic_with_last_subscription: bool = True


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A log of events with two access keys (base64).

    A domain is one, too: its events say of which topic of the domain they are. Such a topic is none
    with a log: it has no partitions and no keys, and its name is `DOMAIN/TOPIC`.
    """

    id: int
    name: str
    key1: str
    key2: str
    created_ms: int
    input_schema: Schema = Schema.EVENT_GRID
    input_mapping: InputMapping = InputMapping()
    """Of a custom schema: where in the published object the rest of the event stands."""
    partition_count: int = 1
    domain: DomainRules | None = None
    """Of a domain."""
    domain_id: int = 0
    """Of a topic of a domain: the domain's."""

    @property
    def is_domain(self) -> bool:
        return self.domain is not None

    @property
    def log_id(self) -> int:
        """The topic in whose log its events are."""
        return self.domain_id or self.id

    @property
    def wire_schema(self) -> Schema:
        """The schema in which its events are kept: a custom one is kept in Event Grid's."""
        is_custom = self.input_schema is Schema.CUSTOM
        return Schema.EVENT_GRID if is_custom else self.input_schema

    @property
    def is_builtin(self) -> bool:
        return self.name.startswith(BUILTIN_TOPIC_PREFIX)


class Operator(StrEnum):
    """The 19 operators of Event Grid's advanced filters."""

    NUMBER_IN = "NumberIn"
    NUMBER_NOT_IN = "NumberNotIn"
    NUMBER_LESS_THAN = "NumberLessThan"
    NUMBER_LESS_THAN_OR_EQUALS = "NumberLessThanOrEquals"
    NUMBER_GREATER_THAN = "NumberGreaterThan"
    NUMBER_GREATER_THAN_OR_EQUALS = "NumberGreaterThanOrEquals"
    NUMBER_IN_RANGE = "NumberInRange"
    NUMBER_NOT_IN_RANGE = "NumberNotInRange"
    BOOL_EQUALS = "BoolEquals"
    STRING_CONTAINS = "StringContains"
    STRING_NOT_CONTAINS = "StringNotContains"
    STRING_BEGINS_WITH = "StringBeginsWith"
    STRING_NOT_BEGINS_WITH = "StringNotBeginsWith"
    STRING_ENDS_WITH = "StringEndsWith"
    STRING_NOT_ENDS_WITH = "StringNotEndsWith"
    STRING_IN = "StringIn"
    STRING_NOT_IN = "StringNotIn"
    IS_NULL_OR_UNDEFINED = "IsNullOrUndefined"
    IS_NOT_NULL = "IsNotNull"


FilterValue = bool | int | float | str | tuple[float, float]


class AdvancedFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One clause. `values` holds one value for the comparisons, several for the `In` family,
    pairs for the ranges, none for the null tests."""

    key: str
    operator_type: Operator
    values: tuple[FilterValue, ...] = ()


class Filter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which events of the topic a subscription wants. The default wants all."""

    included_event_types: tuple[str, ...] | None = None
    subject_begins_with: str = ""
    subject_ends_with: str = ""
    subject_case_sensitive: bool = False
    advanced: tuple[AdvancedFilter, ...] = ()
    advanced_filtering_on_arrays: bool = False
    domain_topic: str = ""
    """Of a subscription to a topic of a domain: that topic's name. The grid's to give."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When to try again and when to stop.

    `schedule` is a name of `RETRY_SCHEDULES_MS` or rungs in milliseconds (at least 10). The
    per-status minimum delays belong to the named schedules only.
    """

    schedule: str | tuple[int, ...] = "event-grid"
    max_delivery_attempts: int = 30
    event_ttl_ms: int = 1_440 * 60_000
    final_statuses: tuple[int, ...] = FINAL_STATUSES

    @property
    def rungs_ms(self) -> tuple[int, ...]:
        return (
            RETRY_SCHEDULES_MS[self.schedule] if isinstance(self.schedule, str) else self.schedule
        )

    @property
    def is_named(self) -> bool:
        return isinstance(self.schedule, str)


class DeliveryAttribute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A delivery property: a header with a fixed value, or one taken from the event by a path."""

    name: str
    type: Literal["static", "dynamic"]
    value: str = ""
    """The value (static) or the path, such as `data.key1` (dynamic)."""
    is_secret: bool = False


MESSAGE_PROPERTIES = (
    "group",  # what must stay in order: SQS MessageGroupId, the key of a Kafka record
    "deduplication-id",
    "routing-key",
    "message-id",
    "delay",  # a duration such as 30s, or a number of seconds
    "priority",
)
"""What a message may carry beside its body and attributes, where the queue system has it."""


PULL = "pull"
"""The kind of endpoint that is none: consumers receive, and acknowledge."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a subscription delivers and how.

    `address` is the URL of a webhook, or a queue's name as its system has it.
    """

    type: str = "webhook"
    address: str = ""
    connection: str | None = None
    """By name; None for a queue: its kind's defaults, which find out by themselves who we are."""
    options: dict[str, object] = {}
    """The queue system's own (`queues.kinds`)."""
    format: MessageFormat = MessageFormat.EVENT
    """How the event stands in a message of a queue."""
    properties: tuple[DeliveryAttribute, ...] = ()
    """Of a queue's messages, by the names of `MESSAGE_PROPERTIES`."""
    delivery_schema: Schema | None = None
    """None: the topic's own."""
    max_events_per_batch: int = 1
    preferred_batch_size_in_kilobytes: int = 64
    concurrency: int = 64
    rate_per_s: float | None = None
    response_timeout_s: float = 30.0
    attributes: tuple[DeliveryAttribute, ...] = ()
    signing_secrets: tuple[str, ...] = ()
    """References (`env:NAME`, `file:PATH`), newest first; several while a secret is rotated."""
    tls_insecure: bool = False
    azure_active_directory_tenant_id: str = ""
    """Whose tokens a webhook wants: an id or a domain; "" for none."""
    azure_active_directory_application_id_or_uri: str = ""
    """What such a token is for."""
    receive_lock_duration_s: float = 60.0
    """Where events are pulled: how long a consumer holds what it received."""
    max_delivery_count: int = 10
    """Where events are pulled: how often an event is handed out at most."""

    @property
    def is_pulled(self) -> bool:
        """Whether consumers come for the events."""
        return self.type == PULL

    @property
    def wants_token(self) -> bool:
        """Whether its requests carry a token of Microsoft Entra."""
        return bool(self.azure_active_directory_tenant_id)


class ProvisioningState(StrEnum):
    SUCCEEDED = "Succeeded"
    AWAITING_MANUAL_ACTION = "AwaitingManualAction"
    FAILED = "Failed"


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event subscription: a filter, a destination, a retry policy and a cursor (kept apart)."""

    id: int
    topic_id: int
    name: str
    created_ms: int
    filter: Filter = Filter()
    endpoint: Endpoint = Endpoint()
    retry: RetryPolicy = RetryPolicy()
    deadletter: str | None = None
    """`folder:PATH`, `azureblob://ACCOUNT/CONTAINER` or `s3://BUCKET/PREFIX`; None keeps dead
    letters as rows only."""
    deadletter_connection: str | None = None
    """By name; None: the one that names the account, or else the SDK's own chain."""
    labels: tuple[str, ...] = ()
    expiration_ms: int = 0
    """UTC, when it is deleted by itself; 0 for never."""
    is_paused: bool = False
    provisioning_state: ProvisioningState = ProvisioningState.SUCCEEDED
    validation_code: str = ""
    validation_deadline_ms: int = 0
    pending_endpoint: Endpoint | None = None
    """A new endpoint whose handshake waits for manual action; the old one serves until then."""

    @property
    def has_consent(self) -> bool:
        """Whether its endpoint wants events; one that waits to take its place does not count."""
        is_consented = self.provisioning_state is ProvisioningState.SUCCEEDED
        return is_consented or self.pending_endpoint is not None

    @property
    def is_held(self) -> bool:
        """Whether nothing may be sent: paused, or its endpoint has not consented yet."""
        return self.is_paused or not self.has_consent
