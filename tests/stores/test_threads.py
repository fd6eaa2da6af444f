"""The store in its threads: reads beside writes, answers on the grid's thread, an end that ends."""

import random
import threading
from functools import partial
from pathlib import Path

import pytest

from eventpost.core.interfaces import Commit, Committed, ReadFailed, Segment, Trim
from eventpost.stores.executor import ThreadExecutor
from eventpost.stores.sqlite import SqliteSettings, SqliteStore
from eventpost.testing.driver import Driver, PumpClock
from eventpost.testing.samples import append, with_topic

SETTINGS = SqliteSettings(
    wal_pages=30, block_bytes=600, chunk_segments=3, unindexed_blocks_max=60, trace_events=20
)


@pytest.mark.slow
def test_a_reader_beside_the_writer_sees_every_event(tmp_path: Path) -> None:
    """Following the log while it is written misses no position and sees none twice."""
    clock = PumpClock()
    driver = Driver(SqliteStore(tmp_path / "data", clock, SETTINGS), clock)
    driver.commit(with_topic())
    whim = random.Random(7)
    committed = followed = published = 0
    waiting = 0
    reading = False

    def done(answer: object) -> None:
        nonlocal committed, waiting
        assert isinstance(answer, Committed), answer
        waiting -= 1
        committed += 1

    def read(answer: object) -> None:
        nonlocal followed, reading
        assert isinstance(answer, list), answer
        reading = False
        for segment in answer:
            assert isinstance(segment, Segment)
            assert segment.first <= followed < segment.end
            ids = [wire.decode().split('"')[3] for wire in segment.wires]
            assert ids == [f"event-{at}" for at in range(segment.first, segment.end)]
            followed = segment.end

    while committed < 600 or followed < published:
        if waiting < 4 and committed < 600:
            batch = append(*[f"event-{published + at}" for at in range(whim.randrange(1, 9))])
            published += len(batch.events)
            waiting += 1
            trims = [Trim(1, 0, max(0, followed - 50))] if whim.random() < 0.1 else []
            driver.store.commit(Commit(appends=[batch], trims=trims), done)
        if not reading:
            reading = True
            driver.store.read(1, 0, followed, 2_000, read)
        clock.pump()
    driver.store.close()


def test_answers_come_on_the_grids_thread(tmp_path: Path) -> None:
    """Work is done elsewhere; every answer is handed to the thread that pumps."""
    clock = PumpClock()
    executor = ThreadExecutor(clock)
    seen: list[tuple[int, int]] = []
    for lane in (executor.write, executor.read, executor.scan, executor.copy):
        lane(threading.get_ident, lambda worker: seen.append((worker, threading.get_ident())))
    for _ in range(4):
        clock.pump()
    executor.close()

    workers = {worker for worker, _ in seen}
    assert len(workers) == 4
    assert threading.get_ident() not in workers
    assert {answered for _, answered in seen} == {threading.get_ident()}


def test_what_takes_long_holds_up_neither_reads_nor_commits() -> None:
    """The four lanes do not wait for one another."""
    clock = PumpClock()
    executor = ThreadExecutor(clock)
    go = threading.Event()
    seen: list[str] = []
    executor.scan(lambda: go.wait(30), lambda _: seen.append("scan"))
    executor.copy(lambda: go.wait(30), lambda _: seen.append("copy"))
    executor.read(lambda: "read", seen.append)
    executor.write(lambda: "write", seen.append)
    clock.pump()
    clock.pump()

    assert sorted(seen) == ["read", "write"]
    go.set()
    clock.pump()
    clock.pump()
    executor.close()
    assert sorted(seen[2:]) == ["copy", "scan"]


def test_closing_finishes_what_was_handed_over(tmp_path: Path) -> None:
    """Commits handed over before `close` are durable, and answered, though nobody pumped."""
    clock = PumpClock()
    driver = Driver(SqliteStore(tmp_path / "data", clock), clock)
    driver.commit(with_topic())
    answers: list[object] = []
    for index in range(20):
        driver.store.commit(Commit(appends=[append(f"event-{index}")]), answers.append)

    driver.store.close()
    for _ in range(20):
        clock.pump()

    assert answers == [Committed([index]) for index in range(20)]
    driver = Driver(SqliteStore(tmp_path / "data", clock), clock)
    assert driver.recovered.next_positions == {(1, 0): 20}
    driver.store.close()


def test_opening_again_goes_on_from_the_disk(tmp_path: Path) -> None:
    """After a failed commit the same store object is opened again and serves."""
    clock = PumpClock()
    driver = Driver(SqliteStore(tmp_path / "data", clock), clock)
    driver.commit(with_topic())
    driver.commit(Commit(appends=[append("a")]))
    assert driver.failed(Commit(appends=[append("x", topic_id=9)])).reason
    assert driver.failed(Commit(appends=[append("b")])).reason

    recovered = driver.store.open()

    assert recovered.next_positions == {(1, 0): 1}
    assert driver.commit(Commit(appends=[append("b")])).firsts == [1]
    driver.store.close()


def test_a_read_under_way_is_ended_by_opening_again(tmp_path: Path) -> None:
    """Opening again does not wait for a long read: it is interrupted, and answered."""
    clock = PumpClock()
    store = SqliteStore(tmp_path / "data", clock)
    driver = Driver(store, clock)
    driver.commit(with_topic())
    answers: list[object] = []
    store.usage(answers.append)
    store.find("nothing", None, 0, 9, answers.append)

    store.open()
    while len(answers) < 2:
        clock.pump()

    assert all(not isinstance(answer, ReadFailed) or answer.reason for answer in answers)
    store.close()


def test_a_closed_executor_can_be_closed_again() -> None:
    """Closing twice, and settling after that, return at once."""
    executor = ThreadExecutor(PumpClock())
    executor.close()
    executor.close()
    executor.settle()


class ClosedLoop(PumpClock):
    """An event loop that was closed before its store."""

    def call_soon_threadsafe(self, callback: object, *args: object) -> None:
        raise RuntimeError("Event loop is closed")


def test_a_closed_loop_does_not_keep_work_from_being_done() -> None:
    """When nobody can be answered any more, what was handed over is carried out all the same."""
    executor = ThreadExecutor(ClosedLoop())
    done: list[int] = []
    for index in range(3):
        executor.write(partial(done.append, index), lambda _: None)

    executor.close()

    assert done == [0, 1, 2]
