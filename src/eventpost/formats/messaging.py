"""The message formats by name: from a message to events, from an event to a message.

Layer: formats.
"""

from collections.abc import Callable

from eventpost.core.events import Delivery, Event
from eventpost.core.sources import MessageFormat
from eventpost.formats import dramatiq, event_messages, raw_messages, roadrunner_messages
from eventpost.formats.messages import Incoming, Origin, Outgoing, Target

Decode = Callable[[Incoming, Target], list[Event]]
Encode = Callable[[Delivery, Origin], Outgoing]

_DECODERS: dict[MessageFormat, Decode] = {
    MessageFormat.EVENT: event_messages.decode,
    MessageFormat.RAW: raw_messages.decode,
    MessageFormat.ROADRUNNER: roadrunner_messages.decode,
    MessageFormat.DRAMATIQ: dramatiq.decode,
}
_ENCODERS: dict[MessageFormat, Encode] = {
    MessageFormat.EVENT: event_messages.encode,
    MessageFormat.RAW: raw_messages.encode,
    MessageFormat.ROADRUNNER: roadrunner_messages.encode,
    MessageFormat.DRAMATIQ: dramatiq.encode,
}


def decoder(name: MessageFormat) -> Decode:
    """What makes events of messages of a format, at least one of each. It raises InvalidEvent for a
    message that is none of the format, and nothing else."""
    return _DECODERS[name]


def encoder(name: MessageFormat) -> Encode:
    """What makes a message of a stored event. Raises nothing."""
    return _ENCODERS[name]
