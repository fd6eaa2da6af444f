"""Events of RoadRunner's jobs, and jobs of events. Nothing of a job is lost on the way and back.

Layer: formats. A CloudEvent has the job's payload as its data, and the rest in extension
attributes. An event of Event Grid's schema has no room beside its data, so its data is an object
with `payload` and the rest, and `dataVersion` says so.
"""

import binascii
from typing import Literal

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Event, Schema
from eventpost.formats import bodies, cloudevents, eventgrid, publish, roadrunner, times
from eventpost.formats.roadrunner import Headers, Job
from eventpost.formats.wire import Trace, split

DATA_VERSION: Literal["roadrunner-1"] = "roadrunner-1"
"""Of an event of Event Grid's schema whose data is a whole job."""
SOURCE_PREFIX = "/roadrunner/pipelines/"
"""Of a CloudEvent's source; the pipeline follows."""
TRACE_HEADERS = ("Traceparent", "Tracestate")
"""As the plugin's propagator spells them."""
NO_DATA = b"null"
"""The payload for an event without data: SQS refuses an empty body."""

_JSON_TYPE = "application/json"
_TEXT_TYPE = "text/plain; charset=utf-8"

_encode = msgspec.json.Encoder().encode


class _Data(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A job as an event's data. `payload` when it is JSON, else `payload_text`."""

    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    payload_text: str | msgspec.UnsetType = msgspec.UNSET
    headers: Headers = {}
    pipeline: str = ""
    priority: int = roadrunner.PRIORITY_DEFAULT
    delay_s: int = msgspec.field(default=0, name="delay")
    auto_ack: bool = False


class _GridEvent(msgspec.Struct, kw_only=True):
    id: str
    subject: str
    eventType: str  # noqa: N815 - Event Grid's name
    eventTime: str  # noqa: N815
    data: msgspec.Raw
    dataVersion: Literal["roadrunner-1"] = DATA_VERSION  # noqa: N815


class _CloudEvent(msgspec.Struct, kw_only=True):
    """What is kept of the job beside its payload begins with `rr`."""

    specversion: Literal["1.0"] = cloudevents.SPEC_VERSION
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    rrheaders: str
    rrpipeline: str
    rrpriority: int
    rrdelay: int
    rrautoack: bool
    data: msgspec.Raw


class _Envelope(msgspec.Struct):
    """What a job is made of, of an event in either schema."""

    id: str
    eventType: str = ""  # noqa: N815
    eventTime: str = ""  # noqa: N815
    dataVersion: str = ""  # noqa: N815
    topic: str = ""
    subject: str | None = None
    type: str = ""
    source: str = ""
    time: str | None = None
    datacontenttype: str | None = None
    data_base64: str | None = None
    rrheaders: str | None = None
    rrpipeline: str | None = None
    rrpriority: int | None = None
    rrdelay: int | None = None
    rrautoack: bool | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_data = msgspec.json.Decoder(_Data).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_headers = msgspec.json.Decoder(Headers).decode


def event(job: Job, schema: Schema, topic_resource: str, sent_ms: int) -> Event:
    """The event that a job becomes on a topic: its name is the type, its id the id.

    `sent_ms` is when it was sent, UTC. Raises InvalidEvent for a job that is no event of the schema
    (larger than an event may be, an empty id or name).
    """
    made = _grid_event(job, sent_ms) if schema is Schema.EVENT_GRID else _cloud_event(job, sent_ms)
    body = _encode(made)
    if schema is Schema.EVENT_GRID:
        (one,) = eventgrid.decode(body, topic_resource)
    else:
        (one,) = cloudevents.decode(body, {b"content-type": cloudevents.STRUCTURED_TYPE.encode()})
    one.trace = _trace(job.headers)
    return one


def job(wire: bytes, schema: Schema, trace: Trace, *, pipeline: str, priority: int) -> Job:
    """The job that an event becomes: its type is the name, its id the id, its data the payload.

    An event that was a job is that job again; any other tells its source, subject and time in
    headers. `pipeline` and `priority` are for those that were none.
    """
    members, data = split(schema, wire)
    envelope = _decode_envelope(members)
    if envelope.dataVersion == DATA_VERSION:
        try:
            return _unwrapped(envelope, _decode_data(data), trace)
        except msgspec.MsgspecError:
            pass  # somebody else's data of that version
    headers = _kept_headers(envelope)
    if headers is None:
        headers = _told(envelope)
    return Job(
        id=envelope.id,
        name=envelope.eventType or envelope.type,
        payload=_payload(envelope, data),
        headers=_traced(headers, trace),
        pipeline=envelope.rrpipeline or pipeline,
        priority=priority if envelope.rrpriority is None else envelope.rrpriority,
        delay_s=envelope.rrdelay or 0,
        auto_ack=envelope.rrautoack or False,
    )


# --- of a job -------------------------------------------------------------------------------------


def _grid_event(one: Job, sent_ms: int) -> _GridEvent:
    data = _Data(
        headers=one.headers,
        pipeline=one.pipeline,
        priority=one.priority,
        delay_s=one.delay_s,
        auto_ack=one.auto_ack,
    )
    value = _json(one.payload)
    if value is None:
        data.payload_text = _text(one.payload)
    else:
        data.payload = msgspec.Raw(value)
    return _GridEvent(
        id=one.id,
        subject=one.pipeline,
        eventType=one.name,
        eventTime=times.seven_digits(sent_ms),
        data=msgspec.Raw(_encode(data)),
    )


def _cloud_event(one: Job, sent_ms: int) -> _CloudEvent:
    value = _json(one.payload)
    return _CloudEvent(
        id=one.id,
        source=SOURCE_PREFIX + one.pipeline,
        type=one.name,
        subject=one.pipeline,
        time=times.seven_digits(sent_ms),
        datacontenttype=_TEXT_TYPE if value is None else _JSON_TYPE,
        rrheaders=_encode(one.headers).decode(),
        rrpipeline=one.pipeline,
        rrpriority=one.priority,
        rrdelay=one.delay_s,
        rrautoack=one.auto_ack,
        data=msgspec.Raw(_encode(_text(one.payload)) if value is None else value),
    )


def _json(payload: bytes) -> bytes | None:
    """The payload without blanks around it if it is JSON, None if it is something else."""
    value = bodies.trimmed(payload)
    try:
        bodies.check_json(value)
    except InvalidEvent:
        return None
    return value


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise bodies.invalid(f"The job's payload is not UTF-8 (byte {error.start}).") from None


def _trace(headers: Headers) -> Trace:
    parent, state = (roadrunner.header(headers, name).encode() for name in TRACE_HEADERS)
    return publish.trace({b"traceparent": parent, b"tracestate": state})


# --- of an event ----------------------------------------------------------------------------------


def _unwrapped(envelope: _Envelope, data: _Data, trace: Trace) -> Job:
    return Job(
        id=envelope.id,
        name=envelope.eventType,
        payload=_kept_payload(data),
        headers=_traced(data.headers, trace),
        pipeline=data.pipeline,
        priority=data.priority,
        delay_s=data.delay_s,
        auto_ack=data.auto_ack,
    )


def _kept_payload(data: _Data) -> bytes:
    if isinstance(data.payload_text, str):
        return data.payload_text.encode()
    return NO_DATA if isinstance(data.payload, msgspec.UnsetType) else bytes(data.payload)


def _payload(envelope: _Envelope, data: bytes) -> bytes:
    """Text as it is, base64 as what it stands for, JSON byte for byte."""
    if envelope.data_base64:
        return binascii.a2b_base64(envelope.data_base64)
    media_type = (envelope.datacontenttype or _JSON_TYPE).partition(";")[0].strip().lower()
    if data[:1] == b'"' and not cloudevents.is_json(media_type):
        return _decode_text(data).encode()
    return data or NO_DATA


def _kept_headers(envelope: _Envelope) -> Headers | None:
    """Those of an event that was a job; None for one that was none."""
    try:
        return None if envelope.rrheaders is None else _decode_headers(envelope.rrheaders)
    except msgspec.MsgspecError:
        return None


def _told(envelope: _Envelope) -> Headers:
    """The names are those of the CloudEvents binding for HTTP, in either schema."""
    values = {
        "ce-source": envelope.source or envelope.topic,
        "ce-subject": envelope.subject,
        "ce-time": envelope.time or envelope.eventTime,
    }
    return {name: [value] for name, value in values.items() if value}


def _traced(headers: Headers, trace: Trace) -> Headers:
    if trace is None:
        return headers
    folded = {name.lower() for name in TRACE_HEADERS}
    kept = {name: values for name, values in headers.items() if name.lower() not in folded}
    return kept | {name: [v] for name, v in zip(TRACE_HEADERS, trace, strict=True) if v}
