"""Each of the 19 operators: what it matches, what not, and what surprises."""

import pytest

from eventpost.core.operators import RULES
from eventpost.core.subscriptions import FilterValue, Operator
from tests.core.examples import advanced, event_grid_event, matches

Case = tuple[object, bool]
"""A value under `data.x`, and whether the event matches."""

# fmt: off
TABLE: dict[str, tuple[tuple[FilterValue, ...], list[Case]]] = {
    "NumberIn": ((5, 7.5), [
        (5, True), (5.0, True), (7.5, True), (6, False), (-5, False),
    ]),
    "NumberNotIn": ((5, 7.5), [
        (5, False), (5.0, False), (7.5, False), (6, True),
    ]),
    "NumberLessThan": ((5,), [(4.999, True), (5, False), (6, False), (-1e300, True)]),
    "NumberLessThanOrEquals": ((5,), [(4, True), (5, True), (5.0, True), (5.001, False)]),
    "NumberGreaterThan": ((5,), [(5.001, True), (5, False), (4, False), (1e300, True)]),
    "NumberGreaterThanOrEquals": ((5,), [(6, True), (5, True), (4.999, False)]),
    "NumberInRange": (((5, 9), (20, 30)), [
        (5, True), (9, True), (7.25, True), (20, True), (30, True),
        (4.999, False), (9.001, False), (15, False), (31, False),
    ]),
    "NumberNotInRange": (((5, 9), (20, 30)), [
        (5, False), (9, False), (20, False), (30, False), (4.999, True), (15, True), (31, True),
    ]),
    "BoolEquals": ((False,), [(False, True), (True, False)]),
    "StringContains": (("lue", "ROCK"), [
        ("blues", True), ("BLUES", True), ("hard rock", True), ("jazz", False), ("", False),
    ]),
    "StringNotContains": (("lue", "ROCK"), [
        ("blues", False), ("BLUES", False), ("hard rock", False), ("jazz", True), ("", True),
    ]),
    "StringBeginsWith": (("blu", "ROCK"), [
        ("blues", True), ("Rockabilly", True), ("my blues", False), ("bl", False),
    ]),
    "StringNotBeginsWith": (("blu", "ROCK"), [
        ("blues", False), ("Rockabilly", False), ("my blues", True), ("bl", True),
    ]),
    "StringEndsWith": ((".jpg", "PNG"), [
        ("a.JPG", True), ("a.png", True), ("a.jpg.txt", False), ("jpg", False),
    ]),
    "StringNotEndsWith": ((".jpg", "PNG"), [
        ("a.JPG", False), ("a.png", False), ("a.jpg.txt", True), ("jpg", True),
    ]),
    "StringIn": (("blues", "Rock"), [
        ("blues", True), ("BLUES", True), ("rock", True), ("blue", False), ("", False),
    ]),
    "StringNotIn": (("blues", "Rock"), [
        ("blues", False), ("BLUES", False), ("rock", False), ("blue", True), ("", True),
    ]),
    "IsNullOrUndefined": ((), [
        (None, True), (0, False), ("", False), (False, False), ([], False), ({}, False),
    ]),
    "IsNotNull": ((), [
        (None, False), (0, True), ("", True), (False, True), ([], True), ({}, True),
    ]),
}
# fmt: on

WHEN_MISSING = {
    "NumberIn": False,
    "NumberNotIn": True,
    "NumberLessThan": False,
    "NumberLessThanOrEquals": False,
    "NumberGreaterThan": False,
    "NumberGreaterThanOrEquals": False,
    "NumberInRange": False,
    "NumberNotInRange": True,
    "BoolEquals": False,
    "StringContains": False,
    "StringNotContains": False,
    "StringBeginsWith": False,
    "StringNotBeginsWith": False,
    "StringEndsWith": False,
    "StringNotEndsWith": False,
    "StringIn": False,
    "StringNotIn": True,
    "IsNullOrUndefined": True,
    "IsNotNull": False,
}

_TEXT = ("5", "true", "blues", "2026-01-31")
OTHER_TYPES: dict[str, tuple[object, ...]] = {
    "number": (*_TEXT, True, False, None, [5], {"x": 5}),
    "string": (5, 7.5, True, None, ["blues"], {"x": "blues"}),
    "boolean": (0, 1, "false", "true", None, [False], {"x": False}),
}


def answer(operator: str, data: object, *, is_array_read: bool = False) -> bool:
    values, _ = TABLE[operator]
    wanted = advanced("data.x", operator, *values, is_array_read=is_array_read)
    return matches(wanted, event_grid_event(data))


def test_every_operator_is_in_the_tables() -> None:
    """Every operator has its table of cases and its answer for a missing key."""
    operators = {operator.value for operator in Operator}

    assert set(TABLE) == set(WHEN_MISSING) == operators
    assert {operator.value for operator in RULES} == operators


@pytest.mark.parametrize("operator", TABLE)
def test_values(operator: str) -> None:
    """Each operator matches the values it documents and no others."""
    _, cases = TABLE[operator]

    found = [(value, answer(operator, {"x": value})) for value, _ in cases]

    assert found == cases


@pytest.mark.parametrize(("operator", "is_match"), WHEN_MISSING.items())
def test_missing_key(operator: str, is_match: bool) -> None:
    """A missing key satisfies the NotIn operators and the null test, and nothing else."""
    assert answer(operator, {"y": 1}) is is_match
    assert answer(operator, None) is is_match
    assert answer(operator, "text") is is_match
    assert answer(operator, [{"x": 5}]) is is_match


