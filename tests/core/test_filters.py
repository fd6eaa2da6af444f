"""Compiled filters: types, subjects, keys of each schema, and explanations."""

import pytest

from eventpost.core.clauses import SHOWN_CHARS_MAX
from eventpost.core.events import Event, Schema
from eventpost.core.fields import Fields
from eventpost.core.filters import ClauseResult, compile_filter
from eventpost.core.subscriptions import Filter
from tests.core.examples import (
    CLOUD_EVENTS,
    CUSTOM,
    EVENT_GRID,
    advanced,
    clause,
    cloud_event,
    custom_event,
    event_grid_event,
    matches,
)

# --- event types --------------------------------------------------------------------------------


def test_no_filter_matches_everything() -> None:
    """A filter without clauses matches every event."""
    assert matches(Filter(), event_grid_event())
    assert matches(Filter(), cloud_event(), CLOUD_EVENTS)


def test_included_types_are_exact() -> None:
    """An event type matches as a whole and with its case, never as a prefix."""
    event = event_grid_event(event_type="Song.Requested")

    assert matches(Filter(included_event_types=("Other", "Song.Requested")), event)
    for others in (("Song",), ("song.requested",), ("Song.Requested.Late",), ()):
        assert not matches(Filter(included_event_types=others), event), others


@pytest.mark.parametrize("word", ["All", "all", "ALL"])
def test_all_is_every_type(word: str) -> None:
    """`All` among the included types stands for every type."""
    assert matches(Filter(included_event_types=("Other", word)), event_grid_event())


# --- subject ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begins", "ends", "is_case_sensitive", "is_match"),
    [
        ("genre/", "", False, True),
        ("GENRE/", "", False, True),
        ("GENRE/", "", True, False),
        ("genre/", "", True, True),
        ("", "/42", True, True),
        ("", "BLUES/42", False, True),
        ("", "BLUES/42", True, False),
        ("", "/42 ", True, False),
        ("genre/blues/42", "genre/blues/42", False, True),
        ("genre/", "/43", False, False),
        ("enre", "", False, False),
        ("genre/*/42", "", False, False),
        ("genre/blues/42/more", "", False, False),
        ("", "", True, True),
    ],
)
def test_subject(begins: str, ends: str, is_case_sensitive: bool, is_match: bool) -> None:
    """Subjects are compared at both ends, without case unless told, and without wildcards."""
    wanted = Filter(
        subject_begins_with=begins,
        subject_ends_with=ends,
        subject_case_sensitive=is_case_sensitive,
    )

    assert matches(wanted, event_grid_event(subject="genre/blues/42")) is is_match


def test_case_of_the_subject() -> None:
    """A subject filter that tells upper from lower case does so at both ends."""
    wanted = Filter(subject_begins_with="Ab", subject_ends_with="Yz", subject_case_sensitive=True)

    assert matches(wanted, event_grid_event(subject="Ab/Yz"))
    for other in ("ab/Yz", "Ab/yz", "AB/YZ"):
        assert not matches(wanted, event_grid_event(subject=other)), other


def test_cloud_event_without_subject() -> None:
    """A CloudEvent without a subject matches no beginning of one, and its key is missing."""
    event = cloud_event()

    assert not matches(Filter(subject_begins_with="genre/"), event, CLOUD_EVENTS)
    assert matches(Filter(subject_begins_with=""), event, CLOUD_EVENTS)
    assert matches(advanced("subject", "IsNullOrUndefined"), event, CLOUD_EVENTS)
    assert matches(advanced("subject", "IsNotNull"), cloud_event(subject="s"), CLOUD_EVENTS)


# --- joining ------------------------------------------------------------------------------------


def test_clauses_are_joined_by_and() -> None:
    """Every clause must hold, also two with the same key."""
    both = Filter(
        advanced=(
            clause("data.n", "NumberGreaterThan", 5),
            clause("data.n", "NumberLessThan", 10),
        )
    )

    assert matches(both, event_grid_event({"n": 7}))
    assert not matches(both, event_grid_event({"n": 5}))
    assert not matches(both, event_grid_event({"n": 10}))


