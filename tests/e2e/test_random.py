"""Random changes, failures and crashes on a grid whose bounds are reached all the time."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from eventpost.core.errors import EventpostError, Overloaded
from eventpost.testing import HANG, RESET, Grid, Receiver, VirtualClock
from eventpost.testing.receiver import NewReceiver, Reaction

SEEDS = range(1, 5)
STEPS = 60
HOUR_S = 3_600
REACTIONS: list[Reaction] = [*[200] * 8, 500, 503, RESET, HANG, 400]

tiny = pytest.mark.grid(
    lane_events_max=6,
    lane_bytes_max=2_000,
    cursor_gap_max=9,
    retries_held_max=2,
    ladder_page=2,
    tail_bytes_max=1,
    catchup_bytes=500,
    catchup_turn_events=3,
    snapshot_commits=3,
    snapshot_lanes=1,
    breaker_failures=7,
    outcomes_unsaved_max=5,
)


class Story:
    """A grid, its handlers, and what has been published so far."""

    def __init__(
        self, grid: Grid, clock: VirtualClock, new_receiver: NewReceiver, seed: int
    ) -> None:
        self.grid = grid
        self.clock = clock
        self.chance = random.Random(seed)
        self.published: list[str] = []
        self.handlers: dict[str, Receiver] = {}
        grid.topic("songs")
        for name in ("one", "two", "three"):
            handler = self.handlers[name] = new_receiver()
            handler.choose = lambda _: self.chance.choice(REACTIONS)
            grid.subscribe(
                "songs",
                handler,
                name=name,
                concurrency=self.chance.choice([1, 2, 5]),
                max_events_per_batch=self.chance.choice([1, 1, 3]),
                response_timeout="5s",
                retry={"schedule": "1s,5s"},
                deadletter=f"folder:{grid.directory / name}",
            )

    def some_handler(self) -> str:
        return self.chance.choice(list(self.handlers))

    # --- what may happen ------------------------------------------------------------------------

    def publish(self) -> None:
        self.published += self.grid.publish("songs", count=self.chance.randint(1, 9))

    def let_time_pass(self) -> None:
        self.clock.advance(self.chance.choice([0, 0.5, 2, 6, 30]))

    def settle(self) -> None:
        self.grid.settle()

    def pause(self) -> None:
        self.grid.client.pause_subscription(self.some_handler())

    def resume(self) -> None:
        self.grid.client.resume_subscription(self.some_handler())

    def rewind(self) -> None:
        """Behind everything that is outstanding, or it would be given up."""
        self.grid.client.rewind_subscription(self.some_handler(), 0)

    def change(self) -> None:
        name = self.some_handler()
        batch = self.chance.choice([1, 3])
        self.grid.client.update_subscription(name, {"maxEventsPerBatch": batch})

    def replay(self) -> None:
        list(self.grid.client.replay(subscription=self.some_handler()))

    def release(self) -> None:
        self.handlers[self.some_handler()].release(self.chance.choice([200, 500]))

    def fill_disk(self) -> None:
        self._break(self.grid.fill_disk)

    def fail_a_sync(self) -> None:
        self._break(self.grid.fail_next_commit)

    def _break(self, fault: Callable[[], None]) -> None:
        """The next commit fails, of whatever it is; the store is opened anew."""
        self.grid.settle()
        fault()
        with suppress(Overloaded):
            self.publish()
        self.grid.settle()

    def restart(self) -> None:
        self.grid.restart()

    def crash(self) -> None:
        self.grid.crash()

    def cut_power(self) -> None:
        self.grid.cut_power()

    def steps(self) -> list[Callable[[], None]]:
        often = [self.publish] * 8 + [self.let_time_pass] * 6
        seldom = [self.settle, self.pause, self.resume, self.resume, self.rewind, self.change]
        seldom += [self.replay, self.replay]
        seldom += [self.fill_disk, self.fail_a_sync]
        return [*often, *seldom, self.release, self.restart, self.crash, self.cut_power]

    def end_well(self) -> None:
        """From now on everything succeeds; time passes, and what was given up is replayed."""
        for name, handler in self.handlers.items():
            handler.choose = None
            handler.release()
            self.grid.client.resume_subscription(name)
        self.clock.advance(HOUR_S)
        list(self.grid.client.replay())
        self.clock.advance(HOUR_S)


@tiny
@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_ever_lost(
    grid: Grid, clock: VirtualClock, new_receiver: NewReceiver, seed: int
) -> None:
    """Whatever happens in whatever order, each published event reaches each handler, and after
    every step the books balance."""
    story = Story(grid, clock, new_receiver, seed)
    told = []
    for _ in range(STEPS):
        step = story.chance.choice(story.steps())
        told.append(step.__name__)
        try:
            step()
            grid.check_books()
        except (AssertionError, EventpostError, TimeoutError) as error:
            raise AssertionError(f"seed {seed}, after {told}: {error}") from error

    story.end_well()

    for name, handler in story.handlers.items():
        books = grid.books(name)
        missing = Counter(story.published) - Counter(set(handler.ids))
        assert not missing, f"seed {seed}, {name} lacks {len(missing)}: {told}"
        assert (books.pending, books.lag, books.ladder) == (0, 0, 0), f"seed {seed}: {told}"
        assert (books.dead_letters, grid.dead_letters(subscription=name)) == (0, [])
