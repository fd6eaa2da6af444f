"""What every place of a ledger must do on its real server, as a test suite.

Subclass it, and give it a fixture `place`, which is a fresh one for each test:

    class TestPigeonholes(LedgerConformance):
        @pytest.fixture
        def place(self, loft: Loft) -> LedgerPlace:
            return PigeonholePlace(loft.url, name=fresh_name())

Layer: testing. The contract is `queues.ledger_rows`. Time is the test's: no server's clock counts.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventpost.queues.ledger import Ledger, LedgerLimits
from eventpost.queues.ledger_rows import LedgerPlace

SONGS = "memory:songs"
OTHER = "memory:other?a=%20&b='\"\\{}"
ODD_IDS = [
    "1",
    "ü\U0001f3b8",
    "0/7",
    "a b",
    "it's",
    '"quoted"',
    "back\\slash",
    "{a,b}",
    "NULL",
    ":x",
]
BEGIN_S = 1_767_225_600.0
PATIENCE_S = 120.0


class Clock:
    def __init__(self) -> None:
        self.now_s = BEGIN_S

    def __call__(self) -> float:
        return self.now_s


class LedgerConformance:
    """Inherit, and define the fixture `place`."""

    @pytest.fixture
    def place(self) -> LedgerPlace:
        raise NotImplementedError("define the fixture `place`")

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def new_ledger(self, place: LedgerPlace, clock: Clock) -> "Iterator[Callable[..., Ledger]]":
        """Another process's ledger at the same place, as it were."""
        made: list[Ledger] = []

        def new(**limits: float) -> Ledger:
            given = LedgerLimits(**limits)  # type: ignore[arg-type]  # counts are whole numbers
            made.append(Ledger(place, limits=given, now_s=clock))
            return made[-1]

        yield new
        for ledger in made:
            ledger.close()

    def test_finished_is_known(self, new_ledger: Callable[..., Ledger]) -> None:
        """What was finished is known, under its queue and no other, here, elsewhere, and anew."""
        first, second = new_ledger(), new_ledger()
        first.finish(SONGS, *ODD_IDS)

        for ledger in (first, second):
            assert ledger.known(SONGS, [*ODD_IDS, "0"]) == set(ODD_IDS)
            assert ledger.known(OTHER, ["1"]) == set()
            assert ledger.known(SONGS, []) == set()
        second.finish(OTHER, "2")
        assert first.known(OTHER, ["1", "2"]) == {"2"}
        first.close()
        assert first.known(SONGS, ["1"]) == {"1"}

    def test_twice_is_once(self, new_ledger: Callable[..., Ledger]) -> None:
        """The same message may be finished again, by whoever, also twice in one commit."""
        first, second = new_ledger(), new_ledger()
        first.finish(SONGS, "1", "1")
        second.finish(SONGS, "1", "2", "2")

        assert first.stats().rows == 2

    def test_nothing_is_opened_before_it_is_used(self, place: LedgerPlace) -> None:
        """A ledger that is only made, or closed, opens nothing."""
        opened: list[LedgerPlace] = []

        class Watched:
            name = place.name

            def open(self, limits: LedgerLimits) -> object:
                opened.append(place)
                return place.open(limits)

        ledger = Ledger(Watched())  # type: ignore[arg-type]  # what it opens is a place's rows
        ledger.close()
        assert opened == []

        ledger.finish(SONGS, "1")
        ledger.finish(SONGS, "2")
        assert len(opened) == 1
        ledger.close()

    def test_threads_share_commits(self, new_ledger: Callable[..., Ledger]) -> None:
        """Threads that finish at the same time wait for one commit together, and all is there."""
        ledger = new_ledger()
        ids = [str(number) for number in range(400)]

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda one: ledger.finish(SONGS, one), ids))

        assert new_ledger().known(SONGS, ids) == set(ids)
        stats = ledger.stats()
        assert stats.finished == stats.rows == 400
        assert stats.commits < 400

    def test_many_make_it_at_once(self, new_ledger: Callable[..., Ledger]) -> None:
        """Several that use a new place, and a new queue of it, at the same moment share one."""
        ledgers = [new_ledger() for _ in range(6)]
        is_ready = threading.Barrier(6)

        def finish(number: int) -> None:
            is_ready.wait(PATIENCE_S)
            ledgers[number].finish(SONGS, str(number), "all")

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(finish, range(6)))

        numbers = [str(number) for number in range(6)]
        assert new_ledger().known(SONGS, [*numbers, "all"]) == {*numbers, "all"}
        assert ledgers[0].stats().rows == 7

    def test_age(self, new_ledger: Callable[..., Ledger], clock: Clock) -> None:
        """What was not settled is remembered for its whole time and forgotten after it; what was
        settled, for a short one."""
        ledger = new_ledger(age_s_max=1_000.0, settled_age_s_max=100.0, trim_every_s=1.0)
        ledger.finish(SONGS, "settled", "pending")
        ledger.settled(SONGS, "settled")
        ledger.finish(OTHER, "0")  # what takes the settled one along

        for seconds, known in [
            (100.0, {"settled", "pending"}),
            (102.0, {"pending"}),
            (1_000.0, {"pending"}),
            (1_002.0, set()),
        ]:
            clock.now_s = BEGIN_S + seconds
            ledger.finish(OTHER, str(seconds))  # what trims
            assert ledger.known(SONGS, ["settled", "pending"]) == known, seconds

    def test_finished_anew(self, new_ledger: Callable[..., Ledger], clock: Clock) -> None:
        """What is finished again after it was settled is remembered for its whole time again."""
        ledger = new_ledger(age_s_max=1_000.0, settled_age_s_max=100.0, trim_every_s=1.0)
        ledger.finish(SONGS, "1")
        ledger.settled(SONGS, "1")
        ledger.finish(OTHER, "0")
        clock.now_s += 50.0
        ledger.finish(SONGS, "1")
        clock.now_s += 500.0
        ledger.finish(OTHER, "0")

        assert ledger.known(SONGS, ["1"]) == {"1"}

    @pytest.mark.parametrize(("count", "lost"), [(9, 0), (10, 0), (11, 1)])
    def test_rows_are_bounded(
        self, new_ledger: Callable[..., Ledger], clock: Clock, count: int, lost: int
    ) -> None:
        """Beyond its rows the oldest go, and that is counted: they may be done twice."""
        ledger = new_ledger(rows_max=10)
        for number in range(count):
            clock.now_s += 1.0
            ledger.finish(SONGS, str(number))

        stats = ledger.stats()
        assert stats.rows == min(count, 10)
        assert stats.forgotten == lost
        ids = [str(number) for number in range(count)]
        assert ledger.known(SONGS, ids) == set(ids[lost:])

    def test_what_was_settled_goes_first(
        self, new_ledger: Callable[..., Ledger], clock: Clock
    ) -> None:
        """For want of room those are forgotten first that need not be known any more."""
        ledger = new_ledger(rows_max=10)
        pending = [f"pending-{number}" for number in range(5)]
        ledger.finish(SONGS, *pending)
        for number in range(20):
            clock.now_s += 1.0
            ledger.finish(SONGS, str(number))
            ledger.settled(SONGS, str(number))

        assert ledger.known(SONGS, pending) == set(pending)
        assert ledger.stats().forgotten == 0
        assert ledger.stats().rows == 10

    @pytest.mark.parametrize(("count", "left"), [(4, 0), (5, 0), (6, 1)])
    def test_a_trim_is_bounded(
        self, new_ledger: Callable[..., Ledger], clock: Clock, count: int, left: int
    ) -> None:
        """One trim forgets so many at most; the next one goes on."""
        ledger = new_ledger(age_s_max=1_000.0, trim_every_s=1.0, trim_rows_max=5)
        for number in range(count):
            clock.now_s += 0.001
            ledger.finish(OTHER, str(number))
            clock.now_s += 1.0
        ids = [str(number) for number in range(count)]
        clock.now_s += 2_000.0
        ledger.finish(SONGS, "trims")
        assert len(ledger.known(OTHER, ids)) == left

        clock.now_s += 2.0
        ledger.finish(SONGS, "trims")
        assert ledger.known(OTHER, ids) == set()

    def test_large_pages(self, new_ledger: Callable[..., Ledger]) -> None:
        """Thousands of ids go through one commit and one look-up."""
        ledger = new_ledger()
        ids = [f"message-{number}-of-a-long-name" for number in range(5_000)]
        ledger.finish(SONGS, *ids)

        assert ledger.known(SONGS, [*ids, "another"]) == set(ids)
        assert ledger.stats().rows == 5_000

    def test_a_fork(self, new_ledger: Callable[..., Ledger]) -> None:
        """A child opens its own connections, and its parent's work on; so when it is forked while
        others commit."""
        ledger = new_ledger()
        ledger.finish(SONGS, "1")
        is_over = threading.Event()

        def finish_on() -> int:
            number = 0
            while not is_over.is_set():
                ledger.finish(OTHER, str(number))
                number += 1
            return number

        def check(number: int) -> None:
            assert ledger.known(SONGS, ["1"]) == {"1"}
            ledger.finish(SONGS, f"child-{number}")
            assert ledger.stats().finished == 1
            ledger.close()

        with ThreadPoolExecutor(2) as pool:
            working = [pool.submit(finish_on) for _ in range(2)]
            statuses = [_in_child(lambda number=number: check(number)) for number in range(3)]  # type: ignore[misc]  # bound now
            is_over.set()
            count = max(future.result() for future in working)

        assert statuses == [0] * 3
        children = {f"child-{number}" for number in range(3)}
        assert ledger.known(SONGS, sorted(children)) == children
        assert ledger.stats().rows == 1 + 3 + count

    def test_a_fork_before_its_first_use(self, new_ledger: Callable[..., Ledger]) -> None:
        """Children of a process that opened nothing each open their own."""
        ledger = new_ledger()

        def check(number: int) -> None:
            ledger.finish(SONGS, f"child-{number}")
            ledger.close()

        statuses = [_in_child(lambda number=number: check(number)) for number in range(2)]  # type: ignore[misc]  # bound now

        assert statuses == [0] * 2
        assert ledger.known(SONGS, ["child-0", "child-1"]) == {"child-0", "child-1"}


def _in_child(work: Callable[[], None]) -> int:
    """Its exit status, after `work` in a forked child; 1 when it raised."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)
