"""From a delivery to a message: its body by the format, its attributes, what its queue sorts by.

Layer: destinations.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery, Schema
from eventpost.core.notation import parse_duration_ms
from eventpost.core.outcomes import Fault
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint, Subscription, Topic
from eventpost.destinations.kinds import Services
from eventpost.formats import delivery as delivery_format
from eventpost.formats import messaging, topics
from eventpost.formats.messages import Origin
from eventpost.queues.interfaces import Message, Traits

PRIORITY_DIGITS_MAX = 9


class Unsendable(Exception):
    """The event makes no message; it never will. Says why."""

    fault = Fault.MALFORMED


class Oversized(Unsendable):
    """It would be larger than its queue takes."""

    fault = Fault.TOO_LARGE


class Properties(NamedTuple):
    """What the user asks of one message."""

    texts: Mapping[str, str]
    """By the names of `MESSAGE_PROPERTIES`; "" where the event has none."""
    delay_s: float | None
    priority: int | None


class Asked:
    """What a subscription's endpoint asks of its messages. From any thread."""

    def __init__(self, endpoint: Endpoint, schema: Schema) -> None:
        self._schema = schema
        self._attributes = endpoint.attributes
        self._properties = endpoint.properties

    def attributes(self, delivery: Delivery) -> dict[str, str]:
        found = {each.name: self._value(each, delivery) for each in self._attributes}
        return {name: value for name, value in found.items() if value is not None}

    def properties(self, delivery: Delivery) -> Properties:
        """Raises Unsendable for a delay or a priority that is none."""
        texts = {each.name: self._value(each, delivery) or "" for each in self._properties}
        delay, priority = texts.get("delay"), texts.get("priority")
        return Properties(
            texts=texts,
            delay_s=_delay_s(delay) if delay else None,
            priority=_priority(priority) if priority else None,
        )

    def _value(self, attribute: DeliveryAttribute, delivery: Delivery) -> str | None:
        if attribute.type == "static":
            return attribute.value
        return delivery_format.attribute(delivery.event.wire, self._schema, attribute.value)


class Composing(Protocol):
    """What makes the messages of one subscription. From any thread."""

    def message(self, delivery: Delivery, traits: Traits) -> Message | Unsendable:
        """The message, or why there is none."""
        ...


class Composer:
    """For one subscription. From any thread."""

    def __init__(self, topic: Topic, subscription: Subscription, services: Services) -> None:
        endpoint = subscription.endpoint
        self._encode = messaging.encoder(endpoint.format)
        self._origin = Origin(
            input_schema=topic.input_schema,
            output_schema=endpoint.delivery_schema or topic.input_schema,
            topic_resource=topics.source_of(topic, services.topic_prefix),
            queue=endpoint.address,
            now_ms=services.now_ms,
        )
        self._asked = Asked(endpoint, topic.input_schema)
        self._key = f"{topic.id}-{subscription.id}"

    def message(self, delivery: Delivery, traits: Traits) -> Message | Unsendable:
        """The message, or why there is none."""
        made = self._encode(delivery, self._origin)
        try:
            asked = self._asked.properties(delivery)
        except Unsendable as refusal:
            return refusal
        # What the format asks for goes as far as the system goes; what the user asks for is his.
        delay_s = min(made.delay_s, traits.delay_s_max) if asked.delay_s is None else asked.delay_s
        given = asked.texts
        return Message(
            body=made.body,
            attributes={**made.attributes, **self._asked.attributes(delivery)},
            content_type=made.content_type,
            delay_s=delay_s,
            message_id=given.get("message-id") or delivery.event.id,
            group=given.get("group", ""),
            deduplication_id=given.get("deduplication-id") or self._offer(delivery),
            routing_key=given.get("routing-key") or None,
            priority=made.priority if asked.priority is None else asked.priority,
        )

    def _offer(self, delivery: Delivery) -> str:
        """The same for every attempt at a delivery, and for no other: also a rewind or a replay
        offers the event anew."""
        return f"{self._key}-{delivery.position}-{delivery.offered_ms}"


def _delay_s(text: str) -> float:
    """Seconds of `30`, `1.5` or `30s`."""
    try:
        found = float(text) if text[-1:].isdigit() else parse_duration_ms(text) / 1000
    except (ValueError, InvalidRequest):
        found = -1.0
    if not 0 <= found < float("inf"):
        raise Unsendable(f"The delay {text[:80]!r} is no time such as 30 or 30s.")
    return found


def _priority(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= PRIORITY_DIGITS_MAX:
        return int(text)
    raise Unsendable(f"The priority {text[:80]!r} is no whole number.")
