"""How people write durations, retry schedules and advanced filters.

One reading for the command line, the API and the configuration file. Whether what was written is
within bounds is asked in `core.bounds`.
"""

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from decimal import Decimal

from eventpost.core.errors import InvalidRequest
from eventpost.core.operators import RULES, Arity, Kind
from eventpost.core.retry import DELAY_MS_MIN
from eventpost.core.subscriptions import AdvancedFilter, FilterValue, Operator

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
MINUTE_MS = UNITS_MS["m"]

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*(ms|s|m|h|d)")
_WHOLE = re.compile(r"[0-9]{1,12}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_NUMBER_CHARS_MAX = 64
_OPERATORS = {operator.value.lower(): operator for operator in Operator}


def parse_duration_ms(text: str) -> int:
    """Milliseconds of `250ms`, `10s`, `90m`, `1.5h`, `1d`. Raises InvalidRequest."""
    match = _DURATION.fullmatch(text.strip().lower())
    duration_ms = Decimal(match[1]) * UNITS_MS[match[2]] if match else Decimal("0.5")
    if duration_ms != int(duration_ms):
        raise InvalidRequest(
            "InvalidDuration",
            f"{text!r} is not a duration in whole milliseconds.",
            fix="Write a number and a unit (ms, s, m, h, d), such as 500ms, 10s, 5m, 1h, 1d.",
        )
    return int(duration_ms)


def parse_event_ttl_ms(text: str) -> int:
    """Milliseconds of a time to live: whole minutes (`1440`) or a duration (`10s`, `90m`)."""
    text = text.strip()
    return int(text) * MINUTE_MS if _WHOLE.fullmatch(text) else parse_duration_ms(text)


def parse_schedule(text: str) -> str | tuple[int, ...]:
    """The name of a schedule as it is, or the rungs of `10s,30s,1m` in milliseconds.

    Raises InvalidRequest for a rung that is no duration or shorter than the shortest delay.
    """
    text = text.strip()
    if not text[:1].isdigit():
        return text
    rungs = tuple(parse_duration_ms(rung) for rung in text.split(","))
    if min(rungs) < DELAY_MS_MIN:
        raise InvalidRequest(
            "InvalidRetryPolicy",
            f"The retry schedule {text!r} has a step of {min(rungs)} ms.",
            fix=f"Write steps of at least {DELAY_MS_MIN}ms.",
        )
    return rungs


def duration_text(duration_ms: int) -> str:
    """The shortest exact form: 90000 is `90s`, 120000 is `2m`."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms and duration_ms % UNITS_MS[unit] == 0:
            return f"{duration_ms // UNITS_MS[unit]}{unit}"
    return f"{duration_ms}ms"


def parse_advanced_filter(words: Sequence[str]) -> AdvancedFilter:
    """A clause from `KEY OPERATOR VALUE...`: several words, or one that is split like a shell does.

    Operators in any case; ranges as `5,9 20,30`. Raises InvalidRequest.
    """
    if len(words) == 1:
        words = _split(words[0])
    if len(words) < 2:
        raise _bad_filter(
            f"The advanced filter {' '.join(words)!r} has no operator.",
            'Write KEY OPERATOR VALUE..., such as "data.amount NumberGreaterThan 5".',
        )
    key, name, *values = words
    operator = _operator(name)
    return AdvancedFilter(
        key=key,
        operator_type=operator,
        values=tuple(_value(operator, value) for value in values),
    )


def read_advanced_filter(declared: Mapping[str, object]) -> AdvancedFilter:
    """A clause from an object `{key, operatorType, value | values}`. Raises InvalidRequest.

    The operator in any case. Lists of two numbers are ranges. Values keep their JSON types.
    """
    unknown = set(declared) - {"key", "operatorType", "value", "values"}
    if unknown:
        raise _bad_filter(
            f"An advanced filter has no field {min(unknown)!r}.",
            "Its fields are key, operatorType and value or values.",
        )
    key, name = declared.get("key"), declared.get("operatorType")
    if not isinstance(key, str) or not isinstance(name, str):
        raise _bad_filter("An advanced filter lacks its key or operatorType.", "Give both as text.")
    if "value" in declared and "values" in declared:
        raise _bad_filter(f"{key} {name} has both value and values.", "Give one of them.")
    values = declared.get("values", [declared["value"]] if "value" in declared else [])
    if not isinstance(values, list | tuple):
        values = [values]
    operator = _operator(name)
    return AdvancedFilter(
        key=key,
        operator_type=operator,
        values=tuple(_typed(key, operator, value) for value in values),
    )


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _bad_filter(
            f"The advanced filter {text!r} cannot be split into words: {error}.",
            "Close the quotes.",
        ) from error


def _operator(name: str) -> Operator:
    operator = _OPERATORS.get(name.lower())
    if operator is not None:
        return operator
    near = difflib.get_close_matches(name.lower(), _OPERATORS, n=1)
    hint = f"Did you mean {_OPERATORS[near[0]]}? " if near else ""
    raise _bad_filter(
        f"There is no operator {name!r}.",
        f"{hint}Operators: {', '.join(Operator)}.",
    )


def _value(operator: Operator, text: str) -> FilterValue:
    """The value that `text` means for `operator`."""
    rule = RULES[operator]
    if rule.arity is Arity.RANGES:
        low, comma, high = text.partition(",")
        if not comma:
            raise _bad_filter(f"{text!r} is not a range.", "Write ranges as 5,9 20,30.")
        return (_number(low), _number(high))
    if rule.kind is Kind.NUMBER:
        return _number(text)
    if rule.kind is Kind.BOOLEAN:
        if text.lower() not in ("true", "false"):
            raise _bad_filter(f"{text!r} is not a boolean.", "Write true or false.")
        return text.lower() == "true"
    return text


def _number(text: str) -> int | float:
    text = text.strip()
    if len(text) > _NUMBER_CHARS_MAX or not _NUMBER.fullmatch(text):
        raise _bad_filter(f"{text!r} is not a number.", "Write a number such as 5 or -1.5.")
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _typed(key: str, operator: Operator, value: object) -> FilterValue:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = value
        if isinstance(low, int | float) and isinstance(high, int | float):
            return (low, high)
    raise _bad_filter(
        f"{key} {operator} cannot compare {value!r}.",
        f"{operator} takes {RULES[operator].arity.value}.",
    )


def _bad_filter(what: str, fix: str) -> InvalidRequest:
    return InvalidRequest("InvalidFilter", what, fix=fix)
