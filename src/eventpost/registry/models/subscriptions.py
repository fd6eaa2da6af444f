"""Event subscriptions as they are shown, moved and asked about."""

from eventpost.registry.declarations import SubscriptionDeclaration
from eventpost.registry.models.base import PageChoice, View
from eventpost.registry.models.books import AttemptView, Books, FindingView


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
    findings: list[FindingView] = []
    """What holds deliveries up, or took events from it, though no attempt failed."""
    last_failures: list[AttemptView] = []
    deadletter_failure: AttemptView | None = None
    """Why the dead letters could not be written to their place, the last time; null when they
    were."""


class SubscriptionList(View, frozen=True, kw_only=True):
    value: list[SubscriptionView]
    next_link: str | None = None
    """Where the next page is; absent after the last one."""


class SubscriptionPage(PageChoice, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topic: str | None = None
    """Only those of this topic."""


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


class MatchView(View, frozen=True, kw_only=True):
    """Whether the subscription would take the event, and what each clause said."""

    is_match: bool
    clauses: list[ClauseView]
