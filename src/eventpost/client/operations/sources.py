"""Sources: queues from which messages are pulled into topics."""

from collections.abc import Mapping
from typing import Any

from eventpost.client.calls import Call, call, nothing, reading, segment
from eventpost.registry import models
from eventpost.registry.declarations import SourceDeclaration
from eventpost.registry.models import SourceView

Declared = SourceDeclaration | Mapping[str, Any]


def list_sources(*, topic: str | None = None) -> Call[list[SourceView]]:
    """The sources of one topic or of all."""
    read = reading(models.SourceList)
    return call("GET", "/sources", lambda body: read(body).value, query={"topic": topic})


def create_source(declared: Declared) -> Call[SourceView]:
    """Create a source, which begins to pull at once. Raises Conflict, NotFound, InvalidRequest."""
    return call("POST", "/sources", reading(SourceView), body=declared)


def show_source(name: str) -> Call[SourceView]:
    """One source and how it is. Raises NotFound."""
    return call("GET", f"/sources/{segment(name)}", reading(SourceView))


def replace_source(name: str, declared: Declared) -> Call[SourceView]:
    """Replace what a source declares; its name and topic stay."""
    return call("PUT", f"/sources/{segment(name)}", reading(SourceView), body=declared)


def update_source(name: str, changes: Mapping[str, Any]) -> Call[SourceView]:
    """Change some fields; a field that is None goes back to its default."""
    return call("PATCH", f"/sources/{segment(name)}", reading(SourceView), body=changes)


def delete_source(name: str) -> Call[None]:
    """Delete a source; what it took stays in its topic."""
    return call("DELETE", f"/sources/{segment(name)}", nothing)


def pause_source(name: str) -> Call[SourceView]:
    """Receive no more; what was received is still published and settled."""
    return call("POST", f"/sources/{segment(name)}/pause", reading(SourceView))


def resume_source(name: str) -> Call[SourceView]:
    """Receive again."""
    return call("POST", f"/sources/{segment(name)}/resume", reading(SourceView))
