"""Publishing in the Event Grid schema: what is kept, and what is refused with which words."""

import contextlib
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidEvent
from eventpost.formats import bodies, eventgrid, topics

RESOURCE = topics.resource("orders")
EVENT = {
    "id": "1",
    "subject": "orders/7",
    "eventType": "Order.Created",
    "eventTime": "2026-11-21T18:53:03.1234567Z",
    "data": {"total": 45.4},
    "dataVersion": "1.0",
}


def refused(body: bytes) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        eventgrid.decode(body, RESOURCE)
    return caught.value


def refused_event(**changes: object) -> InvalidEvent:
    event = {name: value for name, value in (EVENT | changes).items() if value is not ...}
    return refused(json.dumps([event]).encode())


def codes(error: InvalidEvent) -> tuple[int, str, str]:
    return error.status, error.code, error.detail_code


def test_wire_is_complete() -> None:
    """An event is kept with the topic, the data version and the metadata version stamped."""
    [event] = eventgrid.decode(json.dumps([EVENT]).encode(), RESOURCE)

    assert json.loads(event.wire) == EVENT | {"topic": RESOURCE, "metadataVersion": "1"}
    assert (event.id, event.type, event.subject) == ("1", "Order.Created", "orders/7")
    assert event.trace is None


def test_single_object() -> None:
    """An object in place of an array is one event."""
    [event] = eventgrid.decode(json.dumps(EVENT).encode(), RESOURCE)

    assert event.id == "1"


def test_order_is_kept() -> None:
    """The events of a batch stay in their order."""
    body = json.dumps([EVENT | {"id": str(number)} for number in range(50)]).encode()

    assert [event.id for event in eventgrid.decode(body, RESOURCE)] == [str(n) for n in range(50)]


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b"0.10",
        b"1e999",
        b"12345678901234567890123",
        b'"\\u00e9"',
        b'{"b":1, "a" :2,\n"a":3}',
        b'[ 1,2 ,{"x":[]}]',
        '"é🎸"'.encode(),
    ],
)
def test_data_bytes_are_untouched(data: bytes) -> None:
    """`data` is kept byte for byte: numbers, blanks, escapes, order and repeated names."""
    body = json.dumps(EVENT).encode().replace(b'{"total": 45.4}', data)

    [event] = eventgrid.decode(body, RESOURCE)

    assert b'"data":' + data + b',"dataVersion"' in event.wire


def test_absent_data_stays_absent() -> None:
    """An event without `data` is delivered without it, not with null."""
    event = {name: value for name, value in EVENT.items() if name != "data"}

    [kept] = eventgrid.decode(json.dumps(event).encode(), RESOURCE)

    assert "data" not in json.loads(kept.wire)


def test_missing_data_version_is_empty() -> None:
    """A missing or null `dataVersion` is stamped as the empty text."""
    for event in (
        EVENT | {"dataVersion": None},
        {k: EVENT[k] for k in EVENT if k != "dataVersion"},
    ):
        [kept] = eventgrid.decode(json.dumps(event).encode(), RESOURCE)

        assert json.loads(kept.wire)["dataVersion"] == ""


@pytest.mark.parametrize("version", ["1", None])
def test_metadata_version_accepted(version: str | None) -> None:
    """`metadataVersion` may be 1 or null, and is delivered as 1."""
    body = json.dumps(EVENT | {"metadataVersion": version}).encode()

    [event] = eventgrid.decode(body, RESOURCE)

    assert json.loads(event.wire)["metadataVersion"] == "1"


@pytest.mark.parametrize("topic", [RESOURCE, RESOURCE.upper(), None, ""])
def test_own_topic_accepted(topic: str | None) -> None:
    """`topic` may be empty or the topic's own resource in any case; the stamp is the resource."""
    [event] = eventgrid.decode(json.dumps(EVENT | {"topic": topic}).encode(), RESOURCE)

    assert json.loads(event.wire)["topic"] == RESOURCE


