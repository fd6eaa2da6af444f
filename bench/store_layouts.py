"""Compares ways to lay events out in SQLite: `uv run python -m bench.store_layouts [seconds]`.

Each commit holds events of 1 KB and their fingerprints. Throwaway tables: what the store does is in
`bench.store`. The figures of docs/decisions/0002-sqlite-store.md come from here.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import apsw

WIRE = os.urandom(512).hex().encode()
TOPICS = 1_000
WARM_COMMITS = 50
Counts = list[tuple[int, int]]
"""(topic, how many events) of one commit."""

SHAPES: dict[str, Callable[[random.Random], Counts]] = {
    "64 of one topic": lambda _: [(1, 64)],
    "64 of 1,000 topics": lambda whim: [(topic, 1) for topic in whim.sample(range(TOPICS), 64)],
    "1,000 of 1,000 topics": lambda _: [(topic, 1) for topic in range(TOPICS)],
}


class Layout:
    """One way to keep segments. `rows` are (topic, first, count, lengths, body)."""

    schema = "CREATE TABLE segment (id INTEGER PRIMARY KEY, topic, first, n, sum, lengths, body)"
    insert = "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?)"
    auto_vacuum = "none"

    def __init__(self) -> None:
        self.next_id = 1

    def rows(self, segments: list[tuple[int, int, int]]) -> list[tuple[object, ...]]:
        """`segments` are (topic, first, count)."""
        return [self.row(topic, first, count) for topic, first, count in segments]

    def row(self, topic: int, first: int, count: int) -> tuple[object, ...]:
        lengths, body = packed(count)
        return (self.key(topic, first), topic, first, count, crc32(body), lengths, body)

    def key(self, _topic: int, _first: int) -> int:
        self.next_id += 1
        return self.next_id


class Clustered(Layout):
    """A row per topic and commit, by topic and position."""

    def key(self, topic: int, first: int) -> int:
        return topic << 40 | first


class Indexed(Layout):
    """A row per topic and commit in the order of commits, and an index by topic and position."""

    schema = Layout.schema + "; CREATE UNIQUE INDEX at ON segment (topic, first)"


class InOrder(Layout):
    """The same without the index, which would be written now and then."""


class Blocks(Layout):
    """A row per commit for all topics, the index written now and then: what was chosen."""

    def rows(self, segments: list[tuple[int, int, int]]) -> list[tuple[object, ...]]:
        lengths, body = packed(sum(count for _, _, count in segments))
        directory = array("q", [number for segment in segments for number in segment]).tobytes()
        return [(self.key(0, 0), None, None, None, crc32(body), directory + lengths, body)]


class Vacuumed(Blocks):
    """The same with a map of pages, so that a file could be made smaller."""

    auto_vacuum = "incremental"


def packed(count: int) -> tuple[bytes, bytes]:
    wires = [WIRE] * count
    return array("I", map(len, wires)).tobytes(), b"".join(wires)


def measure(directory: Path, layout: Layout, name: str, seconds: float) -> None:
    connection = apsw.Connection(str(directory / f"{type(layout).__name__}-{name}.db"))
    connection.pragma("auto_vacuum", layout.auto_vacuum)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("cache_size", -16_384)
    connection.execute(layout.schema)
    connection.execute("CREATE TABLE prints (id INTEGER PRIMARY KEY, prints)")
    whim = random.Random(1)
    positions = [0] * TOPICS

    def commit(counts: Counts) -> int:
        segments = [(topic, positions[topic], count) for topic, count in counts]
        for topic, count in counts:
            positions[topic] += count
        total = sum(count for _, count in counts)
        prints = array("I", [crc32(b"3f2b8c1e-9d4a-4b6e") for _ in range(total)]).tobytes()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(layout.insert, layout.rows(segments))
        connection.execute("INSERT INTO prints (prints) VALUES (?)", (prints,))
        connection.execute("COMMIT")
        return total

    if "topics" in name:
        for _ in range(WARM_COMMITS):
            commit([(topic, 1) for topic in range(TOPICS)])
    latencies: list[float] = []
    count = 0
    cpu, start = time.process_time(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        counts = SHAPES[name](whim)
        before = time.perf_counter()
        count += commit(counts)
        latencies.append(time.perf_counter() - before)
    elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
    latencies.sort()
    print(
        f"{name:22} {type(layout).__name__:10} {count / elapsed:9,.0f} events/s"
        f"  p50 {latencies[len(latencies) // 2] * 1e3:6.2f} ms"
        f"  CPU {cpu / count * 1e6:5.1f} us/event",
        flush=True,
    )
    connection.close()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    directory = Path(tempfile.mkdtemp())
    try:
        for name in SHAPES:
            for layout in (Clustered(), Indexed(), InOrder(), Blocks(), Vacuumed()):
                measure(directory, layout, name, seconds)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
