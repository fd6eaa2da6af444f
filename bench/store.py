"""Measures the SQLite store alone: `uv run python -m bench.store [seconds] [directory]`.

Prints per shape of commit: events and commits a second, latency until the answer, CPU per event.
The figures of docs/decisions/0002-sqlite-store.md come from here. Nothing of it is a test.
"""

import gc
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from eventpost.core.events import Event
from eventpost.core.interfaces import Append, Commit, Committed, PutTopic, Segment
from eventpost.core.subscriptions import Topic
from eventpost.stores.sqlite import SqliteStore
from eventpost.testing.driver import Driver, PumpClock
from eventpost.testing.samples import ladder_row

TOPICS = 1_000
OUTCOME = bytes(512)
DATA = "x" * 930


def event(index: int) -> Event:
    event_id = f"3f2b8c1e-9d4a-4b6e-8a57-{index:012d}"
    wire = f'{{"id":"{event_id}","eventType":"T","subject":"s","data":"{DATA}"}}'
    return Event(event_id, "T", "s", wire.encode())


EVENTS = [event(index) for index in range(5_000)]


def some(count: int, at: int) -> list[Event]:
    start = at % (len(EVENTS) - count)
    return EVENTS[start : start + count]


Shape = Callable[[random.Random, int], list[Append]]
SHAPES: dict[str, Shape] = {
    "1 event": lambda _, at: [Append(1, 0, 1, some(1, at))],
    "64 events, 1 topic": lambda _, at: [Append(1, 0, 1, some(64, at))],
    "64 events, 64 of 1,000 topics": lambda rnd, at: [
        Append(topic_id, 0, 1, some(1, at)) for topic_id in rnd.sample(range(1, TOPICS + 1), 64)
    ],
    "1,000 events, 1 topic": lambda _, at: [Append(1, 0, 1, some(1_000, at))],
    "1,000 events, 1,000 topics": lambda _, at: [
        Append(topic_id, 0, 1, some(1, at)) for topic_id in range(1, TOPICS + 1)
    ],
}


def topics() -> Commit:
    return Commit(
        catalogue=[
            PutTopic(Topic(id=index, name=f"topic-{index}", key1="", key2="", created_ms=0))
            for index in range(1, TOPICS + 1)
        ]
    )


def opened(directory: Path) -> Driver:
    clock = PumpClock()
    return Driver(SqliteStore(directory, clock), clock)


def measure_commits(directory: Path, name: str, shape: Shape, seconds: float) -> None:
    driver = opened(directory)
    driver.commit(topics())
    whim = random.Random(1)
    latencies: list[float] = []
    count = outcome_id = 0
    gc.collect()
    gc.freeze()
    cpu, start = time.process_time(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        outcome_id += 1
        commit = Commit(appends=shape(whim, count), outcome_id=outcome_id, outcome=OUTCOME)
        count += sum(len(appended.events) for appended in commit.appends)
        before = time.perf_counter()
        answer = driver.ask(driver.store.commit, commit)
        latencies.append(time.perf_counter() - before)
        assert isinstance(answer, Committed)
    elapsed = time.perf_counter() - start
    cpu = time.process_time() - cpu
    driver.store.close()
    latencies.sort()
    print(
        f"{name:30} {count / elapsed:9,.0f} events/s {len(latencies) / elapsed:7,.0f} commits/s"
        f"  p50 {latencies[len(latencies) // 2] * 1e3:6.2f}"
        f"  p99 {latencies[len(latencies) * 99 // 100] * 1e3:6.2f} ms"
        f"  CPU {cpu / count * 1e6:6.1f} us/event",
        flush=True,
    )


def measure_reads(directory: Path) -> None:
    driver = opened(directory)
    driver.commit(topics())
    for index in range(500):
        driver.commit(Commit(appends=[Append(1, 0, 1, some(200, index))]))
    position = 0
    start = time.perf_counter()
    while found := driver.answer(list, driver.store.read, 1, 0, position, 1 << 20):
        last: Segment = found[-1]
        position = last.end
    elapsed = time.perf_counter() - start
    print(f"{'read in order':30} {position / elapsed:9,.0f} events/s")
    keys = [(1, 0, random.Random(1).randrange(position)) for _ in range(500)]
    start = time.perf_counter()
    driver.ask(driver.store.events, keys)
    print(f"{'500 single events':30} {(time.perf_counter() - start) * 1e3:9.1f} ms")
    driver.store.close()


def measure_find(directory: Path, millions: int) -> None:
    """Events without data: what counts is how many there are."""
    driver = opened(directory)
    driver.commit(topics())
    small = [Event(f"id-{index}", "T", "s", b'{"id":"id-%d"}' % index) for index in range(10_000)]
    for _ in range(millions * 100):
        driver.commit(Commit(appends=[Append(1, 0, 1, small)]))
    rare = Event("the-one", "T", "s", b'{"id":"the-one"}')
    driver.commit(Commit(appends=[Append(2, 0, 1, [rare])]))
    driver.store.close()
    start = time.perf_counter()
    driver = opened(directory)
    opening = time.perf_counter() - start
    for name, wanted in (("an id there is", "the-one"), ("an id there is not", "nothing")):
        start = time.perf_counter()
        driver.ask(driver.store.find, wanted, None, 0, 10)
        elapsed = time.perf_counter() - start
        print(f"{f'{name}, {millions} million events':30} {elapsed * 1e3:9.1f} ms")
    print(f"{'opening that store':30} {opening * 1e3:9.1f} ms")
    driver.store.close()


def measure_ladder(directory: Path, rows: int) -> None:
    driver = opened(directory)
    driver.commit(topics())
    whim = random.Random(1)
    batches = [
        [
            ladder_row(whim.randrange(10**9), first + index, subscription_id=1 + index % 1_000)
            for index in range(10_000)
        ]
        for first in range(0, rows, 10_000)
    ]
    start = time.perf_counter()
    for batch in batches:
        driver.commit(Commit(ladder_put=batch))
    print(f"{f'load {rows:,} ladder rows':30} {rows / (time.perf_counter() - start):9,.0f} rows/s")
    claimed = 0
    start = time.perf_counter()
    while time.perf_counter() - start < 4:
        found = driver.answer(list, driver.store.due, 0, 10**9, 500)
        again = [
            ladder_row(10**9 + whim.randrange(10**9), row.position, subscription_id=7)
            for row in found[:250]
        ]
        driver.commit(Commit(ladder_remove=found, ladder_put=again))
        claimed += 500
    print(f"{'claim 500, put half back':30} {claimed / (time.perf_counter() - start):9,.0f} rows/s")
    driver.store.close()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    parent = sys.argv[2] if len(sys.argv) > 2 else None
    place = Path(tempfile.mkdtemp(dir=parent))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    try:
        for index, (name, shape) in enumerate(SHAPES.items()):
            measure_commits(place / f"commits-{index}", name, shape, seconds)
        measure_reads(place / "reads")
        measure_ladder(place / "ladder", 1_000_000)
        measure_find(place / "find", 10)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
