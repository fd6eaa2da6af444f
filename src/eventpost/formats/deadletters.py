"""Dead letters as Event Grid writes them, and the events that tell of them.

Rules: https://learn.microsoft.com/azure/event-grid/manage-event-delivery ("Set dead-letter
location"). `eventpostFinding`, which names the explanation of the failure, is the grid's own.
"""

import codecs
from binascii import b2a_base64
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Event, Schema
from eventpost.core.interfaces import Blob, DeadLetter, FileWritten
from eventpost.core.retry import Reason
from eventpost.formats import cloudevents, eventgrid, times
from eventpost.formats.domains import DomainInput
from eventpost.formats.wire import split

DEAD_LETTERED_EVENT = "Eventpost.EventDeadLettered"
WRITTEN_EVENT = "Eventpost.DeadLetterWritten"
NAMESPACE = "eventpost"
"""What stands for the namespace's name."""
BLOB_CREATED_EVENT = "Microsoft.Storage.BlobCreated"
CONTENT_TYPE = "application/json"
NOTICE_BODY_BYTES_MAX = 64 * 1024
"""Of a message's body in its notice; the dead letter has all of it."""

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode_json = msgspec.json.Encoder().encode


class _Notice(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """`data` of the event that is raised for every dead letter."""

    topic: str
    subscription: str
    dead_letter_id: str
    reason: str
    finding: str
    attempts: int
    last_delivery_outcome: str
    last_http_status_code: int | None = None
    publish_time: str
    last_delivery_attempt_time: str | None = None
    event_schema: str
    event: msgspec.Raw


class _MessageNotice(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The same for a source's message of which no event could be made. Its body is `text` when it
    is text, else `base64`; `isCut` when it is the beginning of one."""

    topic: str
    source: str
    dead_letter_id: str
    reason: str
    finding: str
    detail: str
    message_id: str
    receive_count: int
    size: int
    text: str | None = None
    base64: str | None = None
    is_cut: bool = False


class _Written(msgspec.Struct, rename="camel", kw_only=True):
    """`data` of the event that is raised for every dead-letter file."""

    topic: str
    subscription: str
    url: str
    content_type: str
    content_length: int
    event_count: int


class _Batch(msgspec.Struct, rename="camel", kw_only=True):
    batch_id: str


class _BlobCreated(msgspec.Struct, rename="camel", kw_only=True):
    """`data` of what a storage account sends for a blob that was put.

    https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage
    """

    api: str = "PutBlob"
    client_request_id: str
    request_id: str
    e_tag: str
    content_type: str
    content_length: int
    blob_type: str = "BlockBlob"
    url: str
    sequencer: str
    storage_diagnostics: _Batch


def encode(letter: DeadLetter, schema: Schema) -> bytes:
    """The dead-lettered event with what became of it: one object of a dead-letter file.

    Times are UTC with seven fraction digits. `lastHttpStatusCode` is absent when there was no HTTP
    answer, `lastDeliveryAttemptTime` when there was no attempt. Added names are in lower case for
    CloudEvents.
    """
    status = letter.evidence.status if letter.evidence else None
    attempted = times.seven_digits(letter.last_attempt_ms) if letter.last_attempt_ms else None
    added: dict[str, object] = {
        "deadLetterReason": letter.reason,
        "deliveryAttempts": letter.attempts,
        "lastDeliveryOutcome": letter.outcome,
        "lastHttpStatusCode": status,
        "publishTime": times.seven_digits(letter.published_ms),
        "lastDeliveryAttemptTime": attempted,
        "eventpostFinding": letter.finding,
    }
    if schema is Schema.CLOUD_EVENTS:
        added = {name.lower(): value for name, value in added.items()}
    envelope, data = split(schema, letter.wire)
    # An event that was a dead letter before may carry these names already.
    kept = {name: raw for name, raw in _decode_members(envelope).items() if name not in added}
    known = {name: value for name, value in added.items() if value is not None}
    encoded = _encode_json(kept | known)
    return b"".join((encoded[:-1], b',"data":', data, b"}")) if data else encoded


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as its file tells of it. `event` is what was published."""

    event: Event
    reason: str
    outcome: str
    finding: str
    attempts: int
    published_ms: int
    last_attempt_ms: int


class _Added(msgspec.Struct, rename="camel"):
    """What `encode` adds. Event Grid's own files lack the finding."""

    dead_letter_reason: str = ""
    delivery_attempts: int = 0
    last_delivery_outcome: str = ""
    last_http_status_code: int | None = None
    publish_time: str = ""
    last_delivery_attempt_time: str = ""
    eventpost_finding: str = ""


_ADDED = {field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(_Added)}
_decode_file = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def read(
    body: bytes, schema: Schema, topic_resource: str, domain: DomainInput | None = None
) -> list[Copied]:
    """The dead letters of a file, for a topic of `schema`; `topic` of an Event Grid event becomes
    `topic_resource`, but for those of a `domain`, which name theirs. Raises ValueError that says
    what is wrong with which of them."""
    try:
        objects = _decode_file(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it is not a JSON array of objects ({error})") from error
    return [
        _copied(number, each, schema, topic_resource, domain) for number, each in enumerate(objects)
    ]


def _copied(
    number: int,
    members: dict[str, msgspec.Raw],
    schema: Schema,
    topic_resource: str,
    domain: DomainInput | None,
) -> Copied:
    own: dict[str, msgspec.Raw] = {}
    added: dict[str, msgspec.Raw] = {}
    for name, raw in members.items():
        known = _ADDED.get(name.lower())
        if known is None:
            own[name] = raw
        elif bytes(raw) != b"null":
            added[known] = raw
    if schema is not Schema.CLOUD_EVENTS and domain is None:
        own.pop("topic", None)
    try:
        facts = msgspec.json.decode(_encode_json(added), type=_Added)
        (event,) = _events(_encode_json(own), schema, topic_resource, domain)
        return Copied(
            event=event,
            reason=facts.dead_letter_reason,
            outcome=facts.last_delivery_outcome,
            finding=facts.eventpost_finding,
            attempts=max(0, facts.delivery_attempts),
            published_ms=_ms(facts.publish_time),
            last_attempt_ms=_ms(facts.last_delivery_attempt_time),
        )
    except (ValueError, RecursionError, InvalidEvent) as error:
        raise ValueError(f"number {number + 1}: {error}") from error


def _events(
    body: bytes, schema: Schema, topic_resource: str, domain: DomainInput | None
) -> list[Event]:
    if schema is Schema.CLOUD_EVENTS:
        return cloudevents.decode(body, {b"content-type": cloudevents.STRUCTURED_TYPE.encode()})
    return eventgrid.decode(body, topic_resource, domain)


def _ms(text: str) -> int:
    """0 for no time. Raises ValueError."""
    if not text:
        return 0
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def reason_named(text: str) -> Reason:
    """A reason of ours; Event Grid knows others, which it does not list."""
    return Reason(text) if text in set(Reason) else Reason.CLIENT_ERROR


def file(objects: Sequence[bytes]) -> bytes:
    """A dead-letter file: the array of what `encode` returned."""
    return b"[" + b",".join(objects) + b"]"


def path(subscription_name: str, now_ms: int, guid: str, *, pulled_from: str | None = None) -> str:
    """Where a file goes below its container or folder: the hour in UTC, without zero padding.

    `pulled_from` is the topic of a subscription that is pulled, whose files lie as a namespace's.
    """
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    hour = f"{now.year}/{now.month}/{now.day}/{now.hour}"
    return f"{folder(subscription_name, pulled_from=pulled_from)}/{hour}/{guid}.json"


def folder(subscription_name: str, *, pulled_from: str | None = None) -> str:
    """Under which all files of a subscription lie."""
    if pulled_from is not None:
        return f"{NAMESPACE}/{pulled_from}/{subscription_name}"
    return subscription_name.upper()


def notice(
    letter: DeadLetter,
    schema: Schema,
    *,
    topic: str,
    subscription: str,
    topic_resource: str,
    event_id: str,
) -> Event:
    """`Eventpost.EventDeadLettered` for the built-in topic, whose resource is `topic_resource`.

    `topic` and `subscription` are the names where the dead letter fell, `schema` is that topic's.
    """
    data = _Notice(
        topic=topic,
        subscription=subscription,
        dead_letter_id=str(letter.id),
        reason=letter.reason,
        finding=letter.finding,
        attempts=letter.attempts,
        last_delivery_outcome=letter.outcome,
        last_http_status_code=letter.evidence.status if letter.evidence else None,
        publish_time=times.seven_digits(letter.published_ms),
        last_delivery_attempt_time=(
            times.seven_digits(letter.last_attempt_ms) if letter.last_attempt_ms else None
        ),
        event_schema=schema,
        event=msgspec.Raw(letter.wire),
    )
    return eventgrid.make(
        topic_resource,
        event_id=event_id,
        event_type=DEAD_LETTERED_EVENT,
        subject=_subject(topic, subscription),
        now_ms=letter.dead_ms,
        data=data,
    )


def message_notice(
    letter: DeadLetter, *, topic: str, source: str, topic_resource: str, event_id: str
) -> Event:
    """`Eventpost.EventDeadLettered` for a source's message of which no event could be made."""
    body = letter.wire[:NOTICE_BODY_BYTES_MAX]
    is_cut = len(body) < len(letter.wire)
    text = _text(body, is_cut=is_cut)
    data = _MessageNotice(
        topic=topic,
        source=source,
        dead_letter_id=str(letter.id),
        reason=letter.reason,
        finding=letter.finding,
        detail="" if letter.evidence is None else letter.evidence.detail,
        message_id=letter.event_id,
        receive_count=letter.attempts,
        size=len(letter.wire),
        text=text,
        base64=None if text is not None else b2a_base64(body, newline=False).decode(),
        is_cut=is_cut,
    )
    return eventgrid.make(
        topic_resource,
        event_id=event_id,
        event_type=DEAD_LETTERED_EVENT,
        subject=f"/topics/{topic}/sources/{source}",
        now_ms=letter.dead_ms,
        data=data,
    )


def _text(body: bytes, *, is_cut: bool) -> str | None:
    """A body as text, without a character that was cut in two; None when it is none."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(body, final=not is_cut)
    except UnicodeDecodeError:
        return None


def written(
    file: FileWritten,
    *,
    topic: str,
    subscription: str,
    topic_resource: str,
    event_id: str,
    now_ms: int,
    content_length: int,
    event_count: int,
) -> Event:
    """A file of dead letters is there: for the built-in topic, whose resource is `topic_resource`.

    `Microsoft.Storage.BlobCreated` for a blob, as its account would send it, so that a handler of
    those events needs no other code; `Eventpost.DeadLetterWritten` for any other file.
    """
    if file.blob is not None:
        return _blob_created(file.blob, file.url, topic_resource, event_id, now_ms, content_length)
    data = _Written(
        topic=topic,
        subscription=subscription,
        url=file.url,
        content_type=CONTENT_TYPE,
        content_length=content_length,
        event_count=event_count,
    )
    return eventgrid.make(
        topic_resource,
        event_id=event_id,
        event_type=WRITTEN_EVENT,
        subject=_subject(topic, subscription),
        now_ms=now_ms,
        data=data,
    )


def _blob_created(
    blob: Blob, url: str, topic_resource: str, event_id: str, now_ms: int, content_length: int
) -> Event:
    data = _BlobCreated(
        client_request_id=blob.client_request_id,
        request_id=blob.request_id,
        e_tag=blob.etag,
        content_type=CONTENT_TYPE,
        content_length=content_length,
        url=url,
        sequencer=f"{now_ms:048X}",  # compared as text, for one blob
        storage_diagnostics=_Batch(batch_id=event_id),
    )
    return eventgrid.make(
        topic_resource,
        event_id=event_id,
        event_type=BLOB_CREATED_EVENT,
        subject=f"/blobServices/default/containers/{blob.container}/blobs/{blob.name}",
        now_ms=now_ms,
        data=data,
        data_version="",
    )


def _subject(topic: str, subscription: str) -> str:
    return f"/topics/{topic}/eventSubscriptions/{subscription}"
