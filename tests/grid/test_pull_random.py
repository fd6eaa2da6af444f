"""Many consumers, chance and crashes against one pulled subscription, on a virtual clock."""

import os
import random
from dataclasses import dataclass
from functools import partial

import pytest

from eventpost.core.errors import EventpostError
from eventpost.core.interfaces import ReadFailed
from eventpost.core.retry import Reason
from eventpost.core.subscriptions import RetryPolicy
from eventpost.grid.pull import Handed
from eventpost.grid.settling import Action, Key, Result
from tests.grid.conftest import NewRig
from tests.grid.pulling import pull_lane, subscribe
from tests.grid.rig import Rig

SEED = "EVENTPOST_PULL_SEED"
"""The first seed, to repeat a run; without it every run of the tests has new ones."""
RUNS = 6
STEPS = 400
LOCK_S = 60.0
COUNT_MAX = 6
TTL_MS = 1_800_000
NARROW = {
    "lane_events_max": 16,
    "lane_share_min": 4,
    "lane_bytes_max": 6_000,
    "locks_held_max": 5,
    "cursor_gap_max": 24,
    "retries_held_max": 6,
    "ladder_page": 4,
    "snapshot_commits": 7,
    "receive_bytes_max": 2_500,
    "catchup_turn_events": 8,
}
"""Every bound is met, again and again."""


@dataclass(slots=True)
class Held:
    """What the outside knows of a lock: whose it is, and until when it may be relied upon."""

    key: Key
    event_id: str
    expires_ms: int


