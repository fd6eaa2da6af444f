"""What advanced filters read in an event: keys, and the values found under them.

A key is a path such as `data.customer.id` or `subject`. Its names are looked up as they are written
first, then without regard to case; the first such name of the object wins. A dot always separates.
"""

import sys
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from eventpost.core.events import Event, Schema
from eventpost.core.operators import Candidates, Kind, as_candidate, has_kind


class _Absent(Enum):
    MISSING = "missing"


MISSING: Final = _Absent.MISSING
"""Nothing is there under a key; JSON's null is something."""

_ROUTED = frozenset(("id", "subject", "eventtype", "type"))


class Key:
    """A key of a filter, for events of one schema.

    `is_attribute` says that it names a CloudEvents attribute, whose numbers are also texts.
    """

    __slots__ = ("is_attribute", "path", "routed", "schema", "text")

    def __init__(self, text: str, schema: Schema) -> None:
        path = tuple(text.split("."))
        root = path[0].casefold()
        self.text = text
        self.schema = schema
        self.routed = root if len(path) == 1 and root in _ROUTED else ""
        # An event of the custom schema is all data.
        self.path = path[1:] if schema is Schema.CUSTOM and root == "data" else path
        self.is_attribute = schema is Schema.CLOUD_EVENTS and root != "data"

    def find(self, fields: "Fields") -> object:
        """The value under the key, or MISSING."""
        event = fields.event
        match self.routed:
            case "":
                pass
            case "id":
                return event.id
            case "subject" if event.subject or not self.is_attribute:
                return event.subject
            case "type" if self.schema is Schema.CLOUD_EVENTS:
                return event.type
            case "eventtype" if self.schema is not Schema.CLOUD_EVENTS:
                return event.type
        value: object = fields.document
        for name in self.path:
            value = _member(value, name)
        return value


@dataclass(frozen=True, slots=True)
class Operand:
    """What a clause compares: the values of one JSON type under one key.

    `name` identifies it among all operands.
    """

    key: Key
    kind: Kind
    is_array_read: bool
    name: str

    @classmethod
    def of(cls, key: Key, kind: Kind, *, is_array_read: bool) -> "Operand":
        name = f"{key.schema.value} {kind.value}{'[]' if is_array_read else ''} {key.text}"
        return cls(key, kind, is_array_read, sys.intern(name))

    def read(self, value: object) -> Candidates | None:
        """Those values of the operand's type that `value` holds, ready to compare.

        None when `value` is no such value at all: missing, null, of another type, or an array that
        is not to be looked into. An array keeps only the elements that have the type.
        """
        if self.kind is Kind.ANY:
            return None if value is None or value is MISSING else (True,)
        if isinstance(value, list):
            if not self.is_array_read:
                return None
            return tuple(as_candidate(each) for each in value if has_kind(self.kind, each))
        if self.key.is_attribute and self.kind is Kind.TEXT and has_kind(Kind.NUMBER, value):
            return (msgspec.json.encode(value).decode(),)
        return (as_candidate(value),) if has_kind(self.kind, value) else None


class Fields:
    """One event while filters ask about it: decoded at most once, each operand read only once."""

    __slots__ = ("_document", "_read", "event", "folded_subject")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.folded_subject = event.subject.casefold()
        self._document: object = MISSING
        self._read: dict[str, Candidates | None] = {}

    @property
    def document(self) -> object:
        """The event's JSON object; an empty one for bytes that are not JSON."""
        if self._document is MISSING:
            self._document = _decoded(self.event.wire)
        return self._document

    def candidates(self, operand: Operand) -> Candidates | None:
        """What `operand` compares in this event; None counts as a missing key."""
        found = self._read.get(operand.name, MISSING)
        if found is MISSING:
            found = self._read[operand.name] = operand.read(operand.key.find(self))
        return found


def _decoded(wire: bytes) -> object:
    # Whatever was published, routing goes on: what cannot be read has no fields.
    try:
        return msgspec.json.decode(wire)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def _member(value: object, name: str) -> object:
    if not isinstance(value, dict):
        return MISSING
    if name in value:
        return value[name]
    folded = name.casefold()
    for each in value:
        if each.casefold() == folded:
            return value[each]
    return MISSING
