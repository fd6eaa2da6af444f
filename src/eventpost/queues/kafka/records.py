"""Records as they come of a partition, as the queues have them, and what is known of each.

Layer: queues. Pure.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from eventpost.queues.interfaces import Received
from eventpost.queues.kafka.copies import Origin, origin_of

CONTENT_TYPE = "content-type"
MESSAGE_ID = "message-id"
Headers = Sequence[tuple[str, bytes | None]]


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Receipt(msgspec.Struct, frozen=True):
    """Where a record stands, since when its partition is ours, and what of it is not in the message
    byte for byte."""

    place: Place
    offset: int
    generation: int
    key: bytes | None = None
    headers: Headers = ()
    has_value: bool = True
    origin: Origin | None = None
    """Of a copy in a retry topic."""


def receipt_of(one: Received) -> Receipt:
    assert isinstance(one.receipt, Receipt), "received of this adapter"
    return one.receipt


def received(message: Any, generation: int, *, is_copy: bool = False) -> Received:
    """A message of confluent-kafka. A copy is shown as what it is a copy of."""
    headers: Headers = tuple(message.headers() or ())
    origin = origin_of(headers) if is_copy else None
    if origin is not None:
        headers = origin.without_ours(headers)
    attributes: dict[str, str | bytes] = {name: _text(value or b"") for name, value in headers}
    content_type = attributes.pop(CONTENT_TYPE, "")
    system = _system(message, origin)
    if MESSAGE_ID in attributes:
        system[MESSAGE_ID] = str(attributes.pop(MESSAGE_ID))
    kind, sent_ms = message.timestamp()
    place = Place(message.topic(), message.partition())
    key, value = message.key(), message.value()
    return Received(
        id=f"{place.topic}/{place.partition}/{message.offset()}",
        body=value or b"",
        attributes=attributes,
        system_attributes=system,
        content_type=content_type if isinstance(content_type, str) else "",
        receive_count=0 if origin is None else origin.count + 1,
        sent_ms=origin.sent_ms if origin is not None else sent_ms if kind else 0,
        group=(key or b"").decode("utf-8", "replace"),
        receipt=Receipt(
            place, message.offset(), generation, key, headers, value is not None, origin
        ),
    )


def _system(message: Any, origin: Origin | None) -> dict[str, str]:
    """What Kafka says of it: where it stands, or stood first."""
    here = (message.topic(), message.partition(), message.offset())
    topic, partition, offset = here if origin is None else origin.first
    system = {"topic": topic, "partition": str(partition), "offset": str(offset)}
    if origin is not None:
        system["retry-place"] = "/".join(str(part) for part in here)
    if message.value() is None:
        system["tombstone"] = "true"
    return system


def _text(value: bytes) -> str | bytes:
    """Headers are bytes; what is UTF-8 is text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
