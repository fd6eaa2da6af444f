"""Domains and their topics."""

from eventpost.registry.models.base import View


class DomainView(View, frozen=True, kw_only=True):
    name: str
    id: str
    """The resource id below which that of each of its topics stands."""
    endpoint: str
    """Where to publish; each event names its topic."""
    input_schema: str
    input_mapping_fields: dict[str, str] = {}
    input_mapping_default_values: dict[str, str] = {}
    auto_create_topic_with_first_subscription: bool = True
    auto_delete_topic_with_last_subscription: bool = True
    created_time: str
    provisioning_state: str = "Succeeded"


class DomainList(View, frozen=True, kw_only=True):
    value: list[DomainView]


class DomainTopicView(View, frozen=True, kw_only=True):
    name: str
    id: str
    """The resource id that is stamped as `topic` on its events."""
    topic: str
    """`DOMAIN/TOPIC`, which subscriptions name it by."""
    created_time: str
    subscription_count: int = 0
    provisioning_state: str = "Succeeded"


class DomainTopicList(View, frozen=True, kw_only=True):
    value: list[DomainTopicView]
    next_link: str | None = None
    """Where the next page is; absent after the last one."""


class DomainTopicDeclaration(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic of a domain to be made."""

    name: str
