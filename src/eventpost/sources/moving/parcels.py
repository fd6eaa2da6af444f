"""What is sent for a message that was received, or why it cannot be. Pure.

Layer: sources. Nothing of a message is lost without somebody having said so: what the target has no
room for keeps the message in its source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Schema
from eventpost.core.sources import InputMapping, MessageFormat
from eventpost.diagnosis import codes
from eventpost.formats import dramatiq, event_messages, roadrunner
from eventpost.formats.messages import Target
from eventpost.http.failures import bounded
from eventpost.queues.interfaces import AttributeValue, Message, Received, Traits
from eventpost.sources.catch import incoming, kept_id

PROPERTIES = ("correlation_id", "reply_to", "type", "app_id", "content_encoding")
"""What RabbitMQ keeps beside a message's headers, and its readers may need."""
MESSAGE_IDS = ("message_id", "message-id")
"""The publisher's own id, as RabbitMQ and Kafka tell it."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
DIGEST_BYTES = 16


class Lane(Enum):
    """Where a message goes."""

    MAIN = "main"
    DELAYED = "delayed"
    """The queue that Dramatiq's broker for RabbitMQ keeps beside each queue, `QUEUE.DQ`."""


@dataclass(frozen=True, slots=True)
class Parcel:
    message: Message
    lane: Lane = Lane.MAIN


@dataclass(frozen=True, slots=True)
class Unmovable:
    """Why a message stays where it is: a finding, and what is the matter."""

    finding: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How messages are moved. `now_ms` is UTC."""

    format: MessageFormat = MessageFormat.RAW
    source: str = ""
    """The source's identity; together with a message's own it names that message."""
    target: Traits
    drops_attributes: bool = False
    """Whether attributes may be lost where the target has none."""
    queue_name: str = ""
    """The name that Dramatiq's messages carry from now on; "" keeps theirs."""
    is_base64: bool = False
    """Whether Dramatiq's messages are sent as base64, as dramatiq_sqs and dramatiq_azure do."""


def pack(received: Received, manner: Manner, key: str, now_ms: int) -> Parcel | Unmovable:
    """What is sent for a message whose key is `key`."""
    try:
        made = _PACKERS[manner.format](received, manner, now_ms)
    except InvalidEvent as error:
        return Unmovable(codes.MOVE_NOT_OF_FORMAT, bounded(error.what))
    if isinstance(made, Unmovable):
        return made
    return _within_bounds(made, received, manner, key)


def key_of(received: Received) -> str:
    """By what a message is known again: its id, or a digest of all that its sender gave it."""
    kept = kept_id(received.id)
    if kept:
        return f"id:{kept}"
    digest = blake2b(digest_size=DIGEST_BYTES)
    parts: list[bytes] = [received.body, received.content_type.encode()]
    parts += [received.system_attributes.get(name, "").encode() for name in MESSAGE_IDS]
    for name, value in sorted(received.attributes.items()):
        parts += [name.encode(), value if isinstance(value, bytes) else value.encode()]
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return f"digest:{digest.hexdigest()}"


def is_redelivery(received: Received) -> bool:
    """Whether it may have been handed out before: RabbitMQ says so; who says nothing is believed
    neither way."""
    return received.system_attributes.get("redelivered", "true") == "true"


def is_one_of_a_kind(received: Received, manner: Manner) -> bool:
    """Whether no two messages have the same key unless they are the same message. Dramatiq's have a
    random id in their body; others may be alike to the last byte, and all of them count."""
    return bool(kept_id(received.id)) or manner.format is MessageFormat.DRAMATIQ


# --- by format ------------------------------------------------------------------------------------


def _raw(received: Received, manner: Manner, _now_ms: int) -> Parcel | Unmovable:
    """Body, attributes and properties as they are."""
    if received.system_attributes.get("tombstone") == "true":
        detail = "It is a tombstone, a record of Kafka without a value, which no queue can hold."
        return Unmovable(codes.MOVE_WOULD_LOSE, detail)
    properties = {
        name: received.system_attributes[name]
        for name in PROPERTIES
        if name in received.system_attributes and name not in received.attributes
    }
    attributes: dict[str, AttributeValue] = {**received.attributes, **properties}
    if attributes and not manner.target.has_attributes:
        if not manner.drops_attributes:
            names = ", ".join(sorted(attributes))
            where = manner.target.system
            detail = f"{where} has no room for its attributes: {names}."
            return Unmovable(codes.MOVE_WOULD_LOSE, bounded(detail))
        attributes = {}
    return Parcel(
        Message(
            body=received.body,
            attributes=attributes,
            content_type=received.content_type,
            group=received.group,
            priority=_whole(received.system_attributes.get("priority")),
        )
    )


