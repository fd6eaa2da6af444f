"""CloudEvents as records of Kafka, in binary and in structured mode, both ways.

Layer: formats. Rules: https://github.com/cloudevents/spec, Kafka protocol binding 1.0.2, by its
sections below. Kafka knows no batch mode.
"""

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Event
from eventpost.formats import bodies, cloudevents

Mode = Literal["binary", "structured"]
PREFIX = "ce_"
CONTENT_TYPE = "content-type"
STRUCTURED_FAMILY = "application/cloudevents"
PARTITION_KEY = "partitionkey"
"""The extension attribute that names what must stay in order (partitioning extension)."""
_JSON = "application/json"

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Record:
    """What a record of Kafka holds of an event. `value` is None for an event without data in
    binary mode: on a compacted topic that deletes what its key had (3.2.2)."""

    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def encode(wire: bytes, mode: Mode = "binary") -> Record:
    """`wire` is one event in the JSON format, as `cloudevents.decode` gives it."""
    if mode == "structured":
        return Record(wire, ((CONTENT_TYPE, cloudevents.STRUCTURED_TYPE.encode()),))
    members = _decode_members(wire)
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    content_type = _text(members.pop("datacontenttype", None))
    headers = [(PREFIX + name, _text(value).encode()) for name, value in members.items()]
    if not content_type and data is not None:
        content_type = _JSON  # what its absence means in the JSON format (section 3.1.1)
    if content_type:
        headers.append((CONTENT_TYPE, content_type.encode()))
    return Record(_value(data, encoded, content_type), tuple(headers))


def decode(value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Event:
    """The event of a record, `wire` complete as after a publish request. Raises InvalidEvent for
    a record that is no CloudEvent."""
    fields = {name.lower(): held for name, held in headers if held is not None}
    content_type = _utf8(CONTENT_TYPE, fields.get(CONTENT_TYPE, b""))
    if content_type.lower().startswith(STRUCTURED_FAMILY):
        return _structured(value or b"", content_type)
    members = {
        name[len(PREFIX) :]: _utf8(name, held)
        for name, held in fields.items()
        if name.startswith(PREFIX)
    }
    for name in ("specversion", "type", "source", "id"):
        if not members.get(name):
            state = "empty" if name in members else "missing"
            raise _invalid(f"The header {PREFIX}{name} is {state}.")
    return _binary(value, members, content_type)


def partition_key(wire: bytes) -> str:
    """The event's `partitionkey`; "" when it has none (3.1, the key mapper)."""
    return _text(_decode_members(wire).get(PARTITION_KEY))


def _structured(value: bytes, content_type: str) -> Event:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != cloudevents.STRUCTURED_TYPE:
        raise InvalidEvent(
            415,
            "UnsupportedMediaType",
            "InvalidContentType",
            f"Records of content type '{bodies.excerpt(media_type)}' cannot be read: "
            f"only {cloudevents.STRUCTURED_TYPE} can.",
        )
    return _one(value)


def _binary(value: bytes | None, members: dict[str, str], content_type: str) -> Event:
    if not {"data", "data_base64", "datacontenttype"}.isdisjoint(members):
        raise _invalid("Data is a record's value, and its type the header content-type.")
    if content_type:
        members["datacontenttype"] = content_type
    return _one(_encode(members)[:-1] + _data(value, content_type) + b"}")


def _data(value: bytes | None, content_type: str) -> bytes:
    """The member that holds the data, with the comma before it."""
    if value is None:
        return b""
    if cloudevents.is_json(content_type.partition(";")[0].strip().lower()):
        data = bodies.trimmed(value)
        if not data:
            return b""
        bodies.check_json(data)
        return b',"data":' + data
    return b',"data_base64":"' + binascii.b2a_base64(value, newline=False) + b'"'


def _one(body: bytes) -> Event:
    (event,) = cloudevents.decode(body, {b"content-type": cloudevents.STRUCTURED_TYPE.encode()})
    return event


def _value(
    data: msgspec.Raw | None, encoded: msgspec.Raw | None, content_type: str
) -> bytes | None:
    if encoded is not None:
        return binascii.a2b_base64(_decode_text(encoded))
    if data is None:
        return None
    raw = bytes(data)
    is_text = raw[:1] == b'"'
    if is_text and not cloudevents.is_json(content_type.partition(";")[0].strip().lower()):
        return _decode_text(raw).encode()
    return raw


def _text(value: msgspec.Raw | None) -> str:
    """An attribute as text: numbers and booleans as they are written, which is canonical."""
    if value is None:
        return ""
    raw = bytes(value)
    return _decode_text(raw) if raw[:1] == b'"' else raw.decode()


def _utf8(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _invalid(f"The header {bodies.excerpt(name)} is not UTF-8.") from None


def _invalid(what: str) -> InvalidEvent:
    return InvalidEvent(400, "BadRequest", "InvalidCloudEventHeader", what)
