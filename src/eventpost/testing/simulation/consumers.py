"""Consumers of subscriptions that are pulled: they receive, think, and settle what they hold."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from eventpost.core.errors import EventpostError, Overloaded
from eventpost.grid.pull import Handed, PullLane
from eventpost.grid.settling import Action, Key, Result
from eventpost.testing.simulation.books import require
from eventpost.testing.simulation.ledger import Account

if TYPE_CHECKING:
    from eventpost.testing.simulation.process import Process
    from eventpost.testing.simulation.world import World

GAP_S = 0.05
COUNTS = (1, 3, 20)
HOLDS_S = (0.01, 0.1, 2.0)
"""How long one thinks, as means; a lock may be over by then."""
ACTIONS = {
    Action.ACKNOWLEDGE: 80,
    Action.RELEASE: 6,
    Action.REJECT: 2,
    Action.RENEW: 6,
    None: 6,  # it goes away and settles nothing
}
RELEASES_MS = (0, 100, 1_000)


@dataclass(frozen=True, slots=True)
class Hold:
    """One event in a consumer's hands, by the wall clock as it was wrong then."""

    expires_ms: int
    """At the earliest."""
    clock_offset_ms: int


Held = tuple[int, int, int, int]
"""(subscription id, generation, position, dead letter id)."""


class Consumers:
    """Of all subscriptions that are pulled. `act` lets one of them ask."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._draw = world.draw
        self._holds: dict[Held, Hold] = {}

    def act(self) -> None:
        process = self._world.process
        if process is None:
            return
        lanes = [process.engine.lane(each, 0) for each, _ in self._world.ledger.living()]
        pulled = [lane for lane in lanes if isinstance(lane, PullLane)]
        if not pulled:
            return
        lane = self._draw.choice(pulled)
        wait_s = self._draw.choice((0.0, 0.0, 0.5))
        asked = process.clock.now_ms(), lane.generation
        received = partial(self._received, process, lane, asked)
        try:
            lane.receive(self._draw.choice(COUNTS), wait_s, lambda: process.is_serving, received)
        except Overloaded:
            return

    def _received(
        self,
        process: "Process",
        lane: PullLane,
        asked: tuple[int, int],
        handed: Handed | EventpostError,
    ) -> None:
        if isinstance(handed, EventpostError) or not handed.deliveries:
            return
        keys = []
        for delivery in handed.deliveries:
            letter = delivery.row.dead_letter_id if delivery.row is not None else 0
            keys.append(Key(handed.lock, delivery.position, letter))
        asked_ms, generation = asked
        if lane.generation == generation:  # else it may be of before a rewind, and be had again
            for key in keys:
                self._take(process, lane, key, asked_ms)
        self._think(process, lane, keys)

    def _take(self, process: "Process", lane: PullLane, key: Key, asked_ms: int) -> None:
        """Nobody else may hold the event. The lock began between `asked_ms` and now."""
        now_ms, offset_ms = process.clock.now_ms(), self._world.clock_offset_ms
        held = self._name(lane, key)
        before = self._holds.get(held)
        if before is not None and before.clock_offset_ms == offset_ms:
            require(
                before.expires_ms <= now_ms,
                f"{lane.subscription.name}: two consumers hold position {key.position}: one until "
                f"{before.expires_ms} at least, one from {now_ms} on at the latest",
            )
        self._holds[held] = Hold(asked_ms + lane.lock_ms, offset_ms)

    def _name(self, lane: PullLane, key: Key) -> Held:
        return lane.subscription.id, lane.generation, key.position, key.letter

    def _think(self, process: "Process", lane: PullLane, keys: list[Key]) -> None:
        mean_s = HOLDS_S[0] if self._world.is_calm else self._draw.choice(HOLDS_S)
        delay_s = self._draw.expovariate(1 / mean_s)
        process.clock.call_later(delay_s, self._settle, process, lane, keys)

    def _settle(self, process: "Process", lane: PullLane, keys: list[Key]) -> None:
        (action,) = self._draw.choices(list(ACTIONS), list(ACTIONS.values()))
        if self._world.is_calm:
            action = Action.ACKNOWLEDGE
        if action is None or not process.is_serving:
            return
        account = self._world.ledger.accounts[lane.subscription.id]
        if action is not Action.RENEW:
            for key in keys:  # from now on it may be another's, whether or not that is answered
                self._holds.pop(self._name(lane, key), None)
        if action is Action.ACKNOWLEDGE:
            for key in keys:
                self._world.taken += 1
                account.taken[key.position] += 1
                account.excused[key.position] += 1  # until the answer says otherwise
        delay_ms = self._draw.choice(RELEASES_MS) if action is Action.RELEASE else 0
        done = partial(self._settled, process, lane, account, action, keys)
        lane.settle(action, keys, delay_ms, done)

    def _settled(
        self,
        process: "Process",
        lane: PullLane,
        account: Account,
        action: Action,
        keys: list[Key],
        results: list[Result] | EventpostError,
    ) -> None:
        if isinstance(results, EventpostError):
            return
        still = [key for key, result in zip(keys, results, strict=True) if result is Result.DONE]
        if action is Action.ACKNOWLEDGE:
            for key in still:
                account.excused[key.position] -= 1
        if action is Action.RENEW and still:
            self._think(process, lane, still)
