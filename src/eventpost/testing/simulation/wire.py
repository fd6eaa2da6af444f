"""The network between the grid and the receivers: attempts on their way, with what must hold."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone
from eventpost.core.outcomes import Failed, Outcome
from eventpost.core.retry import RetryAt, decide, is_expired
from eventpost.core.subscriptions import Subscription
from eventpost.testing.simulation.ledger import Account, BrokenPromiseError, TopicLog
from eventpost.testing.simulation.receivers import MIXED, Receiver

if TYPE_CHECKING:
    from eventpost.grid.lane import Lane
    from eventpost.testing.simulation.process import Process
    from eventpost.testing.simulation.world import World

Key = tuple[int, int, int]
"""(position, dead letter id, generation)."""


class Attempts:
    """The attempts of one subscription that one process has in flight."""

    def __init__(self) -> None:
        self.requests = 0
        self.in_flight: Counter[Key] = Counter()
        self.not_before_ms: dict[Key, int] = {}
        """When a delivery that failed may be tried again at the earliest."""


class Wire:
    """Implements core.interfaces.Destination for one subscription in one process.

    Holds every attempt against what was declared: window, batch, pause, breaker, time to live, the
    retry schedule, the event's own bytes, and that nothing is in flight twice.
    """

    def __init__(self, world: "World", process: "Process", subscription: Subscription) -> None:
        self._world = world
        self._process = process
        self._subscription = subscription
        self._account: Account = world.ledger.accounts[subscription.id]
        self._log: TopicLog = world.ledger.log_to(subscription)
        self._receiver: Receiver = world.receiver(subscription.id)
        self._attempts = process.attempts.setdefault(subscription.id, Attempts())

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        lane = self._process.engine.lane(self._subscription.id, 0)
        if lane is None:
            raise BrokenPromiseError(f"{self._subscription.name} was removed and still sends")
        keys = [self._key(lane, delivery) for delivery in deliveries]
        self._check_request(lane, deliveries)
        for key, delivery in zip(keys, deliveries, strict=True):
            self._check_delivery(lane, key, delivery)
            self._attempts.in_flight[key] += 1
        self._attempts.requests += 1
        self._send(deliveries, keys, done)

    def close(self) -> None:
        return

    # --- on the way -------------------------------------------------------------------------------

    def _send(self, deliveries: Sequence[Delivery], keys: list[Key], done: DeliveryDone) -> None:
        answer = self._receiver.answer()
        if answer.kind != "good":
            self._world.faults[answer.kind] += 1
        outcomes: Outcome | list[Outcome] = answer.outcome
        if answer.kind == MIXED:
            outcomes = self._receiver.parts(answer, len(deliveries))
        if answer.is_taken:
            # What is on its way arrives, whether or not the sender is still there.
            arrives_s = min(answer.after_s, 0.02) * self._world.draw.random()
            self._world.clock.call_later(arrives_s, self._arrive, list(deliveries), outcomes)
        self._process.clock.call_later(
            answer.after_s, self._answer, deliveries, keys, outcomes, done
        )

    def _arrive(self, deliveries: list[Delivery], outcomes: Outcome | list[Outcome]) -> None:
        for index, delivery in enumerate(deliveries):
            outcome = outcomes[index] if isinstance(outcomes, list) else outcomes
            if isinstance(outcomes, list) and isinstance(outcome, Failed):
                continue
            self._account.taken[delivery.position] += 1
            self._account.excused[delivery.position] += isinstance(outcome, Failed)
            self._world.taken += 1

    def _answer(
        self,
        deliveries: Sequence[Delivery],
        keys: list[Key],
        outcomes: Outcome | list[Outcome],
        done: DeliveryDone,
    ) -> None:
        attempts = self._attempts
        attempts.requests -= 1
        for index, (key, delivery) in enumerate(zip(keys, deliveries, strict=True)):
            attempts.in_flight[key] -= 1
            outcome = outcomes[index] if isinstance(outcomes, list) else outcomes
            if isinstance(outcome, Failed):
                self._set_back(key, delivery, outcome)
        done(deliveries, outcomes)

    def _set_back(self, key: Key, delivery: Delivery, failed: Failed) -> None:
        process = self._process
        lane = process.engine.lane(self._subscription.id, 0)
        policy = (self._subscription if lane is None else lane.subscription).retry
        attempts = delivery.attempts + failed.is_counted
        decision = decide(policy, attempts, failed, process.clock.now_ms(), jitter=0.0)
        if isinstance(decision, RetryAt):
            self._attempts.not_before_ms[key] = decision.due_ms

    # --- what must hold ---------------------------------------------------------------------------

    def _check_request(self, lane: "Lane", deliveries: Sequence[Delivery]) -> None:
        name = self._subscription.name
        endpoint = lane.subscription.endpoint
        if not self._process.clock.is_alive or self._process.engine.is_stopped:
            raise BrokenPromiseError(f"{name}: sent after the stop")
        if lane.subscription.is_held:
            raise BrokenPromiseError(f"{name}: sent while paused")
        if self._attempts.requests >= endpoint.concurrency:
            raise BrokenPromiseError(f"{name}: more than {endpoint.concurrency} requests at once")
        if not 1 <= len(deliveries) <= endpoint.max_events_per_batch:
            raise BrokenPromiseError(f"{name}: a batch of {len(deliveries)}")
        if lane.breaker.is_open and self._attempts.requests:
            raise BrokenPromiseError(f"{name}: more than a probe while the breaker is open")

    def _check_delivery(self, lane: "Lane", key: Key, delivery: Delivery) -> None:
        name = self._subscription.name
        where = f"{name}, position {delivery.position}"
        kept = self._log.entries[delivery.position].event
        if (delivery.event.id, delivery.event.wire) != (kept.id, kept.wire):
            raise BrokenPromiseError(f"{where}: {delivery.event.id} instead of {kept.id}")
        if self._attempts.in_flight[key]:
            raise BrokenPromiseError(f"{where}: in flight twice")
        now_ms = self._process.clock.now_ms()
        if is_expired(lane.subscription.retry, delivery.offered_ms, now_ms):
            raise BrokenPromiseError(f"{where}: sent after its time to live")
        if now_ms < self._attempts.not_before_ms.pop(key, 0):
            raise BrokenPromiseError(f"{where}: tried again too early")
        if delivery.attempts >= lane.subscription.retry.max_delivery_attempts:
            raise BrokenPromiseError(f"{where}: attempt {delivery.attempts + 1}")

    def _key(self, lane: "Lane", delivery: Delivery) -> Key:
        letter_id = delivery.row.dead_letter_id if delivery.row is not None else 0
        return (delivery.position, letter_id, lane.generation)