def test_types_subject_and_advanced_are_joined_by_and() -> None:
    """One part of a filter that says no is enough."""
    wanted = Filter(
        included_event_types=("Song.Requested",),
        subject_begins_with="genre/",
        advanced=(clause("data.n", "NumberIn", 1),),
    )

    assert matches(wanted, event_grid_event({"n": 1}))
    assert not matches(wanted, event_grid_event({"n": 1}, event_type="Other"))
    assert not matches(wanted, event_grid_event({"n": 1}, subject="other"))
    assert not matches(wanted, event_grid_event({"n": 2}))


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Id", "e1"),
        ("id", "E1"),
        ("Topic", "/topics/song-requests"),
        ("Subject", "genre/blues/42"),
        ("EventType", "song.requested"),
        ("DataVersion", "2.1"),
        ("data.title", "Boom Boom"),
        ("Data.Title", "boom boom"),
        ("DATA.singer.NAME", "John Lee Hooker"),
    ],
)
def test_keys_of_event_grid_events(key: str, value: str) -> None:
    """Every documented key of the Event Grid schema is found, in any case."""
    event = event_grid_event({"title": "Boom Boom", "singer": {"name": "John Lee Hooker"}})

    assert matches(advanced(key, "StringIn", value), event)
    assert not matches(advanced(key, "StringIn", value + "x"), event)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "c1"),
        ("source", "/station"),
        ("Source", "/station"),
        ("type", "song.requested"),
        ("specversion", "1.0"),
        ("subject", "genre/blues"),
        ("channel", "FM"),
        ("CHANNEL", "fm"),
        ("data.title", "Boom Boom"),
    ],
)
def test_keys_of_cloud_events(key: str, value: str) -> None:
    """Context attributes, extension attributes and data of CloudEvents are found, in any case."""
    event = cloud_event({"title": "Boom Boom"}, subject="genre/blues", channel="FM")

    assert matches(advanced(key, "StringIn", value), event, CLOUD_EVENTS)
    assert not matches(advanced(key, "StringIn", value + "x"), event, CLOUD_EVENTS)


def test_keys_of_other_schemas_are_missing() -> None:
    """`type` is no key of an Event Grid event, `eventType` none of a CloudEvent."""
    assert matches(advanced("type", "IsNullOrUndefined"), event_grid_event())
    assert matches(advanced("eventType", "IsNullOrUndefined"), cloud_event(), CLOUD_EVENTS)


def test_keys_of_the_custom_schema() -> None:
    """An event of the custom schema is all data, also by its own names; mapped fields are found by
    Event Grid names."""
    event = custom_event({"title": "Boom Boom", "singer": {"name": "Hooker"}})

    assert matches(advanced("data.title", "StringIn", "boom boom"), event, CUSTOM)
    assert matches(advanced("data.singer.name", "StringIn", "hooker"), event, CUSTOM)
    assert matches(advanced("eventType", "StringIn", "song.requested"), event, CUSTOM)
    assert matches(advanced("data", "IsNotNull"), event, CUSTOM)
    assert not matches(advanced("data.data.title", "IsNotNull"), event, CUSTOM)
    assert matches(advanced("singer.name", "StringIn", "hooker"), event, CUSTOM)
    assert matches(advanced("dataVersion", "StringIn", "1.0"), event, CUSTOM)
    assert not matches(advanced("metadataVersion", "IsNotNull"), event, CUSTOM)


