"""Publishing CloudEvents 1.0 in structured, batch and binary mode."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Event
from eventpost.formats import bodies, cloudevents

STRUCTURED = {b"content-type": b"application/cloudevents+json; charset=utf-8"}
BATCH = {b"content-type": b"application/cloudevents-batch+json; charset=utf-8"}
BINARY = {
    b"content-type": b"application/json",
    b"ce-specversion": b"1.0",
    b"ce-type": b"Order.Created",
    b"ce-source": b"/shops/berlin",
    b"ce-id": b"1",
}
EVENT: dict[str, object] = {
    "specversion": "1.0",
    "type": "Order.Created",
    "source": "/shops/berlin",
    "id": "1",
    "subject": "orders/7",
    "time": "2026-11-21T18:53:03.1234567Z",
    "datacontenttype": "application/json",
    "data": {"total": 45.4},
}


def structured(event: object) -> Event:
    [decoded] = cloudevents.decode(json.dumps(event).encode(), STRUCTURED)
    return decoded


def binary(body: bytes, **changes: bytes | None) -> Event:
    headers = BINARY | {name.replace("_", "-").encode(): value for name, value in changes.items()}
    kept = {name: value for name, value in headers.items() if value is not None}
    [decoded] = cloudevents.decode(body, kept)
    return decoded


def wire(event: Event) -> dict[str, Any]:
    loaded = json.loads(event.wire)
    assert isinstance(loaded, dict)
    return loaded


def refused(body: bytes, headers: dict[bytes, bytes]) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        cloudevents.decode(body, headers)
    return caught.value


def refused_event(**changes: object) -> InvalidEvent:
    event = {name: value for name, value in (EVENT | changes).items() if value is not ...}
    return refused(json.dumps(event).encode(), STRUCTURED)


def refused_binary(body: bytes, **changes: bytes | None) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        binary(body, **changes)
    return caught.value


def codes(error: InvalidEvent) -> tuple[int, str, str]:
    return error.status, error.code, error.detail_code


INPUT_INVALID = (400, "BadRequest", "InputJsonInvalid")
HEADER_INVALID = (400, "BadRequest", "InvalidCloudEventHeader")
TYPE_INVALID = (415, "UnsupportedMediaType", "InvalidContentType")


# --- structured and batch mode --------------------------------------------------------------------


def test_structured_event_is_kept_whole() -> None:
    """A structured event is kept with every attribute, its data and its extensions."""
    event = structured(EVENT | {"comexampleextension": 5, "flag": True})

    assert wire(event) == EVENT | {"comexampleextension": 5, "flag": True}
    assert (event.id, event.type, event.subject) == ("1", "Order.Created", "orders/7")


def test_subject_is_optional() -> None:
    """Without a subject the event has the empty one for routing, and none on the wire."""
    event = structured({name: EVENT[name] for name in EVENT if name != "subject"})

    assert event.subject == ""
    assert "subject" not in wire(event)


def test_batch() -> None:
    """The batch form gives its events in order."""
    body = json.dumps([EVENT | {"id": str(number)} for number in range(3)]).encode()

    assert [event.id for event in cloudevents.decode(body, BATCH)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "content_type", [b"application/json", b"APPLICATION/JSON ; charset=utf-8", b"text/json"]
)
def test_plain_json_is_structured(content_type: bytes) -> None:
    """A JSON content type without `ce-` headers holds one structured event."""
    [event] = cloudevents.decode(json.dumps(EVENT).encode(), {b"content-type": content_type})

    assert wire(event) == EVENT


def test_missing_specversion_is_stamped() -> None:
    """A structured event without `specversion`, or with a null one, is taken as 1.0."""
    for event in (
        {k: EVENT[k] for k in EVENT if k != "specversion"},
        EVENT | {"specversion": None},
    ):
        assert wire(structured(event)) == EVENT


def test_null_attributes_are_absent() -> None:
    """A null attribute is the same as none; null data is data."""
    event = structured(EVENT | {"subject": None, "time": None, "extension": None, "data": None})

    assert wire(event) == {
        name: EVENT[name] for name in EVENT if name not in ("subject", "time")
    } | {"data": None}


@pytest.mark.parametrize("data", [b"null", b"1e999", b'{"b":1, "a" :2,\n"a":3}', b'"\\u00e9"'])
def test_data_bytes_are_untouched(data: bytes) -> None:
    """`data` is kept byte for byte."""
    body = json.dumps(EVENT).encode().replace(b'{"total": 45.4}', data)

    [event] = cloudevents.decode(body, STRUCTURED)

    assert b'"data":' + data in event.wire


def test_data_base64_is_kept() -> None:
    """`data_base64` is kept as it was given."""
    event = {name: value for name, value in EVENT.items() if name != "data"}

    assert wire(structured(event | {"data_base64": "AAEC"}))["data_base64"] == "AAEC"


@pytest.mark.parametrize("encoded", ["*", "AAE", "AA E", 5, {}])
def test_bad_base64_refused(encoded: object) -> None:
    """`data_base64` that is not base64 is refused."""
    error = refused_event(data=..., data_base64=encoded)

    assert codes(error) == INPUT_INVALID
    assert "'data_base64'" in error.what


def test_data_twice_refused() -> None:
    """`data` and `data_base64` exclude each other."""
    error = refused_event(data_base64="AAEC")

    assert codes(error) == INPUT_INVALID
    assert "both" in error.what


@pytest.mark.parametrize(
    ("name", "reported"), [("id", "id"), ("source", "source"), ("type", "eventType")]
)
@pytest.mark.parametrize("value", [..., None, ""])
def test_required(name: str, reported: str, value: object) -> None:
    """A required attribute that is absent, null or empty is named in Event Grid's words."""
    error = refused_event(**{name: value})

    assert codes(error) == INPUT_INVALID
    assert error.what == (
        f"This resource is configured for 'CloudEventV10' schema "
        f"and requires '{reported}' property to be set."
    )


