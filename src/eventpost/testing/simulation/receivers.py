"""Receivers as a model: how they answer by their mood, and what they really took."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eventpost.core.outcomes import (
    DELIVERED,
    Delivered,
    Evidence,
    Failed,
    Fault,
    Outcome,
    Stage,
)

Act = Callable[[random.Random], "Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt goes: whether the receiver takes the events, and what the grid sees of it."""

    kind: str
    is_taken: bool
    outcome: Outcome
    after_s: float
    """When the grid sees it."""


def _quick_s(draw: random.Random) -> float:
    return draw.expovariate(1 / 0.01)


def _status(status: int, retry_after_s: int | None = None) -> Act:
    evidence = Evidence(
        stage=Stage.ANSWER, fault=Fault.STATUS, status=status, retry_after_s=retry_after_s
    )
    name = f"status {status}" + (" with Retry-After" if retry_after_s else "")
    return lambda draw: Answer(name, False, Failed(evidence), _quick_s(draw))


def _broken(
    kind: str, stage: Stage, fault: Fault, *, is_taken: bool = False, after_s: float = 0.0
) -> Act:
    evidence = Evidence(stage=stage, fault=fault)
    return lambda draw: Answer(kind, is_taken, Failed(evidence), after_s or _quick_s(draw))


def _good(draw: random.Random) -> Answer:
    return Answer("good", True, DELIVERED, _quick_s(draw))


def _reconnected(draw: random.Random) -> Answer:
    evidence = Evidence(stage=Stage.WRITE, fault=Fault.CLOSED, reconnect_count=1)
    return Answer("closed kept connection", True, Delivered(evidence), _quick_s(draw))


def _slow(draw: random.Random) -> Answer:
    return Answer("slow", True, DELIVERED, draw.uniform(0.5, 8.0))


def _untried(draw: random.Random) -> Answer:
    evidence = Evidence(stage=Stage.SETTINGS, fault=Fault.NO_DESCRIPTORS)
    return Answer("no descriptors", False, Failed(evidence, is_counted=False), _quick_s(draw))


def _refused_for_good(draw: random.Random) -> Answer:
    evidence = Evidence(stage=Stage.SETTINGS, fault=Fault.TOO_LARGE)
    return Answer("final by kind", False, Failed(evidence, final=True), _quick_s(draw))


def _mixed(draw: random.Random) -> Answer:
    evidence = Evidence(stage=Stage.ANSWER, fault=Fault.STATUS, status=500)
    return Answer(MIXED, True, Failed(evidence), _quick_s(draw))


MIXED = "part of a batch failed"
HANG_S = 12.0
"""After which the grid gives an attempt up."""

_FAULTS: tuple[Act, ...] = (
    *(_status(code) for code in (400, 401, 403, 404, 410, 413, 500)),
    _status(429, retry_after_s=2),
    _status(503, retry_after_s=1),
    _broken("name not found", Stage.NAME, Fault.NOT_FOUND),
    _broken("refused", Stage.CONNECT, Fault.REFUSED),
    _broken("reset", Stage.WAIT, Fault.RESET),
    _broken("reset after it was taken", Stage.WAIT, Fault.RESET, is_taken=True),
    _broken("timed out", Stage.WAIT, Fault.TIMED_OUT, after_s=3.0),
    _broken("timed out after it was taken", Stage.WAIT, Fault.TIMED_OUT, is_taken=True, after_s=3),
    _broken("hung", Stage.WAIT, Fault.TIMED_OUT, after_s=HANG_S),
    _reconnected,
    _slow,
    _untried,
    _refused_for_good,
    _mixed,
)
FAULTY = tuple(sorted(act(random.Random(0)).kind for act in _FAULTS))
"""The kinds of answers that are not simply good."""


class Receiver:
    """Where one subscription delivers. Outlives the grid's processes.

    Its mood is how often something goes wrong, and what.
    """

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._fault_chance = 0.0
        self._faults: Sequence[Act] = _FAULTS
        self.change_mood()

    def change_mood(self) -> None:
        draw = self._draw
        self._fault_chance = draw.choice((0.0, 0.02, 0.1, 0.3, 1.0))
        self._faults = _FAULTS if draw.random() < 0.5 else (draw.choice(_FAULTS),)

    def heal(self) -> None:
        """From now on everything is taken at once."""
        self._fault_chance = 0.0

    def answer(self) -> Answer:
        if self._draw.random() < self._fault_chance:
            return self._draw.choice(self._faults)(self._draw)
        return _good(self._draw)

    def parts(self, answer: Answer, count: int) -> list[Outcome]:
        """One outcome per event of a batch that is taken in part."""
        return [DELIVERED if self._draw.random() < 0.5 else answer.outcome for _ in range(count)]
