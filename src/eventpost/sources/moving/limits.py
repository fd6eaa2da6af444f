"""Bounds of a move, by name. Seconds are those of the monotonic clock.

Layer: sources.
"""

from dataclasses import dataclass, fields

from eventpost.queues.leases import LeaseLimits

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLimits:
    """Settings of one move. What is not positive raises ValueError, but for the waits."""

    page_max: int = 100
    """Messages that are sent and then written into the journal together. A move that is killed has
    at most these in the target without knowing it."""
    page_bytes_max: int = 8 * MIB
    """The same in bytes: a page is closed by the message that passes it."""
    ahead_max: int = 200
    """Messages fetched ahead of those that are being sent."""
    skipped_max: int = 1_000
    """Messages that cannot be moved: they are held until the end, so that they do not come again
    and again. At so many the move ends."""
    skipped_bytes_max: int = 64 * MIB
    lease_s: float = 30.0
    """What is asked for with each message; extended for as long as it is held."""
    patience_s: float = 300.0
    """How long one side may fail without a break before the move ends."""
    retry_s_min: float = 0.5
    """The first pause after the target failed; it doubles."""
    retry_s_max: float = 15.0
    wait_s: float = 1.0
    """How long one receive waits for a message, where the queue lets it wait."""
    quiet_s: float = 1.0
    """How long nothing must have come before the queue is counted to see whether it is empty."""
    idle_s: float = 5.0
    """How long nothing must have come from a queue that cannot be counted."""
    hidden_wait_s: float = 60.0
    """How long to wait for messages that are there and are not handed out: those that a killed move
    holds come back when their leases end."""
    drain_s: float = 30.0
    """How long the end waits until what arrived is deleted from the source."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name not in _MAY_BE_ZERO):
                raise ValueError(f"{field.name} is {value}, and must be positive")

    @property
    def leases(self) -> LeaseLimits:
        """What the lease engine holds: pages, what is fetched ahead, and what is skipped."""
        return LeaseLimits(
            slots_max=self.page_max + self.ahead_max + self.skipped_max,
            held_bytes_max=2 * self.page_bytes_max + self.skipped_bytes_max,
            lease_s=self.lease_s,
            wait_s=self.wait_s,
            idle_s_min=min(LeaseLimits().idle_s_min, self.wait_s),
            idle_s_max=self.wait_s,
            receive_delay_s_max=5.0,
            pending_lease_s=self.lease_s,
            tell_s=1.0,
        )


_MAY_BE_ZERO = frozenset({"hidden_wait_s", "drain_s", "patience_s"})
