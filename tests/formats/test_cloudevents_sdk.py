"""The official CloudEvents SDK, both ways: it reads what is sent, and what it sends is taken."""

import base64
import json
from typing import Any

import pytest
from cloudevents.v1.conversion import to_binary, to_structured
from cloudevents.v1.http import CloudEvent, from_http
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.events import Schema
from eventpost.formats import cloudevents, delivery

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True).filter(
    lambda name: name not in {*cloudevents._KNOWN, "specversion"}
)
DATA = st.dictionaries(st.text("abc", min_size=1), st.integers() | TEXT | st.none(), max_size=4)


def sent_by_sdk(event: CloudEvent, mode: Any) -> tuple[dict[str, str], bytes]:
    headers, body = mode(event)
    lower = {name.lower(): value for name, value in headers.items()}
    lower.setdefault("content-type", "application/json")
    return lower, body if isinstance(body, bytes) else body.encode()


@pytest.mark.parametrize("mode", [to_structured, to_binary])
@given(source=TEXT, kind=TEXT, subject=TEXT, data=DATA, name=NAMES, value=TEXT)
def test_there_and_back(
    mode: Any, source: str, kind: str, subject: str, data: Any, name: str, value: str
) -> None:
    """What the SDK sends in a mode is taken, and the SDK reads the same event from what goes out,
    its extension attributes included; also out of a batch."""
    if mode is to_binary:  # it writes header values as they are: what HTTP cannot carry is not sent
        source, kind, subject, value = (
            json.dumps(text)[1:-1].replace("%", "").replace('"', "").strip() or "x"
            for text in (source, kind, subject, value)
        )
    attributes = {"source": source, "type": kind, "subject": subject, name: value}
    original = CloudEvent(attributes, data)
    headers, body = sent_by_sdk(original, mode)
    raw = {key.encode("latin-1"): text.encode("utf-8") for key, text in headers.items()}

    (taken,) = cloudevents.decode(body, raw)
    content_type, alone = delivery.encode(
        Schema.CLOUD_EVENTS, Schema.CLOUD_EVENTS, [taken.wire], False, ""
    )
    batch_type, batch = delivery.encode(
        Schema.CLOUD_EVENTS, Schema.CLOUD_EVENTS, [taken.wire] * 2, True, ""
    )

    read = from_http({"content-type": content_type.decode()}, alone)
    assert batch_type == delivery.CLOUD_EVENT_BATCH_TYPE
    for again in (read, *(_of(each) for each in json.loads(batch))):
        assert again.data == data
        for each in ("id", "source", "type", "subject", name):
            assert again[each] == original[each], each


def _of(element: dict[str, Any]) -> CloudEvent:
    """An element of a batch, which the SDK reads as a structured event."""
    content_type = {"content-type": "application/cloudevents+json"}
    return from_http(content_type, json.dumps(element).encode())


def test_bytes() -> None:
    """Bytes stay bytes, from the SDK and back to it."""
    headers, body = sent_by_sdk(
        CloudEvent({"source": "/s", "type": "t"}, b"\x00\xff"), to_structured
    )
    raw = {key.encode(): text.encode() for key, text in headers.items()}

    (taken,) = cloudevents.decode(body, raw)

    content_type, alone = delivery.encode(
        Schema.CLOUD_EVENTS, Schema.CLOUD_EVENTS, [taken.wire], False, ""
    )
    assert json.loads(alone)["data_base64"] == base64.b64encode(b"\x00\xff").decode()
    assert from_http({"content-type": content_type.decode()}, alone).data == b"\x00\xff"


def test_a_converted_event() -> None:
    """An Event Grid event that goes out as a CloudEvent is one that the SDK reads."""
    wire = (
        b'{"id":"1","topic":"/t","subject":"s","eventType":"T","eventTime":"2026-01-01T00:00:00Z",'
        b'"data":{"a":1},"dataVersion":"1.0","metadataVersion":"1"}'
    )
    content_type, body = delivery.encode(
        Schema.EVENT_GRID, Schema.CLOUD_EVENTS, [wire], False, "/topics/songs"
    )

    event = from_http({"content-type": content_type.decode()}, body)

    assert (event["source"], event["type"], event["id"]) == ("/topics/songs", "T", "1")
    assert event["dataschema"] == "#1.0"
    assert event.data == {"a": 1}
