"""How failures lie in time and over operations: constant, now and then, since a moment. Pure.

Layer: diagnosis.
"""

import itertools
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from eventpost.core.outcomes import Evidence

ATTEMPTS_MAX = 1_000
"""Attempts that are looked at; the newest ones when there are more."""
CHANGES_MIN = 2
"""Changes between working and failing above which it is not one moment that divides them."""
IDLE_MS = 60_000
"""A connection that nothing went over for so long may have been closed by the other side."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. `evidence` None: it worked."""

    at_ms: int
    operation: str = ""
    evidence: Evidence | None = None

    @property
    def worked(self) -> bool:
        return self.evidence is None


class Pattern(StrEnum):
    """How failures of one operation lie in time."""

    UNKNOWN = "unknown"  # too few attempts to say
    CONSTANT = "constant"
    INTERMITTENT = "intermittent"
    SINCE = "since"  # it worked, and since a moment it does not
    AFTER_IDLE = "after_idle"  # the first one after a pause fails, the next one works


def pattern(attempts: Sequence[Attempt], operation: str) -> Pattern:
    """Of one operation's attempts, in order of time."""
    own = [each for each in attempts[-ATTEMPTS_MAX:] if each.operation == operation]
    if len(own) < 2:
        return Pattern.UNKNOWN
    worked = [each.worked for each in own]
    if not any(worked):
        return Pattern.CONSTANT
    if all(worked):
        return Pattern.UNKNOWN
    if _is_after_idle(own):
        return Pattern.AFTER_IDLE
    changes = sum(one != other for one, other in itertools.pairwise(worked))
    if changes >= CHANGES_MIN:
        return Pattern.INTERMITTENT
    return Pattern.INTERMITTENT if worked[-1] else Pattern.SINCE


def began_ms(attempts: Sequence[Attempt], operation: str) -> int | None:
    """Since when an operation fails without having worked; None when it does not."""
    began: int | None = None
    for each in attempts[-ATTEMPTS_MAX:]:
        if each.operation == operation:
            began = None if each.worked else (each.at_ms if began is None else began)
    return began


def matrix(attempts: Iterable[Attempt]) -> dict[str, bool]:
    """Each operation, and whether its last attempt worked."""
    return {each.operation: each.worked for each in attempts if each.operation}


def _is_after_idle(own: Sequence[Attempt]) -> bool:
    """Every failure follows a pause, and is followed by one that works."""
    pairs = list(itertools.pairwise(own))
    failures = [index for index, each in enumerate(own) if not each.worked]
    for index in failures:
        if index == 0 or index == len(own) - 1:
            return False
        before, after = pairs[index - 1], own[index + 1]
        if before[1].at_ms - before[0].at_ms < IDLE_MS or not after.worked:
            return False
    return True
