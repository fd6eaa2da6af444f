"""The headers of a webhook delivery: what is constant for a subscription, what an event adds.

Layer: destinations. Event Grid's headers: https://learn.microsoft.com/azure/event-grid/
receive-events and delivery-properties; traces: W3C Trace Context.
"""

from collections.abc import Sequence

from eventpost.core.events import Delivery, Schema
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint, Subscription
from eventpost.core.version import VERSION
from eventpost.credentials import secrets
from eventpost.formats import delivery as delivery_format
from eventpost.formats import standardwebhooks
from eventpost.http.client import Target

ATTRIBUTE_BYTES_MAX = 4_096
"""Of a dynamic delivery attribute's value; a longer one is left out of the delivery."""
TRACE_CHARS_MAX = 512
USER_AGENT = f"eventpost/{VERSION}".encode()
METADATA_VERSION = {Schema.CLOUD_EVENTS: b"1.0"}


def constant_head(
    target: Target, subscription: Subscription, output_schema: Schema, origin: str
) -> bytes:
    """Request line and every header that is the same for all deliveries of a subscription."""
    lines = [
        b"aeg-event-type: Notification",
        b"aeg-subscription-name: " + subscription.name.upper().encode(),
        b"aeg-metadata-version: " + METADATA_VERSION.get(output_schema, b"1"),
    ]
    if output_schema is Schema.CLOUD_EVENTS:
        lines.append(b"WebHook-Request-Origin: " + origin.encode())
    constant = b"".join(text + b"\r\n" for text in lines)
    return target.head_start(b"POST") + constant + static_lines(subscription.endpoint)


def static_lines(endpoint: Endpoint) -> bytes:
    """`User-Agent` and the static attributes; handshakes carry them too, because a receiver may
    want its credential there."""
    lines = [
        line(one.name, one.value)
        for one in endpoint.attributes
        if one.type == "static" and is_sendable(one.value)
    ]
    if not any(text[:11].lower() == b"user-agent:" for text in lines):
        lines.append(b"User-Agent: " + USER_AGENT)
    return b"".join(text + b"\r\n" for text in lines)


def signing_keys(endpoint: Endpoint) -> list[bytes]:
    """The keys of its signing secrets, newest first. Raises InvalidRequest when one cannot be had.

    Read anew at each call, so that a rotated secret is seen.
    """
    return [
        standardwebhooks.key(secrets.resolve(reference)) for reference in endpoint.signing_secrets
    ]


def dynamic_attributes(endpoint: Endpoint) -> tuple[DeliveryAttribute, ...]:
    return tuple(one for one in endpoint.attributes if one.type == "dynamic")


def dynamic_lines(
    attributes: Sequence[DeliveryAttribute], deliveries: Sequence[Delivery], schema: Schema
) -> bytes:
    """The dynamic attributes of a delivery. One is sent when all events of a batch agree on it and
    it can stand in a header; otherwise it is left out, as Event Grid does."""
    lines = b""
    for attribute in attributes:
        values = {
            delivery_format.attribute(one.event.wire, schema, attribute.value) for one in deliveries
        }
        value = values.pop()
        if value is not None and not values and is_sendable(value):
            lines += line(attribute.name, value) + b"\r\n"
    return lines


def shared_values(
    attributes: Sequence[DeliveryAttribute], deliveries: Sequence[Delivery], schema: Schema
) -> dict[str, str]:
    """All attributes of a delivery by name, for destinations without headers. A dynamic one is left
    out as `dynamic_lines` does."""
    found: dict[str, str] = {}
    for each in attributes:
        if each.type == "static":
            found[each.name] = each.value
            continue
        values = {
            delivery_format.attribute(one.event.wire, schema, each.value) for one in deliveries
        }
        value = values.pop()
        if value is not None and not values:
            found[each.name] = value
    return found


def trace_lines(deliveries: Sequence[Delivery]) -> bytes:
    """`traceparent` and `tracestate` of the publish request, if all events of a batch share it."""
    trace = deliveries[0].event.trace
    if trace is None or any(one.event.trace != trace for one in deliveries):
        return b""
    lines = b""
    for name, value in zip(("traceparent", "tracestate"), trace, strict=True):
        if value and value.isascii() and value.isprintable() and len(value) <= TRACE_CHARS_MAX:
            lines += line(name, value) + b"\r\n"
    return lines


def is_sendable(value: str) -> bool:
    """Whether a value can stand in a header: one line, bounded; a tab is a blank."""
    if len(value.encode("utf-8", "surrogatepass")) > ATTRIBUTE_BYTES_MAX:
        return False
    return not any(_is_control(char) for char in value)


def line(name: str, value: str) -> bytes:
    """A header line without its end. Text outside ASCII goes out as UTF-8."""
    return f"{name}: {value}".encode()


def _is_control(char: str) -> bool:
    """Also half a surrogate pair, which UTF-8 cannot write."""
    return (char < " " and char != "\t") or char == "\x7f" or "\ud800" <= char <= "\udfff"
