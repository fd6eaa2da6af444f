"""A delivery to a message under lease: its properties, what the server says of it, its count.

Layer: queues. Pure.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from eventpost.queues.interfaces import Received
from eventpost.queues.rabbitmq.client import DeliveredMessage
from eventpost.queues.rabbitmq.target import Target

COUNT_HEADER = "x-eventpost-receive-count"
"""How often a message was received before it went through a delay queue, which counts anew."""
_SYSTEM_HEADERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-")
_PROPERTIES = {
    "correlation_id": "correlation_id",
    "reply_to": "reply_to",
    "type": "message_type",
    "app_id": "app_id",
    "user_id": "user_id",
    "content_encoding": "content_encoding",
    "message_id": "message_id",
    "expiration": "expiration",
    "priority": "priority",
}
"""What a system attribute is called, and the property that it tells."""


def unpack(delivery: DeliveredMessage, target: Target, receipt: object) -> Received:
    """A delivery as a message under lease."""
    properties = delivery.header.properties
    headers = properties.headers or {}
    return Received(
        id=(properties.message_id or "") if target.options.message_ids else "",
        body=delivery.body,
        attributes={
            name: _attribute(value) for name, value in headers.items() if not is_system(name)
        },
        system_attributes=_system_attributes(delivery, headers),
        content_type=properties.content_type or "",
        receive_count=receive_count(headers) if target.is_quorum else 0,
        sent_ms=round(properties.timestamp.timestamp() * 1_000) if properties.timestamp else 0,
        receipt=receipt,
    )


def receive_count(headers: Mapping[str, Any]) -> int:
    """How often the message was received from a quorum queue, this time included.

    The queue counts returns, whoever had the message. A classic queue counts nothing and says only
    that it is not the first time.
    """
    return 1 + sum(
        value
        for value in (headers.get(COUNT_HEADER), headers.get("x-delivery-count"))
        if isinstance(value, int)
    )


def is_system(name: str) -> bool:
    """Whether the header is the server's or ours, and no user's."""
    return name == COUNT_HEADER or name.startswith(_SYSTEM_HEADERS)


def _system_attributes(delivery: DeliveredMessage, headers: Mapping[str, Any]) -> dict[str, str]:
    found = {
        "exchange": delivery.exchange or "",
        "routing_key": delivery.routing_key or "",
        "redelivered": _text(bool(delivery.redelivered)),
    }
    for name, attribute in _PROPERTIES.items():
        value = getattr(delivery.header.properties, attribute)
        if value not in (None, ""):
            found[name] = _text(value)
    for name, value in headers.items():
        if is_system(name) and name != COUNT_HEADER:
            found[name] = _text(value)
    return found


def _attribute(value: object) -> str | bytes:
    return bytes(value) if isinstance(value, bytes | bytearray) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None:
        return ""
    return json.dumps(value, default=_text, separators=(",", ":"))
