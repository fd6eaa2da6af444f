"""Connections and sources as they are shown."""

from eventpost.registry.declared import ConnectionDeclaration, SourceDeclaration
from eventpost.registry.models.base import View


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


class SourceView(SourceDeclaration, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A source as declared, and how it is."""

    created_time: str = ""
    is_paused: bool = False


class SourceList(View, frozen=True, kw_only=True):
    value: list[SourceView]


class SourcesOf(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topic: str | None = None
    """Only those that feed this topic."""
