"""The books and the attempts, as they are shown."""

from eventpost.registry.models.base import View


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
    system: str | None = None
    """The queue system or service spoken to."""
    operation: str | None = None
    code: str | None = None
    """The service's own name for what is wrong."""
    request_id: str | None = None
    credential: str | None = None
    """Which link of the SDK's chain said who we are."""
    detail: str = ""


class FindingView(View, frozen=True, kw_only=True):
    """A finding of the catalogue, without an attempt that led to it."""

    finding: str
    title: str = ""
    cause: str = ""
    fix: str = ""


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