class Outside:
    """All consumers together: what they hold, what they have acknowledged, what they gave up."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.chance = random.Random(seed)
        self.steps = 0
        self.published: set[str] = set()
        self.held: dict[str, Held] = {}
        self.over: list[Key] = []
        self.acknowledged: set[str] = set()
        self.rejected: set[str] = set()
        self.counts: dict[str, int] = {}
        self.unsure: set[str] = set()
        """A crash came before the answer: it may be settled, or not."""

    @property
    def now_ms(self) -> int:
        return self.rig.clock.now_ms()

    def step(self) -> None:
        steps = [
            *((self.publish, 3), (self.receive, 8), (self.settle, 8), (self.pass_time, 3)),
            *((self.meddle, 1), (self.crash, 1), (self.pause, 1)),
        ]
        names, weights = zip(*steps, strict=True)
        self.chance.choices(names, weights)[0]()

    def publish(self) -> None:
        size = self.chance.choice((0, 0, 500, 2_000))
        count = self.chance.randint(1, 12)
        self.published.update(self.rig.publish(count, data="x" * size))

    def receive(self) -> None:
        """One or two consumers at the same time; some wait on while other things happen."""
        for _ in range(self.chance.randint(1, 2)):
            count, wait_s = self.chance.randint(1, 8), self.chance.choice((0, 0, 10))
            is_there = self.chance.random() < 0.95
            pull_lane(self.rig).receive(count, wait_s, partial(bool, is_there), self.take)
        self.rig.settle()
        self.rig.advance(self.chance.choice((0.0, 1.0, 10.0)))

    def take(self, handed: Handed | EventpostError) -> None:
        if isinstance(handed, EventpostError):  # a crash
            return
        for each in handed.deliveries:
            event_id = each.event.id
            letter = each.row.dead_letter_id if each.row else 0
            holder = self.held.get(event_id)
            began_ms = handed.lock >> 20
            assert holder is None or holder.expires_ms <= began_ms, f"{event_id} has two holders"
            assert event_id not in self.acknowledged, f"{event_id} came back"
            assert event_id not in self.rejected, f"{event_id} came back"
            before = self.counts.get(event_id, 0)
            assert each.attempts == before + 1, f"{event_id}: {before} then {each.attempts}"
            self.counts[event_id] = each.attempts
            if holder is not None:
                self.over.append(holder.key)
            self.unsure.discard(event_id)
            key = Key(handed.lock, each.position, letter)
            self.held[event_id] = Held(key, event_id, began_ms + int(LOCK_S * 1000))

    def settle(self) -> None:
        """Some of what is held, and now and then tokens of the past."""
        chosen = self.chance.sample(list(self.held.values()), min(len(self.held), 6))
        old = self.chance.sample(self.over, min(len(self.over), self.chance.randint(0, 2)))
        keys = [*(each.key for each in chosen), *old]
        if not keys:
            return
        action = self.chance.choice((Action.ACKNOWLEDGE, Action.ACKNOWLEDGE, *Action))
        if self.chance.random() < 0.05:
            self.rig.executor.faults["read"] = [ReadFailed("worn out")]
        delay_s = self.chance.choice((0, 10, 60)) if action is Action.RELEASE else 0
        now_ms = self.now_ms
        answers: list[int] = []

        def done(results: list[Result] | EventpostError) -> None:
            # At once: what was released may be another's in the next moment.
            assert isinstance(results, list)
            answers.append(len(results))
            for held, result in zip(chosen, results, strict=False):
                self.note(action, held, result, now_ms)
            assert all(each is not Result.DONE for each in results[len(chosen) :]), "was over"

        pull_lane(self.rig).settle(action, keys, delay_s * 1_000, done)
        self.rig.settle()
        self.rig.advance(0.1)
        self.rig.executor.faults["read"] = []
        assert answers == [len(keys)]

    def note(self, action: Action, held: Held, result: Result, now_ms: int) -> None:
        if held.expires_ms <= now_ms:
            assert result is not Result.DONE, f"{held} was over"
        if result is Result.FAILED:
            return
        if held.event_id not in self.unsure and held.expires_ms > now_ms + 200:
            assert result is Result.DONE, f"{held} was held at {now_ms}: {result}"
        if result is not Result.DONE:
            return
        if action is Action.RENEW:
            # At least so long: a row's lock begins a moment later.
            held.expires_ms = now_ms + int(LOCK_S * 1000)
            return
        if self.held.get(held.event_id) is held:
            del self.held[held.event_id]
        self.over.append(held.key)
        if action is Action.ACKNOWLEDGE:
            self.acknowledged.add(held.event_id)
        elif action is Action.REJECT:
            self.rejected.add(held.event_id)

    def pass_time(self) -> None:
        self.rig.advance(self.chance.choice((1, 20, LOCK_S - 1, LOCK_S, 2 * LOCK_S)))

    def meddle(self) -> None:
        """Something else that makes commits, so that snapshots come."""
        for _ in range(self.chance.randint(1, 10)):
            self.rig.publish(topic="busy")

    def pause(self) -> None:
        self.rig.change(is_paused=True)
        self.rig.advance(self.chance.choice((0, 30)))
        self.rig.change(is_paused=False)

    def crash(self) -> None:
        """At rest, or while something is being settled."""
        chosen = self.chance.sample(list(self.held.values()), min(len(self.held), 3))
        action = self.chance.choice(list(Action))
        if chosen and self.chance.random() < 0.5:
            lane = pull_lane(self.rig)
            lane.settle(action, [each.key for each in chosen], 0, lambda _: None)
            self.unsure.update(each.event_id for each in chosen)
            if action is not Action.RENEW and self.chance.random() < 0.5:
                for each in chosen:  # it is done, though nobody is told
                    del self.held[each.event_id]
                    self.over.append(each.key)
                self.rig.settle()
        self.rig.crash()
        self.rig.settle()
        self.rig.advance(0.2)


def drain(outside: Outside) -> set[str]:
    """Acknowledge everything that comes, until nothing does."""
    rig = outside.rig
    got: set[str] = set()
    for _ in range(2_000):
        answers: list[Handed | EventpostError] = []
        pull_lane(rig).receive(50, 0, lambda: True, answers.append)
        rig.settle()
        rig.advance(1.5)
        (answer,) = answers
        assert isinstance(answer, Handed)
        if answer.deliveries:
            keys = [
                Key(answer.lock, each.position, each.row.dead_letter_id if each.row else 0)
                for each in answer.deliveries
            ]
            pull_lane(rig).settle(Action.ACKNOWLEDGE, keys, 0, lambda _: None)
            rig.settle()
            got.update(each.event.id for each in answer.deliveries)
        elif not rig.books().pending and rig.lane().taken == rig.lane().partition.next:
            return got
        else:
            rig.advance(LOCK_S)
    raise AssertionError(f"not drained: {rig.books()}, {rig.lane().ladder_count} rows")


FIRST = int(os.environ.get(SEED) or random.SystemRandom().randrange(1, 2**31))


@pytest.mark.slow
@pytest.mark.parametrize("run", range(RUNS))
def test_whatever_consumers_do(new_rig: NewRig, run: int) -> None:
    """Whatever consumers, time, crashes and a failing disk do: no event has two holders at once,
    an acknowledged event never comes again, counts go up by one, and nothing is lost."""
    seed = FIRST + run
    rig = new_rig(**NARROW)
    rig.topic()
    rig.topic("busy")
    subscribe(
        rig,
        receive_lock_duration_s=LOCK_S,
        max_delivery_count=COUNT_MAX,
        retry=RetryPolicy(event_ttl_ms=TTL_MS),
    )
    outside = Outside(rig, seed)
    try:
        for outside.steps in range(STEPS):
            outside.step()
            rig.check()
        drained = drain(outside)
        rig.check()
    except (AssertionError, ValueError) as error:
        raise AssertionError(f"{SEED}={seed}, step {outside.steps}: {error}") from error

    assert not drained & (outside.acknowledged | outside.rejected), f"{SEED}={seed}"
    dead = {each.event_id: each.reason for each in rig.letters()}
    assert outside.rejected <= dead.keys()
    books = rig.books()
    missing = outside.published - drained - outside.acknowledged - dead.keys() - outside.unsure
    assert not missing, f"{SEED}={seed}: {len(missing)} were lost"
    assert books.matched == len(outside.published), f"{SEED}={seed}"
    assert books.pending == 0
    assert set(dead.values()) <= {Reason.REJECTED, Reason.ATTEMPTS, Reason.TIME_TO_LIVE}
