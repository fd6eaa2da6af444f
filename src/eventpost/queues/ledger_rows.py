"""Where a ledger's rows are kept, as its group commits see it: in a file, or on a server.

Layer: queues. A row is a finished message, by its queue's identity and its own id. All calls may be
made again with the same words, and then change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from eventpost.core.errors import EventpostError

DAY_S = 86_400.0

Entry = tuple[str, str]
"""A queue's identity and a message's id."""


class LedgerError(EventpostError):
    """The ledger cannot be used, or what was to be written is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLimits:
    """Bounds of a ledger."""

    age_s_max: float = 15 * DAY_S
    """How long a finished message is remembered that was not settled: longer than any queue keeps a
    message by default."""
    settled_age_s_max: float = 3_600.0
    """And one that was: the servers of a queue may deliver once more what they have deleted."""
    rows_max: int = 1_000_000
    """About 100 MB in a file, more on a server. Beyond it the oldest go, those
    that were settled first."""
    trim_every_s: float = 10.0
    trim_rows_max: int = 5_000
    """What one trim forgets at most, so that nobody waits long for it."""
    settled_waiting_max: int = 1_000
    """Settled ids that wait for the next commit; beyond it they make one."""
    busy_s: float = 10.0
    """How long to wait for another process that writes the file."""
    answer_s: float = 5.0
    """How long to wait for a server: for its connection, and for each of its answers."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) <= 0:
                raise ValueError(f"{each.name} is not positive")


@dataclass(frozen=True, slots=True)
class Risk:
    """What may make this ledger forget what it was told, although all goes well."""

    code: str
    what: str
    fix: str


class LedgerRows(Protocol):
    """One process's connections. One caller at a time writes, one at a time reads. Every call
    raises LedgerError; after one of a write the caller throws this object away and opens another.
    """

    def write(self, finished: Sequence[Entry], settled: Sequence[Entry], now_s: float) -> None:
        """Durable when this returns."""
        ...

    def known(self, queue: str, ids: Sequence[str]) -> set[str]:
        """Which of the ids are finished."""
        ...

    def trim(
        self, *, settled_before_s: float, before_s: float, rows_max: int, count_max: int
    ) -> tuple[int, int]:
        """Forget what is too old or too much, at most about `count_max` rows of each kind; those
        that were settled first. How many rows are left, and how many of them that were forgotten
        had not been settled and were not too old."""
        ...

    def count(self) -> int:
        """Rows there are."""
        ...

    def risks(self) -> Sequence[Risk]:
        """Why what is durable here may be gone later. Asked once, when a worker starts."""
        ...

    def close(self) -> None:
        """Never raises."""
        ...


class LedgerPlace(Protocol):
    """Where a ledger is. Made without opening anything; a forked child opens its own."""

    @property
    def name(self) -> str:
        """For errors and logs: without secrets."""
        ...

    def open(self, limits: LedgerLimits) -> LedgerRows:
        """Connect, make what is not there, and see that it can be written. Raises LedgerError."""
        ...
