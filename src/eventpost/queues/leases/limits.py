"""Every bound of the lease engine, by name. Seconds are those of the monotonic clock."""

from dataclasses import dataclass, fields

MIB = 1024 * 1024
DAY_S = 86_400.0
_MAY_BE_0 = frozenset({"settle_linger_s", "quick_s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLimits:
    """Settings of one engine. What is not positive, or contradicts itself, raises ValueError."""

    slots_max: int = 64
    """Messages held at once that are not finished: those that wait to be taken, and those at work.
    Also what is fetched ahead of whoever takes."""
    quick_s: float = 0.0
    """When as many messages as one receive brings were finished within this time, so many more than
    `slots_max` are fetched ahead: work that is so quick would wait for them. 0: never."""
    held_bytes_max: int = 64 * MIB
    """Bytes of bodies held at once. Passed by at most a page for each receive under way."""

    lease_s: float = 60.0
    """What is asked for with each message; extended at a third of it for as long as it is held."""
    hold_s_max: float = 43_200.0
    """How long one message is held by extending its lease; then its lease is left to run out.
    Amazon SQS allows no more than these 12 hours."""
    unextended_lease_s: float = 600.0
    """What is asked for where leases cannot be extended: longer than any work takes."""
    pending_lease_s: float = 900.0
    """What is asked for when the lease of a finished message is extended, because it could not be
    settled yet: nobody waits for it."""
    extend_retry_s: float = 600.0
    """How often a forbidden extension is tried again, with one message."""

    wait_s: float = 20.0
    """The longest poll that is asked for; systems shorten it to what they have."""
    idle_s_min: float = 0.2
    """The first pause after an empty answer of a system that does not wait itself; it grows."""
    idle_growth: float = 2.0
    """How many times as long each such pause is as the one before."""
    idle_s_max: float = 30.0
    receive_calls_max: int = 4
    """Receives under way at once. More than one only while full pages come."""
    receive_delay_s_min: float = 0.5
    """Bound of the first pause after a failed receive. It doubles; the pause is random below it."""
    receive_delay_s_max: float = 30.0

    settle_calls_max: int = 4
    """Settles and releases under way at once. One while they fail."""
    settle_linger_s: float = 0.02
    """How long a finished message waits for others to fill a batch with."""
    settle_delay_s_min: float = 0.1
    """Bound of the first pause after a failed settle. It doubles; the pause is random below it."""
    settle_delay_s_max: float = 5.0
    """As long as settles fail for less than a lease."""
    settle_delay_s_late: float = 30.0
    """When they fail for longer."""
    pending_max: int = 10_000
    """Messages that wait to be settled or released. Beyond it the oldest are left to come again,
    where leases run out and a redelivery is known by its id; elsewhere nothing more is received."""
    pending_s_max: float = 14 * DAY_S
    """How long one settle is tried, where leases run out: no such system keeps a message longer."""
    remembered_max: int = 10_000
    """Finished ids kept in memory, to know a redelivery without asking anybody."""

    tell_s: float = 60.0
    """The same kind of failure is told once in this time, with how often it happened."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name not in _MAY_BE_0):
                raise ValueError(f"{field.name} is {value}, and must be positive")
        if self.idle_growth < 1:
            raise ValueError(f"idle_growth is {self.idle_growth}: a pause would get shorter")
        ascending = [
            ("idle_s_min", "idle_s_max"),
            ("receive_delay_s_min", "receive_delay_s_max"),
            ("settle_delay_s_min", "settle_delay_s_max"),
            ("settle_delay_s_max", "settle_delay_s_late"),
            ("lease_s", "hold_s_max"),
        ]
        for lower, upper in ascending:
            if getattr(self, lower) > getattr(self, upper):
                raise ValueError(f"{lower} is above {upper}")
