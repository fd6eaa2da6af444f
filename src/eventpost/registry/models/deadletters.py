"""Dead letters: which ones, what is shown of them, and how far a replay is."""

import msgspec

from eventpost.registry.models.base import View
from eventpost.registry.models.books import EvidenceView

NULL = msgspec.Raw(b"null")


class DeadLetterSelection(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters; everything given must hold. Times as ISO 8601 or an age (`2h`)."""

    topic: str | None = None
    subscription: str | None = None
    source: str | None = None
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
    place: str | None = None
    """Read them back from there: `folder:PATH`, `azureblob://ACCOUNT/CONTAINER` or
    `s3://BUCKET/PREFIX`."""
    place_connection: str | None = None
    """That leads to the place."""


class PurgeRequest(DeadLetterSelection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dry_run: bool = False


class MessageView(View, frozen=True, kw_only=True):
    """A source's message of which no event could be made, as its queue gave it."""

    body: str | None
    """As text; null when it is none."""
    body_base64: str
    """The very bytes."""
    attributes: dict[str, str] = {}
    binary_attributes: dict[str, bytes] = {}
    """In base64."""
    system_attributes: dict[str, str] = {}
    content_type: str = ""
    group: str = ""


class DeadLetterView(View, frozen=True, kw_only=True):
    id: str
    topic: str
    subscription: str
    """"" for a source's message."""
    source: str = ""
    """Not "": a source's message of which no event could be made; `eventId` is the message's."""
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
    message: MessageView | None = None
    """The same of a source's message."""


class DeadLetterList(View, frozen=True, kw_only=True):
    value: list[DeadLetterView]
    next_link: str | None = None
    """Where the next page is; absent after the last one."""


class Progress(View, frozen=True, kw_only=True):
    """One line of a replay or purge: `done` of `total` so far."""

    done: int
    total: int
    is_finished: bool = False
