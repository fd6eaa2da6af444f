"""Frames that the client library cannot read, made readable: else one message would block a queue.

Layer: queues. Pure. RabbitMQ passes on what publishers wrote, also a routing key or a message id
that is not UTF-8, or a time that no calendar has. The library drops the whole connection at such a
frame, the message goes back to the head of its queue, and the same happens again, to every queue on
that connection. A mended frame has the same size; its body, in frames of its own, is untouched.
"""

from eventpost.queues.rabbitmq.client import PAMQPException, frame

METHOD, HEADER = 1, 2
FRAME_HEAD_BYTES = 7
_DELIVER = b"\x00\x3c\x00\x3c"
"""Class 60, basic, and its method 60."""
_FLAGS_AT = 12
"""Of a content header: after class, weight and body size."""
_TAG_AND_FLAG_BYTES = 9
"""Between the consumer tag and the exchange of basic.deliver."""
UNREADABLE = (PAMQPException, ValueError, ArithmeticError, OSError, TypeError)
"""What the library and the calendar raise at such frames."""


class Mender:
    """Looks at each frame as the library reads it: one byte, the rest of its head, the rest."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def mend(self, part: bytes) -> bytes:
        """The part to be given to the library."""
        self._parts.append(part)
        if len(self._parts) < 3:
            return part
        head, rest = b"".join(self._parts[:2]), self._parts[2]
        self._parts.clear()
        return mended(head, rest)


def mended(head: bytes, rest: bytes) -> bytes:
    """`rest` of a frame as it is, or without what cannot be read."""
    try:
        frame.unmarshal(head + rest)
    except UNREADABLE:
        if head[0] == HEADER:
            return _without_properties(rest)
        if head[0] == METHOD and rest.startswith(_DELIVER):
            return _with_plain_names(rest)
    return rest


def _without_properties(rest: bytes) -> bytes:
    """No flag says that a property follows; what follows is passed over."""
    return rest[:_FLAGS_AT] + b"\0\0" + rest[_FLAGS_AT + 2 :]


def _with_plain_names(rest: bytes) -> bytes:
    """The exchange and the routing key in ASCII, with a question mark for every other byte."""
    start = len(_DELIVER) + 1 + rest[len(_DELIVER)] + _TAG_AND_FLAG_BYTES
    key_at = start + 1 + rest[start]
    names = [rest[start + 1 : key_at], rest[key_at + 1 : -1]]
    exchange, key = (bytes(each if each < 0x80 else 0x3F for each in name) for name in names)
    return rest[: start + 1] + exchange + rest[key_at : key_at + 1] + key + rest[-1:]
