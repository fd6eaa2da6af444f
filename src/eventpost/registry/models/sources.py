"""Connections and sources as they are shown."""

from eventpost.registry.declared import ConnectionDeclaration, SourceDeclaration
from eventpost.registry.models.base import View
from eventpost.registry.models.books import EvidenceView


class CredentialsView(View, frozen=True, kw_only=True):
    """Who a connection turned out to be, and until when. Holds no secret."""

    system: str
    """`aws` or `azure`."""
    link: str
    """Which link of the SDK's chain answered, in the SDK's word."""
    identity: str = ""
    """The key's id, shortened, or the id of the application or of the account."""
    is_renewed: bool = False
    """Whether the SDK fetches new ones before these expire."""
    expires_time: str = ""
    """Empty: they do not expire, or nobody knows when."""
    region: str = ""
    region_from: str = ""
    """`settings`, the environment variable's name, or `profile NAME`."""
    endpoint: str = ""


class ConnectionView(ConnectionDeclaration, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A connection as declared, and what uses it."""

    created_time: str = ""
    used_by: list[str] = []
    credentials: CredentialsView | None = None
    """Null until they were asked for."""


class ConnectionList(View, frozen=True, kw_only=True):
    value: list[ConnectionView]


class SourceFailureView(View, frozen=True, kw_only=True):
    """What does not work now, and what to do about it."""

    operation: str
    """`open`, `receive`, `settle`, `extend` or `release`."""
    time: str
    finding: str
    cause: str = ""
    fix: str = ""
    evidence: EvidenceView | None = None


class SourceCounts(View, frozen=True, kw_only=True):
    """Counted since the source was started in this process, but for `deadLetters`."""

    received: int
    """Deliveries of its queue, repeated ones included."""
    taken: int
    """Messages that became events, durably."""
    events: int
    poison: int
    """Messages that became dead letters."""
    redelivered: int
    """Messages that came again although they had been taken, and were only settled."""
    settled: int
    released: int
    lost: int
    failed_calls: int
    held: int
    """Received and not taken yet."""
    unsettled: int
    """Taken, and still in the queue."""
    oldest_unsettled_s: float
    dead_letters: int
    """Kept and not replayed."""


class SourceView(SourceDeclaration, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A source as declared, and how it is."""

    created_time: str = ""
    is_paused: bool = False
    state: str = "starting"
    """`starting`, `running`, `paused`, `failing` or `holding` (the store takes nothing)."""
    failures: list[SourceFailureView] = []
    warning: str = ""
    """What works, and not as it was meant: `receivesMax` that is never reached."""
    counts: SourceCounts | None = None


class SourceList(View, frozen=True, kw_only=True):
    value: list[SourceView]


class SourcesOf(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topic: str | None = None
    """Only those that feed this topic."""
