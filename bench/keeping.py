"""What a store that holds very much answers: one event among ten million, a million dead letters.

The stock is written through the store, which takes a minute or two, and thrown away afterwards.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.keeping_stock import EVENT_ID, dead_stock, event_stock
from bench.load import percentile
from bench.servers import Harness, Process, start_server

EVENTS_PER_COUNT = 100
DEAD_PER_COUNT = 10
"""Of the usual `--count` of 100,000 these make ten million and a million."""
TRACES = 50
PAGE = 500
"""Dead letters in one request of the client."""
REPLAY_WAIT_S = 600.0

Figures = dict[str, float]


async def trace(harness: Harness, count: int) -> Figures:
    """The story of one event among very many, wherever it lies, and of one that is not there."""
    events = count * EVENTS_PER_COUNT
    data = Path(tempfile.mkdtemp(prefix="eventpost-bench-"))
    await asyncio.to_thread(event_stock, data, harness.hook, events)
    process = await start_server(data)
    try:
        process.reset_memory()
        draw = random.Random(events)
        ids = [EVENT_ID % draw.randrange(events) for _ in range(TRACES)]
        found_s = await asyncio.to_thread(_traced, process, ids, 1)
        missing_s = await asyncio.to_thread(_traced, process, ["never"] * 5, 0)
        return {
            "events": events,
            "first_s": found_s[0],
            "p50_s": percentile(found_s, 0.5),
            "max_s": max(found_s),
            "missing_max_s": max(missing_s),
            "memory_mb": process.memory_mb(),
        }
    finally:
        process.stop()


def _traced(process: Process, ids: list[str], stories: int) -> list[float]:
    """Seconds of each trace."""
    elapsed_s = []
    with process.client() as client:
        client.show_status()
        for event_id in ids:
            start_s = time.perf_counter()
            if len(client.trace_event(event_id)) != stories:
                raise RuntimeError(f"{event_id} was not found as often as it is there")
            elapsed_s.append(time.perf_counter() - start_s)
    return elapsed_s


async def dead_letters(harness: Harness, count: int) -> Figures:
    """Very many dead letters: counted, listed page by page, and all of them replayed."""
    letters = count * DEAD_PER_COUNT
    data = Path(tempfile.mkdtemp(prefix="eventpost-bench-"))
    await asyncio.to_thread(dead_stock, data, harness.hook, letters)
    process = await start_server(data)
    tally = harness.tally
    try:
        process.reset_memory()
        start_s = time.perf_counter()
        counted = await asyncio.to_thread(_counted, process)
        count_s = time.perf_counter() - start_s
        pages_s = await asyncio.to_thread(_listed, process, letters)
        listed_mb = process.memory_mb()
        tally.expect(letters)
        start_s, cpu_s = time.perf_counter(), process.cpu_s()
        moved = await asyncio.to_thread(_replayed, process)
        moved_s = time.perf_counter() - start_s
        await asyncio.wait_for(tally.finished.wait(), REPLAY_WAIT_S)
        figures = {
            "dead_letters": letters,
            "count_s": count_s,
            "first_page_s": pages_s[0],
            "page_p99_s": percentile(pages_s, 0.99),
            "list_all_s": sum(pages_s),
            "listed_memory_mb": listed_mb,
            "put_back_per_s": letters / moved_s,
            "replayed_per_s": letters / (tally.last_s - start_s),
            "server_cpu_s_per_1000": (process.cpu_s() - cpu_s) / letters * 1000,
            "memory_mb": process.memory_mb(),
        }
    finally:
        process.stop()
    if not counted == moved == letters:
        raise RuntimeError(f"{counted} counted and {moved} moved of {letters}")
    return figures


def _counted(process: Process) -> int:
    with process.client() as client:
        return client.count_dead_letters()


def _listed(process: Process, letters: int) -> list[float]:
    """Seconds of each page of the list."""
    with process.client() as client:
        return list(_pages(client.dead_letters(), letters))


def _pages(found: Iterator[object], letters: int) -> Iterator[float]:
    for _ in range(0, letters, PAGE):
        start_s = time.perf_counter()
        for _ in range(PAGE):
            next(found)
        yield time.perf_counter() - start_s


def _replayed(process: Process) -> int:
    done = 0
    with process.client() as client:
        for progress in client.replay():
            done = progress.done
    return done
