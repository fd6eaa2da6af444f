"""Dead letters as files and as events."""

import json
from typing import Any

import msgspec
import pytest

from eventpost.core.events import Schema
from eventpost.core.interfaces import Blob, DeadLetter, FileWritten
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.retry import Reason
from eventpost.formats import cloudevents, deadletters, eventgrid, times, topics
from eventpost.testing import samples

RESOURCE = topics.resource("orders")
NOTICES = topics.resource("eventpost.deadletters")
PUBLISHED_MS = 1_893_553_445_007  # 2030-01-02 03:04:05.007 UTC
ATTEMPTED_MS = PUBLISHED_MS + 60_000
STATUS = Evidence(stage=Stage.ANSWER, fault=Fault.STATUS, status=503)
REFUSED = Evidence(stage=Stage.CONNECT, fault=Fault.REFUSED)
ADDED = {
    "deadLetterReason": "MaxDeliveryAttemptsExceeded",
    "deliveryAttempts": 3,
    "lastDeliveryOutcome": "Busy",
    "lastHttpStatusCode": 503,
    "publishTime": "2030-01-02T03:04:05.0070000Z",
    "lastDeliveryAttemptTime": "2030-01-02T03:05:05.0070000Z",
    "eventpostFinding": "EP2503",
}


def eg_wire() -> bytes:
    body = b'{"id":"1","subject":"s","eventType":"t","eventTime":"2026-11-21","data":{"a" : 1.0}}'
    return eventgrid.decode(body, RESOURCE)[0].wire


def ce_wire(extra: bytes = b"") -> bytes:
    body = b'{"id":"1","source":"s","type":"t","data":{"a" : 1.0}' + extra + b"}"
    return cloudevents.decode(body, {b"content-type": b"application/json"})[0].wire


def letter(
    wire: bytes, evidence: Evidence | None = STATUS, last_attempt_ms: int = ATTEMPTED_MS
) -> DeadLetter:
    return DeadLetter(
        id=77,
        topic_id=1,
        subscription_id=2,
        partition=0,
        position=9,
        event_id="1",
        event_type="t",
        subject="s",
        wire=wire,
        published_ms=PUBLISHED_MS,
        dead_ms=ATTEMPTED_MS + 1,
        last_attempt_ms=last_attempt_ms,
        attempts=3,
        reason=Reason.ATTEMPTS,
        outcome="Busy",
        finding="EP2503",
        evidence=evidence,
    )


def encoded(dead: DeadLetter, schema: Schema) -> dict[str, Any]:
    loaded = json.loads(deadletters.encode(dead, schema))
    assert isinstance(loaded, dict)
    return loaded


def test_event_grid_dead_letter() -> None:
    """A dead letter is the whole event with what became of it."""
    assert encoded(letter(eg_wire()), Schema.EVENT_GRID) == json.loads(eg_wire()) | ADDED


def test_cloud_event_dead_letter() -> None:
    """With CloudEvents every added name is in lower case, so it is a valid extension."""
    added = {name.lower(): value for name, value in ADDED.items()}

    result = encoded(letter(ce_wire()), Schema.CLOUD_EVENTS)

    assert result == json.loads(ce_wire()) | added
    body = json.dumps(result).encode()
    assert cloudevents.decode(body, {b"content-type": b"application/json"})


@pytest.mark.parametrize(
    ("schema", "wire"), [(Schema.EVENT_GRID, eg_wire()), (Schema.CLOUD_EVENTS, ce_wire())]
)
def test_data_bytes_are_untouched(schema: Schema, wire: bytes) -> None:
    """The event's data keeps its bytes."""
    assert b'"data":{"a" : 1.0}' in deadletters.encode(letter(wire), schema)


@pytest.mark.parametrize("evidence", [None, REFUSED])
def test_no_http_answer(evidence: Evidence | None) -> None:
    """Without an HTTP answer there is no `lastHttpStatusCode`."""
    assert "lastHttpStatusCode" not in encoded(letter(eg_wire(), evidence), Schema.EVENT_GRID)


