"""What to do about a message that is not due yet. Pure.

Layer: workers. Systems delay by whole seconds and for so long at most, and Dramatiq by milliseconds
and for as long as it likes. So a delay is cut into hops: the queue hides the message for all whole
seconds that it can, the rest below a bound is waited for in memory, under the message's lease.
"""

import math
from dataclasses import dataclass

from eventpost.queues.interfaces import Traits
from eventpost.workers.limits import WorkerLimits


@dataclass(frozen=True, slots=True)
class Run:
    """It is due."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It is due soon: in memory, under its lease."""

    rest_s: float


@dataclass(frozen=True, slots=True)
class Hide:
    """Give it back, to come again after `delay_s`."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Resend:
    """Send it anew with this delay, and settle this one: the queue would forget it for its age."""

    delay_s: float


Step = Run | Wait | Hide | Resend


def first_delay_s(delay_ms: float, traits: Traits) -> float:
    """The delay to send a message with: never longer than asked for."""
    return float(math.floor(min(max(0.0, delay_ms / 1000), traits.delay_s_max)))


def step(
    rest_s: float,
    age_s: float,
    traits: Traits,
    limits: WorkerLimits,
    *,
    has_room: bool,
    resends: bool,
) -> Step:
    """What to do about a message that is due in `rest_s`.

    `has_room` says whether one more may wait in memory, `resends` whether age ends a message.
    """
    if rest_s <= 0:
        return Run()
    if rest_s <= limits.short_delay_s_max and has_room:
        return Wait(rest_s)
    if resends and age_s >= limits.resend_age_s:
        return Resend(first_delay_s(rest_s * 1000, traits))
    return Hide(max(1.0, float(math.floor(min(rest_s, traits.release_delay_s_max)))))
