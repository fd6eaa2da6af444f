"""A lane: the live deliveries of one event subscription in one partition.

It takes events from the router, or from the log when it lags, keeps a bounded window of attempts in
flight, and tells the journal what came of them. It never waits and never raises.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from eventpost.core.books import Dropped, Tally
from eventpost.core.events import Delivery, Event
from eventpost.core.filters import compile_filter
from eventpost.core.interfaces import (
    AttemptRecord,
    Destination,
    LadderRow,
    StateRow,
    Timer,
)
from eventpost.core.outcomes import DELIVERED, Delivered, Failed, Outcome
from eventpost.core.retry import (
    is_expired,
)
from eventpost.core.subscriptions import Subscription
from eventpost.grid import failing
from eventpost.grid.batches import cut, is_retry_turn
from eventpost.grid.breaker import Breaker
from eventpost.grid.checkpoint import LaneRecord, LaneState, LockRecord, Recovery, encode, ranges

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.partition import Partition

FAILURES_KEPT = 50
"""Failed attempts of one lane kept in memory for `subscription show`."""

NO_RETRIES: Final[deque[Delivery]] = deque(maxlen=0)
"""Of all lanes that never had a retry in hand."""


class Lane:
    """One per subscription and partition. All calls on the grid's thread."""

    __slots__ = (
        "attempts_failed",
        "breaker",
        "bytes_max",
        "claimed",
        "compiled",
        "cursor",
        "delta",
        "destination",
        "engine",
        "events_max",
        "failures",
        "fresh",
        "generation",
        "given_up",
        "has_parked",
        "held_bytes",
        "in_flight",
        "is_dirty",
        "is_live",
        "is_paused",
        "is_plain",
        "is_removed",
        "is_touched",
        "ladder_count",
        "last_was_retry",
        "offered_ms",
        "outstanding",
        "parked_commits",
        "partition",
        "rate_at_ms",
        "rate_credit",
        "reconnects",
        "recovery",
        "retries",
        "retries_in_flight",
        "rows",
        "rows_max",
        "settled",
        "start_position",
        "subscription",
        "tally",
        "timer",
        "unread_ms",
    )

    def __init__(
        self,
        engine: "Engine",
        partition: "Partition",
        subscription: Subscription,
        destination: Destination,
    ) -> None:
        self.engine = engine
        self.events_max = engine.limits.lane_events_max
        self.bytes_max = engine.limits.lane_bytes_max
        self.rows_max = engine.limits.ladder_rows_max
        self.partition = partition
        self.configure(subscription)
        self.destination = destination
        self.compiled = compile_filter(subscription.filter, partition.schema)
        self.is_live = True
        self.is_paused = subscription.is_held
        self.is_removed = False
        self.cursor = 0
        self.start_position = 0
        self.generation = 0
        self.offered_ms = 0
        self.unread_ms = 0
        """While the breaker is open: when the next unread event was published, 0 if not known."""
        self.given_up = 0
        """Unread events below it are read to be counted only: the store has no room for them."""
        self.recovery: Recovery | None = None
        self.outstanding: dict[int, Delivery] = {}
        self.held_bytes = 0
        self.fresh: deque[Delivery] = deque()
        self.retries = NO_RETRIES
        self.rows: dict[tuple[int, int], Delivery] = {}
        """Ladder rows in hand, by (position, dead letter id)."""
        self.claimed = 0
        """These, and those whose events are being read."""
        self.in_flight = 0
        self.retries_in_flight = 0
        self.last_was_retry = False
        self.ladder_count = 0
        self.has_parked = False
        self.parked_commits = 0
        """How often parked rows of this lane became visible in the store."""
        self.settled: list[int] = []
        self.delta = Tally()
        self.tally = Tally()
        self.is_touched = False
        self.is_dirty = False
        self.breaker = Breaker(engine.limits)
        self.timer: Timer | None = None
        self.rate_credit = 1.0
        self.rate_at_ms = 0
        self.attempts_failed = 0
        self.reconnects = 0
        self.failures: list[AttemptRecord] = []
        """The latest failed attempts, at most `FAILURES_KEPT`. No deque: an empty one takes 760
        bytes, and nearly all lanes of ten thousand have none."""

    def configure(self, subscription: Subscription) -> None:
        """Take over changed settings; a changed filter or endpoint is the caller's to exchange."""
        self.subscription = subscription
        endpoint = subscription.endpoint
        self.is_plain = endpoint.max_events_per_batch == 1 and endpoint.rate_per_s is None

    # --- taking -----------------------------------------------------------------------------------

    def offer(self, event: Event, position: int, published_ms: int) -> bool:
        """Take a fresh event from the router, or fall back to reading the log. True when taken."""
        outstanding = self.outstanding
        engine = self.engine
        if (
            self.is_paused
            or self.breaker.is_open
            or len(outstanding) >= self.events_max
            or self.ladder_count >= self.rows_max
            or self.held_bytes >= self.bytes_max
            or (
                engine.deliveries_held >= engine.deliveries_max
                and len(outstanding) >= engine.limits.lane_share_min
            )
        ):
            self.lag(position)
            return False
        # `take`, written out: this is the publish path.
        delivery = Delivery(event, position, published_ms, max(published_ms, self.offered_ms))
        outstanding[position] = delivery
        self.fresh.append(delivery)
        self.held_bytes += len(event.wire)
        engine.deliveries_held += 1
        if not self.is_touched:
            engine.journal.touch(self)
        self.delta.matched += 1
        return True

    def offer_all(self, events: Sequence[Event], size: int, first: int, published_ms: int) -> None:
        """Take fresh events of `size` bytes at consecutive positions, as many as there is room
        for."""
        position = first
        if len(events) == 1 or not self._has_room_for(len(events), size):
            for event in events:
                if not self.offer(event, position, published_ms):
                    return  # it reads the log from here on
                position += 1
            return
        offered_ms = max(published_ms, self.offered_ms)
        outstanding, hold = self.outstanding, self.fresh.append
        for event in events:
            delivery = outstanding[position] = Delivery(event, position, published_ms, offered_ms)
            hold(delivery)
            position += 1
        self.held_bytes += size
        self.engine.deliveries_held += len(events)
        self.engine.journal.touch(self)
        self.delta.matched += len(events)

    def _has_room_for(self, count: int, size: int) -> bool:
        """Whether so many fresh events fit with certainty; else each is asked for on its own."""
        return not (
            self.is_paused
            or self.breaker.is_open
            or len(self.outstanding) + count > self.events_max
            or self.ladder_count >= self.rows_max
            or self.held_bytes + size > self.bytes_max
            or self.engine.deliveries_held + count > self.engine.deliveries_max
        )

    def take(self, event: Event, position: int, published_ms: int) -> Delivery:
        """Hold an event for delivery; the caller counts it."""
        delivery = Delivery(event, position, published_ms, max(published_ms, self.offered_ms))
        self.outstanding[position] = delivery
        self.fresh.append(delivery)
        self.held_bytes += len(event.wire)
        self.engine.deliveries_held += 1
        if not self.is_touched:
            self.engine.journal.touch(self)
        return delivery

    def read(self, event: Event, position: int, published_ms: int) -> bool:
        """Take a matching event from the log. False: not now, the lane stays at `position`.

        While the breaker is open an event whose time to live has run out becomes a dead letter, and
        one other may come as a probe.
        """
        if position < self.given_up:
            self.delta.matched += 1
            self.count_dropped(Dropped.RETENTION, 1)
            return True
        if self.breaker.is_open:
            offered_ms = max(published_ms, self.offered_ms)
            now_ms = self.engine.clock.now_ms()
            if is_expired(self.subscription.retry, offered_ms, now_ms):
                self.delta.matched += 1
                failing.expire(self, self.take(event, position, published_ms))
                self.fresh.pop()
                return True
            self.unread_ms = published_ms
        if not self.has_room:
            return False
        self.take(event, position, published_ms)
        self.delta.matched += 1
        return True

    def read_on(self, events: Sequence[Event], first: int, published_ms: int, end: int) -> int:
        """Take what matches of the log from `cursor` up to `end`, as far as there is room; returns
        where the next read begins. `read` for many events, when nothing is to be given up."""
        position = self.cursor
        if not self.may_read:
            return position
        matches, outstanding, engine = self.compiled.matches, self.outstanding, self.engine
        for event in events[position - first : end - first]:
            if matches(event):
                is_near_full = (
                    len(outstanding) >= self.events_max
                    or self.held_bytes >= self.bytes_max
                    or engine.deliveries_held >= engine.deliveries_max
                )
                if is_near_full and not self.has_room:
                    return position
                self.take(event, position, published_ms)
                self.delta.matched += 1
            position += 1
        return position

    @property
    def reads_plainly(self) -> bool:
        """Whether `read_on` does for it."""
        return self.recovery is None and not self.breaker.is_open and self.cursor >= self.given_up

    def lag(self, position: int) -> None:
        """Stop taking from the router at `position`; from there the lane reads the log itself."""
        self.is_live = False
        self.cursor = position
        self.partition.lagging[self] = None
        self.engine.journal.touch(self)

    @property
    def room(self) -> int:
        """How many events it would take from the log now. Zero until half of what it held is done,
        so that a slow lane reads in large steps."""
        if self.is_removed:
            return 0
        if self.recovery is not None:
            # What it held before the restart fits, paused or full: changes wait for the end of it.
            return self.engine.limits.lane_events_max
        if self.is_paused:
            return 0
        held = len(self.outstanding)
        if self.ladder_count >= self.engine.limits.ladder_rows_max:
            return 0
        if self.breaker.is_open:
            if self._is_unread_expired():
                return self.engine.limits.lane_events_max
            return 1 if held == 0 and not self.retries and self.is_probe_due() else 0
        limits = self.engine.limits
        if self.engine.deliveries_held >= limits.deliveries_max:
            return max(0, limits.lane_share_min - held)
        if held > limits.lane_events_max // 2 or self.held_bytes > limits.lane_bytes_max // 2:
            return 0
        return limits.lane_events_max - held

    def _may_want_more(self) -> bool:
        """Whether it is worth asking for `room`. Hot: asked after each delivery of a lane that
        lags."""
        return (
            len(self.outstanding) <= self.events_max // 2
            or self.breaker.is_open
            or self.recovery is not None
        )

    @property
    def may_read(self) -> bool:
        """Whether it goes on reading the log: to take events, or to count those given up."""
        return self.has_room or (self.cursor < self.given_up and not self.is_removed)

    @property
    def has_room(self) -> bool:
        """Whether it takes the next event, now that it reads the log."""
        if self.is_paused or self.is_removed or self.breaker.is_open or self.recovery is not None:
            return self.room > 0
        limits = self.engine.limits
        held = len(self.outstanding)
        return (
            held < limits.lane_events_max
            and self.ladder_count < limits.ladder_rows_max
            and self.held_bytes < limits.lane_bytes_max
            and (
                self.engine.deliveries_held < limits.deliveries_max or held < limits.lane_share_min
            )
        )

    def _is_unread_expired(self) -> bool:
        offered_ms = max(self.unread_ms, self.offered_ms)
        return is_expired(self.subscription.retry, offered_ms, self.engine.clock.now_ms())

    @property
    def retry_room(self) -> int:
        if self.is_paused or self.is_removed:
            return 0
        if self.breaker.is_open:
            return 1 if not self.claimed and not self.fresh and self.is_probe_due() else 0
        return max(0, self.engine.limits.retries_held_max - self.claimed)

    def hold_row(self, delivery: Delivery, row: LadderRow) -> None:
        """A due ladder row comes to the lane with its event."""
        if self.retries is NO_RETRIES:
            self.retries = deque()
        delivery.row = row
        delivery.attempts = row.attempts
        self.rows[row.position, row.dead_letter_id] = delivery
        self.retries.append(delivery)

    # --- sending ----------------------------------------------------------------------------------

    def is_probe_due(self) -> bool:
        return self.in_flight == 0 and self.engine.clock.now_ms() >= self.breaker.probe_at_ms

    def pump(self) -> None:
        """Send while there is something to send and a free slot; then ask for more."""
        window = self.subscription.endpoint.concurrency
        if self.is_plain and self.fresh and not self.retries and self.in_flight < window:
            self._pump_plainly(window)
        while self.in_flight < window and (self.fresh or self.retries) and self._may_send():
            batch = self._next_batch(window)
            if batch:
                self.in_flight += 1
                is_retry = self.last_was_retry
                self.destination.deliver(batch, self._on_retried if is_retry else self._on_outcome)
        if not self.is_live and self._may_want_more() and self.room > 0:
            self.partition.catchup.wake(self)
        if self.has_parked and not self.retries and self.retry_room:
            self.engine.ladder.fetch_parked(self)

    def _pump_plainly(self, window: int) -> None:
        """`pump` for first attempts, one by one and at any rate, which is nearly all of them."""
        if not self._may_send() or self.breaker.is_open:
            return
        now_ms = self.engine.clock.now_ms()
        expired_ms = now_ms - self.subscription.retry.event_ttl_ms
        fresh = self.fresh
        deliver = self.destination.deliver
        while fresh and self.in_flight < window:
            delivery = fresh.popleft()
            if delivery.offered_ms <= expired_ms:
                failing.expire(self, delivery)
            else:
                self.in_flight += 1
                deliver((delivery,), self._on_outcome)
        self.last_was_retry = False

    def _may_send(self) -> bool:
        if self.is_paused or self.is_removed or self.engine.is_draining:
            return False
        if self.engine.journal.is_choked:
            self.engine.journal.choke(self)
            return False
        if self.breaker.is_open and not self.is_probe_due():
            return False
        rate = self.subscription.endpoint.rate_per_s
        return rate is None or self._has_credit(rate)

    def _has_credit(self, rate_per_s: float) -> bool:
        """A token bucket that holds one second's worth, at least one."""
        now_ms = self.engine.clock.now_ms()
        gained = (now_ms - self.rate_at_ms) * rate_per_s / 1000
        self.rate_credit = min(max(1.0, rate_per_s), self.rate_credit + gained)
        self.rate_at_ms = now_ms
        if self.rate_credit >= 1:
            self.rate_credit -= 1
            return True
        self.wake_in((1 - self.rate_credit) / rate_per_s + 0.001)
        return False

    def wake_in(self, delay_s: float) -> None:
        if self.timer is None:
            self.timer = self.engine.clock.call_later(delay_s, self._woken)

    def _woken(self) -> None:
        self.timer = None
        self.pump()

    def _next_batch(self, window: int) -> list[Delivery]:
        """What to send now; empty when all of it had expired."""
        is_retry = bool(self.retries)
        if is_retry and self.fresh:
            is_retry = is_retry_turn(
                window, self.in_flight, self.retries_in_flight, self.last_was_retry
            )
        self.last_was_retry = is_retry
        source = self.retries if is_retry else self.fresh
        endpoint = self.subscription.endpoint
        if endpoint.max_events_per_batch == 1 or self.breaker.is_open:
            batch = [source.popleft()]
        else:
            batch = cut(
                source,
                endpoint.max_events_per_batch,
                endpoint.preferred_batch_size_in_kilobytes * 1024,
            )
        batch = self._unexpired(batch)
        if batch and is_retry:
            self.retries_in_flight += 1
        return batch

    def _unexpired(self, batch: list[Delivery]) -> list[Delivery]:
        """What may still be attempted; the rest becomes dead letters."""
        expired_ms = self.engine.clock.now_ms() - self.subscription.retry.event_ttl_ms
        kept = [delivery for delivery in batch if delivery.offered_ms > expired_ms]
        if len(kept) < len(batch):
            for delivery in batch:
                if delivery.offered_ms <= expired_ms:
                    failing.expire(self, delivery)
        return kept

    # --- outcomes ---------------------------------------------------------------------------------

    def _on_outcome(
        self, deliveries: Sequence[Delivery], outcome: Outcome | Sequence[Outcome]
    ) -> None:
        self.in_flight -= 1
        if self.is_removed:
            return  # what it held was counted when it was removed
        if outcome is DELIVERED:
            self._delivered(deliveries)
            if not (self.fresh or self.retries) and self.is_live and not self.has_parked:
                return
        elif isinstance(outcome, Delivered | Failed):
            self._count_reconnects((outcome,))
            self._settle_all(deliveries, [outcome] * len(deliveries))
        else:
            self._count_reconnects(outcome)
            self._settle_all(deliveries, outcome)
        self.pump()

    def _on_retried(
        self, deliveries: Sequence[Delivery], outcome: Outcome | Sequence[Outcome]
    ) -> None:
        self.retries_in_flight -= 1
        self._on_outcome(deliveries, outcome)

    def _delivered(self, deliveries: Sequence[Delivery]) -> None:
        engine = self.engine
        outstanding = self.outstanding
        count = 0
        for delivery in deliveries:
            if delivery.row is not None:
                if self.release_row(delivery):
                    self._row_delivered(delivery, delivery.row)
                    count += 1
            elif outstanding.get(delivery.position) is delivery:
                del outstanding[delivery.position]
                self.settled.append(delivery.position)
                self.held_bytes -= len(delivery.event.wire)
                engine.deliveries_held -= 1
                count += 1
        self.delta.delivered += count
        if not self.is_touched:
            engine.journal.touch(self)
        engine.journal.settled(count)
        if self.breaker.failures and self.breaker.succeeded():
            engine.breaker_closed(self)

    def _row_delivered(self, delivery: Delivery, row: LadderRow) -> None:
        journal = self.engine.journal
        if row.dead_letter_id:
            journal.open.dead_remove.append(row.dead_letter_id)
        if row.attempts:
            journal.open.attempts.append(failing.attempt(self, delivery, None, "", 0))

    def _settle_all(self, deliveries: Sequence[Delivery], outcomes: Sequence[Outcome]) -> None:
        failed: Failed | None = None
        for delivery, outcome in zip(deliveries, outcomes, strict=True):
            if isinstance(outcome, Delivered):
                self._delivered((delivery,))
            else:
                failed = outcome
                failing.fail(self, delivery, outcome)
        if failed is not None:
            failing.count_failure(self, failed)

    def _count_reconnects(self, outcomes: Sequence[Outcome]) -> None:
        """Once for an attempt, however many events it carried."""
        for outcome in outcomes:
            if outcome.evidence is not None:
                self.reconnects += outcome.evidence.reconnect_count

    def remember(self, record: AttemptRecord) -> None:
        """A failed attempt, for those who ask what the latest ones were."""
        self.failures.append(record)
        del self.failures[:-FAILURES_KEPT]

    def drop(self, delivery: Delivery, reason: Dropped) -> None:
        """Give a delivery up without a dead letter, counted."""
        self.leave(delivery)
        self.count_dropped(reason, 1)

    def count_dropped(self, reason: Dropped, count: int) -> None:
        if count:
            dropped = self.delta.dropped
            dropped[reason.value] = dropped.get(reason.value, 0) + count
            self.engine.journal.touch(self)

    def close(self) -> None:
        """Send nothing more and let go of the destination."""
        self.is_removed = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.engine.deliveries_held -= len(self.outstanding)
        self.destination.close()

    def total(self) -> Tally:
        """The books of this lane up to now."""
        total = Tally()
        total.add(self.tally)
        total.add(self.delta)
        return total

    # --- changes ----------------------------------------------------------------------------------

    def is_mine(self, delivery: Delivery) -> bool:
        if delivery.row is None:
            return self.outstanding.get(delivery.position) is delivery
        key = (delivery.position, delivery.row.dead_letter_id)
        return self.rows.get(key) is delivery

    def leave(self, delivery: Delivery) -> None:
        """The delivery is in hand no more: settled, on the ladder, or dead."""
        if delivery.row is not None:
            self.release_row(delivery)
        else:
            del self.outstanding[delivery.position]
            self.settled.append(delivery.position)
            self.held_bytes -= len(delivery.event.wire)
            self.engine.deliveries_held -= 1
        self.engine.journal.touch(self)
        self.engine.journal.settled(1)

    def release_row(self, delivery: Delivery) -> bool:
        """Take a ladder row off the ladder. False when it was superseded meanwhile."""
        row = delivery.row
        assert row is not None
        key = (row.position, row.dead_letter_id)
        if self.rows.get(key) is not delivery:
            return False
        del self.rows[key]
        self.ladder_count -= 1
        self.engine.ladder.release(row)
        self.engine.journal.remove_row(row)
        return True

    def forget_locks(self) -> None:
        """What consumers hold locked is superseded; a lane that sends has no locks."""

    def locked_until_ms(self, position: int) -> int:
        """Until when a consumer holds an outstanding event; 0 when none does."""
        return 0

    @property
    def held_count(self) -> int:
        """Attempts under way; where events are pulled, those in hand that consumers hold."""
        return self.in_flight

    # --- what is remembered -----------------------------------------------------------------------

    @property
    def taken(self) -> int:
        """Every matching position below it was taken and counted."""
        if self.recovery is not None:
            return self.recovery.end
        return self.partition.routed if self.is_live else self.cursor

    @property
    def checkpoint(self) -> int:
        """Every position below it is settled."""
        oldest = next(iter(self.outstanding), None)
        reading = self.partition.routed if self.is_live else self.cursor
        return reading if oldest is None else min(oldest, reading)

    @property
    def needed(self) -> int:
        """The lowest position whose event it still needs, the ladder's rows aside."""
        return self.checkpoint

    def record(self) -> LaneRecord:
        """What changed since the last commit; called once per commit."""
        self.is_touched = False
        checkpoint = self.checkpoint
        taken = self.taken
        if taken - checkpoint > self.engine.limits.cursor_gap_max:
            self._park_hanging(taken)
            checkpoint = self.checkpoint
        settled: list[int] = []
        if self.settled:
            settled = ranges(self.settled, checkpoint)
            self.settled = []
        return LaneRecord(
            self.subscription.id,
            self.partition.index,
            self.generation,
            self.is_live and self.recovery is None,
            taken,
            checkpoint,
            self.offered_ms,
            settled,
            self.tally.take(self.delta),
        )

    def _park_hanging(self, taken: int) -> None:
        """Attempts that hold the cursor back too far become rows; no attempt is counted."""
        bound = taken - self.engine.limits.cursor_gap_max
        waiting = {id(delivery) for delivery in self.fresh}
        due_ms = self.engine.clock.now_ms() + 1
        for position, delivery in list(self.outstanding.items()):
            if position >= bound:
                break
            if id(delivery) in waiting:
                continue
            delivery.row = failing.climb(self, delivery, due_ms, None, 0)
            self.rows[position, 0] = delivery
            self.engine.ladder.claim(self, delivery.row)

    def lock_records(self) -> list[LockRecord]:
        """Locks that consumers hold, those on the ladder aside."""
        return []

    def relock(self, locks: Iterable[LockRecord]) -> None:
        """After a restart: these were held. A lane that sends takes all of it back as in flight."""

    def state_row(self, as_of: int) -> StateRow | None:
        """The lane as a whole; None while a recovery is under way."""
        if self.recovery is not None or self.is_removed:
            return None
        state = LaneState(
            as_of,
            self.generation,
            self.is_live,
            self.taken,
            self.offered_ms,
            list(self.outstanding),
            self.tally.packed(),
            self.start_position,
            self.lock_records(),
        )
        return StateRow(
            kind="lane",
            owner_id=self.subscription.id,
            partition=self.partition.index,
            state=encode(state),
        )
