"""What advanced filters read in an event: keys, and the values found under them.

A key is a path such as `data.customer.id` or `subject`. Its names are looked up as they are written
first, then without regard to case; the first such name of the object wins. A dot always separates.
"""

import sys
from enum import Enum
from operator import attrgetter
from typing import Final

import msgspec

from eventpost.core.events import Event, Schema
from eventpost.core.operators import TYPES, Candidates, Kind, as_candidate


class _Absent(Enum):
    MISSING = "missing"


MISSING: Final = _Absent.MISSING
"""Nothing is there under a key; JSON's null is something."""

PRESENT: Candidates = (True,)
"""What operators that only ask for presence see."""

_ROUTED = {
    Schema.EVENT_GRID: {"id": "id", "subject": "subject", "eventtype": "type"},
    Schema.CLOUD_EVENTS: {"id": "id", "subject": "subject", "type": "type"},
    Schema.CUSTOM: {"id": "id", "subject": "subject", "eventtype": "type"},
}
"""Keys that are answered from what routing knows, without reading the event."""


_ENVELOPE = frozenset({"id", "topic", "subject", "eventtype", "eventtime", "dataversion"})
"""What an event of a custom schema has beside its data, by the topic's mapping."""


class Key:
    """A key of a filter, for events of one schema.

    `is_attribute` says that it names a CloudEvents attribute, whose numbers are also texts.
    """

    __slots__ = ("_path", "_routed", "is_attribute", "schema", "text")

    def __init__(self, text: str, schema: Schema) -> None:
        path = tuple(text.split("."))
        is_data = path[0].casefold() == "data"
        self.text = text
        self.schema = schema
        self.is_attribute = schema is Schema.CLOUD_EVENTS and not is_data
        # An event of a custom schema is all data, which is kept in an envelope of Event Grid's.
        is_bare = schema is Schema.CUSTOM and not is_data and path[0].casefold() not in _ENVELOPE
        self._path = ("data", *path) if is_bare else path
        routed = _ROUTED[schema].get(text.casefold())
        self._routed = attrgetter(routed) if routed else None

    def find(self, fields: "Fields") -> object:
        """The value under the key, or MISSING."""
        if self._routed is not None:
            routed: str = self._routed(fields.event)
            if routed or not self.is_attribute:  # "" is a CloudEvent without a subject
                return routed
        value = fields.document
        for name in self._path:
            if type(value) is not dict:
                return MISSING
            value = value[name] if name in value else _ignoring_case(value, name)
        return value


class Operand:
    """What a clause compares: the values of one JSON type under one key.

    `name` identifies it among all operands.
    """

    __slots__ = ("_is_array_read", "_types", "key", "kind", "name")

    def __init__(self, key: Key, kind: Kind, *, is_array_read: bool) -> None:
        self.key = key
        self.kind = kind
        self._types = TYPES[kind]
        self._is_array_read = is_array_read
        arrays = "[]" if is_array_read else ""
        # Interned, so that looking it up compares pointers.
        self.name = sys.intern(f"{key.schema.value} {kind.value}{arrays} {key.text}")

    def read(self, value: object) -> Candidates | None:
        """Those values of the operand's type that `value` holds, ready to compare.

        None when `value` is no such value at all: missing, null, of another type, or an array that
        is not to be looked into. An array keeps only the elements that have the type.
        """
        if type(value) in self._types:
            return (as_candidate(value),)
        if self.kind is Kind.ANY:
            return None if value is None or value is MISSING else PRESENT
        if type(value) is list and self._is_array_read:
            return tuple(as_candidate(each) for each in value if type(each) in self._types)
        if self.key.is_attribute and self.kind is Kind.TEXT and type(value) in TYPES[Kind.NUMBER]:
            return (msgspec.json.encode(value).decode(),)
        return None


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


def _ignoring_case(members: dict[str, object], name: str) -> object:
    folded = name.casefold()
    for each in members:
        if each.casefold() == folded:
            return members[each]
    return MISSING
