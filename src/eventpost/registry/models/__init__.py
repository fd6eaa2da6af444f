"""What the management API takes and answers, camelCase on the wire; shared with the client.

Nothing here knows an ASGI framework. Readers must accept fields that they do not know.
"""

from eventpost.registry.models.base import Count, Problem, View
from eventpost.registry.models.books import AttemptView, Books, EvidenceView, Report, TopicBooks
from eventpost.registry.models.deadletters import (
    NULL,
    DeadLetterList,
    DeadLetterPage,
    DeadLetterSelection,
    DeadLetterView,
    Progress,
    PurgeRequest,
    ReplayRequest,
)
from eventpost.registry.models.events import DeliveryStoryView, StoryList, StoryView, TraceQuery
from eventpost.registry.models.server import (
    BackedUp,
    BackupRequest,
    CheckView,
    HealthView,
    SettingList,
    SettingView,
    StatusView,
    UsageView,
    Verified,
)
from eventpost.registry.models.sources import (
    ConnectionList,
    ConnectionView,
    CredentialsView,
    SourceList,
    SourcesOf,
    SourceView,
)
from eventpost.registry.models.subscriptions import (
    ClauseView,
    FullUrl,
    MatchView,
    Position,
    Rewind,
    SubscriptionList,
    SubscriptionView,
    TopicChoice,
)
from eventpost.registry.models.topics import (
    KeyChoice,
    KeysView,
    Published,
    TailedEvent,
    TopicList,
    TopicView,
)

__all__ = [
    "View",
    "Count",
    "Problem",
    "TopicView",
    "TopicList",
    "KeysView",
    "KeyChoice",
    "Published",
    "TailedEvent",
    "Books",
    "TopicBooks",
    "Report",
    "EvidenceView",
    "AttemptView",
    "SubscriptionView",
    "SubscriptionList",
    "ConnectionView",
    "CredentialsView",
    "ConnectionList",
    "SourceView",
    "SourceList",
    "SourcesOf",
    "TopicChoice",
    "FullUrl",
    "Rewind",
    "Position",
    "ClauseView",
    "MatchView",
    "TraceQuery",
    "DeliveryStoryView",
    "StoryView",
    "StoryList",
    "DeadLetterSelection",
    "DeadLetterPage",
    "ReplayRequest",
    "PurgeRequest",
    "DeadLetterView",
    "DeadLetterList",
    "Progress",
    "UsageView",
    "Verified",
    "BackupRequest",
    "BackedUp",
    "CheckView",
    "HealthView",
    "SettingView",
    "SettingList",
    "StatusView",
    "NULL",
]
