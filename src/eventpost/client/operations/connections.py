"""Connections: named settings of a broker or an account."""

from collections.abc import Mapping
from typing import Any

from eventpost.client.calls import Call, call, nothing, reading, segment
from eventpost.registry import models
from eventpost.registry.declarations import ConnectionDeclaration
from eventpost.registry.models import ConnectionView

Declared = ConnectionDeclaration | Mapping[str, Any]


def list_connections() -> Call[list[ConnectionView]]:
    """All connections, and what uses each."""
    read = reading(models.ConnectionList)
    return call("GET", "/connections", lambda body: read(body).value)


def create_connection(declared: Declared) -> Call[ConnectionView]:
    """Create a connection; nothing is connected to. Raises Conflict, InvalidRequest."""
    return call("POST", "/connections", reading(ConnectionView), body=declared)


def show_connection(name: str) -> Call[ConnectionView]:
    """One connection and what uses it. Raises NotFound."""
    return call("GET", f"/connections/{segment(name)}", reading(ConnectionView))


def replace_connection(name: str, declared: Declared) -> Call[ConnectionView]:
    """Replace a connection's settings; what uses it goes on over a new one."""
    return call("PUT", f"/connections/{segment(name)}", reading(ConnectionView), body=declared)


def update_connection(name: str, changes: Mapping[str, Any]) -> Call[ConnectionView]:
    """Change some settings; one that is None goes back to its default."""
    return call("PATCH", f"/connections/{segment(name)}", reading(ConnectionView), body=changes)


def delete_connection(name: str) -> Call[None]:
    """Delete a connection. Raises Conflict while something uses it."""
    return call("DELETE", f"/connections/{segment(name)}", nothing)
