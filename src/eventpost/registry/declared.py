"""The shapes of what a user declares, camelCase on the wire, with Event Grid's names."""

from msgspec import UNSET, Struct, UnsetType

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema
from eventpost.core.sources import InputMapping, MessageFormat
from eventpost.core.subscriptions import FINAL_STATUSES, DomainRules
from eventpost.registry import forms, shapes


class Declared(
    Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
):
    """Base of everything declared. Written out in full, defaults included."""


class TopicDeclaration(Declared, frozen=True, kw_only=True):
    """A topic as declared. `inputSchema` in any case, by the names of `az eventgrid`.

    The input mapping is for `customeventschema`: a field is a path into the published object.
    """

    name: str = ""
    input_schema: str = Schema.EVENT_GRID.value
    input_mapping_fields: dict[str, str] = {}
    input_mapping_default_values: dict[str, str] = {}

    @property
    def schema(self) -> Schema:
        return schema_named(self.input_schema, "inputSchema")

    @property
    def mapping(self) -> InputMapping:
        """With its names in lower case, as `az` writes them; Event Grid's are in camel case."""
        return InputMapping(
            fields={name.lower(): path for name, path in self.input_mapping_fields.items()},
            defaults={
                name.lower(): text for name, text in self.input_mapping_default_values.items()
            },
        )


class DomainDeclaration(TopicDeclaration, frozen=True, kw_only=True):
    """A domain as declared, with topics of it that are to be there from the start."""

    auto_create_topic_with_first_subscription: bool = True
    auto_delete_topic_with_last_subscription: bool = True
    topics: list[str] = []

    @property
    def rules(self) -> DomainRules:
        return DomainRules(
            auto_create_topic_with_first_subscription=(
                self.auto_create_topic_with_first_subscription
            ),
            auto_delete_topic_with_last_subscription=(
                self.auto_delete_topic_with_last_subscription
            ),
        )


class AdvancedFilterDeclaration(Declared, frozen=True, kw_only=True):
    """One clause: `value` for comparisons, `values` for the rest, neither for the null tests."""

    key: str
    operator_type: str
    value: bool | int | float | str | UnsetType = UNSET
    values: list[bool | int | float | str | list[float]] | UnsetType = UNSET


class FilterDeclaration(Declared, frozen=True, kw_only=True):
    included_event_types: list[str] | None = None
    subject_begins_with: str = ""
    subject_ends_with: str = ""
    subject_case_sensitive: bool = False
    advanced_filters: list[AdvancedFilterDeclaration] = []
    enable_advanced_filtering_on_arrays: bool = False


class RetryDeclaration(Declared, frozen=True, kw_only=True):
    """`schedule` is a name or rungs (`10s,30s,1m` or a list). Time to live is `eventTtlMinutes`, or
    `eventTtl` with a unit; not both."""

    schedule: str | list[str] = "event-grid"
    max_delivery_attempts: int = 30
    event_ttl_minutes: int | None = None
    event_ttl: str | int | None = None
    final_statuses: tuple[int, ...] = FINAL_STATUSES


class AttributeDeclaration(Declared, frozen=True, kw_only=True):
    """A delivery property: `value` (and `isSecret`) when static, `sourceField` when dynamic."""

    name: str
    type: str = "static"
    value: str = ""
    source_field: str = ""
    is_secret: bool = False


class ConnectionDeclaration(Declared, frozen=True, kw_only=True):
    """A connection as declared. `settings` are the kind's own, by the names that it documents; a
    secret among them is a reference (`env:NAME`, `file:PATH`)."""

    name: str = ""
    kind: str = ""
    settings: dict[str, object] = {}


class SourceDeclaration(Declared, frozen=True, kw_only=True):
    """A source as declared. `options` are the queue system's own.

    The input mapping is for raw messages: a field is a path (`data.NAME`, `attributes.NAME`,
    `system.NAME`), by the names that `az eventgrid` uses.
    """

    name: str = ""
    topic: str = ""
    kind: str = ""
    connection: str | None = None
    queue: str = ""
    options: dict[str, object] = {}
    format: str = MessageFormat.EVENT.value
    input_mapping_fields: dict[str, str] = {}
    input_mapping_default_values: dict[str, str] = {}
    lease: str = "60s"
    prefetch: int = 100
    receives_max: int = 10


class SubscriptionDeclaration(Declared, frozen=True, kw_only=True):
    """An event subscription as declared.

    `start` (`now`, `earliest` or a time) is where a new one begins; it is not kept.
    """

    name: str = ""
    topic: str = ""
    endpoint: str = ""
    endpoint_type: str = "webhook"
    connection: str | None = None
    endpoint_options: dict[str, object] = {}
    """Of a queue: the system's own."""
    message_format: str = MessageFormat.EVENT.value
    message_properties: list[AttributeDeclaration] = []
    """Of a queue's messages: `group`, `deduplication-id`, `routing-key`, `message-id`, `delay`,
    `priority`."""
    filter: FilterDeclaration = FilterDeclaration()
    retry: RetryDeclaration = RetryDeclaration()
    deadletter: str | None = None
    deadletter_connection: str | None = None
    """That leads to the place of `deadletter`."""
    event_delivery_schema: str | None = None
    max_events_per_batch: int = 1
    preferred_batch_size_in_kilobytes: int = 64
    delivery_attribute_mappings: list[AttributeDeclaration] = []
    concurrency: int = 64
    rate: str | float | None = None
    response_timeout: str = "30s"
    receive_lock_duration_in_seconds: int | float = 60
    """Where events are pulled: how long a consumer holds what it received."""
    max_delivery_count: int = 10
    """Where events are pulled: how often an event is handed out at most."""
    signing_secrets: list[str] = []
    tls_insecure: bool = False
    azure_active_directory_tenant_id: str = ""
    azure_active_directory_application_id_or_uri: str = ""
    """With the tenant's id: requests carry a token of Microsoft Entra for this application."""
    labels: list[str] = []
    expiration_time_utc: str | None = None
    """When it is deleted by itself."""
    start: str | int = "now"

    def start_at(self, now_ms: int) -> str | int:
        """`now`, `earliest` or UTC milliseconds. Raises InvalidRequest."""
        if isinstance(self.start, int) or self.start in {"now", "earliest"}:
            return self.start
        return forms.time_ms(self.start, field="start", now_ms=now_ms)


def format_named(text: str, field: str) -> MessageFormat:
    known = [each.value for each in MessageFormat]
    if text.lower() in known:
        return MessageFormat(text.lower())
    raise InvalidRequest(
        "InvalidFormat",
        f"{field} is {text!r}, which is no message format.",
        fix=f"{shapes.nearest(text, known)}Formats: {', '.join(known)}.",
    )


def schema_named(text: str, field: str) -> Schema:
    known = {schema.value: schema for schema in Schema}
    # A delivery in the publisher's own schema is called custominputschema by `az eventgrid`.
    known["custominputschema"] = Schema.CUSTOM
    if schema := known.get(text.lower()):
        return schema
    names = list(known)
    raise InvalidRequest(
        "InvalidSchema",
        f"{field} is {text!r}, which is no schema.",
        fix=f"{shapes.nearest(text, names)}Schemas: {', '.join(names)}.",
    )
