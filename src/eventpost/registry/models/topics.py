"""Topics, their keys, and what is published to them."""

import msgspec

from eventpost.registry.models.base import View


class TopicView(View, frozen=True, kw_only=True):
    name: str
    id: str
    """The resource id that is stamped as `topic` on its events."""
    endpoint: str
    """Where to publish."""
    input_schema: str
    input_mapping_fields: dict[str, str] = {}
    input_mapping_default_values: dict[str, str] = {}
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


class Published(View, frozen=True, kw_only=True):
    event_count: int


class TailedEvent(View, frozen=True, kw_only=True):
    position: int
    publish_time: str
    event: msgspec.Raw
    """The event as it is stored."""
