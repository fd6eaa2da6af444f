"""The books: what became of every delivery, counted so that nothing is dropped silently.

    matched + replayed = delivered + dead-lettered + dropped + pending

holds per event subscription at all times (a rewind matches again).
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Dropped(StrEnum):
    """Why a delivery ended without being delivered or dead-lettered."""

    SUPERSEDED = "Superseded"  # a rewind offers it again
    SKIPPED = "Skipped"  # a rewind forward passed over it
    SUBSCRIPTION_DELETED = "SubscriptionDeleted"
    RETENTION = "Retention"  # the store's byte limit or age took the event
    DAMAGED = "Damaged"  # its segment's checksum is wrong


class Unrouted(StrEnum):
    """Why an event reached no subscription, counted per topic."""

    UNMATCHED = "Unmatched"


@dataclass(slots=True)
class Tally:
    """The counters of one lane: totals, or what changed since the last commit."""

    matched: int = 0
    replayed: int = 0
    delivered: int = 0
    dead_lettered: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        return (
            self.matched
            + self.replayed
            - self.delivered
            - sum(self.dead_lettered.values())
            - sum(self.dropped.values())
        )

    def is_zero(self) -> bool:
        return not (
            self.matched or self.replayed or self.delivered or self.dead_lettered or self.dropped
        )

    def add(self, other: "Tally") -> None:
        self.matched += other.matched
        self.replayed += other.replayed
        self.delivered += other.delivered
        for reason, count in other.dead_lettered.items():
            self.dead_lettered[reason] = self.dead_lettered.get(reason, 0) + count
        for reason, count in other.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def take(self, other: "Tally") -> list[object]:
        """`add`, after which `other` begins at zero; returns `other` as it was, packed. Hot."""
        packed = other.packed()
        self.matched += other.matched
        self.replayed += other.replayed
        self.delivered += other.delivered
        other.matched = other.replayed = other.delivered = 0
        if other.dead_lettered or other.dropped:
            self.add(Tally(0, 0, 0, other.dead_lettered, other.dropped))
            other.dead_lettered, other.dropped = {}, {}
        return packed

    def packed(self) -> list[object]:
        return [self.matched, self.replayed, self.delivered, self.dead_lettered, self.dropped]


@dataclass(slots=True, kw_only=True)
class SubscriptionReport:
    """One subscription as metrics, the API and the dashboard show it."""

    topic: str
    subscription: str
    tally: Tally
    lag: int
    """Events of the log it has not read yet, matching or not."""
    in_flight: int
    ladder: int
    dead_letters: int
    is_paused: bool
    is_breaker_open: bool
    attempts_failed: int
    """Attempts that failed since the process started."""
    reconnects: int = 0


@dataclass(slots=True, kw_only=True)
class TopicReport:
    topic: str
    published: int
    """Events accepted, durable across restarts: the next position."""
    unmatched: int
    rejected: int
    """Publish requests refused since the process started."""
    oldest_position: int = 0
