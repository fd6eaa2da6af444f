"""What the management API takes and answers, camelCase on the wire; shared with the client.

Nothing here knows an ASGI framework. Readers must accept fields that they do not know.
"""

import msgspec
from msgspec import Struct

from eventpost.registry.declarations import SubscriptionDeclaration

NULL = msgspec.Raw(b"null")


class View(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything answered."""


class TopicView(View, frozen=True, kw_only=True):
    name: str
    id: str
    """The resource id that is stamped as `topic` on its events."""
    endpoint: str
    """Where to publish."""
    input_schema: str
    created_time: str
    provisioning_state: str = "Succeeded"
    is_builtin: bool = False


class TopicList(View, frozen=True, kw_only=True):
    value: list[TopicView]


class KeysView(View, frozen=True, kw_only=True):
    key1: str
    key2: str


class KeyChoice(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which key to make anew; the other one keeps working."""

    key_name: str


class Books(View, frozen=True, kw_only=True):
    """matched + replayed = delivered + deadLettered + dropped + pending."""

    topic: str
    subscription: str
    matched: int
    replayed: int
    delivered: int
    dead_lettered: dict[str, int]
    """By reason."""
    dropped: dict[str, int]
    """By reason."""
    pending: int
    lag: int
    """Events of the log not read yet, matching or not."""
    in_flight: int
    ladder: int
    dead_letters: int
    """Dead letters kept and not replayed."""
    is_paused: bool
    is_breaker_open: bool
    attempts_failed: int
    reconnects: int


class TopicBooks(View, frozen=True, kw_only=True):
    topic: str
    published: int
    unmatched: int
    rejected: int


class Report(View, frozen=True, kw_only=True):
    topics: list[TopicBooks]
    subscriptions: list[Books]


class EvidenceView(View, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen in one attempt."""

    stage: str
    fault: str
    elapsed_ms: int = 0
    errno: int | None = None
    tls_alert: str | None = None
    status: int | None = None
    address: str | None = None
    retry_after_s: int | None = None
    reconnect_count: int = 0
    proxy: str | None = None
    detail: str = ""


class AttemptView(View, frozen=True, kw_only=True):
    """One failed attempt, or the success that followed failures (`finding` is "")."""

    attempt: int
    time: str
    position: int
    finding: str
    cause: str = ""
    fix: str = ""
    evidence: EvidenceView | None = None
    next_attempt_time: str = ""


class SubscriptionView(
    SubscriptionDeclaration, frozen=True, kw_only=True, forbid_unknown_fields=False
):
    """A subscription as declared, secrets hidden, and how it is."""

    provisioning_state: str = "Succeeded"
    created_time: str = ""
    is_paused: bool = False
    validation_deadline: str = ""
    """Until when the validation URL must be opened while the state is AwaitingManualAction."""
    pending_endpoint: str | None = None
    """A new endpoint that waits for its manual validation; the old one serves until then."""
    books: Books | None = None
    last_failures: list[AttemptView] = []


class SubscriptionList(View, frozen=True, kw_only=True):
    value: list[SubscriptionView]


class TopicChoice(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topic: str | None = None
    """Needed only when several topics have a subscription of that name."""


class FullUrl(View, frozen=True, kw_only=True):
    endpoint_url: str


class Rewind(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`to` is a position, a time, an age such as `15m`, `earliest` or `now`."""

    to: int | str


class Position(View, frozen=True, kw_only=True):
    position: int


class ClauseView(View, frozen=True, kw_only=True):
    clause: str
    is_met: bool
    found: str | None = None
    """The value that was found, as JSON, shortened; null when the key is missing."""
    why: str = ""
    """Why the clause is not met."""


class DeliveryStoryView(View, frozen=True, kw_only=True):
    """What became of an event for one subscription."""

    subscription: str
    where: str
    """`unmatched`, `before-start`, `unread`, `sending`, `ladder`, `dead-letter`, `replaying` or
    `delivered`."""
    clauses: list[ClauseView]
    attempts: list[AttemptView]
    """Failed ones, and the success that followed failures, oldest first."""
    next_attempt_time: str = ""
    dead_letter_id: str = ""
    dead_letter_reason: str = ""
    finding: str = ""


class StoryView(View, frozen=True, kw_only=True):
    """One stored event and what became of it everywhere."""

    topic: str
    partition: int
    position: int
    event_id: str
    event_type: str
    subject: str
    publish_time: str
    deliveries: list[DeliveryStoryView]


class StoryList(View, frozen=True, kw_only=True):
    value: list[StoryView]


class MatchView(View, frozen=True, kw_only=True):
    """Whether the subscription would take the event, and what each clause said."""

    is_match: bool
    clauses: list[ClauseView]


class TraceQuery(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topic: str | None = None
    since: str = "7d"
    """A time or an age; how far back to look."""


class Published(View, frozen=True, kw_only=True):
    event_count: int


class TailedEvent(View, frozen=True, kw_only=True):
    position: int
    publish_time: str
    event: msgspec.Raw
    """The event as it is stored."""


class DeadLetterSelection(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters; everything given must hold. Times as ISO 8601 or an age (`2h`)."""

    topic: str | None = None
    subscription: str | None = None
    ids: list[str] | None = None
    since: str | None = None
    until: str | None = None
    reason: str | None = None
    finding: str | None = None
    replayed: bool = False
    """True selects those that were replayed already."""


class DeadLetterPage(DeadLetterSelection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    after: str = ""
    limit: int = 100


class ReplayRequest(DeadLetterSelection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rate: str | float | None = None
    """At most so many a second, such as `50/s`."""
    dry_run: bool = False
    """Count only."""


class PurgeRequest(DeadLetterSelection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dry_run: bool = False


class DeadLetterView(View, frozen=True, kw_only=True):
    id: str
    topic: str
    subscription: str
    partition: int
    position: int
    event_id: str
    event_type: str
    subject: str
    dead_letter_reason: str
    delivery_attempts: int
    last_delivery_outcome: str
    last_http_status_code: int | None
    publish_time: str
    last_delivery_attempt_time: str
    dead_letter_time: str
    finding: str
    cause: str = ""
    fix: str = ""
    evidence: EvidenceView | None = None
    replayed_time: str = ""
    exported_to: str = ""
    event: msgspec.Raw = msgspec.field(default_factory=lambda: NULL)
    """The event itself, when one dead letter is shown; else null."""


class DeadLetterList(View, frozen=True, kw_only=True):
    value: list[DeadLetterView]
    next_link: str | None = None
    """Where the next page is; absent after the last one."""


class Count(View, frozen=True, kw_only=True):
    count: int


class Progress(View, frozen=True, kw_only=True):
    """One line of a replay or purge: `done` of `total` so far."""

    done: int
    total: int
    is_finished: bool = False


class UsageView(View, frozen=True, kw_only=True):
    bytes_used: int
    event_count: int
    segment_count: int
    ladder_count: int
    dead_letter_count: int


class Verified(View, frozen=True, kw_only=True):
    is_intact: bool
    damage: list[str]


class BackupRequest(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    """Absolute, on the server's machine; must not exist."""


class BackedUp(View, frozen=True, kw_only=True):
    path: str
    bytes: int


class CheckView(View, frozen=True, kw_only=True):
    name: str
    ok: bool
    detail: str = ""


class HealthView(View, frozen=True, kw_only=True):
    status: str
    """`ok` or `failing`."""
    checks: list[CheckView]


class SettingView(View, frozen=True, kw_only=True):
    name: str
    value: object
    default: object
    description: str


class SettingList(View, frozen=True, kw_only=True):
    value: list[SettingView]


class StatusView(View, frozen=True, kw_only=True):
    version: str
    public_url: str
    started_time: str
    topic_count: int
    subscription_count: int
    health: HealthView


class Problem(View, frozen=True, kw_only=True):
    """RFC 9457, with what to do about it."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    fix: str = ""
