"""A message to AMQP frames, and what can never become any.

Layer: queues. Pure but for the time of sending. AMQP 0-9-1, section 4.2.6; field types as RabbitMQ
has them: https://www.rabbitmq.com/amqp-0-9-1-errata#section_3
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from eventpost.core.outcomes import Failed, Fault, Stage
from eventpost.queues.interfaces import AttributeValue, Message
from eventpost.queues.rabbitmq import failures
from eventpost.queues.rabbitmq.client import ContentBody, ContentHeader, commands, frame
from eventpost.queues.rabbitmq.deliveries import COUNT_HEADER, is_system, receive_count
from eventpost.queues.rabbitmq.settings import KEY_BYTES_MAX
from eventpost.queues.rabbitmq.target import Target

FIELD_NAME_BYTES_MAX = 128
"""AMQP 0-9-1, section 4.2.5.5."""
PRIORITY_MAX = 255
FRAME_EXTRA_BYTES = 8
"""A frame's type, channel, size and end."""
_INTEGER_MAX = 2**63
_ROUTING_HEADERS = ("CC", "BCC")
"""Read by RabbitMQ as more routing keys: https://www.rabbitmq.com/docs/sender-selected"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A message ready to be written."""

    exchange: str
    routing_key: str
    mandatory: bool
    properties: commands.Basic.Properties
    body: bytes

    @property
    def message_id(self) -> str:
        """Never empty: by it a returned message is told from others."""
        found = self.properties.message_id
        assert found
        return found

    def encoded(self, channel_number: int, frame_bytes_max: int) -> bytes | Failed:
        """Its frames, the body in pieces that fit; or why it can never be sent.

        RabbitMQ ends the whole connection when the properties do not fit into one frame.
        """
        publish = commands.Basic.Publish(
            exchange=self.exchange, routing_key=self.routing_key, mandatory=self.mandatory
        )
        header = ContentHeader(properties=self.properties, body_size=len(self.body))
        try:
            frames = [frame.marshal(publish, channel_number), frame.marshal(header, channel_number)]
        except (TypeError, ValueError) as error:
            return _final(failures.UNSENDABLE, str(error))
        if len(frames[1]) > frame_bytes_max:
            size = f"{len(frames[1])} bytes, above the {frame_bytes_max} of a frame"
            return _final(failures.MESSAGE_TOO_LARGE, f"The attributes have {size}.")
        piece_bytes = frame_bytes_max - FRAME_EXTRA_BYTES
        for start in range(0, len(self.body), piece_bytes):
            piece = ContentBody(self.body[start : start + piece_bytes])
            frames.append(frame.marshal(piece, channel_number))
        return b"".join(frames)


def pack(message: Message, target: Target) -> Parcel | Failed:
    """The message as it is written to `target`, or why it can never be."""
    fault = _fault(message, target)
    if fault is not None:
        return _final(*fault)
    delay_ms = target.delay_ms(message.delay_s)
    key = target.routing_key if message.routing_key is None else message.routing_key
    options = target.options
    expiration = None if delay_ms else options.expiration_s
    return Parcel(
        exchange=target.exchange,
        routing_key=target.delay_queue(delay_ms) if delay_ms else key,
        mandatory=options.mandatory or bool(delay_ms),
        properties=commands.Basic.Properties(
            content_type=message.content_type or None,
            headers=_headers(message.attributes) or None,
            delivery_mode=2 if options.persistent else 1,
            priority=message.priority,
            expiration=None if expiration is None else str(round(expiration * 1_000)),
            message_id=message.message_id or uuid.uuid4().hex,
            timestamp=datetime.now(UTC),
        ),
        body=message.body,
    )


def again(old: commands.Basic.Properties, body: bytes, target: Target, delay_ms: int) -> Parcel:
    """A copy of what was received, for the queue that holds it for a while."""
    headers: dict[str, Any] = {
        name: value
        for name, value in (old.headers or {}).items()
        if not is_system(name) and name not in _ROUTING_HEADERS
    }
    headers[COUNT_HEADER] = receive_count(old.headers or {})
    return Parcel(
        exchange="",
        routing_key=target.delay_queue(delay_ms),
        mandatory=True,
        properties=commands.Basic.Properties(
            content_type=old.content_type,
            content_encoding=old.content_encoding,
            headers=headers,
            delivery_mode=2,
            priority=old.priority,
            correlation_id=old.correlation_id,
            reply_to=old.reply_to,
            message_id=old.message_id or uuid.uuid4().hex,
            timestamp=old.timestamp,
            message_type=old.message_type,
            app_id=old.app_id,
        ),
        body=body,
    )


def _fault(message: Message, target: Target) -> tuple[str, str] | None:
    """What no later attempt can change, as code and sentence."""
    if len(message.body) > target.options.message_bytes_max:
        size = f"{len(message.body)} bytes, above {target.options.message_bytes_max}"
        return failures.MESSAGE_TOO_LARGE, f"The body has {size}."
    if message.delay_s > target.traits().delay_s_max:
        return failures.NO_DELAY, f"No delay queue holds a message for {message.delay_s:g} s."
    if message.delay_s > 0 and message.routing_key not in (None, target.queue):
        return failures.NO_DELAY, "A delayed message comes to its own queue only."
    if message.priority is not None and not 0 <= message.priority <= PRIORITY_MAX:
        return failures.UNSENDABLE, f"The priority is not in 0 to {PRIORITY_MAX}."
    for name in ("routing_key", "message_id", "content_type"):
        if len((getattr(message, name) or "").encode()) > KEY_BYTES_MAX:
            return failures.UNSENDABLE, f"The {name} has more than {KEY_BYTES_MAX} bytes."
    return _attribute_fault(message.attributes)


def _attribute_fault(attributes: Mapping[str, AttributeValue]) -> tuple[str, str] | None:
    for name in attributes:
        if not 0 < len(name.encode()) <= FIELD_NAME_BYTES_MAX:
            what = f"{name[:32]!r} has not 1 to {FIELD_NAME_BYTES_MAX} bytes"
            return failures.UNSENDABLE, f"The attribute name {what}."
        if name in _ROUTING_HEADERS:
            return failures.UNSENDABLE, f"RabbitMQ takes the attribute {name} for routing keys."
    return None


def _final(code: str, sentence: str) -> Failed:
    evidence = failures.answered(code, sentence, stage=Stage.SETTINGS)
    if code == failures.MESSAGE_TOO_LARGE:
        evidence = msgspec.structs.replace(evidence, fault=Fault.TOO_LARGE)
    return failures.failed(evidence, "send", 0.0, final=True)


def _headers(attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
    return {name: _field(value) for name, value in attributes.items()}


def _field(value: AttributeValue) -> object:
    if isinstance(value, bytes):
        return bytearray(value)
    if isinstance(value, bool) or (
        isinstance(value, int) and -_INTEGER_MAX <= value < _INTEGER_MAX
    ):
        return value
    # The library has 32 bits for a float, and nothing for a longer integer.
    return value if isinstance(value, str) else str(value)
