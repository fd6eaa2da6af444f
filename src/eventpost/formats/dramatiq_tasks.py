"""From an event to a task: the message for a Dramatiq actor, its arguments taken from the event.

Layer: formats. Pure. Which queue it goes to, and how, is its destination's matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from eventpost.core.events import Delivery
from eventpost.formats import delivery as delivery_format
from eventpost.formats.dramatiq import DramatiqMessage
from eventpost.formats.messages import Origin

WHOLE_EVENT = "event"
"""The path of the whole event, in the delivery schema."""
DATA = "data"
_NULL = msgspec.Raw(b"null")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMapping:
    """Which actor, and what of the event it is called with. Values are JSON."""

    actor: str = ""
    """"": the event's type."""
    args: tuple[str, ...] = (DATA,)
    """Paths into the event, such as `data.song`. Where nothing lies, and there is no default, the
    argument is null, so that the others keep their places."""
    kwargs: Mapping[str, str] = field(default_factory=dict)
    """Paths by the actor's names. What is not there is left out: the actor's own default holds."""
    defaults: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    """By path: what stands where nothing lies."""
    options: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    """Of the message, such as `max_retries`."""


def task(
    delivery: Delivery,
    origin: Origin,
    mapping: TaskMapping,
    *,
    queue: str,
    options: Mapping[str, object],
    message_id: str,
) -> bytes:
    """The message, as Dramatiq's own encoder would have written it but for its blanks. `options`
    are those of this one message."""
    args = [_value(delivery, origin, path, mapping) for path in mapping.args]
    if mapping.args == (DATA,) and args == [None]:  # an event without data: nothing to hand over
        args = []
    kwargs = {
        name: found
        for name, path in mapping.kwargs.items()
        if (found := _value(delivery, origin, path, mapping)) is not None
    }
    return _encode(
        DramatiqMessage(
            queue_name=queue,
            actor_name=mapping.actor or delivery.event.type,
            args=[_NULL if one is None else one for one in args],
            kwargs=kwargs,
            options={**mapping.options, **{n: msgspec.Raw(_encode(o)) for n, o in options.items()}},
            message_id=message_id,
            message_timestamp=origin.now_ms(),
        )
    )


def _value(
    delivery: Delivery, origin: Origin, path: str, mapping: TaskMapping
) -> msgspec.Raw | None:
    """What lies at a path, or its default; None for neither."""
    wire = delivery.event.wire
    if path == WHOLE_EVENT:
        schemas = origin.input_schema, origin.output_schema
        return msgspec.Raw(delivery_format.alone(*schemas, wire, origin.topic_resource))
    found = delivery_format.value_at(wire, origin.input_schema, path)
    return msgspec.Raw(found) if found else mapping.defaults.get(path)
