"""A lane whose events are pulled: it hands them out under locks instead of sending them.

The cursor, the ladder and the books are those of any lane. An event that is handed out for the
first time stays outstanding, and its lock goes into the commit's record of the lane; one that comes
again, whose lock is renewed, or that is held too long, is a row of the ladder that falls due when
its lock is over. So a lock is durable before anybody holds it, and a lock that nobody settles ends
as a due row does: the event is to be had again.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from eventpost.core.errors import EventpostError, NotFound, Overloaded
from eventpost.core.events import Delivery, Event
from eventpost.core.interfaces import Destination, LadderRow, Timer
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.retry import Reason, is_expired
from eventpost.core.subscriptions import Subscription
from eventpost.grid import failing
from eventpost.grid.batches import cut
from eventpost.grid.checkpoint import LaneRecord, LockRecord
from eventpost.grid.journal import store_failed
from eventpost.grid.lane import Lane
from eventpost.grid.locked_rows import LockedRows
from eventpost.grid.locks import NEVER_MS, Lock, Locks
from eventpost.grid.settling import Action, Key, Result, Settled, Settling

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.partition import Partition

LOOK_S = 1.0
"""A receive that would not wait waits so long while the log or the ladder is being read for it."""
RECOVERY_WAIT_S = 0.05
"""What was locked before a restart is settled once it is read back; looked at so often."""


def _seen(code: str, fault: Fault = Fault.CODE) -> Evidence:
    return Evidence(stage=Stage.ANSWER, fault=fault, system="pull", code=code)


LOCK_EXPIRED = _seen("LockExpired")
RELEASED = _seen("Released")
REJECTED = _seen("Rejected")


@dataclass(slots=True)
class Handed:
    """What a receive got; empty when its time was over. `attempts` of each delivery is its
    delivery count."""

    lock: int
    deliveries: list[Delivery]


Received = Callable[["Handed | EventpostError"], None]


@dataclass(slots=True, eq=False)
class Waiter:
    """A receive that waits for an event."""

    count: int
    is_listening: Callable[[], bool]
    done: Received
    timer: Timer | None = field(default=None)


class PullLane(Lane):
    """One per subscription that is pulled, and partition. All calls on the grid's thread."""

    __slots__ = (
        "_alarm",
        "_alarm_ms",
        "_is_looking_at_rows",
        "_last_lock",
        "_relocking",
        "_returned_ms",
        "_rows",
        "_unsaved",
        "locks",
        "waiters",
    )

    def __init__(
        self,
        engine: "Engine",
        partition: "Partition",
        subscription: Subscription,
        destination: Destination,
    ) -> None:
        super().__init__(engine, partition, subscription, destination)
        self.locks = Locks()
        self.waiters: dict[Waiter, None] = {}
        self._unsaved: list[int] = []
        """Locks that no commit has told of yet."""
        self._relocking: dict[int, LockRecord] = {}
        """After a restart: positions that were locked and are not read back yet."""
        self._last_lock = 0
        self._returned_ms = -NEVER_MS
        """When an event was last given back to be had at once, by way of the ladder."""
        self._rows = LockedRows(self)
        self._is_looking_at_rows = False
        self._alarm: Timer | None = None
        self._alarm_ms = NEVER_MS

    # --- receiving --------------------------------------------------------------------------------

    def receive(
        self, count: int, wait_s: float, is_listening: Callable[[], bool], done: Received
    ) -> None:
        """Hand out up to `count` events, now or as soon as there is one, at most `wait_s` later.

        `done` is called once the locks are durable; with none in hand when the time is over. It is
        not handed to somebody who is listening no more. Raises Overloaded when too many wait.
        """
        if len(self.waiters) >= self.engine.limits.receives_waiting_max:
            raise Overloaded(
                "EP3053",
                f"Too many receives wait on the event subscription {self.subscription.name}.",
                fix="use fewer consumers, or raise grid.receives_waiting_max",
            )
        waiter = Waiter(count, is_listening, done)
        self.waiters[waiter] = None
        self.pump()
        if waiter in self.waiters:
            delay_s = max(wait_s, LOOK_S) if self._may_find_more() else wait_s
            waiter.timer = self.engine.clock.call_later(delay_s, self._waited, waiter)

    def _may_find_more(self) -> bool:
        is_behind = not self.is_live and self.cursor < self.partition.routed
        is_coming = self.engine.clock.now_ms() - self._returned_ms < LOOK_S * 1000
        return not self.is_paused and (
            is_behind or is_coming or self.has_parked or self.claimed > 0
        )

    def _waited(self, waiter: Waiter) -> None:
        if self.waiters.pop(waiter, self) is None:
            waiter.done(Handed(0, []))

    def pump(self) -> None:
        """Hand out while somebody waits and there is something; then ask for more."""
        if self.is_removed:
            return
        if self._relocking and self.recovery is None:
            self._relocking = {}
        if not self.is_paused:
            self._drop_spent()
        while self.waiters and (self.fresh or self.retries) and self._may_send():
            self._serve(next(iter(self.waiters)))
        if not self.is_live and self._may_want_more() and self.room > 0:
            self.partition.catchup.wake(self)
        if self.has_parked and not self.retries and self.retry_room:
            self.engine.ladder.fetch_parked(self)
        self._set_alarm()

    def _serve(self, waiter: Waiter) -> None:
        del self.waiters[waiter]
        if waiter.timer is not None:
            waiter.timer.cancel()
        if not waiter.is_listening():
            return
        picked = self._pick(waiter.count)
        lock_id = self._lock(picked)
        self.engine.journal.wait(partial(self._handed, waiter, Handed(lock_id, picked)))

    def _handed(self, waiter: Waiter, handed: Handed, is_durable: bool) -> None:
        waiter.done(handed if is_durable else self._refusal())

    def _pick(self, count: int) -> list[Delivery]:
        """What comes again first, within the bound in bytes."""
        bytes_max = self.engine.limits.receive_bytes_max
        picked = cut(self.retries, count, bytes_max) if self.retries else []
        if self.fresh and len(picked) < count:
            left = bytes_max - sum(len(each.event.wire) for each in picked)
            if not picked or len(self.fresh[0].event.wire) <= left:
                picked += cut(self.fresh, count - len(picked), left)
        return picked

    def _lock(self, picked: list[Delivery]) -> int:
        now_ms = self.engine.clock.now_ms()
        lock_id = self._last_lock = max(self._last_lock + 1, now_ms << 20)
        expires_ms = now_ms + self.lock_ms
        fresh = []
        for delivery in picked:
            delivery.attempts += 1
            if delivery.row is None:
                fresh.append(delivery)
            else:
                evidence = delivery.row.evidence
                failing.climb(self, delivery, expires_ms, evidence, now_ms, lock=lock_id)
        if fresh:
            self.locks.add(lock_id, expires_ms, fresh)
            self._unsaved.append(lock_id)
            self.engine.journal.touch(self)
            self._spill()
        return lock_id

    @property
    def lock_ms(self) -> int:
        return int(self.subscription.endpoint.receive_lock_duration_s * 1000)

    # --- settling ---------------------------------------------------------------------------------

    def settle(self, action: Action, keys: list[Key], delay_ms: int, done: Settled) -> None:
        """Acknowledge, release, reject or renew what `keys` hold; `done` with one result for each,
        once that is durable. `delay_ms` is a release's."""
        if self.is_removed:
            self.engine.clock.call_soon(done, self._refusal())
            return
        if self.recovery is not None:
            again = (action, keys, delay_ms, done)
            self.engine.clock.call_later(RECOVERY_WAIT_S, self.settle, *again)
            return
        now_ms = self.engine.clock.now_ms()
        settling = Settling(action, keys, delay_ms, done)
        found = []
        for index, key in enumerate(keys):
            delivery = None
            if not key.letter:
                delivery = self.locks.take(key.lock, key.position, now_ms)
            if delivery is None:
                settling.others.append(index)
            else:
                settling.results[index] = Result.DONE
                found.append((key, delivery))
        if found:
            self._settle(settling, found, now_ms)
        if settling.others and self.ladder_count:
            self._rows.ask(settling)
        else:
            self.engine.journal.wait(partial(self.settled_durably, settling))
        self.pump()

    def _settle(self, settling: Settling, found: list[tuple[Key, Delivery]], now_ms: int) -> None:
        """Of events that were handed out once only and are in memory."""
        match settling.action:
            case Action.ACKNOWLEDGE:
                self._delivered([delivery for _, delivery in found])
            case Action.RELEASE:
                for _, delivery in found:
                    is_spent = delivery.attempts >= self.count_max
                    due_ms = now_ms if is_spent else now_ms + settling.delay_ms
                    self._give_back(delivery, RELEASED, due_ms)
            case Action.REJECT:
                for _, delivery in found:
                    self._reject(delivery)
            case Action.RENEW:
                for key, delivery in found:
                    expires_ms = now_ms + self.lock_ms
                    failing.climb(self, delivery, expires_ms, None, now_ms, lock=key.lock)

    def _reject(self, delivery: Delivery) -> None:
        failing.note_attempt(self, delivery.position, delivery.attempts, REJECTED, 0)
        failing.give_up(self, delivery, Reason.REJECTED, REJECTED)

    def _give_back(self, delivery: Delivery, evidence: Evidence, due_ms: int) -> None:
        failing.note_attempt(self, delivery.position, delivery.attempts, evidence, due_ms)
        failing.climb(self, delivery, due_ms, evidence, self.engine.clock.now_ms())
        self._note_return(due_ms)

    def _note_return(self, due_ms: int) -> None:
        now_ms = self.engine.clock.now_ms()
        if due_ms <= now_ms + 1:
            self._returned_ms = now_ms

    def settled_durably(self, settling: Settling, is_durable: bool) -> None:
        settling.done(settling.results if is_durable else self._refusal())

    @property
    def count_max(self) -> int:
        return self.subscription.endpoint.max_delivery_count

    # --- of rows, for `LockedRows` ----------------------------------------------------------------

    def acknowledge_row(self, row: LadderRow) -> None:
        self._drop_row(row)
        self.delta.delivered += 1
        if row.dead_letter_id:
            self.engine.journal.open.dead_remove.append(row.dead_letter_id)

    def release_row_lock(self, row: LadderRow, due_ms: int) -> None:
        failing.note_attempt(self, row.position, row.attempts, RELEASED, due_ms)
        self._put_off(msgspec.structs.replace(row, lock=0, evidence=RELEASED), row, due_ms)
        self._note_return(due_ms)

    def renew_row_lock(self, row: LadderRow, expires_ms: int) -> None:
        self._put_off(row, row, expires_ms)

    def _put_off(self, changed: LadderRow, row: LadderRow, due_ms: int) -> None:
        """Let `row` fall due at another time, as `changed`."""
        self._drop_row(row)
        self.ladder_count += 1
        # Never as it was: the old row's removal must not take the new one for it.
        due_ms += due_ms == row.due_ms
        self.engine.journal.put_row(msgspec.structs.replace(changed, due_ms=due_ms))

    def reject_row(self, row: LadderRow, event: Event) -> None:
        """The row is claimed."""
        delivery = Delivery(
            event, row.position, row.published_ms, row.offered_ms, row.attempts, row
        )
        self.rows[row.position, row.dead_letter_id] = delivery
        self._reject(delivery)

    def _drop_row(self, row: LadderRow) -> None:
        self.ladder_count -= 1
        self.engine.ladder.release(row)
        self.engine.journal.remove_row(row)
        self.engine.journal.touch(self)
        self.engine.journal.settled(1)

    def hold_row(self, delivery: Delivery, row: LadderRow) -> None:
        """A row has fallen due: it was released, or its lock is over."""
        if row.lock:
            row = msgspec.structs.replace(row, lock=0, evidence=LOCK_EXPIRED)
        super().hold_row(delivery, row)
        if row.evidence is LOCK_EXPIRED:
            now_ms = self.engine.clock.now_ms()
            failing.note_attempt(self, row.position, row.attempts, LOCK_EXPIRED, now_ms)
        self._is_looking_at_rows = True

    # --- what is over -----------------------------------------------------------------------------

    def _drop_spent(self) -> None:
        """Dead letters: events whose time to live is over, or that were handed out too often."""
        retry, now_ms = self.subscription.retry, self.engine.clock.now_ms()
        while self.fresh and is_expired(retry, self.fresh[0].offered_ms, now_ms):
            failing.expire(self, self.fresh.popleft())
        if not self._is_looking_at_rows:
            return
        self._is_looking_at_rows = False
        rows, self.retries = self.retries, deque()
        for delivery in rows:
            if is_expired(retry, delivery.offered_ms, now_ms):
                failing.expire(self, delivery)
            elif delivery.attempts >= self.count_max:
                assert delivery.row is not None
                failing.give_up(self, delivery, Reason.ATTEMPTS, delivery.row.evidence)
            else:
                self.retries.append(delivery)

    def _set_alarm(self) -> None:
        """Look again when the first lock or the first time to live is over."""
        at_ms = self.locks.expires_ms
        if not self.is_paused:
            ttl_ms = self.subscription.retry.event_ttl_ms
            if self.fresh:
                at_ms = min(at_ms, self.fresh[0].offered_ms + ttl_ms)
            if self.retries:
                at_ms = min(at_ms, min(each.offered_ms for each in self.retries) + ttl_ms)
        if at_ms >= self._alarm_ms:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ms = at_ms
        delay_s = max(0, at_ms - self.engine.clock.now_ms()) / 1000
        self._alarm = self.engine.clock.call_later(delay_s, self._rung)

    def _rung(self) -> None:
        self._alarm, self._alarm_ms = None, NEVER_MS
        now_ms = self.engine.clock.now_ms()
        for delivery in self.locks.take_expired(now_ms):
            self._give_back(delivery, LOCK_EXPIRED, now_ms)
        self._is_looking_at_rows = True
        if self.has_parked and not self.is_paused:
            self.engine.ladder.expire_parked(self)
        self.pump()

    def _spill(self) -> None:
        """Locks beyond what memory is for become rows that fall due when they are over."""
        limits = self.engine.limits
        bytes_max = limits.lane_bytes_max // 4
        while self.locks.count > limits.locks_held_max or self.locks.size > bytes_max:
            lock = self.locks.take_oldest()
            for delivery in lock.held.values():
                self._to_row(lock, delivery)

    def _to_row(self, lock: Lock, delivery: Delivery) -> None:
        attempted_ms = lock.expires_ms - self.lock_ms
        failing.climb(self, delivery, lock.expires_ms, None, attempted_ms, lock=lock.id)

    def _park_hanging(self, taken: int) -> None:
        """Locks that hold the cursor back too far become rows."""
        for lock, delivery in self.locks.take_below(taken - self.engine.limits.cursor_gap_max):
            self._to_row(lock, delivery)

    # --- what is remembered -----------------------------------------------------------------------

    def record(self) -> LaneRecord:
        record = super().record()
        if self._unsaved:
            locks = [self.locks.get(each) for each in self._unsaved]
            record.locks = [lock.record() for lock in locks if lock is not None]
            self._unsaved = []
        return record

    def lock_records(self) -> list[LockRecord]:
        return self.locks.records()

    def relock(self, locks: Iterable[LockRecord]) -> None:
        for lock in locks:
            self._last_lock = max(self._last_lock, lock.id)
            flat = lock.positions
            for start, stop in zip(flat[::2], flat[1::2], strict=True):
                self._relocking.update(dict.fromkeys(range(start, stop), lock))

    def take(self, event: Event, position: int, published_ms: int) -> Delivery:
        delivery = super().take(event, position, published_ms)
        lock = self._relocking.pop(position, None) if self._relocking else None
        if lock is not None and self.recovery is not None:
            self.fresh.pop()
            delivery.attempts = 1
            self.locks.add(lock.id, lock.expires_ms, (delivery,))
        return delivery

    def forget_locks(self) -> None:
        self.locks.clear()
        self._unsaved = []
        self._relocking = {}

    def locked_until_ms(self, position: int) -> int:
        return self.locks.until_ms(position)

    @property
    def held_count(self) -> int:
        return self.locks.count

    # --- its end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Everybody who waits is told."""
        super().close()
        if self._alarm is not None:
            self._alarm.cancel()
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            if waiter.timer is not None:
                waiter.timer.cancel()
            self.engine.clock.call_soon(waiter.done, self._refusal())

    def _refusal(self) -> EventpostError:
        failure = self.engine.journal.failure
        if failure is not None:
            return store_failed(failure)
        return NotFound(
            "SubscriptionNotFound",
            f"The event subscription {self.subscription.name!r} was deleted meanwhile.",
        )
