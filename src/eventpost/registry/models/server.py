"""The store and the server itself."""

from eventpost.registry.models.base import View


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
