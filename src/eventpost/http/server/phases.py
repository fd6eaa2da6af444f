"""What a connection waits for, how long it may, and how long it has.

Layer: http.
"""

from enum import Enum

from eventpost.http.server.limits import HttpLimits


class Phase(Enum):
    """What a connection waits for."""

    BUSY = "busy"  # our own work
    OPENED = "opened"  # the first byte
    IDLE = "idle"  # the next request
    HEAD = "head"
    BODY = "body"
    WRITE = "write"  # the client, to read
    LINGER = "linger"  # the client, to stop sending or to close


def limits_by_phase(limits: HttpLimits, *, is_full: bool) -> dict[Phase, float]:
    """Seconds that a connection may stay in a phase without progress."""
    idle_s = limits.idle_when_full_s if is_full else limits.idle_s
    return {
        Phase.BUSY: float("inf"),
        Phase.OPENED: min(limits.head_s, idle_s) if is_full else limits.head_s,
        Phase.IDLE: idle_s,
        Phase.HEAD: limits.head_s,
        Phase.BODY: limits.body_stall_s,
        Phase.WRITE: limits.write_stall_s,
        Phase.LINGER: limits.linger_s,
    }


class Watch:
    """When a connection was last seen to get on. Looked at by the sweep alone: nothing is written
    down, and no clock is read, when a request passes."""

    __slots__ = ("_seen", "_since_s")

    def __init__(self, now_s: float) -> None:
        self._seen = (Phase.OPENED, 0)
        self._since_s = now_s

    def waited_s(self, seen: tuple[Phase, int], now_s: float) -> float:
        """Seconds since the phase and its progress were first `seen` as they are."""
        if seen != self._seen:
            self._seen = seen
            self._since_s = now_s
        return now_s - self._since_s
