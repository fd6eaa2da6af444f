"""RoadRunner's jobs: the wire form of its SQS plugin, byte for byte, and jobs as events."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Schema
from eventpost.formats import roadrunner, roadrunner_events
from eventpost.formats.roadrunner import Headers, Job

GOLDEN = sorted(Path(__file__).with_name("roadrunner").glob("*.json"))
TOPIC = "/topics/jobs"
TRACE = ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "")
SENT_MS = 1_767_225_600_000

Attributes = dict[str, str | bytes]


def golden_job(golden: dict[str, dict[str, object]]) -> Job:
    members = golden["job"] | {"payload": str(golden["job"]["payload"]).encode()}
    return Job(**members)  # type: ignore[arg-type]  # the file says what a job says


def received(golden: dict[str, dict[str, object]]) -> Attributes:
    """The message attributes as SQS hands them out again."""
    attributes = golden["request"]["MessageAttributes"]
    assert isinstance(attributes, dict)
    return {
        name: value["BinaryText"].encode() if "BinaryText" in value else value["StringValue"]
        for name, value in attributes.items()
    }


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_pushed_job_is_read(path: Path) -> None:
    """What the plugin pushes is read as the job that it was."""
    golden = json.loads(path.read_text())

    job = roadrunner.decode(
        golden["request"]["MessageBody"].encode(),
        received(golden),
        {},
        message_id="sqs-1",
        pipeline="",
    )

    assert job == golden_job(golden)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_job_is_written_as_the_plugin_writes_it(path: Path) -> None:
    """Our attributes have the plugin's names, types and bytes, and the body is the payload."""
    golden = json.loads(path.read_text())
    job = golden_job(golden)

    written = roadrunner.encode(job)

    as_sent = golden["request"]["MessageAttributes"]
    assert list(written) == [
        "rr_id",
        "rr_job",
        "rr_headers",
        "rr_delay",
        "rr_priority",
        "rr_auto_ack",
    ]
    for name, value in written.items():
        types: dict[type, str] = {str: "String", bytes: "Binary", int: "Number"}
        assert as_sent[name]["DataType"] == types[type(value)]
        if name != "rr_headers":
            assert as_sent[name]["StringValue"] == str(value)
        elif job.headers:
            assert as_sent[name]["BinaryText"].encode() == value
        else:
            assert value == b"{}"  # the plugin takes it as it takes its own null
    assert job.payload.decode() == golden["request"]["MessageBody"]


# --- what is missing or malformed -----------------------------------------------------------------


def test_a_foreign_message_is_taken() -> None:
    """A message without any of the attributes is a job of a deduced name; its own attributes and
    the system's are headers, and its id is the transport's, so that a redelivery is the same."""
    job = roadrunner.decode(
        b"fooobarrbazzz",
        {"custom": "value", "number": "7", "binary": b"bin"},
        {"ApproximateReceiveCount": "2"},
        message_id="sqs-1",
        pipeline="test-1",
    )

    assert job == Job(
        id="sqs-1",
        name="deduced_by_rr",
        payload=b"fooobarrbazzz",
        headers={
            "custom": ["value"],
            "number": ["7"],
            "binary": ["bin"],
            "ApproximateReceiveCount": ["2"],
        },
        pipeline="test-1",
        priority=0,
        is_foreign=True,
    )


def test_attributes_of_a_job_of_roadrunners_are_no_headers() -> None:
    """Beside an id, attributes that are not RoadRunner's are left out, as the plugin does."""
    job = roadrunner.decode(
        b"{}", {"rr_id": "1", "custom": "value"}, {}, message_id="sqs-1", pipeline=""
    )

    assert not job.is_foreign
    assert job.headers == {}


def test_own_attributes_of_a_foreign_message_are_no_headers() -> None:
    """RoadRunner's own names never become headers, whatever is missing beside them."""
    attributes: Attributes = {"rr_job": "ping", "rr_pipeline": "p", "rr_headers": b'{"a":["b"]}'}
    job = roadrunner.decode(b"{}", attributes, {}, message_id="sqs-1", pipeline="")

    assert (job.name, job.headers) == ("ping", {"a": ["b"]})


def test_system_attributes_are_headers_always() -> None:
    """The receive count and its like stand among the headers, and win over older ones."""
    attributes: Attributes = {
        "rr_id": "1",
        "rr_headers": b'{"ApproximateReceiveCount":["1"],"a":["b"]}',
    }
    job = roadrunner.decode(
        b"{}", attributes, {"ApproximateReceiveCount": "3"}, message_id="", pipeline=""
    )

    assert job.headers == {"ApproximateReceiveCount": ["3"], "a": ["b"]}


