"""What the decoders of publish requests share: bounds, errors in Event Grid's words, JSON checks.

The fast path decodes with msgspec and asks nothing else. Only when that fails does the slow path
look at the body again, property by property, to say what Event Grid would have said.
"""

from collections.abc import Iterator

import msgspec

from eventpost.core.errors import InvalidEvent

REQUEST_BYTES_MAX = 1_536_000
EVENT_BYTES_MAX = 1_049_600
BATCH_EVENTS_MAX = 5_000
"""Event Grid's measured bounds: above the documented 1 MB, so that nothing it takes is refused."""

EXCERPT_CHARS_MAX = 200
"""Of what a request sent, quoted in the answer."""

JSON_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding a hostile body may raise (UnicodeDecodeError is a ValueError)."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_TOKENS = {
    **dict.fromkeys(b"{", "StartObject"),
    **dict.fromkeys(b"[", "StartArray"),
    **dict.fromkeys(b'"', "String"),
    **dict.fromkeys(b"tf", "Boolean"),
    **dict.fromkeys(b"n", "Null"),
}

_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


def excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT_CHARS_MAX else f"{text[:EXCERPT_CHARS_MAX]}..."


def invalid(what: str) -> InvalidEvent:
    return InvalidEvent(400, "BadRequest", "InputJsonInvalid", what)


def too_large(bytes_max: int) -> InvalidEvent:
    what = f"The maximum size ({bytes_max}) has been exceeded."
    return InvalidEvent(413, "RequestEntityTooLarge", "PayloadTooLarge", what)


def too_many() -> InvalidEvent:
    what = f"The maximum number of events in a request ({BATCH_EVENTS_MAX}) has been exceeded."
    return InvalidEvent(413, "RequestEntityTooLarge", "PayloadTooLarge", what)


def not_conforming(schema_name: str, expected: str = "", found: str = "") -> InvalidEvent:
    tokens = f" Token Expected: {expected}, Actual Token Received: {found}." if expected else ""
    return invalid(
        f"This resource is configured to receive event in '{schema_name}' schema. "
        f"The JSON received does not conform to the expected schema.{tokens}"
    )


def missing(schema_name: str, name: str) -> InvalidEvent:
    return invalid(
        f"This resource is configured for '{schema_name}' schema "
        f"and requires '{name}' property to be set."
    )


def wrong(schema_name: str, name: str, expected: str) -> InvalidEvent:
    return invalid(
        f"This resource is configured for '{schema_name}' schema. "
        f"The property '{excerpt(name)}' must be {expected}."
    )


def trimmed(body: bytes) -> bytes:
    """`body` without a byte order mark and surrounding white space."""
    return body.removeprefix(_BYTE_ORDER_MARK).strip(b" \t\r\n")


def check_json(body: bytes) -> None:
    """Raise InvalidEvent, naming the place, unless `body` is one JSON value in UTF-8."""
    if not body:
        raise invalid("Unexpected end when reading JSON.")
    try:
        body.decode()
        _decode_raw(body)
    except UnicodeDecodeError as error:
        raise invalid(f"The body is not UTF-8 (byte {error.start}).") from None
    except RecursionError:
        raise invalid("The JSON received is nested too deeply.") from None
    except msgspec.MsgspecError as error:
        raise invalid(f"The body is not JSON: {error}.") from None


def elements(schema_name: str, body: bytes) -> Iterator[bytes]:
    """The objects of a checked JSON body, which is an array or a single object.

    Raises InvalidEvent for an empty array, for anything that is not an object, and beyond the
    bounds of a batch and of an event.
    """
    if body[:1] != b"[":
        yield _object(schema_name, body)
        return
    found = _decode_elements(body)
    if not found:
        raise not_conforming(schema_name)
    if len(found) > BATCH_EVENTS_MAX:
        raise too_many()
    for element in found:
        yield _object(schema_name, bytes(element))


def check_sizes(schema_name: str, body: bytes) -> None:
    """Raise InvalidEvent when one event of a large body is above its bound."""
    for _ in elements(schema_name, body):
        pass


def token(value: bytes) -> str:
    """The kind of a JSON value in the words of Event Grid's messages."""
    return _TOKENS.get(value[0], "Number")


def _object(schema_name: str, element: bytes) -> bytes:
    if element[:1] != b"{":
        raise not_conforming(schema_name, "StartObject", token(element))
    if len(element) > EVENT_BYTES_MAX:
        raise too_large(EVENT_BYTES_MAX)
    return element
