"""CloudEvents as records of Kafka: the specification's example, and the official SDK's records."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings import kafka as official
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Schema
from eventpost.formats import cloudevents, kafka_binding
from eventpost.formats.kafka_binding import Mode, Record
from eventpost.formats.wire import split

ATTRIBUTES = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext/subcontext",
    "id": "1234-1234-1234",
    "time": "2018-04-05T03:56:24Z",
    "subject": "größe 100 %",
    "partitionkey": "singer-7",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
CASES: dict[str, dict[str, Any]] = {
    "json": {"datacontenttype": "application/json; charset=utf-8", "data": {"größe": [1, None]}},
    "json null": {"datacontenttype": "application/json", "data": None},
    "text": {"datacontenttype": "text/plain", "data": 'a "song"'},
    "bytes": {"datacontenttype": "application/avro", "data_base64": "AP/+"},
    "json text": {"datacontenttype": "application/json", "data": "a song"},
    "no data": {},
}


def wire_of(case: str) -> bytes:
    body = json.dumps(ATTRIBUTES | CASES[case]).encode()
    (event,) = cloudevents.decode(body, {b"content-type": cloudevents.STRUCTURED_TYPE.encode()})
    return event.wire


def ours(message: official.KafkaMessage) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    return message.value, list(message.headers.items())


def theirs(record: Record, key: str | None = "singer-7") -> official.KafkaMessage:
    return official.KafkaMessage(dict(record.headers), key, record.value or b"")


def test_the_example_of_the_specification() -> None:
    """In binary mode attributes are headers `ce_...`, the data type is `content-type`, the data the
    value as it is (binding 3.2.5)."""
    record = kafka_binding.encode(wire_of("bytes"))

    assert record.value == b"\x00\xff\xfe"
    assert dict(record.headers) == {
        **{f"ce_{name}": text.encode() for name, text in ATTRIBUTES.items()},
        "content-type": b"application/avro",
    }


def test_structured_mode_keeps_the_event_whole() -> None:
    """In structured mode the value is the event, and one header says so (binding 3.3)."""
    wire = wire_of("json")

    record = kafka_binding.encode(wire, "structured")

    assert record == Record(wire, (("content-type", b"application/cloudevents+json"),))


@pytest.mark.parametrize("case", ["json", "bytes", "no data"])
def test_a_record_read_again_is_the_event(case: str) -> None:
    """What was encoded decodes to the same event, its data byte for byte, in either mode."""
    wire = wire_of(case)
    modes: tuple[Mode, ...] = ("binary", "structured")

    for mode in modes:
        record = kafka_binding.encode(wire, mode)
        again = kafka_binding.decode(record.value, record.headers).wire
        assert json.loads(again) == json.loads(wire)
        assert split(Schema.CLOUD_EVENTS, again)[1] == split(Schema.CLOUD_EVENTS, wire)[1]


@pytest.mark.parametrize("case", ["json", "text", "bytes", "json text"])
def test_the_official_sdk_reads_our_records(case: str) -> None:
    """CloudEvents' own SDK finds every attribute and the data in what we write."""
    read = official.from_kafka(theirs(kafka_binding.encode(wire_of(case))), JSONFormat())
    whole = official.from_structured(
        theirs(kafka_binding.encode(wire_of(case), "structured")), JSONFormat()
    )

    for event in (read, whole):
        assert event.get_id() == ATTRIBUTES["id"]
        assert event.get_subject() == ATTRIBUTES["subject"]
        assert event.get_extension("traceparent") == ATTRIBUTES["traceparent"]
        data = event.get_data()
        assert data == (b"\x00\xff\xfe" if case == "bytes" else CASES[case]["data"])


@pytest.mark.parametrize("to", [official.to_binary, official.to_structured])
def test_we_read_records_of_the_official_sdk(to: Any) -> None:
    """What CloudEvents' own SDK writes is read with every attribute and its data."""
    event = CloudEvent(
        {"id": "1", "type": "t", "source": "/s", "subject": "größe", "specversion": "1.0",
         "datacontenttype": "application/json", "partitionkey": "7"},
        {"a": [1]},
    )  # fmt: skip

    message = to(event, JSONFormat())
    found = kafka_binding.decode(*ours(message))

    read = json.loads(found.wire)
    assert (found.id, found.type, found.subject) == ("1", "t", "größe")
    assert read["data"] == {"a": [1]}
    assert kafka_binding.partition_key(found.wire) == message.key == "7"


def test_no_data_is_no_value() -> None:
    """An event without data has no value in binary mode, and one with null has the word null."""
    assert kafka_binding.encode(wire_of("no data")).value is None
    assert "content-type" not in dict(kafka_binding.encode(wire_of("no data")).headers)
    assert kafka_binding.encode(wire_of("json null")).value == b"null"


def test_data_of_no_named_type_is_json() -> None:
    """JSON data whose type is not named is sent as application/json."""
    wire = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}'

    record = kafka_binding.encode(wire)

    assert record.value == b'{"a":1}'
    assert dict(record.headers)["content-type"] == b"application/json"


def test_a_number_is_written_as_it_was() -> None:
    """Extensions that are numbers or booleans become their text."""
    wire = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","weight":12,"loud":true}'

    headers = dict(kafka_binding.encode(wire).headers)

    assert (headers["ce_weight"], headers["ce_loud"]) == (b"12", b"true")


def test_an_event_without_a_key_has_none() -> None:
    """Without the attribute `partitionkey` there is no key."""
    assert kafka_binding.partition_key(b'{"id":"1"}') == ""


HEADERS = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"/s", "ce_type": b"t"}
ODD: dict[str, tuple[bytes | None, dict[str, bytes], str]] = {
    "no headers": (b"{}", {}, "ce_specversion is missing"),
    "empty id": (b"1", HEADERS | {"ce_id": b""}, "ce_id is empty"),
    "not UTF-8": (b"1", HEADERS | {"ce_subject": b"\xff"}, "ce_subject is not UTF-8"),
    "a name that is none": (b"1", HEADERS | {"ce_a-b": b"1"}, "attribute name 'a-b'"),
    "data in a header": (b"1", HEADERS | {"ce_data": b"1"}, "a record's value"),
    "another version": (None, HEADERS | {"ce_specversion": b"0.3"}, "specversion"),
    "not a time": (None, HEADERS | {"ce_time": b"noon"}, "time"),
    "not the JSON it says": (b"{", HEADERS | {"content-type": b"application/json"}, "JSON"),
    "avro": (b"1", {"content-type": b"application/cloudevents+avro"}, "cannot be read"),
    "a batch": (b"[]", {"content-type": b"application/cloudevents-batch+json"}, "cannot be read"),
    "no value": (None, {"content-type": b"application/cloudevents+json"}, ""),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_no_event_is_refused(case: str) -> None:
    """A record that is no CloudEvent is refused, and the error says what is wrong with it."""
    value, headers, said = ODD[case]

    with pytest.raises(InvalidEvent) as refusal:
        kafka_binding.decode(value, list(headers.items()))

    assert said in str(refusal.value)


def test_a_header_without_a_value_is_none() -> None:
    """Headers that are null, and those of others, are left alone; names are read in any case."""
    headers = [(name.upper(), value) for name, value in HEADERS.items()]

    event = kafka_binding.decode(None, [*headers, ("ce_subject", None), ("trace", b"\xff")])

    assert event.subject == ""
    assert json.loads(event.wire)["id"] == "1"
