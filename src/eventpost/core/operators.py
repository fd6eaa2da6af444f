"""The 19 operators of advanced filters as one table: what each compares, and how.

An operator sees the *candidates* of an event: the values under its key that have its JSON type. One
for a plain value, any number for an array, none at all (`None`) when the key is missing or holds
something of another type.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from operator import ge, gt, le, lt
from typing import cast

from eventpost.core.subscriptions import FilterValue, Operator

Candidate = str | int | float | bool
Candidates = tuple[Candidate, ...]
AnyMeets = Callable[[Candidates], bool]
"""Whether any candidate meets the operator's positive form."""


class Kind(Enum):
    """The JSON type that an operator compares."""

    NUMBER = "number"
    TEXT = "string"
    BOOLEAN = "boolean"
    ANY = "value"


TYPES: dict[Kind, tuple[type, ...]] = {
    Kind.NUMBER: (int, float),
    Kind.TEXT: (str,),
    Kind.BOOLEAN: (bool,),
    Kind.ANY: (),
}
"""What JSON's types are in Python, exactly: a boolean is no number although bool is an int."""


class Arity(Enum):
    """How many values an operator takes."""

    NONE = "no value"
    ONE = "exactly one value"
    MANY = "one or more values"
    RANGES = "one or more ranges (pairs of numbers)"


@dataclass(frozen=True, slots=True)
class Rule:
    """One operator.

    `is_negative` turns the answer of its positive form round. `is_met_when_missing` is the answer
    when there are no candidates to ask.
    """

    kind: Kind
    arity: Arity
    words: str
    is_negative: bool = False
    is_met_when_missing: bool = False


_NUMBER, _TEXT, _BOOLEAN, _ANY = Kind.NUMBER, Kind.TEXT, Kind.BOOLEAN, Kind.ANY
_NONE, _ONE, _MANY, _RANGES = Arity.NONE, Arity.ONE, Arity.MANY, Arity.RANGES

# That a missing key satisfies the three *NotIn* operators but none of the other negative ones is
# how Event Grid documents it.
RULES: dict[Operator, Rule] = {
    Operator.NUMBER_IN: Rule(_NUMBER, _MANY, "is one of"),
    Operator.NUMBER_NOT_IN: Rule(_NUMBER, _MANY, "is none of", True, True),
    Operator.NUMBER_LESS_THAN: Rule(_NUMBER, _ONE, "is less than"),
    Operator.NUMBER_LESS_THAN_OR_EQUALS: Rule(_NUMBER, _ONE, "is at most"),
    Operator.NUMBER_GREATER_THAN: Rule(_NUMBER, _ONE, "is greater than"),
    Operator.NUMBER_GREATER_THAN_OR_EQUALS: Rule(_NUMBER, _ONE, "is at least"),
    Operator.NUMBER_IN_RANGE: Rule(_NUMBER, _RANGES, "lies in one of"),
    Operator.NUMBER_NOT_IN_RANGE: Rule(_NUMBER, _RANGES, "lies in none of", True, True),
    Operator.BOOL_EQUALS: Rule(_BOOLEAN, _ONE, "is"),
    Operator.STRING_CONTAINS: Rule(_TEXT, _MANY, "contains one of"),
    Operator.STRING_NOT_CONTAINS: Rule(_TEXT, _MANY, "contains none of", True),
    Operator.STRING_BEGINS_WITH: Rule(_TEXT, _MANY, "begins with one of"),
    Operator.STRING_NOT_BEGINS_WITH: Rule(_TEXT, _MANY, "begins with none of", True),
    Operator.STRING_ENDS_WITH: Rule(_TEXT, _MANY, "ends with one of"),
    Operator.STRING_NOT_ENDS_WITH: Rule(_TEXT, _MANY, "ends with none of", True),
    Operator.STRING_IN: Rule(_TEXT, _MANY, "is one of"),
    Operator.STRING_NOT_IN: Rule(_TEXT, _MANY, "is none of", True, True),
    Operator.IS_NULL_OR_UNDEFINED: Rule(_ANY, _NONE, "is null or missing", True, True),
    Operator.IS_NOT_NULL: Rule(_ANY, _NONE, "is present and not null"),
}