@pytest.mark.parametrize(
    ("data", "operator", "value"),
    [
        ("Blues", "StringIn", "blues"),
        (5, "NumberIn", 5),
        (True, "BoolEquals", True),
        ("<song/>", "StringBeginsWith", "<SONG"),
    ],
)
def test_plain_data_key(data: object, operator: str, value: str | int | bool) -> None:
    """`data` alone is the data itself, when it is a string, a number or a boolean."""
    assert matches(advanced("data", operator, value), event_grid_event(data))
    assert matches(advanced("Data", operator, value), cloud_event(data), CLOUD_EVENTS)
    assert not matches(advanced("data", operator, value), event_grid_event({"x": data}))


def test_exact_spelling_of_a_key_wins() -> None:
    """Of names that differ in case only, the one spelt as in the filter wins, else the first."""
    event = event_grid_event({"Title": "first", "title": "second"})

    assert matches(advanced("data.title", "StringIn", "second"), event)
    assert matches(advanced("data.TITLE", "StringIn", "first"), event)


def test_dots_always_separate() -> None:
    """A name that itself holds a dot cannot be reached."""
    event = event_grid_event({"a.b": "dotted", "a": {"b": "nested"}})

    assert matches(advanced("data.a.b", "StringIn", "nested"), event)
    assert not matches(advanced("data.a.b", "StringIn", "dotted"), event)


def test_no_way_through_arrays() -> None:
    """A key does not lead into the objects of an array."""
    event = event_grid_event({"songs": [{"title": "x"}]})

    for key in ("data.songs.title", "data.songs.0.title", "data.songs[0].title"):
        assert not matches(advanced(key, "StringIn", "x", is_array_read=True), event), key


@pytest.mark.parametrize("operator", ["StringBeginsWith", "StringIn", "StringContains"])
def test_extension_numbers_are_texts_for_text_operators(operator: str) -> None:
    """A number in an extension attribute compares as its text with the string operators, and as a
    number with the number operators; a number in data only as a number."""
    event = cloud_event({"priority": 5}, priority=5)

    assert matches(advanced("priority", operator, "5", "1"), event, CLOUD_EVENTS)
    assert matches(advanced("priority", "NumberGreaterThan", 4), event, CLOUD_EVENTS)
    assert not matches(advanced("priority", "StringNotIn", "5"), event, CLOUD_EVENTS)
    assert not matches(advanced("data.priority", operator, "5", "1"), event, CLOUD_EVENTS)


# --- reading ------------------------------------------------------------------------------------


def test_data_is_read_only_if_asked_for() -> None:
    """Types, subjects and the keys that routing knows are answered without decoding the event."""
    unreadable = Event("e1", "Song.Requested", "genre/blues", b"not JSON")
    wanted = Filter(
        included_event_types=("Song.Requested",),
        subject_begins_with="genre/",
        advanced=(
            clause("subject", "StringContains", "blues"),
            clause("eventType", "StringIn", "song.requested"),
            clause("id", "StringIn", "e1"),
        ),
    )

    assert matches(wanted, unreadable)


def test_an_event_is_decoded_once() -> None:
    """However many clauses ask, the event's bytes are decoded once."""
    fields = Fields(event_grid_event({"x": 1}))

    assert fields.document is fields.document


@pytest.mark.parametrize(
    "wire",
    [b"", b"not JSON", b"[1]", b'"text"', b'{"data":{"x":"\xff"}}', b"[" * 100_000, b"9" * 5_000],
)
def test_unreadable_bytes_have_no_fields(wire: bytes) -> None:
    """An event that cannot be decoded stops nothing: all of its keys are missing."""
    event = Event("e1", "Song.Requested", "genre/blues", wire)

    assert not matches(advanced("data.x", "IsNotNull"), event)
    assert matches(advanced("data.x", "NumberNotIn", 1), event)


# --- explain ------------------------------------------------------------------------------------


def explain(wanted: Filter, event: Event, schema: Schema = EVENT_GRID) -> list[ClauseResult]:
    return compile_filter(wanted, schema).explain(event)


