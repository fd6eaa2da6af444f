"""When a queue is empty: decided from what came, and from what the queue says of itself. Pure.

Layer: sources.

An empty answer alone proves little: after a move was killed its messages are hidden until their
leases end, and a consumer group is given no partition before the dead one's session is over. So the
queue is counted, where it can be, and what is hidden is waited for. And a count of nothing holds
only once the queue has answered once more that there is nothing: what it had handed to its client
by then is in nobody's books.
"""

from dataclasses import dataclass
from enum import Enum

from eventpost.sources.moving.limits import MoveLimits


class Look(Enum):
    """What to do next about a queue that gives nothing."""

    WAIT = "wait"
    COUNT = "count"
    """Ask how many messages there are, and say so with `counted`."""
    EMPTY = "empty"
    HIDDEN = "hidden"
    """Messages are there that were not handed out for too long."""


@dataclass(slots=True)
class Ending:
    """One queue. Times are monotonic."""

    limits: MoveLimits
    came_s: float
    """When the last message came, or the move began."""
    empty_before: int = 0
    """Empty answers up to then."""
    counted_s: float = -1.0
    empty_counted: int = 0
    """Empty answers up to the last count."""
    remaining: int | None = None
    """At the last count: messages that are not in our hands. None: it cannot be counted."""

    def came(self, now_s: float, empty_count: int) -> None:
        self.came_s, self.empty_before = now_s, empty_count
        self.counted_s, self.remaining = -1.0, None

    def counted(self, remaining: int | None, now_s: float, empty_count: int) -> None:
        self.counted_s, self.remaining, self.empty_counted = now_s, remaining, empty_count

    def look(self, now_s: float, empty_count: int) -> Look:
        """`empty_count` is how often the queue has answered that there is nothing."""
        quiet_s = now_s - self.came_s
        if empty_count <= self.empty_before or quiet_s < self.limits.quiet_s:
            return Look.WAIT
        if self.counted_s < 0:
            return Look.COUNT
        if self.remaining is not None and self.remaining <= 0:
            return Look.EMPTY if empty_count > self.empty_counted else Look.WAIT
        if now_s - self.counted_s >= self.limits.quiet_s:
            return Look.COUNT  # again: it changes, or could not be had for a moment
        if self.remaining is None:
            return Look.EMPTY if quiet_s >= self.limits.idle_s else Look.WAIT
        return Look.HIDDEN if quiet_s >= self.limits.hidden_wait_s else Look.WAIT
