"""One message under lease, from its receipt until nothing more can be done about it."""

from enum import Enum

import msgspec

from eventpost.queues.interfaces import Received


class State(Enum):
    BUFFERED = "buffered"
    """Waits to be taken."""
    RUNNING = "running"
    """Taken, and neither finished nor released."""
    FINISHED = "finished"
    """Done; the server does not know it yet."""
    RELEASING = "releasing"
    """Not done; the server does not know yet that it may have it back."""
    TWIN = "twin"
    """Another delivery of a message that is held already; goes the way of the first."""
    OVER = "over"


class Fate(Enum):
    """How a delivery ended for the engine. Each that was received ends in exactly one."""

    SETTLED = "settled"
    RELEASED = "released"
    LOST = "lost"
    """Somebody else may have it: its lease ran out, or its receipt is void."""
    REPLACED = "replaced"
    """A newer delivery of the same message took its place."""
    ABANDONED = "abandoned"
    """It is finished, and its settle is given up: it comes again, and is known."""
    LEFT = "left"
    """It was held when the engine was closed."""


class LostReason(Enum):
    EXPIRED = "expired"
    """Its lease ran out and could not be extended in time."""
    TAKEN = "taken"
    """The server says that the receipt is void: somebody has received it anew."""
    LATE = "late"
    """The answer that brought it came after its lease had ended."""


class Lease:
    """A message that this process holds. `id`, `message` and `is_lost` are for whoever took it; the
    rest belongs to the engine, within its lock."""

    __slots__ = (
        "attempt_count",
        "bytes",
        "extend_at_s",
        "fate",
        "held",
        "id",
        "is_busy",
        "is_lost",
        "is_void",
        "key",
        "length_s",
        "message",
        "pending_since_s",
        "received_s",
        "release_delay_s",
        "state",
        "twins",
    )

    def __init__(self, key: object, message: Received, received_s: float, length_s: float) -> None:
        self.id = message.id
        """The transport's, or "" where it has none."""
        self.message = message
        """Its content is let go of with `finish`, and with `release`: keep it, to use it later."""
        self.is_lost = False
        """Whether somebody else may have the message by now. It may become False again."""

        self.key = key
        self.held = message
        """What extend, settle and release go by: the newest delivery, or a copy of it without its
        body."""
        self.twins: list[Lease] = []
        self.state = State.BUFFERED
        self.fate: Fate | None = None
        self.is_busy = False
        """Whether a call on it is under way: there is never more than one."""
        self.is_void = False
        """Whether the server has said that the receipt is void."""
        self.bytes = len(message.body)
        self.received_s = received_s
        self.length_s = length_s
        self.extend_at_s = 0.0
        self.pending_since_s = 0.0
        self.release_delay_s = 0.0
        self.attempt_count = 0

    @property
    def until_s(self) -> float:
        return self.held.lease_until_s

    @property
    def is_pending(self) -> bool:
        return self.state in (State.FINISHED, State.RELEASING)

    def strip(self) -> None:
        """Keep no more than a settle needs."""
        self.message = self.held = bare(self.held)
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<Lease {self.id or self.key} {self.state.value}>"


def bare(message: Received) -> Received:
    """A copy that holds no content any more."""
    return msgspec.structs.replace(message, body=b"", attributes={}, system_attributes={})