def test_only_the_first_missing_is_named() -> None:
    """Of several missing attributes the type is named, as eventType."""
    assert "'eventType'" in refused(b'{"specversion":"1.0"}', STRUCTURED).what


@pytest.mark.parametrize("version", ["0.3", "1", "", 1.0, "1.1"])
def test_other_specversion_refused(version: object) -> None:
    """Another `specversion` than 1.0 is refused."""
    assert "'specversion'" in refused_event(specversion=version).what


@pytest.mark.parametrize(
    "name", ["id", "type", "source", "subject", "time", "datacontenttype", "dataschema"]
)
@pytest.mark.parametrize("value", [1, True, {}, []])
def test_wrong_type(name: str, value: object) -> None:
    """An attribute of the specification must be text."""
    assert f"'{name}' must be a string" in refused_event(**{name: value}).what


@pytest.mark.parametrize("time", ["yesterday", "", "2026-99-01"])
def test_bad_time_refused(time: str) -> None:
    """A `time` that is none is refused."""
    assert "'time'" in refused_event(time=time).what


def test_time_without_zone_accepted() -> None:
    """A `time` without a zone is taken as it is."""
    assert wire(structured(EVENT | {"time": "2026-11-21T18:53:03"}))["time"].endswith(":03")


@pytest.mark.parametrize("name", ["Upper", "with-dash", "with_line", "", "é", "a b", "٣"])
def test_extension_names_are_checked(name: str) -> None:
    """An extension's name is lower-case letters and digits: others would break receivers."""
    error = refused_event(**{name: "x"})

    assert codes(error) == INPUT_INVALID
    assert "attribute name" in error.what


