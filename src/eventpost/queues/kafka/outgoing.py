"""From a message to the record that is sent for it.

Layer: queues. Pure. A CloudEvent goes as the protocol binding for Kafka 1.0.2 has it: whole in the
value (structured mode), or with its attributes as headers (binary mode); its `partitionkey` is the
key where nothing else is said (3.1).
"""

from typing import NamedTuple

import msgspec

from eventpost.core.outcomes import Failed, Fault
from eventpost.formats import kafka_binding
from eventpost.queues.interfaces import AttributeValue, Message
from eventpost.queues.kafka.records import CONTENT_TYPE, MESSAGE_ID, Headers
from eventpost.queues.kafka.refusals import refused
from eventpost.queues.kafka.settings import MESSAGE_BYTES_MAX

ANY_PARTITION = -1
_PARTITION_KEY = f'"{kafka_binding.PARTITION_KEY}"'.encode()


class Record(NamedTuple):
    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers
    partition: int = ANY_PARTITION


def record(topic: str, message: Message, mode: kafka_binding.Mode) -> Record | Failed:
    """The record, or why there is none: told before anything is tried."""
    if message.delay_s > 0:
        detail = "Kafka delays no record"
        return refused("send", Fault.MALFORMED, "DELAY_NOT_SUPPORTED", detail, final=True)
    made = _made(topic, message, mode)
    size = size_of(made)
    if size > MESSAGE_BYTES_MAX:
        detail = f"a record of {size} bytes, of at most {MESSAGE_BYTES_MAX}"
        return refused("send", Fault.TOO_LARGE, "MSG_SIZE_TOO_LARGE", detail, final=True)
    return made


def size_of(made: Record) -> int:
    """Bytes of value, key and headers."""
    headers = sum(len(name.encode()) + len(value or b"") for name, value in made.headers)
    return len(made.value or b"") + len(made.key or b"") + headers


def _made(topic: str, message: Message, mode: kafka_binding.Mode) -> Record:
    key = message.group.encode() or None
    headers = [(name, _bytes(value)) for name, value in message.attributes.items()]
    value: bytes | None = message.body
    content_type = message.content_type
    if content_type.startswith(kafka_binding.STRUCTURED_FAMILY):
        key = key or _partition_key(message.body)
        found = _binary(message.body) if mode == "binary" else None
        if found is not None:
            value, content_type = found.value, ""
            headers += found.headers
    if content_type:
        headers.append((CONTENT_TYPE, content_type.encode()))
    if message.message_id:
        headers.append((MESSAGE_ID, message.message_id.encode()))
    return Record(topic, value, key, headers)


def _binary(body: bytes) -> kafka_binding.Record | None:
    """None for what calls itself an event and is none: a message that is moved, say."""
    try:
        return kafka_binding.encode(body, "binary")
    except (msgspec.MsgspecError, ValueError):
        return None


def _partition_key(body: bytes) -> bytes | None:
    if _PARTITION_KEY not in body:  # most have none: nothing is decoded for it
        return None
    try:
        return kafka_binding.partition_key(body).encode() or None
    except (msgspec.MsgspecError, ValueError):
        return None


def _bytes(value: AttributeValue) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