def _event(received: Received, manner: Manner, now_ms: int) -> Parcel | Unmovable:
    """An event as it is. A CloudEvent in binary mode becomes a structured one where the target has
    no room for its attributes."""
    message = incoming(received)
    target = Target(
        schema=Schema.CLOUD_EVENTS,
        topic_resource="/eventpost/move",
        queue="",
        mapping=InputMapping(),
        new_id=lambda: "",
        now_ms=lambda: now_ms,
    )
    event_messages.decode(message, target)
    structured = None
    if not manner.target.has_attributes:
        structured = event_messages.structured(message)
    if structured is None:
        return _raw(received, manner, now_ms)
    return Parcel(
        Message(
            body=structured,
            content_type=event_messages.CLOUD_EVENT_TYPE,
            group=received.group,
        )
    )


def _roadrunner(received: Received, manner: Manner, _now_ms: int) -> Parcel | Unmovable:
    """The job, with the six attributes that RoadRunner reads, each of its type."""
    if not manner.target.has_attributes:
        detail = f"{manner.target.system} has no room for a job's attributes."
        return Unmovable(codes.MOVE_WOULD_LOSE, detail)
    if roadrunner.ID not in received.attributes or roadrunner.JOB not in received.attributes:
        detail = f"It has no attribute {roadrunner.ID} or {roadrunner.JOB}: it is no job."
        return Unmovable(codes.MOVE_NOT_OF_FORMAT, detail)
    job = roadrunner.decode(
        received.body, received.attributes, {}, message_id=received.id, pipeline=""
    )
    others = {
        name: value for name, value in received.attributes.items() if name not in roadrunner.NAMES
    }
    return Parcel(
        Message(
            body=received.body,
            attributes={**others, **roadrunner.encode(job)},
            content_type=received.content_type,
            group=received.group,
        )
    )


def _dramatiq(received: Received, manner: Manner, now_ms: int) -> Parcel:
    """The message with its queue, its options and its time. What waits for its time stays hidden
    until then, as far as the target can hide it; whoever works it off looks at `options.eta`."""
    body, read = dramatiq.parse(received.body)
    is_rabbitmq = manner.target.system == "rabbitmq"
    delay_s = max(0.0, dramatiq.eta_ms(read) - now_ms) / 1000
    lane = Lane.DELAYED if is_rabbitmq and delay_s else Lane.MAIN
    name = manner.queue_name or dramatiq.canonical(read.queue_name)
    if lane is Lane.DELAYED:
        name = dramatiq.delayed(name)
    if name != read.queue_name:
        body = dramatiq.renamed(body, name)
    attributes: Mapping[str, AttributeValue] = {}
    if manner.target.has_attributes:
        attributes = dict(received.attributes)
    priority = dramatiq.broker_priority(read) if is_rabbitmq else None
    return Parcel(
        Message(
            body=dramatiq.as_base64(body) if manner.is_base64 else body,
            attributes=attributes,
            content_type=received.content_type,
            delay_s=0.0 if is_rabbitmq else min(delay_s, manner.target.delay_s_max),
            group=received.group,
            priority=priority,
        ),
        lane,
    )


_PACKERS = {
    MessageFormat.EVENT: _event,
    MessageFormat.RAW: _raw,
    MessageFormat.ROADRUNNER: _roadrunner,
    MessageFormat.DRAMATIQ: _dramatiq,
}


# --- for all --------------------------------------------------------------------------------------


def _within_bounds(
    made: Parcel, received: Received, manner: Manner, key: str
) -> Parcel | Unmovable:
    message = made.message
    size, most = len(message.body), manner.target.message_bytes_max
    if size > most:
        detail = f"It has {size:,} bytes; {manner.target.system} takes at most {most:,}."
        return Unmovable(codes.MOVE_TOO_LARGE, detail)
    if REPLACEMENT in received.group:
        return Unmovable(codes.MOVE_WOULD_LOSE, "Its key is no text, and could not be kept.")
    return Parcel(
        Message(
            body=message.body,
            attributes=message.attributes,
            content_type=message.content_type,
            delay_s=message.delay_s,
            message_id=_publishers_id(received) or kept_id(received.id),
            group=message.group,
            deduplication_id=_deduplication_id(received, manner, key),
            priority=message.priority,
        ),
        made.lane,
    )


def _publishers_id(received: Received) -> str:
    found = (received.system_attributes.get(name) for name in MESSAGE_IDS)
    return next((one for one in found if one), "")


def _deduplication_id(received: Received, manner: Manner, key: str) -> str:
    """The message's own, or one that is the same when it is sent again. "" where two messages could
    have the same."""
    own = received.system_attributes.get("MessageDeduplicationId", "")
    if own or not is_one_of_a_kind(received, manner):
        return own
    return blake2b(f"{manner.source}\n{key}".encode(), digest_size=DIGEST_BYTES).hexdigest()


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
