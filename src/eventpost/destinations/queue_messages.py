"""From a delivery to a message: its body by the format, its attributes, what its queue sorts by.

Layer: destinations.
"""

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.notation import parse_duration_ms
from eventpost.core.subscriptions import DeliveryAttribute, Subscription, Topic
from eventpost.destinations.kinds import Services
from eventpost.formats import delivery as delivery_format
from eventpost.formats import messaging, topics
from eventpost.formats.messages import Origin
from eventpost.queues.interfaces import Message, Traits

PRIORITY_DIGITS_MAX = 9


class Unsendable(Exception):
    """The event makes no message; it never will. Says why."""


class Composer:
    """For one subscription. From any thread."""

    def __init__(self, topic: Topic, subscription: Subscription, services: Services) -> None:
        endpoint = subscription.endpoint
        self._schema = topic.input_schema
        self._encode = messaging.encoder(endpoint.format)
        self._origin = Origin(
            input_schema=topic.input_schema,
            output_schema=endpoint.delivery_schema or topic.input_schema,
            topic_resource=topics.resource(topic.name, services.topic_prefix),
            queue=endpoint.address,
            now_ms=services.now_ms,
        )
        self._attributes = endpoint.attributes
        self._properties = endpoint.properties
        self._key = f"{topic.id}-{subscription.id}"

    def message(self, delivery: Delivery, traits: Traits) -> Message | Unsendable:
        """The message, or why there is none."""
        made = self._encode(delivery, self._origin)
        attributes = made.attributes
        for each in self._attributes:
            value = self._value(each, delivery)
            if value is not None:
                attributes[each.name] = value
        given = {each.name: self._value(each, delivery) or "" for each in self._properties}
        # What the format asks for goes as far as the system goes; what the user asks for is his.
        delay_s = min(made.delay_s, traits.delay_s_max)
        priority = made.priority
        try:
            if given.get("delay"):
                delay_s = _delay_s(given["delay"])
            if given.get("priority"):
                priority = _priority(given["priority"])
        except Unsendable as refusal:
            return refusal
        return Message(
            body=made.body,
            attributes=attributes,
            content_type=made.content_type,
            delay_s=delay_s,
            message_id=given.get("message-id") or delivery.event.id,
            group=given.get("group", ""),
            deduplication_id=given.get("deduplication-id") or self._offer(delivery),
            routing_key=given.get("routing-key") or None,
            priority=priority,
        )

    def _value(self, attribute: DeliveryAttribute, delivery: Delivery) -> str | None:
        if attribute.type == "static":
            return attribute.value
        return delivery_format.attribute(delivery.event.wire, self._schema, attribute.value)

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
