"""Hostile publish requests: refused in Event Grid's words or taken whole, and nothing else.

The corpus keeps requests that are worth starting from; every failure found adds one.
"""

import base64
import contextlib
import json
import string
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventpost.core.errors import InvalidEvent, Unauthorized
from eventpost.core.events import Event, Schema
from eventpost.formats import publish, sas, topics, wire

RESOURCE = topics.resource("orders")
KEY = "AAAA"
END_OF_TIME_MS = 253_402_300_799_999
SCHEMAS = [Schema.EVENT_GRID, Schema.CLOUD_EVENTS]
Request = tuple[bytes, dict[bytes, bytes]]


def load(path: Path) -> Request:
    """A corpus file: headers, and the body with one character per byte."""
    saved = json.loads(path.read_text())
    headers = {name.encode(): value.encode("latin-1") for name, value in saved["headers"].items()}
    return saved["body"].encode("latin-1"), headers


CORPUS = {path.stem: load(path) for path in sorted(Path(__file__).parent.glob("corpus/*.json"))}
INTERESTING = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"null", b"true"),
    *(b"1e999", b"-", b"\xff", b"\x00", b"\xef\xbb\xbf", b'"id":', b'"data":', b'"data_base64":'),
    *(b"[" * 600, b'{"a":' * 600),
]


def refusal(error: InvalidEvent) -> tuple[int, str]:
    assert error.what
    return error.status, error.code


REFUSALS = {
    (400, "BadRequest"),
    (401, "Unauthorized"),
    (413, "RequestEntityTooLarge"),
    (415, "UnsupportedMediaType"),
}


def publish_both(body: bytes, headers: dict[bytes, bytes]) -> list[Event]:
    """Decode in both schemas; whatever is taken must be whole."""
    taken = []
    for schema in SCHEMAS:
        refused = None
        events: list[Event] = []
        try:
            events = publish.decode_publish(schema, body, headers, RESOURCE)
        except InvalidEvent as error:
            refused = refusal(error)
        assert bool(events) == (refused is None)
        assert refused is None or refused in REFUSALS
        for event in events:
            check_whole(event, schema)
        taken += events
    return taken


def check_whole(event: Event, schema: Schema) -> None:
    assert event.id
    assert event.type
    event.wire.decode()
    msgspec.json.decode(event.wire, type=dict[str, msgspec.Raw])
    again = wire.parse(schema, event.wire)
    assert (again.id, again.type, again.subject) == (event.id, event.type, event.subject)


@st.composite
def mutated(draw: st.DrawFn) -> Request:
    """A request of the corpus with a few pieces replaced, doubled or cut."""
    body, headers = CORPUS[draw(st.sampled_from(sorted(CORPUS)))]
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 12)))
        piece = draw(
            st.sampled_from(INTERESTING) | st.binary(max_size=4) | st.just(body[start:end])
        )
        body = body[:start] + piece + body[end:]
    name = draw(st.sampled_from([*headers, b"ce-id", b"ce-x", b"traceparent"]))
    change = draw(st.none() | st.binary(max_size=20))
    return body, headers if change is None else headers | {name: change}


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_corpus(name: str) -> None:
    """Each kept request is taken whole or refused in Event Grid's words."""
    publish_both(*CORPUS[name])


@pytest.mark.parametrize(
    "name",
    [name for name in CORPUS if name.startswith(("event-grid-single", "cloud-event-binary"))],
)
def test_corpus_has_good_requests(name: str) -> None:
    """The corpus starts from requests that are good, so that mutations reach deep."""
    if "bad" not in name:
        assert publish_both(*CORPUS[name])


@pytest.mark.slow
@settings(max_examples=300)
@given(mutated())
def test_mutations(request: Request) -> None:
    """No mutation of a request raises anything else, or is taken in part."""
    publish_both(*request)


@given(st.binary(max_size=200))
@example(b"")
def test_random_bytes(body: bytes) -> None:
    """Neither does any body at all."""
    publish_both(body, {b"content-type": b"application/cloudevents-batch+json"})


@pytest.mark.slow
@given(st.text(string.ascii_letters + "&=%+/:?r e s", max_size=80), st.text(max_size=40))
def test_tokens(token: str, url: str) -> None:
    """Any text as a token, and any URL, is Unauthorized and nothing else."""
    with pytest.raises(Unauthorized):
        sas.verify(token, [KEY], url, 0)


@pytest.mark.slow
@given(st.text(max_size=60), st.text(max_size=60) | st.datetimes().map(str))
@example("http://h/x", "0001-01-01T00:00:00+14:00")
@example("http://h/x", "9999-12-31T23:59:59")
def test_signed_tokens(resource: str, expiry: str) -> None:
    """A genuine signature over any resource and expiry is good or Unauthorized, never an error."""
    unsigned = f"r={quote(resource)}&e={quote(expiry)}"
    signature = quote(base64.b64encode(sas._signature(unsigned, KEY)), safe="")
    with contextlib.suppress(Unauthorized):
        sas.verify(f"{unsigned}&s={signature}", [KEY], "http://h/x", 0)
    with pytest.raises(Unauthorized):
        sas.verify(f"{unsigned}&s={signature}", [KEY], "http://h/x", END_OF_TIME_MS)
