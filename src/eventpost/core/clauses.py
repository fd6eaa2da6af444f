"""The clauses of a filter: event types, subject, and one for each advanced filter.

Every clause answers three questions: is it met, if not why, and where may an index look it up.
"""

from typing import Protocol

import msgspec

from eventpost.core import dimensions
from eventpost.core.dimensions import Alternative
from eventpost.core.events import Schema
from eventpost.core.fields import MISSING, Fields, Key, Operand
from eventpost.core.operators import RULES, Kind, any_meets, normalized
from eventpost.core.subscriptions import AdvancedFilter, Operator

SHOWN_CHARS_MAX = 200
"""Bound of a value or a list of values as an explanation shows it."""


class ClauseResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one clause of a filter says about one event."""

    clause: str
    """The clause in words."""
    is_met: bool
    found: str | None
    """The value that was found, as JSON, shortened; None when the key is missing."""
    why: str = ""
    """Why the clause is not met; "" when it is."""


class Clause(Protocol):
    """One condition of a filter. Immutable."""

    def is_met(self, fields: Fields) -> bool: ...

    def explain(self, fields: Fields) -> ClauseResult: ...

    def alternatives(self) -> tuple[Alternative, ...]:
        """The clause is met exactly by the events that have one of these keys; () when it cannot be
        looked up that way."""
        ...


class TypeClause:
    """The event's type is one of some, compared exactly: the matcher's first question."""

    __slots__ = ("_declared", "types")

    def __init__(self, types: tuple[str, ...]) -> None:
        self._declared = types
        self.types = frozenset(types)

    def is_met(self, fields: Fields) -> bool:
        return fields.event.type in self.types

    def explain(self, fields: Fields) -> ClauseResult:
        found = fields.event.type
        is_met = self.is_met(fields)
        why = f"The event's type is {shown(found)}."
        if found.casefold() in {each.casefold() for each in self.types}:
            why += " Event types are compared exactly, upper and lower case included."
        return ClauseResult(
            clause=f"event type is one of {_shown_list(self._declared)}",
            is_met=is_met,
            found=shown(found),
            why="" if is_met else why,
        )


class SubjectClause:
    """The subject begins, or ends, with a text that is not empty."""

    __slots__ = ("_declared", "_is_case_sensitive", "_is_end", "_text")

    def __init__(self, text: str, *, is_end: bool, is_case_sensitive: bool) -> None:
        self._declared = text
        self._text = text if is_case_sensitive else text.casefold()
        self._is_end = is_end
        self._is_case_sensitive = is_case_sensitive

    def is_met(self, fields: Fields) -> bool:
        subject = fields.event.subject if self._is_case_sensitive else fields.folded_subject
        return subject.endswith(self._text) if self._is_end else subject.startswith(self._text)

    def alternatives(self) -> tuple[Alternative, ...]:
        part = dimensions.subject_tail if self._is_end else dimensions.subject_head
        dimension = part(len(self._text), is_case_sensitive=self._is_case_sensitive)
        return ((dimension, self._text),)

    def explain(self, fields: Fields) -> ClauseResult:
        is_met = self.is_met(fields)
        return ClauseResult(
            clause=f"subject {'ends' if self._is_end else 'begins'} with {shown(self._declared)}",
            is_met=is_met,
            found=shown(fields.event.subject),
            why="" if is_met else self._why_not(fields),
        )

    def _why_not(self, fields: Fields) -> str:
        why = f"The subject is {shown(fields.event.subject)}."
        if self._is_case_sensitive and self._text.casefold() in fields.folded_subject:
            why += " This filter tells upper from lower case."
        if "*" in self._text:
            why += " An asterisk is compared as it is: there are no wildcards."
        return why


class AdvancedClause:
    """One advanced filter: a key, an operator, its values."""

    __slots__ = ("_any_meets", "_declared", "_is_met_when_missing", "_is_negative", "_operand")

    def __init__(self, declared: AdvancedFilter, schema: Schema, *, is_array_read: bool) -> None:
        self._declared = declared
        rule = RULES[declared.operator_type]
        self._is_negative = rule.is_negative
        self._is_met_when_missing = rule.is_met_when_missing
        key = Key(declared.key, schema)
        self._operand = Operand(key, rule.kind, is_array_read=is_array_read)
        self._any_meets = any_meets(declared.operator_type, declared.values)

    def is_met(self, fields: Fields) -> bool:
        candidates = fields.candidates(self._operand)
        if candidates is None:
            return self._is_met_when_missing
        return self._any_meets(candidates) is not self._is_negative

    def alternatives(self) -> tuple[Alternative, ...]:
        operand = self._operand
        values = normalized(operand.kind, self._declared.values)
        match self._declared.operator_type:
            case Operator.STRING_IN | Operator.NUMBER_IN | Operator.BOOL_EQUALS:
                return tuple((dimensions.value(operand), each) for each in values)
            case Operator.STRING_BEGINS_WITH:
                texts = map(str, values)
                return tuple((dimensions.head(operand, len(text)), text) for text in texts)
            case Operator.STRING_ENDS_WITH:
                texts = map(str, values)
                return tuple((dimensions.tail(operand, len(text)), text) for text in texts)
            case _:
                return ()

    def explain(self, fields: Fields) -> ClauseResult:
        value = self._operand.key.find(fields)
        is_met = self.is_met(fields)
        return ClauseResult(
            clause=self._in_words(),
            is_met=is_met,
            found=None if value is MISSING else shown(value),
            why="" if is_met else self._why_not(value, fields),
        )

    def _in_words(self) -> str:
        declared = self._declared
        values = f" {_shown_list(declared.values)}" if declared.values else ""
        words = RULES[declared.operator_type].words
        return f"{declared.key} {words}{values} ({declared.operator_type})"

    def _why_not(self, value: object, fields: Fields) -> str:
        key, operator = self._declared.key, self._declared.operator_type
        if value is MISSING:
            return f"The event has no {key}, and {operator} is not met by a missing key."
        if self._operand.kind is Kind.ANY:
            return f"{key} is {'null' if value is None else 'present and not null'}."
        if fields.candidates(self._operand) is not None:
            if not isinstance(value, list):
                return f"{key} is {shown(value)}."
            return f"{'An' if self._is_negative else 'No'} element of {key} does that."
        why = f"{key} is {_json_type(value)}, and {operator} compares {self._operand.kind.value}s."
        if isinstance(value, list):
            why += " Filtering on arrays is not switched on for this subscription."
        return why


def shown(value: object) -> str:
    """`value` as JSON, cut to SHOWN_CHARS_MAX."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[: SHOWN_CHARS_MAX - 3]}..."


def _shown_list(values: tuple[object, ...]) -> str:
    text = ", ".join(map(shown, values))
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[: SHOWN_CHARS_MAX - 3]}..."


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {list: "an array", dict: "an object", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")
