"""CloudEvents 1.0: publish bodies become events, in structured, batch and binary mode.

Rules: https://github.com/cloudevents/spec (JSON format, HTTP protocol binding) and, where it is
stricter or more lenient, Event Grid.
"""

import binascii
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal
from urllib.parse import unquote_to_bytes

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Event
from eventpost.formats import bodies, times

SCHEMA_NAME = "CloudEventV10"
SPEC_VERSION: Literal["1.0"] = "1.0"
STRUCTURED_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"

_REQUIRED = ("specversion", "type", "source", "id")
"""In the order in which Event Grid reports what is missing."""
_REPORTED_AS = {"type": "eventType"}
_NULL = msgspec.Raw(b"null")
_NAME = re.compile(r"[a-z0-9]+", re.ASCII)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_REFUSED_TYPES = frozenset({"", "text/plain", "application/octet-stream"})

_NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class _PlainEvent(msgspec.Struct, gc=False, forbid_unknown_fields=True, kw_only=True):
    """An event without extensions, the common one; the order of the fields is that on the wire."""

    specversion: Literal["1.0"] = SPEC_VERSION
    id: _NonEmpty
    source: _NonEmpty
    type: _NonEmpty
    subject: str | msgspec.UnsetType = msgspec.UNSET
    time: str | msgspec.UnsetType = msgspec.UNSET
    datacontenttype: str | msgspec.UnsetType = msgspec.UNSET
    dataschema: str | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Attributes(msgspec.Struct, gc=False):
    """What the specification defines, of any event."""

    type: _NonEmpty
    source: _NonEmpty
    id: _NonEmpty
    specversion: Literal["1.0"] | None = None
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None


_ATTRIBUTES = frozenset(_Attributes.__struct_fields__)
_DATA_NAMES = frozenset({"data", "data_base64"})
_KNOWN = _ATTRIBUTES | _DATA_NAMES
_Members = dict[str, msgspec.Raw]

_decode_one = msgspec.json.Decoder(_PlainEvent).decode
_decode_many = msgspec.json.Decoder(list[_PlainEvent]).decode
_decode_attributes = msgspec.json.Decoder(_Attributes).decode
_decode_members = msgspec.json.Decoder(_Members).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
_parse_time = datetime.fromisoformat
_SPEC_VERSION_RAW = msgspec.Raw(_encode(SPEC_VERSION))


def decode(body: bytes, headers: dict[bytes, bytes]) -> list[Event]:
    """The events of a publish request, all or none. Header names are in lower case.

    `wire` is the event in the JSON format, complete: a missing `specversion` is stamped, attributes
    that are null are dropped, `data` comes last and is byte for byte what was published. Nothing of
    `body` is kept. Raises InvalidEvent for the first thing that is wrong, with Event Grid's status
    and codes.
    """
    content_type = headers.get(b"content-type", b"")
    media_type = _media_type(content_type)
    if media_type in (STRUCTURED_TYPE, BATCH_TYPE):
        if _is_binary(headers):
            raise bodies.invalid(f"Headers 'ce-...' contradict the content type '{media_type}'.")
    elif media_type not in _REFUSED_TYPES and _is_binary(headers):
        return [_from_headers(body, headers, content_type)]
    elif not is_json(media_type):
        raise _wrong_content_type()
    is_batch = media_type == BATCH_TYPE
    return _plain(body, is_batch=is_batch) or _structured(body, is_batch=is_batch)


def is_json(media_type: str) -> bool:
    """Whether data of this media type (lower case, no parameters) stands in `data` as it is."""
    return media_type.endswith(("/json", "+json"))


@lru_cache(maxsize=64)
def _media_type(content_type: bytes) -> str:
    return content_type.partition(b";")[0].strip().lower().decode("latin-1")


def _is_binary(headers: dict[bytes, bytes]) -> bool:
    return (
        b"ce-id" in headers
        or b"ce-type" in headers
        or b"ce-source" in headers
        or b"ce-specversion" in headers
    )


def _wrong_content_type() -> InvalidEvent:
    what = (
        "The Content-Type header is missing or has no valid value. It must be "
        f"{STRUCTURED_TYPE}; charset=utf-8 or {BATCH_TYPE}; charset=utf-8."
    )
    return InvalidEvent(415, "UnsupportedMediaType", "InvalidContentType", what)


# --- structured and batch mode --------------------------------------------------------------------


def _plain(body: bytes, *, is_batch: bool) -> list[Event] | None:
    """The events, if all are well-formed and have no extensions, no nulls and no binary data."""
    try:
        if not body.isascii():
            body.decode()
        published = _decode_many(body) if is_batch else [_decode_one(body)]
        if len(published) > bodies.BATCH_EVENTS_MAX or len(body) > bodies.EVENT_BYTES_MAX:
            return None
        events = []
        for event in published:
            if event.time is not msgspec.UNSET:
                _parse_time(event.time)
            events.append(Event(event.id, event.type, event.subject or "", _encode(event)))
    except bodies.JSON_ERRORS:
        return None
    return events


def _structured(body: bytes, *, is_batch: bool) -> list[Event]:
    body = bodies.trimmed(body)
    bodies.check_json(body)
    expected, found = "StartArray" if is_batch else "StartObject", bodies.token(body)
    if found != expected:
        raise bodies.not_conforming(SCHEMA_NAME, expected, found)
    return [_from_object(element) for element in bodies.elements(SCHEMA_NAME, body)]


