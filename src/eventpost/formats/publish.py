"""The publish endpoint's rules that need no server: who may publish, and what a body holds."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qs

from eventpost.core.errors import InvalidEvent, Unauthorized
from eventpost.core.events import Event, Schema
from eventpost.core.subscriptions import Topic
from eventpost.formats import bodies, cloudevents, eventgrid, sas
from eventpost.formats.custom import CustomInput
from eventpost.formats.domains import DomainInput

KEY = b"aeg-sas-key"
TOKEN = b"aeg-sas-token"
SIGNATURE_SCHEME = "sharedaccesssignature"
KEY_SCHEME = "sharedaccesskey"

QUERY_FIELDS_MAX = 100
TRACESTATE_BYTES_MAX = 512
"""What W3C Trace Context (section 3.3.1.5) asks to pass on at least; a longer one is left out."""

# Bound once: looking them up in the enumeration is slow.
_EVENT_GRID = Schema.EVENT_GRID
_CLOUD_EVENTS = Schema.CLOUD_EVENTS
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def decode_publish(
    schema: Schema,
    body: bytes,
    headers: dict[bytes, bytes],
    topic_resource: str,
    custom: CustomInput | None = None,
    domain: DomainInput | None = None,
) -> list[Event]:
    """The events of a publish request on a topic of `schema`, with the request's trace.

    Header names are in lower case. `custom` holds the rules of a custom schema, and is None for the
    others; `domain` those of a domain, likewise. Raises InvalidEvent; nothing of the request is
    kept then.
    """
    if len(body) > bodies.REQUEST_BYTES_MAX:
        raise bodies.too_large(bodies.REQUEST_BYTES_MAX)
    if schema is _EVENT_GRID:
        events = eventgrid.decode(body, topic_resource, domain)
    elif schema is _CLOUD_EVENTS:
        events = cloudevents.decode(body, headers)
        if domain is not None:
            domain.check_sources(events)
    else:
        assert custom is not None, "a topic of a custom schema has its rules"
        events = custom.decode(body, topic_resource, domain)
    if b"traceparent" in headers and (found := trace(headers)):
        for event in events:
            event.trace = found
    return events


def authorize(
    topic: Topic, headers: Mapping[bytes, bytes], query: bytes, url: str, now_ms: int
) -> None:
    """Return if the request may use `topic`: with one of its keys or a token made with one.

    The first credential found decides: the key header, the key in the query, the token header,
    then `Authorization`, unless it is a bearer token, which is looked at elsewhere. `url` is the
    request's own, for tokens. Raises Unauthorized, or InvalidEvent (400, InvalidSas) for a key that
    is present but empty.
    """
    candidate = headers.get(KEY)
    if candidate is None and KEY in query:
        candidate = _query_key(query)
    if candidate is not None:
        _check_key(candidate, topic)
    elif TOKEN in headers:
        sas.verify(headers[TOKEN].decode("latin-1"), (topic.key1, topic.key2), url, now_ms)
    elif b"authorization" in headers:
        _check_authorization(headers[b"authorization"].decode("latin-1"), topic, url, now_ms)
    else:
        raise Unauthorized(
            "Unauthorized",
            "Request must contain one of the following authorization signature: "
            "aeg-sas-token, aeg-sas-key.",
            fix="Send the header aeg-sas-key with the topic's key1 or key2.",
        )


def _check_key(candidate: bytes, topic: Topic) -> None:
    if sas.is_key(candidate, (topic.key1.encode(), topic.key2.encode())):
        return
    if not candidate:
        what = "Request must have a value for aeg-sas-key."
        raise InvalidEvent(400, "BadRequest", "InvalidSas", what)
    raise Unauthorized(
        "Unauthorized",
        f"The request authorization key is not authorized for {topic.name}.",
        why="It is neither key1 nor key2 of the topic.",
        fix=f"Compare it with: eventpost topic key list {topic.name}",
    )


def _check_authorization(value: str, topic: Topic, url: str, now_ms: int) -> None:
    scheme, _, credential = value.partition(" ")
    credential = credential.strip()
    if scheme.lower() == SIGNATURE_SCHEME:
        sas.verify(credential, (topic.key1, topic.key2), url, now_ms)
    elif scheme.lower() == KEY_SCHEME:
        _check_key(credential.encode("latin-1"), topic)
    else:
        raise Unauthorized(
            "Unauthorized",
            f"Request has an unsupported Authorization scheme '{scheme[:32]}'.",
            why="It must be SharedAccessSignature, SharedAccessKey or Bearer.",
        )


def _query_key(query: bytes) -> bytes | None:
    try:
        values = parse_qs(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX
        )
    except ValueError:
        raise bodies.invalid(f"The query has more than {QUERY_FIELDS_MAX} fields.") from None
    found = values.get(KEY.decode())
    # A key is base64: a blank can only be a `+` that the client did not encode.
    return found[0].replace(" ", "+").encode("latin-1", "replace") if found else None


def trace(headers: Mapping[bytes, bytes]) -> tuple[str, str] | None:
    """The trace of a request with the header `traceparent`; None when that is not well-formed."""
    parent = headers[b"traceparent"]
    if not _TRACEPARENT.fullmatch(parent):
        return None
    state = headers.get(b"tracestate", b"")
    if len(state) > TRACESTATE_BYTES_MAX or not state.isascii():
        state = b""
    return parent.decode(), state.decode()