@pytest.mark.parametrize("value", [{}, [], [1], {"a": 1}])
def test_extension_values_are_simple(value: object) -> None:
    """An extension's value is text, a number or a boolean."""
    assert "'extension'" in refused_event(extension=value).what


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        (b"", STRUCTURED, "Unexpected end"),
        (b"", BATCH, "Unexpected end"),
        (b"[]", BATCH, "does not conform"),
        (b"[]", STRUCTURED, "Token Expected: StartObject, Actual Token Received: StartArray"),
        (b"[{}]", {b"content-type": b"application/json"}, "Token Expected: StartObject"),
        (b"{}", BATCH, "Token Expected: StartArray, Actual Token Received: StartObject"),
        (b"[1]", BATCH, "Actual Token Received: Number"),
        (b"nope", STRUCTURED, "not JSON"),
        (b'{"id":"\xff"}', STRUCTURED, "not UTF-8"),
        (b"[" * 100_000, BATCH, "nested too deeply"),
    ],
)
def test_malformed(body: bytes, headers: dict[bytes, bytes], says: str) -> None:
    """A body that does not have the form its content type announces is 400."""
    error = refused(body, headers)

    assert codes(error) == INPUT_INVALID
    assert says in error.what


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"content-type": b""},
        {b"content-type": b"text/plain"},
        {b"content-type": b"application/octet-stream"},
        {b"content-type": b"application/xml"},
        BINARY | {b"content-type": b"text/plain"},
        BINARY | {b"content-type": b"application/octet-stream"},
        {name: value for name, value in BINARY.items() if name != b"content-type"},
    ],
)
def test_content_types_refused(headers: dict[bytes, bytes]) -> None:
    """Other content types, and none, are 415."""
    error = refused(json.dumps(EVENT).encode(), headers)

    assert codes(error) == TYPE_INVALID
    assert "application/cloudevents+json" in error.what


@pytest.mark.parametrize("mode", [STRUCTURED, BATCH])
def test_mode_conflict(mode: dict[bytes, bytes]) -> None:
    """`ce-` headers together with a structured content type are 400."""
    error = refused(json.dumps(EVENT).encode(), BINARY | mode)

    assert codes(error) == INPUT_INVALID
    assert "contradict" in error.what


# --- binary mode ----------------------------------------------------------------------------------


def test_binary_event() -> None:
    """Attributes and extensions come from the headers, `data` is the body byte for byte."""
    event = binary(b'{"a" : 1.0}', ce_subject=b"orders/7", ce_flag=b"true", other=b"x")

    assert event.wire.endswith(b'"data":{"a" : 1.0}}')
    assert wire(event) == {
        "specversion": "1.0",
        "type": "Order.Created",
        "source": "/shops/berlin",
        "id": "1",
        "subject": "orders/7",
        "flag": "true",
        "datacontenttype": "application/json",
        "data": {"a": 1.0},
    }
    assert (event.id, event.type, event.subject) == ("1", "Order.Created", "orders/7")


@pytest.mark.parametrize("content_type", [b"application/vnd.orders+json", b"text/json; v=1"])
def test_binary_json_types(content_type: bytes) -> None:
    """Every JSON content type puts the body into `data`."""
    event = binary(b"[1]", content_type=content_type)

    assert wire(event)["data"] == [1]
    assert wire(event)["datacontenttype"] == content_type.decode()


@pytest.mark.parametrize("content_type", [b"image/png", b"application/xml; charset=utf-8"])
def test_binary_other_types(content_type: bytes) -> None:
    """Other content is carried as base64."""
    event = binary(b"\x00\xff<", content_type=content_type)

    assert base64.b64decode(wire(event)["data_base64"]) == b"\x00\xff<"
    assert "data" not in wire(event)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        (b'"quoted \\"text\\" %41"', 'quoted "text" A'),
        (b"100%", "100%"),
        (b"%zz", "%zz"),
        (b"%2541", "%41"),
        (b'"', '"'),
        (b"plain", "plain"),
    ],
)
def test_header_values_are_decoded(raw: bytes, value: str) -> None:
    """Header values are unquoted and percent-decoded once, as the HTTP binding says."""
    assert wire(binary(b"{}", ce_subject=raw))["subject"] == value


@pytest.mark.parametrize("name", ["specversion", "type", "source", "id"])
@pytest.mark.parametrize(("value", "state"), [(None, "missing"), (b"", "empty")])
def test_binary_required(name: str, value: bytes | None, state: str) -> None:
    """A required header that is missing or empty is 400 InvalidCloudEventHeader."""
    error = refused_binary(b"{}", **{f"ce_{name}": value})

    assert codes(error) == HEADER_INVALID
    assert error.what == f"The header ce-{name} is {state}."