def _from_object(element: bytes) -> Event:
    members = _decode_members(element)
    if not _KNOWN.issuperset(members):
        _check_extensions(members)
    if "data_base64" in members:
        _check_data(members)
    try:
        attributes = _decode_attributes(element)
    except bodies.JSON_ERRORS:
        raise _explained(members) from None
    if attributes.time is not None:
        _check_time(attributes.time)
    return _event(attributes, members)


def _event(attributes: _Attributes, members: _Members) -> Event:
    data = members.pop("data", None)
    if _NULL in members.values():
        members = {name: value for name, value in members.items() if value != _NULL}
    if attributes.specversion is None:
        members = {"specversion": _SPEC_VERSION_RAW} | members
    if data is not None:
        members["data"] = data
    wire = _encode(members)
    return Event(attributes.id, attributes.type, attributes.subject or "", wire)


def _check_extensions(members: _Members) -> None:
    for name, value in members.items():
        if name in _KNOWN:
            continue
        _check_name(name, bodies.invalid)
        if bytes(value)[:1] in (b"{", b"["):
            raise bodies.wrong(SCHEMA_NAME, name, "a string, a number or a boolean")


def _check_name(name: str, error: Callable[[str], InvalidEvent]) -> None:
    if not _NAME.fullmatch(name):
        raise error(
            f"The attribute name '{bodies.excerpt(name)}' is not valid: "
            "CloudEvents allows lower-case letters and digits only."
        )


def _check_data(members: _Members) -> None:
    encoded = members.get("data_base64", _NULL)
    if encoded == _NULL:
        return
    if "data" in members:
        raise bodies.invalid("An event cannot have both 'data' and 'data_base64'.")
    try:
        binascii.a2b_base64(_decode_text(encoded), strict_mode=True)
    except bodies.JSON_ERRORS:
        raise bodies.wrong(SCHEMA_NAME, "data_base64", "a string in base64") from None


def _check_time(text: str) -> None:
    if not times.is_time(text):
        raise bodies.wrong(SCHEMA_NAME, "time", f"a time in RFC 3339, not '{bodies.excerpt(text)}'")


def _explained(members: _Members) -> InvalidEvent:
    """What is wrong with the attributes of an object: the first thing, in Event Grid's order."""
    for name in (*_REQUIRED, *sorted(_ATTRIBUTES.difference(_REQUIRED))):
        value = bytes(members.get(name, _NULL))
        is_required = name in _REQUIRED and name != "specversion"
        if is_required and value in (b"null", b'""'):
            return bodies.missing(SCHEMA_NAME, _REPORTED_AS.get(name, name))
        if value != b"null" and value[:1] != b'"':
            return bodies.wrong(SCHEMA_NAME, name, "a string")
        if name == "specversion" and value not in (b"null", bytes(_SPEC_VERSION_RAW)):
            return bodies.wrong(SCHEMA_NAME, name, f"'{SPEC_VERSION}' or absent")
    return bodies.not_conforming(SCHEMA_NAME)


# --- binary mode ----------------------------------------------------------------------------------


def _from_headers(body: bytes, headers: dict[bytes, bytes], content_type: bytes) -> Event:
    values = {
        name[3:].decode("latin-1"): _header_value(name, value)
        for name, value in headers.items()
        if name.startswith(b"ce-")
    }
    for name in _REQUIRED:
        if not values.get(name):
            state = "empty" if name in values else "missing"
            raise _invalid_header(f"The header ce-{name} is {state}.")
    for name in values.keys() - _ATTRIBUTES:
        _check_name(name, _invalid_header)
    if not _DATA_NAMES.isdisjoint(values):
        raise _invalid_header("The data of an event is the body, not a header.")
    if values["specversion"] != SPEC_VERSION:
        raise _invalid_header(f"The header ce-specversion must be '{SPEC_VERSION}'.")
    if "time" in values:
        _check_time(values["time"])
    # The binding carries this attribute in the Content-Type header alone.
    values["datacontenttype"] = content_type.decode("latin-1")
    wire = b"".join((_encode(values)[:-1], _data(body, content_type), b"}"))
    if len(wire) > bodies.EVENT_BYTES_MAX:
        raise bodies.too_large(bodies.EVENT_BYTES_MAX)
    return Event(values["id"], values["type"], values.get("subject", ""), wire)


def _data(body: bytes, content_type: bytes) -> bytes:
    if not body:
        raise bodies.invalid("Unexpected end when reading JSON.")
    if is_json(_media_type(content_type)):
        data = bodies.trimmed(body)
        bodies.check_json(data)
        return b',"data":' + data
    return b',"data_base64":"' + binascii.b2a_base64(body, newline=False) + b'"'


def _header_value(name: bytes, value: bytes) -> str:
    """The attribute value: quotes undone, then one round of percent-decoding (binding, 3.1.3.2)."""
    if len(value) >= 2 and value[:1] == value[-1:] == b'"':
        value = _QUOTED_PAIR.sub(rb"\1", value[1:-1])
    if b"%" in value:
        value = unquote_to_bytes(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        header = bodies.excerpt(name.decode("latin-1"))
        raise _invalid_header(f"The header {header} is not UTF-8.") from None


def _invalid_header(what: str) -> InvalidEvent:
    return InvalidEvent(400, "BadRequest", "InvalidCloudEventHeader", what)
