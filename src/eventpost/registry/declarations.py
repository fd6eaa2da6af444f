"""What a user declares: one mapping for the API, the command line and `eventpost.yaml`.

Read with `shapes.read`, changed with `patched`, turned into the core's values with `to_core`,
`to_connection`, `to_source`, and back with `from_core`, `from_connection`, `from_source`.
"""

from typing import TypeVar

import msgspec

from eventpost.registry import shapes
from eventpost.registry.declared import (
    AdvancedFilterDeclaration,
    AttributeDeclaration,
    ConnectionDeclaration,
    DomainDeclaration,
    FilterDeclaration,
    RetryDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
    TopicDeclaration,
)
from eventpost.registry.inward import to_core
from eventpost.registry.outward import from_core
from eventpost.registry.pulled import from_connection, from_source, to_connection, to_source

Declaration = TypeVar("Declaration", bound=msgspec.Struct)

__all__ = [
    "SubscriptionDeclaration",
    "TopicDeclaration",
    "DomainDeclaration",
    "ConnectionDeclaration",
    "SourceDeclaration",
    "FilterDeclaration",
    "AdvancedFilterDeclaration",
    "RetryDeclaration",
    "AttributeDeclaration",
    "to_core",
    "from_core",
    "to_connection",
    "from_connection",
    "to_source",
    "from_source",
    "patched",
]


def patched(current: Declaration, patch: object) -> Declaration:
    """`current` with a JSON merge patch (RFC 7396) applied: null takes a field back to its default.

    Raises InvalidField. Lists are replaced as a whole.
    """
    kind = type(current)
    changes = shapes.named(patch, kind)
    return shapes.read(_merged(msgspec.to_builtins(current), changes), kind)


def _merged(target: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    merged = dict(target)
    if "eventTtl" in changes or "eventTtlMinutes" in changes:
        # Two spellings of one thing: the new one replaces whichever was there.
        merged.pop("eventTtl", None)
        merged.pop("eventTtlMinutes", None)
    for name, change in changes.items():
        before = merged.get(name)
        if change is None:
            merged.pop(name, None)
        elif isinstance(change, dict) and isinstance(before, dict):
            merged[name] = _merged(before, change)
        else:
            merged[name] = change
    return merged