@pytest.mark.parametrize(
    "changes",
    [
        {"ce_specversion": b"0.3"},
        {"ce_subject": b"%ff"},
        {"ce_with_dash": b"x"},
        {"ce_data": b"x"},
        {"ce_": b"x"},
    ],
)
def test_binary_bad_headers(changes: dict[str, bytes | None]) -> None:
    """Headers that make no attribute are 400 InvalidCloudEventHeader."""
    assert codes(refused_binary(b"{}", **changes)) == HEADER_INVALID


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_binary_bad_body(body: bytes) -> None:
    """An empty body, and one that is not the JSON it claims to be, is 400."""
    assert codes(refused_binary(body)) == INPUT_INVALID


def test_binary_empty_body_of_any_type() -> None:
    """An empty body is 400 whatever its type."""
    assert codes(refused_binary(b"", content_type=b"image/png")) == INPUT_INVALID


def test_binary_bad_time() -> None:
    """A bad `ce-time` is refused."""
    assert "'time'" in refused_binary(b"{}", ce_time=b"x").what


# --- bounds and round trips -----------------------------------------------------------------------


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_event_size_bound(beyond: int) -> None:
    """An event is taken up to its bound and is 413 beyond it."""
    frame = json.dumps(EVENT | {"data": ""}).encode()
    filling = b"x" * (bodies.EVENT_BYTES_MAX - len(frame) + beyond)
    body = frame.replace(b'"data": ""', b'"data": "' + filling + b'"')

    if beyond <= 0:
        assert len(cloudevents.decode(body, STRUCTURED)) == 1
    else:
        assert codes(refused(body, STRUCTURED))[0] == 413


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_binary_size_bound(beyond: int) -> None:
    """In binary mode the bound holds for the event as it is kept."""
    filling = bodies.EVENT_BYTES_MAX - len(binary(b'""').wire) + beyond

    if beyond <= 0:
        assert len(binary(b'"' + b"x" * filling + b'"').wire) == bodies.EVENT_BYTES_MAX + beyond
    else:
        assert codes(refused_binary(b'"' + b"x" * filling + b'"'))[0] == 413


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_batch_bound(beyond: int) -> None:
    """A batch is taken up to its bound and is 413 beyond it."""
    count = bodies.BATCH_EVENTS_MAX + beyond
    body = b"[" + b",".join([b'{"id":"1","source":"s","type":"t"}'] * count) + b"]"

    if beyond <= 0:
        assert len(cloudevents.decode(body, BATCH)) == count
    else:
        assert codes(refused(body, BATCH))[0] == 413


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
@given(texts, texts, st.dictionaries(st.from_regex(r"[a-z0-9]{1,8}x", fullmatch=True), texts))
def test_structured_round_trip(event_id: str, source: str, extensions: dict[str, str]) -> None:
    """Every attribute and extension comes out as it went in."""
    event = EVENT | {"id": event_id, "source": source} | extensions

    assert wire(structured(event)) == event


@given(texts, st.binary(min_size=1))
def test_binary_round_trip(subject: str, data: bytes) -> None:
    """Percent-encoded header values and the bytes of the body come out as they went in."""
    encoded = "".join(f"%{byte:02X}" for byte in subject.encode()).encode()

    event = binary(data, content_type=b"image/png", ce_subject=encoded)

    assert event.subject == subject
    assert base64.b64decode(wire(event)["data_base64"]) == data


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*EVENT, "data_base64", "extension", "Bad"]), json_values))
def test_fast_and_slow_path_agree(changes: dict[str, object]) -> None:
    """An event is refused for a reason that can be named: never with the generic message."""
    with contextlib.suppress(InvalidEvent):
        structured(EVENT | changes)
        return
    assert "does not conform" not in refused(json.dumps(EVENT | changes).encode(), STRUCTURED).what