_POSITIVE = {
    Operator.NUMBER_NOT_IN: Operator.NUMBER_IN,
    Operator.NUMBER_NOT_IN_RANGE: Operator.NUMBER_IN_RANGE,
    Operator.STRING_NOT_CONTAINS: Operator.STRING_CONTAINS,
    Operator.STRING_NOT_BEGINS_WITH: Operator.STRING_BEGINS_WITH,
    Operator.STRING_NOT_ENDS_WITH: Operator.STRING_ENDS_WITH,
    Operator.STRING_NOT_IN: Operator.STRING_IN,
    Operator.IS_NULL_OR_UNDEFINED: Operator.IS_NOT_NULL,
}


def normalized(kind: Kind, values: tuple[FilterValue, ...]) -> Candidates:
    """A clause's plain values of the operator's type, ready to compare, each once."""
    return tuple(dict.fromkeys(as_candidate(value) for value in values if has_kind(kind, value)))


def has_kind(kind: Kind, value: object) -> bool:
    """Whether `value` is of the JSON type; true and false are no numbers."""
    return type(value) in TYPES[kind]


def as_candidate(value: object) -> Candidate:
    """`value`, which has a type of TYPES; a string without its case, for no comparison minds it."""
    if isinstance(value, str):
        return value.casefold()
    return value  # type: ignore[return-value]  # cast() would be one more call on the hot path


def any_meets(operator: Operator, values: tuple[FilterValue, ...]) -> AnyMeets:
    """The positive form of `operator` over `values`, for candidates of the operator's type.

    Values of a type that the operator does not compare never match.
    """
    positive = _POSITIVE.get(operator, operator)
    if positive is Operator.IS_NOT_NULL:
        return lambda candidates: True
    if positive is Operator.NUMBER_IN_RANGE:
        ranges = tuple(pair for pair in values if isinstance(pair, tuple))
        return cast("AnyMeets", _in_range(ranges))
    plain = normalized(RULES[operator].kind, values)
    if positive in _TEXT_TESTS:
        return cast("AnyMeets", _TEXT_TESTS[positive](cast("_Texts", plain)))
    if positive in _COMPARISONS:
        return cast("AnyMeets", _compares(_COMPARISONS[positive], cast("_Numbers", plain)))
    wanted = frozenset(plain)
    return lambda candidates: not wanted.isdisjoint(candidates)


_Texts = tuple[str, ...]
_Numbers = tuple[float, ...]


# Plain loops below: any() over a generator costs as much again as what it asks.


def _contains(texts: _Texts) -> Callable[[_Texts], bool]:
    def meets(candidates: _Texts) -> bool:
        for each in candidates:
            for text in texts:
                if text in each:
                    return True
        return False

    return meets


def _begins(texts: _Texts) -> Callable[[_Texts], bool]:
    def meets(candidates: _Texts) -> bool:
        for each in candidates:  # noqa: SIM110
            if each.startswith(texts):
                return True
        return False

    return meets


def _ends(texts: _Texts) -> Callable[[_Texts], bool]:
    def meets(candidates: _Texts) -> bool:
        for each in candidates:  # noqa: SIM110
            if each.endswith(texts):
                return True
        return False

    return meets


def _in_range(ranges: tuple[tuple[float, float], ...]) -> Callable[[_Numbers], bool]:
    def meets(candidates: _Numbers) -> bool:
        for each in candidates:
            for low, high in ranges:
                if low <= each <= high:
                    return True
        return False

    return meets


def _compares(
    holds: Callable[[float, float], bool], limits: _Numbers
) -> Callable[[_Numbers], bool]:
    def meets(candidates: _Numbers) -> bool:
        for each in candidates:
            for limit in limits:
                if holds(each, limit):
                    return True
        return False

    return meets


_TEXT_TESTS = {
    Operator.STRING_CONTAINS: _contains,
    Operator.STRING_BEGINS_WITH: _begins,
    Operator.STRING_ENDS_WITH: _ends,
}
_COMPARISONS: dict[Operator, Callable[[float, float], bool]] = {
    Operator.NUMBER_LESS_THAN: lt,
    Operator.NUMBER_LESS_THAN_OR_EQUALS: le,
    Operator.NUMBER_GREATER_THAN: gt,
    Operator.NUMBER_GREATER_THAN_OR_EQUALS: ge,
}