def test_what_cannot_be_read_falls_back() -> None:
    """A delay that is no number is none, a priority that is none is the pipeline's, and headers
    that are no JSON are none."""
    attributes: Attributes = {
        "rr_id": "job-id",
        "rr_job": "some/php/namespace",
        "rr_delay": "soon",
        "rr_priority": "high",
        "rr_headers": b"not-json",
    }
    job = roadrunner.decode(
        b"{}", attributes, {}, message_id="", pipeline="test-1", pipeline_priority=11
    )

    assert (job.delay_s, job.priority, job.headers) == (0, 11, {})


@pytest.mark.parametrize(
    ("text", "read"),
    [("5", 5), ("+5", 5), ("-5", -5), ("007", 7), ("5.0", 11), (" 5", 11), ("5_0", 11), ("", 11)],
)
def test_numbers_are_read_as_the_plugin_reads_them(text: str, read: int) -> None:
    """Digits with a sign are a number, and nothing else is."""
    job = roadrunner.decode(
        b"", {"rr_priority": text}, {}, message_id="", pipeline="", pipeline_priority=11
    )

    assert job.priority == read


@pytest.mark.parametrize(
    ("text", "read"),
    [("true", True), ("1", True), ("T", True), ("TRUE", True), ("tRUE", False), ("yes", False)],
)
def test_auto_ack_is_read_as_the_plugin_reads_it(text: str, read: bool) -> None:
    """Only what its language takes for true is true; anything else is not."""
    job = roadrunner.decode(b"", {"rr_auto_ack": text}, {}, message_id="", pipeline="")

    assert job.auto_ack is read


def test_headers_of_another_shape_are_left_out() -> None:
    """A header that is no list of strings does not spoil the others."""
    attributes: Attributes = {"rr_id": "1", "rr_headers": b'{"a":"x","b":["y",2],"c":null}'}
    job = roadrunner.decode(b"", attributes, {}, message_id="", pipeline="")

    assert job.headers == {"b": ["y"]}


@pytest.mark.parametrize(
    "queue",
    [
        "mail.fifo",
        "arn:aws:sqs:eu-central-1:123456789012:mail.fifo",
        "https://sqs.eu-central-1.amazonaws.com/123456789012/mail.fifo",
        "http://127.0.0.1:9324/000000000000/mail.fifo/",
    ],
)
def test_the_pipeline_is_the_queues_name(queue: str) -> None:
    """However a queue is addressed, its jobs are of one pipeline."""
    assert roadrunner.pipeline(queue) == "mail.fifo"


# --- events ---------------------------------------------------------------------------------------

JOB = Job(
    id="job-1",
    name="App\\Jobs\\SendMail",
    payload=b'{"to":"b.b@station.example", "n":1}',
    headers={"attempts": ["1"], "Traceparent": [TRACE[0]]},
    pipeline="mail",
    priority=3,
    delay_s=5,
    auto_ack=True,
)


def test_a_job_is_a_cloud_event() -> None:
    """The payload is the data byte for byte, and the rest stands in attributes."""
    event = roadrunner_events.event(JOB, Schema.CLOUD_EVENTS, TOPIC, SENT_MS)

    assert (event.id, event.type, event.subject) == ("job-1", "App\\Jobs\\SendMail", "mail")
    assert event.trace == TRACE
    assert event.wire.endswith(b',"data":{"to":"b.b@station.example", "n":1}}')
    members = json.loads(event.wire)
    assert members["source"] == "/roadrunner/pipelines/mail"
    assert members["time"] == "2026-01-01T00:00:00.0000000Z"
    assert json.loads(members["rrheaders"]) == JOB.headers
    assert (members["rrpriority"], members["rrdelay"], members["rrautoack"]) == (3, 5, True)


def test_a_job_is_an_event_of_event_grids_schema() -> None:
    """The data is the whole job, and the data version says so."""
    event = roadrunner_events.event(JOB, Schema.EVENT_GRID, TOPIC, SENT_MS)

    members = json.loads(event.wire)
    assert (members["id"], members["eventType"], members["subject"]) == (JOB.id, JOB.name, "mail")
    assert members["dataVersion"] == "roadrunner-1"
    assert members["data"] == {
        "payload": {"to": "b.b@station.example", "n": 1},
        "headers": JOB.headers,
        "pipeline": "mail",
        "priority": 3,
        "delay": 5,
        "auto_ack": True,
    }


texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@pytest.mark.parametrize("schema", [Schema.EVENT_GRID, Schema.CLOUD_EVENTS])
@given(
    payload=st.one_of(texts.map(str.encode), st.sampled_from([b'"text"', b"[1, 2]", b"12", b"{}"])),
    headers=st.dictionaries(texts, st.lists(texts, max_size=3), max_size=3),
    name=names,
    identity=names,
    priority=st.integers(-10, 10),
    auto_ack=st.booleans(),
)
def test_a_job_comes_back_whole(
    schema: Schema,
    payload: bytes,
    headers: Headers,
    name: str,
    identity: str,
    priority: int,
    auto_ack: bool,
) -> None:
    """A job that became an event is that job again when it is sent on."""
    first = Job(
        id=identity,
        name=name,
        payload=payload,
        headers=headers,
        pipeline="p",
        priority=priority,
        delay_s=7,
        auto_ack=auto_ack,
    )

    event = roadrunner_events.event(first, schema, TOPIC, SENT_MS)
    again = roadrunner_events.job(event.wire, schema, event.trace, pipeline="other", priority=10)

    if again.payload != payload:  # JSON loses the blanks around it, and nothing else
        assert again.payload == payload.strip(b" \t\r\n")
    assert msgspec.structs.replace(again, payload=payload) == first


SONG = (
    b'{"id":"1","topic":"/topics/songs","subject":"genre/blues","eventType":"Song",'
    b'"eventTime":"2026-01-01T00:00:00Z","data":{"a": 1},"dataVersion":"","metadataVersion":"1"}'
)


@pytest.mark.parametrize(
    ("wire", "schema", "headers"),
    [
        (
            SONG,
            Schema.EVENT_GRID,
            {"ce-source": ["/topics/songs"], "ce-subject": ["genre/blues"]},
        ),
        (
            b'{"specversion":"1.0","id":"1","source":"/station","type":"Song","data":{"a": 1}}',
            Schema.CLOUD_EVENTS,
            {"ce-source": ["/station"]},
        ),
    ],
    ids=["event-grid", "cloud-events"],
)
def test_an_event_is_a_job(wire: bytes, schema: Schema, headers: Headers) -> None:
    """Any event is a job: its type the name, its data the payload, the rest in headers."""
    job = roadrunner_events.job(wire, schema, TRACE, pipeline="songs", priority=4)

    assert (job.id, job.name, job.payload) == ("1", "Song", b'{"a": 1}')
    assert (job.pipeline, job.priority, job.delay_s, job.auto_ack) == ("songs", 4, 0, False)
    assert job.headers.items() >= headers.items()
    assert job.headers["Traceparent"] == [TRACE[0]]
    assert "Tracestate" not in job.headers


def test_an_event_without_data_has_a_payload() -> None:
    """An event without data is the payload null, because a queue refuses an empty body."""
    wire = b'{"specversion":"1.0","id":"1","source":"/station","type":"Song"}'
    job = roadrunner_events.job(wire, Schema.CLOUD_EVENTS, None, pipeline="", priority=0)

    assert job.payload == b"null"


def test_binary_data_is_the_payload() -> None:
    """Data in base64 goes out as the bytes that it stands for."""
    wire = b'{"specversion":"1.0","id":"1","source":"/s","type":"T","data_base64":"AQI="}'
    job = roadrunner_events.job(wire, Schema.CLOUD_EVENTS, None, pipeline="", priority=0)

    assert job.payload == b"\x01\x02"


def test_data_of_another_that_calls_itself_a_job() -> None:
    """The data version alone makes no job: data of another shape goes out as it is."""
    wire = (
        b'{"id":"1","topic":"/t","subject":"s","eventType":"Song","eventTime":"2026-01-01T00:00:00Z",'
        b'"data":[1],"dataVersion":"roadrunner-1","metadataVersion":"1"}'
    )
    job = roadrunner_events.job(wire, Schema.EVENT_GRID, None, pipeline="", priority=0)

    assert job.payload == b"[1]"


def test_a_job_that_is_no_event() -> None:
    """A payload that is no text, an empty name or an empty id is refused, and says why."""
    for job, told in [
        (msgspec.structs.replace(JOB, payload=b"\xff"), "not UTF-8"),
        (msgspec.structs.replace(JOB, id=""), "'id'"),
        (msgspec.structs.replace(JOB, name=""), "'eventType'"),
    ]:
        with pytest.raises(InvalidEvent, match=told):
            roadrunner_events.event(job, Schema.EVENT_GRID, TOPIC, SENT_MS)


def test_a_malformed_trace_is_none() -> None:
    """A trace header that is none does not reach the deliveries."""
    job = msgspec.structs.replace(JOB, headers={"traceparent": ["00-x"]})

    assert roadrunner_events.event(job, Schema.EVENT_GRID, TOPIC, SENT_MS).trace is None
