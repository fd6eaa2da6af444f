"""What a filter may ask: how many clauses and values, of which types, how long."""

import math

from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import LIMITS, Limits, check_count, excerpt
from eventpost.core.operators import RULES, Arity, Kind, Rule, has_kind
from eventpost.core.subscriptions import AdvancedFilter, Filter


def check_filter(wanted: Filter, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest (InvalidFilter) unless every clause of the filter is within bounds."""
    types = wanted.included_event_types
    if types is not None:
        check_count("InvalidFilter", "included event types", len(types), 1, limits.event_types_max)
    for text in (*(types or ()), wanted.subject_begins_with, wanted.subject_ends_with):
        _check_filter_string(text, limits)
    if types is not None and not all(types):
        raise _bad_filter("An included event type is empty.", "Name a type, or leave the list out.")
    clauses = wanted.advanced
    check_count("InvalidFilter", "advanced filters", len(clauses), 0, limits.advanced_filters_max)
    for clause in clauses:
        _check_clause(clause, limits)
    value_count = sum(len(clause.values) for clause in clauses)
    check_count(
        "InvalidFilter",
        "values in all advanced filters together",
        value_count,
        0,
        limits.advanced_values_max,
    )


def _check_clause(clause: AdvancedFilter, limits: Limits) -> None:
    if not all(part.strip() for part in clause.key.split(".")):
        raise _bad_filter(
            f"The key {clause.key!r} of an advanced filter has an empty part.",
            "Write a key such as subject, data.amount or data.customer.id.",
        )
    _check_filter_string(clause.key, limits)
    rule = RULES[clause.operator_type]
    _check_arity(clause, rule)
    for value in clause.values:
        _check_value(clause, rule, value, limits)


def _check_arity(clause: AdvancedFilter, rule: Rule) -> None:
    count = len(clause.values)
    is_right = {
        Arity.NONE: count == 0,
        Arity.ONE: count == 1,
        Arity.MANY: count >= 1,
        Arity.RANGES: count >= 1,
    }[rule.arity]
    if not is_right:
        raise _bad_filter(
            f"{clause.key} {clause.operator_type} has {count} values.",
            f"{clause.operator_type} takes {rule.arity.value}.",
        )


def _check_value(clause: AdvancedFilter, rule: Rule, value: object, limits: Limits) -> None:
    wanted = "range such as 5,9" if rule.arity is Arity.RANGES else rule.kind.value
    if rule.arity is Arity.RANGES:
        is_right = _is_range(value)
    else:
        is_right = has_kind(rule.kind, value) and (rule.kind is not Kind.NUMBER or _finite(value))
    if not is_right:
        raise _bad_filter(
            f"{clause.key} {clause.operator_type} cannot compare {excerpt(value)}.",
            f"Give a {wanted}" + (", the lower number first." if _is_pair(value) else "."),
        )
    if isinstance(value, str):
        _check_filter_string(value, limits)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _is_range(value: object) -> bool:
    if not (isinstance(value, tuple) and len(value) == 2):
        return False
    low, high = value
    is_numeric = all(has_kind(Kind.NUMBER, each) and _finite(each) for each in value)
    return is_numeric and bool(low <= high)


def _finite(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _check_filter_string(text: str, limits: Limits) -> None:
    if len(text) > limits.filter_string_chars_max:
        raise _bad_filter(
            f"A filter holds a string of {len(text)} characters ({excerpt(text)}).",
            f"At most {limits.filter_string_chars_max} are allowed.",
        )


def _bad_filter(what: str, fix: str) -> InvalidRequest:
    return InvalidRequest("InvalidFilter", what, fix=fix)
