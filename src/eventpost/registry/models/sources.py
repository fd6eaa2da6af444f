"""Connections and sources as they are shown."""

from eventpost.registry.declared import ConnectionDeclaration, SourceDeclaration
from eventpost.registry.models.base import View


class ConnectionView(ConnectionDeclaration, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A connection as declared, and what uses it."""

    created_time: str = ""
    used_by: list[str] = []


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