@pytest.mark.parametrize("operator", [each for each in TABLE if "Null" not in each])
def test_other_json_types_count_as_missing(operator: str) -> None:
    """A value of another JSON type than the operator's is answered as a missing key is."""
    kind = RULES[Operator(operator)].kind.value

    answers = {repr(value): answer(operator, {"x": value}) for value in OTHER_TYPES[kind]}

    assert set(answers.values()) == {WHEN_MISSING[operator]}, answers


# fmt: off
ARRAYS: dict[str, tuple[list[object], list[object]]] = {
    # operator: (arrays with an element that its positive form matches, arrays without one)
    "NumberIn": ([[1, 5], [5.0], ["x", None, 7.5]], [[], [1, 2], ["5"], [[5]], [True]]),
    "NumberLessThan": ([[9, 4]], [[], [5, 9], ["4"]]),
    "NumberLessThanOrEquals": ([[9, 5]], [[], [6, 9]]),
    "NumberGreaterThan": ([[1, 6]], [[], [5, 1], [[6]]]),
    "NumberGreaterThanOrEquals": ([[1, 5]], [[], [4, 1]]),
    "NumberInRange": ([[1, 9], [25]], [[], [1, 15], ["9"]]),
    "BoolEquals": ([[True, False]], [[], [True], [0], ["false"]]),
    "StringContains": ([["jazz", "Blues"]], [[], ["jazz"], [5], [["blues"]]]),
    "StringBeginsWith": ([["jazz", "Blues"]], [[], ["my blues"]]),
    "StringEndsWith": ([["a.txt", "b.JPG"]], [[], ["a.txt"]]),
    "StringIn": ([["jazz", "BLUES"]], [[], ["jazz"], [{"x": "blues"}]]),
}
NEGATIVE = {
    "NumberNotIn": "NumberIn",
    "NumberNotInRange": "NumberInRange",
    "StringNotContains": "StringContains",
    "StringNotBeginsWith": "StringBeginsWith",
    "StringNotEndsWith": "StringEndsWith",
    "StringNotIn": "StringIn",
}
# fmt: on


@pytest.mark.parametrize("operator", ARRAYS)
def test_positive_operator_on_arrays(operator: str) -> None:
    """With arrays on, a positive operator matches if any element does, and only then."""
    with_one, without_one = ARRAYS[operator]

    for array in with_one:
        assert answer(operator, {"x": array}, is_array_read=True), array
        assert not answer(operator, {"x": array}), "arrays are off by default"
    for array in without_one:
        assert not answer(operator, {"x": array}, is_array_read=True), array


@pytest.mark.parametrize(("operator", "positive"), NEGATIVE.items())
def test_negative_operator_on_arrays(operator: str, positive: str) -> None:
    """With arrays on, a negative operator fails if any element matches, and holds otherwise."""
    with_one, without_one = ARRAYS[positive]

    for array in with_one:
        assert not answer(operator, {"x": array}, is_array_read=True), array
    for array in without_one:
        assert answer(operator, {"x": array}, is_array_read=True), array


@pytest.mark.parametrize("operator", TABLE)
def test_arrays_on_change_nothing_for_plain_values(operator: str) -> None:
    """Filtering on arrays leaves values that are no arrays as they are, missing keys included."""
    _, cases = TABLE[operator]

    for value, is_match in cases:
        assert answer(operator, {"x": value}, is_array_read=True) is is_match
    assert answer(operator, {}, is_array_read=True) is WHEN_MISSING[operator]


@pytest.mark.parametrize("is_array_read", [False, True])
def test_null_tests_ask_about_the_array_itself(is_array_read: bool) -> None:
    """IsNotNull and IsNullOrUndefined look at an array, never at its elements."""
    for array in ([], [None], [1]):
        assert answer("IsNotNull", {"x": array}, is_array_read=is_array_read)
        assert not answer("IsNullOrUndefined", {"x": array}, is_array_read=is_array_read)


def test_big_integers_are_compared_exactly() -> None:
    """Integers beyond what a double holds keep every digit."""
    wanted = advanced("data.x", "NumberIn", 2**53 + 1)

    assert matches(wanted, event_grid_event({"x": 2**53 + 1}))
    assert not matches(wanted, event_grid_event({"x": 2**53}))


def test_text_is_compared_without_case_beyond_ascii() -> None:
    """Case does not matter in any alphabet."""
    for operator, value, found in (
        ("StringIn", "ЖЁЛТЫЙ", "жёлтый"),
        ("StringBeginsWith", "ΌΔΟΣ", "όδος 1"),
        ("StringEndsWith", "É", "café"),
        ("StringContains", "straße", "DIE STRASSE"),
    ):
        wanted = advanced("data.x", operator, value)
        assert matches(wanted, event_grid_event({"x": found})), (operator, value, found)


def test_the_empty_text() -> None:
    """The empty text begins, ends and is contained in every text, and equals only itself."""
    for operator, is_match in (
        ("StringBeginsWith", True),
        ("StringEndsWith", True),
        ("StringContains", True),
        ("StringIn", False),
    ):
        wanted = advanced("data.x", operator, "")
        assert matches(wanted, event_grid_event({"x": "blues"})) is is_match
        assert matches(wanted, event_grid_event({"x": ""}))
