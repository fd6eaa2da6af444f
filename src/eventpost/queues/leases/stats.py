"""A snapshot of an engine's own books."""

import msgspec

from eventpost.core.outcomes import Failed
from eventpost.queues.leases.holdings import Holdings
from eventpost.queues.leases.lease import Fate, State
from eventpost.queues.leases.receiving import Receiving


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine did and holds.

    received = settled + released + lost + replaced + abandoned + left + held
    """

    is_paused: bool = False
    can_extend: bool = False
    """Whether leases are extended: the system can, and nobody forbids it."""

    received: int = 0
    """Deliveries that the server handed to us, repeated ones included."""
    settled: int = 0
    released: int = 0
    lost: int = 0
    """Ended without a settle or a release of ours taking effect: somebody else has them."""
    replaced: int = 0
    """Followed by a newer delivery of the same message while it was held."""
    abandoned: int = 0
    """Finished, and left to come again."""
    left: int = 0
    """Held when the engine was closed."""
    held: int = 0

    buffered: int = 0
    running: int = 0
    slots_used: int = 0
    pending_settles: int = 0
    pending_releases: int = 0
    oldest_pending_s: float = 0.0
    """How long the oldest finished message has waited to be settled."""
    held_bytes: int = 0

    taken: int = 0
    redelivered_finished: int = 0
    """Messages that came again although they were finished, and were not given out again."""
    lost_running: int = 0
    """Leases that were lost while their message was at work: it may have been done twice."""
    lost_unstarted: int = 0
    """Leases that were lost before anybody took the message."""
    regained: int = 0

    requests: dict[str, int] = {}
    """Calls by operation."""
    empty_receives: int = 0
    failures: dict[str, int] = {}
    """Failed entries and calls by `OPERATION:CODE`."""
    last_failures: dict[str, Failed] = {}
    """The newest failure of each operation."""
    failing: dict[str, Failed] = {}
    """What fails at this moment, `receive` or `settle`: its newest failure since it last worked."""
    listener_errors: int = 0


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine still held when it was closed. All of it comes again."""

    running: int = 0
    """Taken, and neither finished nor released."""
    finished: int = 0
    """Finished and not settled: known to a ledger, if there is one."""
    unreleased: int = 0
    """Not begun, or given up, and not given back: it comes when its lease ends."""

    def __bool__(self) -> bool:
        return bool(self.running or self.finished or self.unreleased)


def snapshot(held: Holdings, receiving: Receiving, now_s: float) -> Stats:
    """The books as they stand. Costs as much as messages are pending."""
    tally, fates = held.tally, held.tally.fates
    pending = [lease.state for lease in held.pending.values()]
    oldest = next(iter(held.pending.values()), None)
    return Stats(
        is_paused=held.is_paused,
        can_extend=held.traits.can_extend and not held.extending.is_forbidden,
        received=tally.received,
        settled=fates[Fate.SETTLED],
        released=fates[Fate.RELEASED],
        lost=fates[Fate.LOST],
        replaced=fates[Fate.REPLACED],
        abandoned=fates[Fate.ABANDONED],
        left=fates[Fate.LEFT],
        held=len(held.leases),
        buffered=len(held.buffer),
        running=len(held.slots) - len(held.buffer),
        slots_used=len(held.slots),
        pending_settles=pending.count(State.FINISHED),
        pending_releases=pending.count(State.RELEASING),
        oldest_pending_s=0.0 if oldest is None else now_s - oldest.pending_since_s,
        held_bytes=held.held_bytes,
        taken=tally.taken,
        redelivered_finished=tally.redelivered_finished,
        lost_running=tally.lost_running,
        lost_unstarted=tally.lost_unstarted,
        regained=tally.regained,
        requests=dict(tally.requests),
        empty_receives=receiving.empty_count,
        failures={f"{name}:{code}": count for (name, code), count in tally.failures.items()},
        last_failures=dict(tally.last_failures),
        failing=_failing(held, receiving),
        listener_errors=tally.listener_errors,
    )


def _failing(held: Holdings, receiving: Receiving) -> dict[str, Failed]:
    failing = {"receive": receiving.outage.failed}
    if len(held.settling):
        failing["settle"] = held.settling.outage.failed
    return {name: failed for name, failed in failing.items() if failed is not None}
