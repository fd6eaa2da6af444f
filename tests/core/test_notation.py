"""How durations, schedules and advanced filters are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidRequest
from eventpost.core.notation import (
    duration_text,
    parse_advanced_filter,
    parse_duration_ms,
    parse_event_ttl_ms,
    parse_schedule,
    read_advanced_filter,
)
from eventpost.core.subscriptions import AdvancedFilter, FilterValue, Operator
from tests.core.examples import clause


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("250ms", 250),
        ("10s", 10_000),
        ("90m", 5_400_000),
        ("1.5h", 5_400_000),
        ("1d", 86_400_000),
        (" 2 H ", 7_200_000),
        ("0.5s", 500),
        ("0s", 0),
    ],
)
def test_durations(text: str, duration_ms: int) -> None:
    """A duration is a number and a unit."""
    assert parse_duration_ms(text) == duration_ms


@pytest.mark.parametrize(
    "text",
    ["", "10", "s", "-1s", "10 sec", "1h30m", "0.5ms", "1e3s", "\u0661s", "9" * 13 + "s", "1s\n2s"],
)
def test_no_durations(text: str) -> None:
    """Anything else is refused, parts of a millisecond included."""
    with pytest.raises(InvalidRequest) as caught:
        parse_duration_ms(text)
    assert caught.value.code == "InvalidDuration"


@given(st.integers(0, 10**11))
def test_durations_round_trip(duration_ms: int) -> None:
    """A duration that is written is read back the same."""
    assert parse_duration_ms(duration_text(duration_ms)) == duration_ms


def test_time_to_live() -> None:
    """A bare number is minutes, as in `az eventgrid`; a unit makes it a duration."""
    assert parse_event_ttl_ms("1440") == 86_400_000
    assert parse_event_ttl_ms("1") == 60_000
    assert parse_event_ttl_ms("10s") == 10_000
    with pytest.raises(InvalidRequest):
        parse_event_ttl_ms("1.5")


def test_schedules() -> None:
    """A schedule is a name or steps; steps are at least 10 ms."""
    assert parse_schedule("event-grid-2023") == "event-grid-2023"
    assert parse_schedule("10s,30s, 1m") == (10_000, 30_000, 60_000)
    assert parse_schedule("10ms") == (10,)
    assert parse_schedule("11ms") == (11,)
    for wrong in ("9ms", "10s,0s", "10s,", "10s,,30s", "10"):
        with pytest.raises(InvalidRequest):
            parse_schedule(wrong)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data.x", "NumberIn", "1", "2.5", "-3"], clause("data.x", "NumberIn", 1, 2.5, -3)),
        (["data.x", "numberin", "1"], clause("data.x", "NumberIn", 1)),
        (["data.x", "NUMBERGREATERTHAN", "1e3"], clause("data.x", "NumberGreaterThan", 1000.0)),
        (
            ["data.x", "NumberInRange", "5,9", "20,30.5"],
            clause("data.x", "NumberInRange", (5, 9), (20, 30.5)),
        ),
        (["data.x", "BoolEquals", "TRUE"], clause("data.x", "BoolEquals", True)),
        (["data.x", "StringIn", "a b", "5"], clause("data.x", "StringIn", "a b", "5")),
        (["data.x", "IsNullOrUndefined"], clause("data.x", "IsNullOrUndefined")),
        (
            ["data.x StringIn 'a b' \"c\" d\\ e"],
            clause("data.x", "StringIn", "a b", "c", "d e"),
        ),
        (["data.x NumberInRange 5,9 20,30"], clause("data.x", "NumberInRange", (5, 9), (20, 30))),
        (["data.x StringContains ''"], clause("data.x", "StringContains", "")),
    ],
)
def test_advanced_filters(words: list[str], expected: AdvancedFilter) -> None:
    """KEY OPERATOR VALUE... is read from several words, or from one that is split like a shell."""
    assert parse_advanced_filter(words) == expected


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "KEY OPERATOR VALUE"),
        ([""], "KEY OPERATOR VALUE"),
        (["data.x"], "KEY OPERATOR VALUE"),
        (["data.x StringIn 'a"], "Close the quotes"),
        (["data.x", "StringInn", "a"], "Did you mean StringIn?"),
        (["data.x", "Like", "a"], "Operators: NumberIn"),
        (["data.x", "NumberIn", "five"], "Write a number"),
        (["data.x", "NumberIn", "nan"], "Write a number"),
        (["data.x", "NumberIn", "1_000"], "Write a number"),
        (["data.x", "NumberIn", "9" * 65], "Write a number"),
        (["data.x", "NumberInRange", "5"], "Write ranges as"),
        (["data.x", "NumberInRange", "5,x"], "Write a number"),
        (["data.x", "BoolEquals", "1"], "Write true or false"),
    ],
)
def test_bad_advanced_filters(words: list[str], hint: str) -> None:
    """What cannot be read is refused with the way to write it."""
    with pytest.raises(InvalidRequest) as caught:
        parse_advanced_filter(words)

    assert caught.value.code == "InvalidFilter"
    assert hint in caught.value.fix


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (
            {"key": "data.x", "operatorType": "NumberIn", "values": [1, 2.5]},
            clause("data.x", "NumberIn", 1, 2.5),
        ),
        (
            {"key": "data.x", "operatorType": "boolequals", "value": True},
            clause("data.x", "BoolEquals", True),
        ),
        (
            {"key": "data.x", "operatorType": "NumberInRange", "values": [[5, 9], [20, 30]]},
            clause("data.x", "NumberInRange", (5, 9), (20, 30)),
        ),
        ({"key": "data.x", "operatorType": "IsNotNull"}, clause("data.x", "IsNotNull")),
        (
            {"key": "data.x", "operatorType": "StringIn", "values": "blues"},
            clause("data.x", "StringIn", "blues"),
        ),
    ],
)
def test_declared_advanced_filters(declared: dict[str, object], expected: AdvancedFilter) -> None:
    """An object of key, operatorType and value or values is read, the operator in any case."""
    assert read_advanced_filter(declared) == expected


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"key": "data.x"},
        {"key": 5, "operatorType": "IsNotNull"},
        {"key": "data.x", "operatorType": "Nope"},
        {"key": "data.x", "operatorType": "NumberIn", "value": 1, "values": [1]},
        {"key": "data.x", "operatorType": "NumberIn", "values": [None]},
        {"key": "data.x", "operatorType": "NumberInRange", "values": [[1, 2, 3]]},
        {"key": "data.x", "operatorType": "NumberInRange", "values": [["1", "2"]]},
        {"key": "data.x", "operatorType": "NumberIn", "valeus": [1]},
    ],
)
def test_bad_declared_advanced_filters(declared: dict[str, object]) -> None:
    """Unknown or missing fields, both of value and values, and other shapes are refused."""
    with pytest.raises(InvalidRequest) as caught:
        read_advanced_filter(declared)
    assert caught.value.code == "InvalidFilter"


@given(
    st.sampled_from(["data.x", "Subject"]),
    st.lists(st.one_of(st.integers(-(10**15), 10**15), st.floats(-1e9, 1e9)), min_size=1),
)
def test_numbers_round_trip(key: str, numbers: list[FilterValue]) -> None:
    """Numbers keep their value from word to filter."""
    words = [key, "NumberIn", *map(str, numbers)]

    assert parse_advanced_filter(words) == AdvancedFilter(
        key=key, operator_type=Operator.NUMBER_IN, values=tuple(numbers)
    )
