"""Reading declared values: errors say where, and what was probably meant."""

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.registry import forms, shapes
from eventpost.registry.declarations import SubscriptionDeclaration
from eventpost.registry.shapes import InvalidField


def refused(value: object, where: str = "") -> InvalidField:
    with pytest.raises(InvalidField) as error:
        shapes.read(value, SubscriptionDeclaration, where=where)
    return error.value


def test_an_unknown_field_is_named_with_the_nearest_known() -> None:
    """A misspelt field is refused, with its path, and the right spelling in the fix."""
    error = refused({"filter": {"subjectBegin": "x"}}, "subscriptions.blues")

    assert error.code == "UnknownField"
    assert error.what == "subscriptions.blues.filter.subjectBegin is not a known field."
    assert "'subjectBeginsWith'" in error.fix
    assert error.path == ("filter", "subjectBegin")


def test_a_wrong_type_is_named_by_the_key_that_was_written() -> None:
    """The path of a wrong value follows the spelling of the input, for the line in a file."""
    error = refused({"retry": {"max_delivery_attempts": "many"}})

    assert error.path == ("retry", "max_delivery_attempts")
    assert "expected int, got str" in error.what


def test_a_missing_field_is_named() -> None:
    """A field that must be given is named with the item that lacks it."""
    error = refused({"filter": {"advancedFilters": [{"key": "a"}]}})

    assert error.what == "filter.advancedFilters[0].operatorType is missing."


def test_two_spellings_of_one_field_are_refused() -> None:
    """A field cannot be given in snake case and camel case at once."""
    assert "twice" in refused({"endpointType": "webhook", "endpoint_type": "webhook"}).what


@pytest.mark.parametrize(("value", "said"), [([], "an array"), ("x", "a string"), (None, "null")])
def test_only_objects_are_read(value: object, said: str) -> None:
    """What is no object is refused by its JSON type."""
    assert said in refused(value).what


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'{"a": 1', "truncated"),
        (b"", "truncated"),
        (b'"\xff"', "utf-8"),
    ],
)
def test_invalid_json_is_placed(body: bytes, place: str) -> None:
    """A body that is not JSON is refused with the line and column where it breaks."""
    with pytest.raises(InvalidRequest) as error:
        shapes.decode_json(body)

    assert error.value.code == "InvalidJson"
    assert place in error.value.what.lower()


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:02", 2_000),
        ("1970-01-01T01:00:02+01:00", 2_000),
        ("1970-01-01T00:00:02.5Z", 2_500),
        ("3s", 7_000),
    ],
)
def test_times(text: str, ms: int) -> None:
    """A time is ISO 8601, UTC when it has no zone, or an age."""
    assert forms.time_ms(text, now_ms=10_000) == ms


def test_a_time_is_shown_as_it_is_read() -> None:
    """What is shown can be given back."""
    assert forms.time_text(1_234_567_890_123) == "2009-02-13T23:31:30.123Z"
    assert forms.time_ms(forms.time_text(1_234_567_890_123)) == 1_234_567_890_123
    assert forms.time_text(0) == ""


@pytest.mark.parametrize("text", ["yesterday", "", "10", "99999-01-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(InvalidRequest, match="not a time"):
        forms.time_ms(text, now_ms=0)
