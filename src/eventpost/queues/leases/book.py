"""Every message that one engine holds, and what is to be done about it next.

Pure: no thread, no lock, no clock. The engine calls it within its lock, carries out the commands
that `next` gives, and answers each with `done`. Afterwards it makes the calls that `take_news`
gives, and wakes the hands that `take_stirred` names.
"""

from collections.abc import Sequence
from random import Random

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Traits, Verdict
from eventpost.queues.leases.arrivals import Arrivals
from eventpost.queues.leases.commands import (
    Command,
    Extend,
    Page,
    Receive,
    Release,
    Result,
    Role,
    Settle,
)
from eventpost.queues.leases.holdings import Holdings
from eventpost.queues.leases.lease import Fate, Lease, LostReason, State
from eventpost.queues.leases.limits import LeaseLimits
from eventpost.queues.leases.listening import Listener
from eventpost.queues.leases.pacing import News, Quickness
from eventpost.queues.leases.receiving import Receiving
from eventpost.queues.leases.stats import Left, Stats, snapshot
from eventpost.queues.leases.verdicts import Verdicts

NEVER_S = float("inf")


class Book:
    """The state of one engine, and its one way in and out."""

    def __init__(
        self, traits: Traits, limits: LeaseLimits, random: Random, listener: Listener
    ) -> None:
        self.traits = traits
        self.limits = limits
        self.held = Holdings(traits, limits, random, listener)
        self.receiving = Receiving(traits, limits, random)
        self.is_closed = False
        self._is_releases_turn = False
        self._arrivals = Arrivals(self.held, self.receiving)
        self._verdicts = Verdicts(self.held)
        self._entries_max = max(traits.batch_count_max, traits.receive_count_max)
        self._quickness = Quickness(traits.receive_count_max, limits.quick_s)

    # --- what to do next --------------------------------------------------------------------------

    def next(self, role: Role, now_s: float) -> Command | None:
        """The next piece of work for these hands, if there is one now."""
        self.held.expire(now_s)
        match role:
            case Role.RECEIVE:
                return self._next_receive(now_s)
            case Role.EXTEND:
                return self._next_extend(now_s)
            case Role.SETTLE:
                return self._next_settle(now_s)

    def wake_s(self, role: Role) -> float:
        """When to ask `next` again, if nothing stirs these hands before."""
        match role:
            case Role.RECEIVE:
                free, buffered = self._free_count(), len(self.held.buffer)
                return self.receiving.wake_s(
                    free_count=free, buffered_count=buffered, slots_count=self._slots_count
                )
            case Role.EXTEND:
                return self.held.extend_wake_s()
            case Role.SETTLE:
                if self._call_count() >= self.limits.settle_calls_max:
                    return NEVER_S
                urgent = self.held.is_closing
                settle_s = self.held.settling.wake_s(is_urgent=urgent)
                return min(settle_s, self.held.releasing.wake_s(is_urgent=urgent))

    def _next_receive(self, now_s: float) -> Receive | None:
        self._quickness.look(now_s)
        free, buffered = self._free_count(), len(self.held.buffer)
        lease_s = self.held.extending.receive_lease_s
        receive = self.receiving.next(
            now_s,
            free_count=free,
            buffered_count=buffered,
            slots_count=self._slots_count,
            lease_s=lease_s,
        )
        if receive is not None:
            self.held.tally.requests["receive"] += 1
        return receive

    def _next_extend(self, now_s: float) -> Extend | None:
        if self.is_closed or not self.traits.can_extend:
            return None
        extend = self.held.extending.next(self.held.leases.values(), now_s, self._entries_max)
        if extend is not None:
            self._begin(extend.leases, "extend")
            for lease in extend.leases:
                self.held.settling.drop(lease)  # until its extend is answered
        return extend

    def _next_settle(self, now_s: float) -> Settle | Release | None:
        if self.is_closed or self._call_count() >= self.limits.settle_calls_max:
            return None
        ways = [self._next_of_settling, self._next_of_releasing]
        if self._is_releases_turn:
            ways.reverse()
        for way in ways:
            command = way(now_s)
            if command is not None:
                self._is_releases_turn = isinstance(command, Settle)
                return command
        return None

    def _next_of_settling(self, now_s: float) -> Settle | None:
        urgent = self.held.is_closing
        leases = self.held.settling.take(now_s, self._entries_max, is_urgent=urgent)
        if not leases:
            return None
        self._begin(leases, "settle")
        return Settle(leases, [one.held for one in leases])

    def _next_of_releasing(self, now_s: float) -> Release | None:
        urgent = self.held.is_closing
        leases = self.held.releasing.take(now_s, self._entries_max, is_urgent=urgent)
        if not leases:
            return None
        delay_s = leases[0].release_delay_s
        for other in [one for one in leases if one.release_delay_s != delay_s]:
            leases.remove(other)
            self.held.releasing.add(other, now_s)
        self._begin(leases, "release")
        return Release(leases, [one.held for one in leases], delay_s)

    def _begin(self, leases: Sequence[Lease], operation: str) -> None:
        self.held.tally.requests[operation] += 1
        for lease in leases:
            assert not lease.is_busy
            lease.is_busy = True

    def _call_count(self) -> int:
        return self.held.settling.call_count + self.held.releasing.call_count

    def _free_count(self) -> int:
        is_full = not self.held.can_abandon and len(self.held.pending) >= self.limits.pending_max
        if self.held.is_paused or self.held.is_closing or is_full:
            return 0
        if self.held.held_bytes >= self.limits.held_bytes_max:
            return 0
        return self._slots_count - len(self.held.slots)

    @property
    def _slots_count(self) -> int:
        more = self.traits.receive_count_max if self._quickness.is_on else 0
        return self.limits.slots_max + more

    # --- what came of it --------------------------------------------------------------------------

    def done(self, command: Command, result: Result, now_s: float) -> None:
        """A command was carried out."""
        if isinstance(command, Receive):
            assert isinstance(result, Page | Failed)
            self._arrivals.done(command, result, now_s)
            if self.is_closed:
                self.end_close()  # nobody is left to give it back
            self.held.stirred.add(Role.RECEIVE)
            return
        assert not isinstance(result, Page)
        verdicts: Sequence[Verdict] = (
            [result] * len(command.leases) if isinstance(result, Failed) else result
        )
        for lease in command.leases:
            lease.is_busy = False
        if isinstance(command, Extend):
            self._verdicts.extended(command, verdicts, now_s)
        else:
            self._verdicts.settled(command, verdicts, now_s)
        self.held.stirred |= {Role.SETTLE, Role.EXTEND}

    @property
    def has_news(self) -> bool:
        return bool(self.held.news or self._arrivals.ready_count)

    def take_news(self) -> list[News]:
        """Calls of the listener that are to be made, without the lock."""
        news, self.held.news = self.held.news, []
        return news

    def take_ready_count(self) -> int:
        """How many messages came into the buffer since the last call."""
        count, self._arrivals.ready_count = self._arrivals.ready_count, 0
        return count

    def take_stirred(self) -> set[Role]:
        """Hands that may have something to do earlier than they think."""
        stirred, self.held.stirred = self.held.stirred, set()
        return {role for role in stirred if self.wake_s(role) < NEVER_S}

    # --- what callers say -------------------------------------------------------------------------

    def take(self, now_s: float, count_max: int) -> list[Lease]:
        """Messages to work on, oldest first."""
        taken: list[Lease] = []
        if self.held.is_paused or self.held.is_closing:
            return taken
        while self.held.buffer and len(taken) < count_max:
            lease = self.held.buffer.popitem(last=False)[0]
            if lease.until_s <= now_s:
                self.held.lose(lease, LostReason.EXPIRED)
            elif self.held.is_stale(lease, now_s):
                self.held.put_back(lease, now_s)
            else:
                lease.state = State.RUNNING
                taken.append(lease)
        self.held.tally.taken += len(taken)
        self.held.stirred.add(Role.RECEIVE)
        return taken

    def finish(self, lease: Lease, now_s: float) -> bool:
        """The work on it is done. False when it is not at work here."""
        if self.held.leases.get(lease.key) is not lease or lease.state is not State.RUNNING:
            return False
        if lease.is_void:
            self.held.remember(lease)
            self.held.end(lease, Fate.LOST)
        else:
            self.held.to_pending(lease, State.FINISHED, 0.0, now_s)
        self._quickness.finished(now_s)
        return True

    def release(self, lease: Lease, delay_s: float, now_s: float) -> bool:
        """It is not done, and is to come again. False when it is not at work here."""
        if self.held.leases.get(lease.key) is not lease or lease.state is not State.RUNNING:
            return False
        if lease.is_void:
            self.held.end(lease, Fate.LOST)
        else:
            delay_s = min(max(0.0, delay_s), self.traits.release_delay_s_max)
            self.held.to_pending(lease, State.RELEASING, delay_s, now_s)
        return True

    def nudge(self, now_s: float) -> None:
        self.receiving.nudge(now_s)
        self.held.stirred.add(Role.RECEIVE)

    def pause(self, now_s: float) -> None:
        """Receive nothing, and give back what was not taken. A log's records stay: giving them back
        would write them anew."""
        self.held.is_paused = True
        self.receiving.woken(now_s)
        if not self.traits.is_log:
            self.held.put_all_back(now_s)

    def resume(self, now_s: float) -> None:
        self.held.is_paused = False
        self._arrivals.ready_count += len(self.held.buffer)
        self.nudge(now_s)

    def begin_close(self, now_s: float) -> None:
        """Receive nothing more, give back what was not taken, and settle without lingering."""
        self.held.is_closing = True
        self.receiving.woken(now_s)
        self.held.put_all_back(now_s)
        self.held.settling.hurry(now_s)
        self.held.releasing.hurry(now_s)
        self.held.stirred |= set(Role)

    @property
    def is_drained(self) -> bool:
        """Whether nothing is held, and no receive is under way that could bring something."""
        return not self.held.leases and not self.receiving.call_count

    def end_close(self) -> Left:
        """Let go of everything that is still held."""
        states = [lease.state for lease in self.held.leases.values()]
        left = Left(
            running=states.count(State.RUNNING),
            finished=states.count(State.FINISHED),
            unreleased=states.count(State.RELEASING),
        )
        self.held.is_closing = self.is_closed = True
        for lease in list(self.held.leases.values()):
            if lease.state is not State.OVER:
                self.held.end(lease, Fate.LEFT)
        return left

    def stats(self, now_s: float) -> Stats:
        return snapshot(self.held, self.receiving, now_s)