def test_never_attempted() -> None:
    """Without an attempt there is no `lastDeliveryAttemptTime`."""
    dead = letter(eg_wire(), None, last_attempt_ms=0)

    assert "lastDeliveryAttemptTime" not in encoded(dead, Schema.EVENT_GRID)


def test_dead_for_the_second_time() -> None:
    """Fields of an earlier dead letter are replaced, not doubled."""
    old = b',"deadletterreason":"Old","lasthttpstatuscode":400'
    text = deadletters.encode(letter(ce_wire(old), REFUSED), Schema.CLOUD_EVENTS)

    assert text.count(b"deadletterreason") == 1
    assert b"Old" not in text
    assert b"lasthttpstatuscode" not in text


def test_file_is_an_array() -> None:
    """A file is an array of dead letters."""
    one = deadletters.encode(letter(eg_wire()), Schema.EVENT_GRID)

    assert len(json.loads(deadletters.file([one]))) == 1
    assert len(json.loads(deadletters.file([one, one]))) == 2


def test_path() -> None:
    """The path names the subscription in upper case and the hour without zero padding, in UTC."""
    assert deadletters.path("my-blues", PUBLISHED_MS, "guid") == "MY-BLUES/2030/1/2/3/guid.json"


def test_notice() -> None:
    """The notice of a dead letter carries the event, its reason and its finding."""
    dead = letter(eg_wire())

    event = deadletters.notice(
        dead,
        Schema.EVENT_GRID,
        topic="orders",
        subscription="blues",
        topic_resource=NOTICES,
        event_id="n1",
    )

    assert (event.id, event.type) == ("n1", "Eventpost.EventDeadLettered")
    assert event.subject == "/topics/orders/eventSubscriptions/blues"
    wire = json.loads(event.wire)
    assert wire["topic"] == NOTICES
    assert wire["eventTime"] == "2030-01-02T03:05:05.0080000Z"
    assert wire["data"] == {
        "topic": "orders",
        "subscription": "blues",
        "deadLetterId": "77",
        "reason": "MaxDeliveryAttemptsExceeded",
        "finding": "EP2503",
        "attempts": 3,
        "lastDeliveryOutcome": "Busy",
        "lastHttpStatusCode": 503,
        "publishTime": ADDED["publishTime"],
        "lastDeliveryAttemptTime": ADDED["lastDeliveryAttemptTime"],
        "eventSchema": "eventgridschema",
        "event": json.loads(eg_wire()),
    }


def test_notice_of_an_event_never_attempted() -> None:
    """A notice leaves out what did not happen."""
    event = deadletters.notice(
        letter(ce_wire(), None, last_attempt_ms=0),
        Schema.CLOUD_EVENTS,
        topic="orders",
        subscription="blues",
        topic_resource=NOTICES,
        event_id="n1",
    )

    data = json.loads(event.wire)["data"]
    assert "lastHttpStatusCode" not in data
    assert "lastDeliveryAttemptTime" not in data
    assert data["event"] == json.loads(ce_wire())


def test_written() -> None:
    """The notice of a dead-letter file says where it is and how large."""
    event = deadletters.written(
        FileWritten(url="file:///data/dead/BLUES/2030/1/2/3/g.json"),
        topic="orders",
        subscription="blues",
        topic_resource=NOTICES,
        event_id="w1",
        now_ms=PUBLISHED_MS,
        content_length=512,
        event_count=2,
    )

    assert event.type == "Eventpost.DeadLetterWritten"
    assert json.loads(event.wire)["data"] == {
        "topic": "orders",
        "subscription": "blues",
        "url": "file:///data/dead/BLUES/2030/1/2/3/g.json",
        "contentType": "application/json",
        "contentLength": 512,
        "eventCount": 2,
    }