def test_foreign_topic_refused() -> None:
    """Another topic's name in `topic` is 401, not 400."""
    error = refused_event(topic="other")

    assert codes(error) == (401, "Unauthorized", "Unauthorized")
    assert "'other'" in error.what


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-21T18:53:03Z",
        "2026-11-21T18:53:03.1234567Z",
        "2026-11-21T18:53:03+02:00",
        "2026-11-21T18:53:03",
        "2026-11-21 18:53:03",
        "2026-11-21",
        "2026-11-21t18:53:03z",
    ],
)
def test_times_accepted(time: str) -> None:
    """Any ISO 8601 time is taken, with or without a zone, and kept as it was given."""
    [event] = eventgrid.decode(json.dumps(EVENT | {"eventTime": time}).encode(), RESOURCE)

    assert json.loads(event.wire)["eventTime"] == time


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01T00:00:00Z", "25:00", "1", " ", "z"])
def test_times_refused(time: str) -> None:
    """A time that is none is refused and quoted."""
    error = refused_event(eventTime=time)

    assert codes(error) == (400, "BadRequest", "InputJsonInvalid")
    assert "'eventTime'" in error.what
    assert f"'{time}'" in error.what


@pytest.mark.parametrize("name", ["id", "subject", "eventType", "eventTime"])
@pytest.mark.parametrize("value", [..., None, ""])
def test_required(name: str, value: object) -> None:
    """A required property that is absent, null or empty is named as Event Grid names it."""
    error = refused_event(**{name: value})

    assert codes(error) == (400, "BadRequest", "InputJsonInvalid")
    assert error.what == (
        f"This resource is configured for 'EventGridEvent' schema "
        f"and requires '{name}' property to be set."
    )


@pytest.mark.parametrize(
    ("absent", "reported"),
    [
        (("id", "subject", "eventType", "eventTime"), "subject"),
        (("id", "eventType"), "id"),
        (("eventType", "eventTime"), "eventType"),
    ],
)
def test_only_the_first_missing_is_named(absent: tuple[str, ...], reported: str) -> None:
    """Of several missing properties one is named, in Event Grid's order."""
    error = refused_event(**dict.fromkeys(absent, ...))

    assert f"'{reported}'" in error.what
    assert sum(f"'{name}'" in error.what for name in absent) == 1


def test_first_bad_event_of_a_batch_is_reported() -> None:
    """What is wrong with an earlier event is reported before what is wrong with a later one."""
    body = json.dumps([EVENT, EVENT | {"eventTime": "x"}, {}]).encode()

    assert "'eventTime'" in refused(body).what


@pytest.mark.parametrize("name", ["id", "subject", "eventType", "dataVersion", "topic"])
@pytest.mark.parametrize("value", [1, True, {}, []])
def test_wrong_type(name: str, value: object) -> None:
    """A property that must be text and is not is refused by name."""
    error = refused_event(**{name: value})

    assert codes(error) == (400, "BadRequest", "InputJsonInvalid")
    assert f"'{name}' must be a string" in error.what


@pytest.mark.parametrize("version", ["2", "", "1.0", 1])
def test_metadata_version_refused(version: object) -> None:
    """Any other `metadataVersion` than 1 is refused."""
    assert "'metadataVersion'" in refused_event(metadataVersion=version).what


def test_unexpected_property_refused() -> None:
    """A property outside the schema is refused by name rather than lost on the way."""
    error = refused_event(sas_url="x")

    assert "unexpected property 'sas_url'" in error.what


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "Unexpected end"),
        (b"  ", "Unexpected end"),
        (b"[]", "does not conform"),
        (b" [ ] ", "does not conform"),
        (b"[1]", "Actual Token Received: Number"),
        (b"[null]", "Actual Token Received: Null"),
        (b"7", "Actual Token Received: Number"),
        (b'"x"', "Actual Token Received: String"),
        (b"true", "Actual Token Received: Boolean"),
        (b"[[]]", "Actual Token Received: StartArray"),
        (b"{", "not JSON"),
        (b"{}}", "not JSON"),
        (b"[{}", "not JSON"),
        (b"x", "not JSON"),
        (b'{"id":"\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    ],
)
def test_malformed(body: bytes, says: str) -> None:
    """What is not a JSON array of objects is 400 and says where it breaks."""
    error = refused(body)

    assert codes(error) == (400, "BadRequest", "InputJsonInvalid")
    assert says in error.what


