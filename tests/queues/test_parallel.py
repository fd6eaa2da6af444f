"""Calls side by side, bounded in number and in time."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from operator import mul

import pytest

from eventpost.queues.parallel import Late, Parallel

LONG_S = 20.0
PATIENCE_S = 120.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What calls wait for that hang; opened when the test is over."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def parallel() -> Iterator[Parallel]:
    parallel = Parallel(3, "eventpost-test")
    yield parallel
    parallel.close()


def until(condition: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends_s
        time.sleep(0.001)


def test_results_come_in_order(parallel: Parallel) -> None:
    """Many more calls than threads are all made, and their results are in the calls' order."""
    results = parallel.run([partial(mul, number, 2) for number in range(50)], LONG_S)

    assert results == [number * 2 for number in range(50)]


def test_no_more_than_so_many_at_once() -> None:
    """Never more calls than `threads_max` run at the same time, and that many do."""
    parallel = Parallel(3, "eventpost-three")
    together = threading.Barrier(3)

    results = parallel.run([partial(together.wait, LONG_S)] * 6, LONG_S)

    assert sorted(map(str, results)) == ["0", "0", "1", "1", "2", "2"]
    names = [one.name for one in threading.enumerate() if one.name.startswith("eventpost-three")]
    assert len(names) == 3
    parallel.close()


def test_threads_are_made_when_they_are_needed() -> None:
    """Without calls there is no thread, and one call after the other needs one."""
    parallel = Parallel(8, "eventpost-lazy")
    assert not [one for one in threading.enumerate() if one.name.startswith("eventpost-lazy")]
    for number in range(20):
        assert parallel.run([partial(abs, number)], LONG_S) == [number]

    names = [one.name for one in threading.enumerate() if one.name.startswith("eventpost-lazy")]
    assert len(names) == 1
    parallel.close()


def test_what_hangs_is_not_waited_for(parallel: Parallel, gate: threading.Event) -> None:
    """At the end of the time a call that hangs is told apart from one that was never begun, and
    from one that is done."""
    begun: list[int] = []

    def hang() -> bool:
        begun.append(1)
        return gate.wait(LONG_S)

    results = parallel.run([lambda: True, hang, hang, hang, hang], 0.3)

    assert results == [True, Late.RUNNING, Late.RUNNING, Late.RUNNING, Late.WAITING]
    gate.set()
    assert parallel.run([lambda: "next"], LONG_S) == ["next"]
    assert len(begun) == 3, "what was given up was begun later"


def test_what_comes_first_does_not_wait_behind_others(gate: threading.Event) -> None:
    """Calls that come first begin before all that wait for a thread, and none is left out or made
    twice; they take no more threads than others."""
    parallel = Parallel(1, "eventpost-first")
    begun: list[str] = []

    def ask(names: list[str], *, is_first: bool = False) -> threading.Thread:
        work = [partial(note, name) for name in names]
        wanted = parallel.unfinished_count + len(names)
        caller = threading.Thread(
            target=parallel.run, args=(work, LONG_S), kwargs={"is_first": is_first}
        )
        caller.start()
        until(lambda: parallel.unfinished_count == wanted)
        return caller

    def note(name: str) -> None:
        begun.append(name)
        gate.wait(LONG_S)

    callers = [ask(["hangs"])]
    until(lambda: begun == ["hangs"])
    callers += [ask(["a", "b"]), ask(["1", "2", "3"], is_first=True), ask(["c"])]

    gate.set()

    for caller in callers:
        caller.join(LONG_S)
    assert begun == ["hangs", "1", "2", "3", "a", "b", "c"]
    assert parallel.run([lambda: "next"], LONG_S, is_first=True) == ["next"]
    names = [one.name for one in threading.enumerate() if one.name.startswith("eventpost-first")]
    assert len(names) == 1
    parallel.close()
    assert parallel.run([lambda: 1], LONG_S, is_first=True) == [Late.WAITING]


def test_calls_that_come_first_one_after_the_other_need_one_thread() -> None:
    """A thread that has answered is free for the next call, also when that comes first."""
    parallel = Parallel(8, "eventpost-one")
    for number in range(50):
        assert parallel.run([partial(abs, number)], LONG_S, is_first=True) == [number]

    names = [one.name for one in threading.enumerate() if one.name.startswith("eventpost-one")]
    assert len(names) == 1
    parallel.close()


def test_an_exception_is_the_callers(parallel: Parallel) -> None:
    """What a call raises is raised where it was asked for, and the threads go on."""

    def fail() -> int:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        parallel.run([fail, lambda: 1], LONG_S)

    assert parallel.run([lambda: 1], LONG_S) == [1]


def test_closing_answers_whoever_waits(parallel: Parallel, gate: threading.Event) -> None:
    """When it is closed, a caller that waits is answered at once, and nothing is begun later."""
    is_running = threading.Event()
    answered: list[object] = []

    def hang() -> bool:
        is_running.set()
        return gate.wait(LONG_S)

    caller = threading.Thread(target=lambda: answered.extend(parallel.run([hang] * 5, LONG_S)))
    caller.start()
    is_running.wait(LONG_S)

    parallel.close()
    parallel.close()

    caller.join(LONG_S / 2)
    assert not caller.is_alive()
    assert set(answered) == {Late.RUNNING, Late.WAITING}
    assert parallel.run([lambda: 1], LONG_S) == [Late.WAITING]


def test_threads_end_when_it_is_closed() -> None:
    """A closed one leaves no thread behind once its calls have ended."""
    parallel = Parallel(4, "eventpost-ending")
    parallel.run([lambda: 1] * 20, LONG_S)
    threads = [one for one in threading.enumerate() if one.name.startswith("eventpost-ending")]

    parallel.close()

    for thread in threads:
        thread.join(LONG_S)
    assert not any(thread.is_alive() for thread in threads)