def test_blob_created() -> None:
    """A blob's notice is what its storage account would send, field by field."""
    blob = Blob(
        container="deadletterevents",
        name="BLUES/2030/1/2/3/g.json",
        etag="0x8D4BCC2E4835CD0",
        request_id="831e1650-001e-001b-66ab-eeb76e000000",
        client_request_id="6d79dbfb-0e37-4fc4-981f-442c9ca65760",
    )
    url = "https://bluesradio.blob.core.windows.net/deadletterevents/BLUES/2030/1/2/3/g.json"

    def notice(now_ms: int) -> dict[str, Any]:
        event = deadletters.written(
            FileWritten(url=url, blob=blob),
            topic="orders",
            subscription="blues",
            topic_resource=NOTICES,
            event_id="831e1650-001e-001b-66ab-eeb76e069631",
            now_ms=now_ms,
            content_length=512,
            event_count=2,
        )
        decoded: dict[str, Any] = json.loads(event.wire)
        return decoded

    event = notice(PUBLISHED_MS)
    sequencer = event["data"].pop("sequencer")
    assert event == {
        "topic": NOTICES,
        "subject": f"/blobServices/default/containers/deadletterevents/blobs/{blob.name}",
        "eventType": "Microsoft.Storage.BlobCreated",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "eventTime": times.seven_digits(PUBLISHED_MS),
        "dataVersion": "",
        "metadataVersion": "1",
        "data": {
            "api": "PutBlob",
            "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
            "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
            "eTag": "0x8D4BCC2E4835CD0",
            "contentType": "application/json",
            "contentLength": 512,
            "blobType": "BlockBlob",
            "url": url,
            "storageDiagnostics": {"batchId": "831e1650-001e-001b-66ab-eeb76e069631"},
        },
    }
    assert sequencer < notice(PUBLISHED_MS + 1)["data"]["sequencer"], "compared as text"


def test_notices_are_publishable_events() -> None:
    """A notice is an event like any other: it can be published as it is."""
    event = deadletters.notice(
        letter(eg_wire()),
        Schema.EVENT_GRID,
        topic="orders",
        subscription="blues",
        topic_resource=NOTICES,
        event_id="n1",
    )

    [again] = eventgrid.decode(event.wire, NOTICES)

    assert again.wire == event.wire


# --- messages of sources --------------------------------------------------------------------------


def message(body: bytes) -> dict[str, Any]:
    """`data` of the notice of a message with this body."""
    notice = deadletters.message_notice(
        msgspec.structs.replace(samples.poison(7), wire=body),
        topic="orders",
        source="letters",
        topic_resource=NOTICES,
        event_id="n",
    )
    data: dict[str, Any] = json.loads(notice.wire)["data"]
    return {name: data[name] for name in ("text", "base64", "isCut", "size") if name in data}


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", {"text": "", "size": 0}),
        ("gr\u00fc\u00df".encode(), {"text": "gr\u00fc\u00df", "size": 6}),
        (b"\xff\x00", {"base64": "/wA=", "size": 2}),
        (b"caf\xc3", {"base64": "Y2Fmww==", "size": 4}),
    ],
)
def test_a_messages_body_is_shown(body: bytes, shown: dict[str, object]) -> None:
    """The body of a message is text where it is text, else base64."""
    assert message(body) == shown


def test_a_long_body_is_cut() -> None:
    """Up to the bound the notice has all of the body; of a longer one whole characters of it."""
    most = deadletters.NOTICE_BODY_BYTES_MAX

    assert message(b"x" * most) == {"text": "x" * most, "size": most}
    assert message(b"x" * most + b"y") == {"text": "x" * most, "size": most + 1, "isCut": True}
    cut = message(b"x" * (most - 1) + "\u00fc".encode())
    assert cut == {"text": "x" * (most - 1), "size": most + 1, "isCut": True}


@pytest.mark.parametrize("schema", [Schema.EVENT_GRID, Schema.CLOUD_EVENTS])
def test_what_was_written_is_read(schema: Schema) -> None:
    """A letter that was written is read with its event byte for byte, and what became of it."""
    wire = ce_wire() if schema is Schema.CLOUD_EVENTS else eg_wire()
    written = letter(wire)

    (copied,) = deadletters.read(
        deadletters.file([deadletters.encode(written, schema)]),
        schema,
        json.loads(wire).get("topic", ""),
    )

    assert copied.event.wire == wire
    assert copied.reason == written.reason
    assert (copied.outcome, copied.finding) == (written.outcome, written.finding)
    assert (copied.attempts, copied.published_ms) == (written.attempts, written.published_ms)
    assert copied.last_attempt_ms == written.last_attempt_ms
