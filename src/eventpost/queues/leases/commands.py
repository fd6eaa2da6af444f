"""What the engine wants done, and what came of it. Whoever carries it out keeps no state."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Received, Verdict
from eventpost.queues.leases.lease import Lease


class Role(Enum):
    """Which hands a piece of work is for: none of the others may wait behind it."""

    RECEIVE = "receive"
    EXTEND = "extend"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True, eq=False)
class Receive:
    count_max: int
    wait_s: float
    lease_s: float
    started_s: float
    again: Sequence[Received] = ()
    """A page that came before and could not be looked up: to be looked up now, in place of asking
    the queue."""


@dataclass(frozen=True, slots=True, eq=False)
class Extend:
    leases: Sequence[Lease]
    held: Sequence[Received]
    """Each lease's delivery when the command was given; a newer one may have come meanwhile."""
    lease_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Settle:
    leases: Sequence[Lease]
    held: Sequence[Received]


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    leases: Sequence[Lease]
    held: Sequence[Received]
    delay_s: float


Change = Extend | Settle | Release
Command = Receive | Change


@dataclass(frozen=True, slots=True)
class Page:
    """What a receive brought, and which of it is known to be finished; or why that is not known."""

    received: Sequence[Received]
    known: Collection[str] = ()
    failed: Failed | None = None


Result = Page | Failed | Sequence[Verdict]
"""A Page for a Receive, verdicts for the others, or why the whole call failed."""
