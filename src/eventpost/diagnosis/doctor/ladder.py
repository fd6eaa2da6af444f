"""The ladder of one thing that is examined: its rungs, and what they come to. Pure.

Layer: diagnosis. Rungs stand in the order in which they were climbed. The first one that is broken
is the last: what comes after it was not looked at, and what came before it is proven good.
"""

from enum import StrEnum

import msgspec

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.diagnosis.classify import Explanation, describe, explain


class State(StrEnum):
    """What came of looking at a rung."""

    GOOD = "good"
    WARNING = "warning"  # it holds, and will not for ever
    UNKNOWN = "unknown"  # it could not be looked at from here
    BROKEN = "broken"


class Rung(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rung, and what was seen there. Holds no secret."""

    name: str
    state: State
    detail: str = ""
    """What was proven, or why it could not be looked at."""
    elapsed_ms: int = 0
    explanation: Explanation | None = None
    """Of what is broken, or will be."""
    evidence: Evidence | None = None


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What came of climbing one ladder."""

    kind: str
    """`connection`, `source`, `subscription`, `store`, `server` or `configuration`."""
    name: str
    rungs: tuple[Rung, ...]

    @property
    def broken(self) -> Rung | None:
        """The rung that stopped the climb."""
        return next((each for each in self.rungs if each.state is State.BROKEN), None)

    @property
    def is_healthy(self) -> bool:
        return self.broken is None

    @property
    def warnings(self) -> tuple[Rung, ...]:
        return tuple(each for each in self.rungs if each.state is State.WARNING)

    @property
    def proven(self) -> tuple[str, ...]:
        """The names of the rungs that hold."""
        good = (State.GOOD, State.WARNING)
        return tuple(dict.fromkeys(each.name for each in self.rungs if each.state in good))


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """It holds now, and the finding says why it will not for ever."""

    code: str
    detail: str


class Unknown(msgspec.Struct, frozen=True):
    """It could not be looked at; `reason` says why, in words for people."""

    reason: str


class Faulty(msgspec.Struct, frozen=True, kw_only=True):
    """It is broken, and no evidence of an attempt leads to the finding that it is."""

    code: str
    detail: str
    evidence: Evidence | None = None


Seen = str | Failed | Faulty | Warned | Unknown | None
"""What a look saw: what is proven good, what is broken, or None where there is nothing to see."""


def rung(name: str, seen: Seen, elapsed_ms: int = 0) -> Rung | None:
    """The rung of what was seen."""
    if seen is None:
        return None
    if isinstance(seen, str):
        return Rung(name=name, state=State.GOOD, detail=seen, elapsed_ms=elapsed_ms)
    if isinstance(seen, Unknown):
        return Rung(name=name, state=State.UNKNOWN, detail=seen.reason, elapsed_ms=elapsed_ms)
    if isinstance(seen, Failed):
        return _broken(name, explain(seen.evidence), seen.evidence, seen.evidence.detail)
    if isinstance(seen, Faulty):
        return _broken(name, describe(seen.code, seen.evidence), seen.evidence, seen.detail)
    return Rung(
        name=name,
        state=State.WARNING,
        detail=seen.detail,
        elapsed_ms=elapsed_ms,
        explanation=describe(seen.code),
    )


def unexpected(name: str, error: BaseException) -> Rung:
    """The rung at which a look itself broke: it is told, and takes nothing else down."""
    evidence = Evidence(
        stage=Stage.SETTINGS if name == "settings" else Stage.WAIT,
        fault=Fault.UNEXPECTED,
        detail=f"{type(error).__name__} while looking",
    )
    return _broken(name, describe("EP9001", evidence), evidence, evidence.detail)


def _broken(name: str, found: Explanation, evidence: Evidence | None, detail: str) -> Rung:
    return Rung(
        name=name,
        state=State.BROKEN,
        detail=detail,
        elapsed_ms=0 if evidence is None else evidence.elapsed_ms,
        explanation=found,
        evidence=evidence,
    )
