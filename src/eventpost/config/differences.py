"""In which fields two declarations differ, as it may be shown."""

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from eventpost.config.declared import complete
from eventpost.registry import masks, pulled
from eventpost.registry.declarations import (
    ConnectionDeclaration,
    DomainDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
    TopicDeclaration,
)

Declared = TypeVar("Declared", bound=msgspec.Struct)
LEFT_OUT = ("start", "name", "topic", "topics")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field, by its path on the wire; values as they may be shown, secrets masked."""

    field: str
    before: object
    after: object


def between(current: msgspec.Struct, wanted: msgspec.Struct) -> list[Difference]:
    """The fields in which two declarations of one kind differ, in their fullest form.

    A value that the server hides (a secret property, the query of an endpoint) counts as equal:
    it cannot be compared.
    """
    before, after = _fields(current), _fields(wanted)
    return [
        Difference(path, _shown(before.get(path)), _shown(after.get(path)))
        for path in dict.fromkeys((*after, *before))
        if before.get(path) != after.get(path) and not _is_hidden(before.get(path), after.get(path))
    ]


def _fields(declared: msgspec.Struct) -> dict[str, object]:
    """Every field by its path on the wire, nested ones dotted."""
    full: msgspec.Struct
    match declared:
        case SubscriptionDeclaration():
            where = f"subscription {declared.name}"
            full = complete(_plain(declared, SubscriptionDeclaration), where=where)
        case SourceDeclaration():
            full = pulled.completed(_plain(declared, SourceDeclaration))
        case DomainDeclaration():
            full = _whole_domain(declared)
        case TopicDeclaration():
            full = _whole_topic(declared)
        case _:
            assert isinstance(declared, ConnectionDeclaration)
            full = _plain(declared, ConnectionDeclaration)
    found: dict[str, object] = {}
    _flatten("", msgspec.to_builtins(full), found)
    for left_out in LEFT_OUT:
        found.pop(left_out, None)
    return found


def _whole_topic(declared: TopicDeclaration) -> TopicDeclaration:
    return TopicDeclaration(
        input_schema=declared.schema.value,
        input_mapping_fields=declared.mapping.fields,
        input_mapping_default_values=declared.mapping.defaults,
    )


def _whole_domain(declared: DomainDeclaration) -> DomainDeclaration:
    whole = _whole_topic(declared)
    return msgspec.structs.replace(
        declared,
        **{name: getattr(whole, name) for name in whole.__struct_fields__ if name != "name"},
    )


def _plain(declared: object, kind: type[Declared]) -> Declared:
    """Without what a server's view adds."""
    return kind(**{name: getattr(declared, name) for name in kind.__struct_fields__})


def _flatten(prefix: str, value: object, found: dict[str, object]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(f"{prefix}.{key}" if prefix else key, item, found)
    else:
        found[prefix] = value


def _shown(value: object) -> object:
    """Without the value of a secret property, without the values in a URL's query."""
    if isinstance(value, str):
        return masks.masked_url(value) if "://" in value else value
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, dict) and value.get("isSecret"):
        return value | {"value": masks.MASK}
    return value


def _is_hidden(before: object, after: object) -> bool:
    """Whether the two differ only where the server shows a mask."""
    if isinstance(before, str) and isinstance(after, str):
        return before in (masks.MASK, masks.masked_url(after))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(
            before[key] == after[key] or _is_hidden(before[key], after[key]) for key in before
        )
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(
            one == other or _is_hidden(one, other) for one, other in zip(before, after, strict=True)
        )
    return False
