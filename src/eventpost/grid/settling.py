"""What a consumer does with the events that it holds, as values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from eventpost.core.errors import EventpostError


class Action(StrEnum):
    """By the names of Event Grid."""

    ACKNOWLEDGE = "acknowledge"
    RELEASE = "release"
    REJECT = "reject"
    RENEW = "renewLock"


class Result(StrEnum):
    """What became of one lock token, by Event Grid's codes where it failed."""

    DONE = ""
    LOST = "TokenLost"
    FAILED = "InternalServerError"


class Key(NamedTuple):
    """One event under one lock. `letter` is not 0 for a replayed dead letter."""

    lock: int
    position: int
    letter: int = 0


Settled = Callable[["list[Result] | EventpostError"], None]


@dataclass(slots=True)
class Settling:
    """One request. `results` are in the order of `keys`."""

    action: Action
    keys: list[Key]
    delay_ms: int
    done: Settled
    results: list[Result] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    """Indices of keys whose events are not in memory."""

    def __post_init__(self) -> None:
        self.results = [Result.LOST] * len(self.keys)