def test_explain_names_every_clause() -> None:
    """An explanation has one result per clause, in words, with what was found."""
    wanted = Filter(
        included_event_types=("Song.Requested",),
        subject_begins_with="genre/",
        subject_ends_with="/42",
        advanced=(clause("data.n", "NumberInRange", (5, 9), (20, 30)),),
    )

    results = explain(wanted, event_grid_event({"n": 7}))

    assert [(each.clause, each.found, each.why) for each in results] == [
        ('event type is one of "Song.Requested"', '"Song.Requested"', ""),
        ('subject begins with "genre/"', '"genre/blues/42"', ""),
        ('subject ends with "/42"', '"genre/blues/42"', ""),
        ("data.n lies in one of [5,9], [20,30] (NumberInRange)", "7", ""),
    ]
    assert all(each.is_met for each in results)


def test_explain_of_no_filter() -> None:
    """A filter without clauses has nothing to explain."""
    assert explain(Filter(), event_grid_event()) == []
    assert explain(Filter(included_event_types=("All",)), event_grid_event()) == []


@pytest.mark.parametrize(
    ("wanted", "data", "found", "why"),
    [
        (
            Filter(included_event_types=("song.requested",)),
            None,
            '"Song.Requested"',
            (
                'The event\'s type is "Song.Requested". '
                "Event types are compared exactly, upper and lower case included."
            ),
        ),
        (
            Filter(subject_begins_with="GENRE/", subject_case_sensitive=True),
            None,
            '"genre/blues/42"',
            'The subject is "genre/blues/42". This filter tells upper from lower case.',
        ),
        (
            Filter(subject_ends_with="*"),
            None,
            '"genre/blues/42"',
            (
                'The subject is "genre/blues/42". '
                "An asterisk is compared as it is: there are no wildcards."
            ),
        ),
        (
            advanced("data.n", "StringNotContains", "x"),
            {},
            None,
            "The event has no data.n, and StringNotContains is not met by a missing key.",
        ),
        (
            advanced("data.n", "NumberIn", 5),
            {"n": "5"},
            '"5"',
            "data.n is a string, and NumberIn compares numbers.",
        ),
        (
            advanced("data.n", "StringIn", "x"),
            {"n": ["x"]},
            '["x"]',
            (
                "data.n is an array, and StringIn compares strings. "
                "Filtering on arrays is not switched on for this subscription."
            ),
        ),
        (
            advanced("data.n", "StringIn", "x", is_array_read=True),
            {"n": ["y"]},
            '["y"]',
            "No element of data.n does that.",
        ),
        (
            advanced("data.n", "StringNotIn", "x", is_array_read=True),
            {"n": ["x"]},
            '["x"]',
            "An element of data.n does that.",
        ),
        (advanced("data.n", "NumberIn", 5), {"n": 6}, "6", "data.n is 6."),
        (advanced("data.n", "IsNotNull"), {"n": None}, "null", "data.n is null."),
        (
            advanced("data.n", "IsNullOrUndefined"),
            {"n": {}},
            "{}",
            "data.n is present and not null.",
        ),
        (
            advanced("data.n", "BoolEquals", True),
            {"n": None},
            "null",
            "data.n is null, and BoolEquals compares booleans.",
        ),
    ],
)
def test_explain_says_why_not(wanted: Filter, data: object, found: str | None, why: str) -> None:
    """A clause that is not met says what was found and why that is not enough."""
    (result,) = explain(wanted, event_grid_event(data))

    assert (result.is_met, result.found, result.why) == (False, found, why)


def test_explain_is_bounded() -> None:
    """However large a value or a list of values is, its explanation is short."""
    long = "x" * 10_000

    (result,) = explain(
        advanced("data.n", "StringIn", *("v" * 500 for _ in range(25))),
        event_grid_event({"n": long}),
    )

    assert result.found is not None
    assert len(result.found) == SHOWN_CHARS_MAX
    assert len(result.why) < SHOWN_CHARS_MAX + 100
    assert len(result.clause) < SHOWN_CHARS_MAX + 100
