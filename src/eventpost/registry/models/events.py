"""The stories of single events."""

from eventpost.registry.models.base import View
from eventpost.registry.models.books import AttemptView
from eventpost.registry.models.subscriptions import ClauseView


class TraceQuery(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topic: str | None = None
    since: str = "7d"
    """A time or an age; how far back to look."""


class DeliveryStoryView(View, frozen=True, kw_only=True):
    """What became of an event for one subscription."""

    subscription: str
    where: str
    """`unmatched`, `before-start`, `unread`, `sending`, `locked`, `ladder`, `dead-letter`,
    `replaying` or `delivered`."""
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