def test_bytes_that_are_not_utf8_inside_data_refused() -> None:
    """Broken text inside `data` is refused, since no receiver could read it."""
    body = json.dumps(EVENT).encode().replace(b'{"total": 45.4}', b'"\xff"')

    assert "not UTF-8" in refused(body).what


def test_byte_order_mark_and_blanks_tolerated() -> None:
    """A byte order mark and white space around the array do not matter."""
    body = b"\xef\xbb\xbf \r\n" + json.dumps([EVENT]).encode() + b"\n"

    assert len(eventgrid.decode(body, RESOURCE)) == 1


@pytest.mark.parametrize("count", [bodies.BATCH_EVENTS_MAX - 1, bodies.BATCH_EVENTS_MAX])
def test_batch_within_the_bound(count: int) -> None:
    """A request may hold as many events as Event Grid takes."""
    minimal = b'{"id":"1","subject":"s","eventType":"t","eventTime":"2026-11-21"}'

    assert len(eventgrid.decode(b"[" + b",".join([minimal] * count) + b"]", RESOURCE)) == count


def test_batch_above_the_bound() -> None:
    """One event more than the bound is 413."""
    minimal = b'{"id":"1","subject":"s","eventType":"t","eventTime":"2026-11-21"}'
    body = b"[" + b",".join([minimal] * (bodies.BATCH_EVENTS_MAX + 1)) + b"]"

    error = refused(body)

    assert codes(error) == (413, "RequestEntityTooLarge", "PayloadTooLarge")
    assert "5000" in error.what


def sized(size: int) -> bytes:
    frame = json.dumps(EVENT | {"data": ""}).encode()
    return frame.replace(b'"data": ""', b'"data": "' + b"x" * (size - len(frame)) + b'"')


@pytest.mark.parametrize("is_array", [True, False])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_event_size_bound(beyond: int, is_array: bool) -> None:
    """An event is taken up to its bound, alone and in an array, and is 413 beyond it."""
    event = sized(bodies.EVENT_BYTES_MAX + beyond)
    body = b"[" + event + b"]" if is_array else event

    if beyond <= 0:
        assert len(eventgrid.decode(body, RESOURCE)) == 1
    else:
        error = refused(body)
        assert codes(error) == (413, "RequestEntityTooLarge", "PayloadTooLarge")
        assert "(1049600)" in error.what


def test_large_body_is_let_go() -> None:
    """A kept event does not keep the request's body in memory."""
    body = b"[" + sized(500_000) + b"," + json.dumps(EVENT).encode() + b"]"
    references = sys.getrefcount(body)

    events = eventgrid.decode(body, RESOURCE)

    assert len(events[1].wire) < 1_000
    assert sys.getrefcount(body) == references


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.mark.slow
@given(texts, texts, texts, json_values, st.booleans())
def test_round_trip(
    event_id: str,
    subject: str,
    event_type: str,
    data: object,
    ascii_only: bool,
) -> None:
    """Whatever is published comes out the same: the text of every property, the bytes of data."""
    event = EVENT | {"id": event_id, "subject": subject, "eventType": event_type, "data": data}
    body = json.dumps(event, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        body.decode()
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeError:
        return

    [kept] = eventgrid.decode(body, RESOURCE)

    assert (kept.id, kept.subject, kept.type) == (event_id, subject, event_type)
    assert json.loads(kept.wire) == event | {"topic": RESOURCE, "metadataVersion": "1"}
    assert json.dumps(data, ensure_ascii=ascii_only).encode() in kept.wire


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*EVENT, "topic", "metadataVersion"]), json_values))
def test_fast_and_slow_path_agree(changes: dict[str, object]) -> None:
    """An event is refused for a reason that can be named: never with the generic message."""
    body = json.dumps(EVENT | changes).encode()
    with contextlib.suppress(InvalidEvent):
        eventgrid.decode(body, RESOURCE)
        return
    assert "does not conform to the expected schema." not in refused(body).what


def test_answers_stay_short() -> None:
    """What a request sent is quoted in part only, so that an answer cannot be made large."""
    long = "x" * 100_000

    for error in (
        refused_event(**{long: "x"}),
        refused_event(topic=long),
        refused_event(eventTime=long),
    ):
        assert len(error.what) < 500
