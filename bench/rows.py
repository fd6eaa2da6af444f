"""What is measured, one function per row. Each returns figures by name."""

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

from bench.load import EVENT_BYTES, Tally, Work, event, percentile, request
from bench.servers import Harness, Process, prepare, start_floor, start_server
from bench.stock import stock

PATH = "/topics/bench/api/events"
RING_SINGLES, RING_BATCHES = 2_000, 40
BATCH = 100
BUSY_MAX = 0.90
WAIT_S = 120.0
PROBE_S = 0.02
FRESH_RATE, FRESH_S = 200.0, 10.0
FRESH_SUBJECT = "fresh/x"

Figures = dict[str, float]


def singles(key: str, path: str = PATH) -> list[bytes]:
    return [request(path, key, event(number)) for number in range(RING_SINGLES)]


def batches(key: str, path: str = PATH) -> list[bytes]:
    ring = []
    for first in range(0, RING_BATCHES * BATCH, BATCH):
        body = b",".join(event(first + offset) for offset in range(BATCH))
        ring.append(request(path, key, b"[" + body + b"]"))
    return ring


async def saturate(
    harness: Harness, process: Process, work: Work, ring: list[bytes], requests: int, expect: int
) -> Figures:
    """Send `requests` as fast as they are answered, wait until `expect` deliveries arrived."""
    tally = harness.tally
    tally.expect(expect)
    cpu_s, own_s, start_s = process.cpu_s(), time.process_time(), time.perf_counter()
    work.start(requests, lambda number: ring[number % len(ring)])
    await asyncio.wait_for(tally.finished.wait(), WAIT_S)
    wall_s = tally.last_s - start_s
    busy = (time.process_time() - own_s) / wall_s
    if work.refused:
        raise RuntimeError(f"{work.refused} requests refused: {work.last_refusal!r}")
    return {
        "deliveries_per_s": expect / wall_s,
        "server_cpu_s_per_1000": (process.cpu_s() - cpu_s) / expect * 1000,
        "ack_p50_ms": percentile(work.answer_s, 0.5) * 1000,
        "ack_p99_ms": percentile(work.answer_s, 0.99) * 1000,
        "memory_mb": process.memory_mb(),
        "harness_busy": busy,
        "counts": float(busy < BUSY_MAX),
    }


async def floor(harness: Harness, count: int) -> Figures:
    """Same HTTP code, no storage, no routing: one request in, one POST out."""
    process = await start_floor(harness.hook)
    try:
        work = await harness.publishers(process.port, 64)
        ring = singles("none")
        await saturate(harness, process, work, ring, count // 10, count // 10)
        return await saturate(harness, process, work, ring, count, count)
    finally:
        process.stop()


async def harness_alone(harness: Harness, count: int) -> Figures:
    """What generator and receiver reach when they talk to each other."""
    tally = harness.tally
    work = await harness.publishers(harness.hook_port, 64)
    tally.expect(count)
    own_s, start_s = time.process_time(), time.perf_counter()
    ring = singles("none")
    work.start(count, lambda number: ring[number % len(ring)])
    await asyncio.wait_for(tally.finished.wait(), WAIT_S)
    wall_s = time.perf_counter() - start_s
    return {
        "requests_per_s": count / wall_s,
        "harness_busy": (time.process_time() - own_s) / wall_s,
    }


async def single(harness: Harness, count: int) -> Figures:
    """One event per request in, one POST per event out."""
    return await _end_to_end(harness, count, is_batched_in=False, batch_out=1)


async def batched_in(harness: Harness, count: int) -> Figures:
    """Batches of 100 in, one POST per event out."""
    return await _end_to_end(harness, count * 2, is_batched_in=True, batch_out=1)


async def batched(harness: Harness, count: int) -> Figures:
    """Batches of 100 in, up to 100 events per POST out."""
    return await _end_to_end(harness, count * 6, is_batched_in=True, batch_out=BATCH)


async def fan_out(harness: Harness, count: int) -> Figures:
    """One event to 100 subscriptions."""
    process = await start_server()
    try:
        key = await prepare(process, harness.hook, subscriptions=100)
        work = await harness.publishers(process.port, 16)
        events = max(100, count // 100)
        return await saturate(harness, process, work, singles(key), events, events * 100)
    finally:
        process.stop()


async def _end_to_end(
    harness: Harness, count: int, *, is_batched_in: bool, batch_out: int
) -> Figures:
    process = await start_server()
    try:
        key = await prepare(process, harness.hook, batch=batch_out)
        work = await harness.publishers(process.port, 8 if is_batched_in else 64)
        ring = batches(key) if is_batched_in else singles(key)
        per_request = BATCH if is_batched_in else 1
        warm = count // 10 // per_request
        await saturate(harness, process, work, ring, warm, warm * per_request)
        return await saturate(harness, process, work, ring, count // per_request, count)
    finally:
        process.stop()


async def latency(harness: Harness, rate: float, seconds: float) -> Figures:
    """Publish to receive at a steady rate; the disk's own sync beside it, at the same time."""
    process = await start_server()
    tally: Tally = harness.tally
    try:
        key = await prepare(process, harness.hook)
        work = await harness.publishers(process.port, 64)
        count = int(rate * seconds)
        await saturate(harness, process, work, singles(key), 500, 500)
        tally.expect(count)
        tally.is_timing = True
        tally.sent_s = [0.0] * count

        def make(number: int) -> bytes:
            tally.sent_s[number] = time.perf_counter()
            return request(PATH, key, event(number))

        cpu_s = process.cpu_s()
        with DiskProbe() as disk:
            await work.pace(count, rate, make)
            await asyncio.wait_for(tally.finished.wait(), WAIT_S)
        return {
            "receive_p50_ms": percentile(tally.latencies_s, 0.5) * 1000,
            "receive_p99_ms": percentile(tally.latencies_s, 0.99) * 1000,
            "ack_p50_ms": percentile(work.answer_s, 0.5) * 1000,
            "ack_p99_ms": percentile(work.answer_s, 0.99) * 1000,
            "fdatasync_p50_ms": percentile(disk.times_s, 0.5) * 1000,
            "fdatasync_p99_ms": percentile(disk.times_s, 0.99) * 1000,
            "receive_max_ms": max(tally.latencies_s) * 1000,
            "fdatasync_max_ms": max(disk.times_s) * 1000,
            "server_cpu_s_per_1000": (process.cpu_s() - cpu_s) / count * 1000,
            "waited": float(work.waited),
            "refused": float(work.refused),
        }
    finally:
        tally.is_timing = False
        process.stop()


class DiskProbe:
    """Writes of one event each, and how long the disk takes to sync them, in a thread beside what
    is measured: a disk that stalls is not taken for a server that does."""

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with tempfile.TemporaryFile(prefix="eventpost-bench-", buffering=0) as file:
            while not self._ended.wait(PROBE_S):
                start_s = time.perf_counter()
                file.write(b"x" * EVENT_BYTES)
                os.fdatasync(file.fileno())
                self.times_s.append(time.perf_counter() - start_s)


async def many_subscriptions(harness: Harness, count: int) -> Figures:
    """10,000 subscriptions of which ten match each event, against ten that match each event."""

    def ring(groups: int, key: str) -> list[bytes]:
        return [
            request(PATH, key, event(number, subject=f"group/{number % groups}/x"))
            for number in range(RING_SINGLES)
        ]

    cases = {"few": {"groups": 1}, "many": {"groups": 1_000}}
    return await _compared(
        harness, count // 10, cases, lambda case, key: ring(case["groups"], key), fan=10
    )


async def ladder(harness: Harness, count: int) -> Figures:
    """A million deliveries on the ladder beside the usual traffic."""
    cases = {
        "none": {"groups": 0, "ladder_rows": 0},
        "million": {"groups": 0, "ladder_rows": 1_000_000},
    }
    return await _compared(harness, count, cases, lambda _, key: singles(key))


async def many_topics(harness: Harness, count: int) -> Figures:
    """A thousand topics, each event to another one, against one topic."""

    def ring(topics: int, key: str) -> list[bytes]:
        return [
            request(f"/topics/bench{number % topics or ''}/api/events", key, event(number))
            for number in range(RING_SINGLES)
        ]

    cases = {"one": {"groups": 0, "topics": 1}, "thousand": {"groups": 0, "topics": 1_000}}
    return await _compared(harness, count, cases, lambda case, key: ring(case["topics"], key))


async def _compared(
    harness: Harness,
    events: int,
    cases: dict[str, dict[str, int]],
    ring: Callable[[dict[str, int], str], list[bytes]],
    *,
    fan: int = 1,
) -> Figures:
    """The same traffic on differently stocked servers; `cpu_ratio` is the last to the first."""
    figures: Figures = {}
    cpu = []
    for name, case in cases.items():
        data = Path(tempfile.mkdtemp(prefix="eventpost-bench-"))
        key = await asyncio.to_thread(partial(stock, data, harness.hook, **case))
        process = await start_server(data)
        try:
            work = await harness.publishers(process.port, 64)
            requests = ring(case, key)
            # Each topic and each lane has had its first event before it counts.
            warm = max(events // 10, RING_SINGLES)
            await saturate(harness, process, work, requests, warm, warm * fan)
            found = await saturate(harness, process, work, requests, events, events * fan)
        finally:
            process.stop()
        cpu.append(found["server_cpu_s_per_1000"])
        figures |= {f"{name}_{figure}": value for figure, value in found.items()}
    figures["cpu_ratio"] = cpu[-1] / cpu[0]
    return figures


async def hanging(harness: Harness, count: int) -> Figures:
    """A handler that never answers while a million events pass."""
    process = await start_server()
    tally = harness.tally
    try:
        key = await prepare(process, harness.hook, batch=BATCH)
        work = await harness.publishers(process.port, 8)
        ring = batches(key)
        tally.is_hanging = True
        tally.expect(1 << 60)
        requests = max(count * 10, 1_000_000) // BATCH
        start_s = time.perf_counter()
        work.start(requests, lambda number: ring[number % len(ring)])
        await asyncio.wait_for(work.finished.wait(), WAIT_S)
        return {
            "publish_per_s": requests * BATCH / (time.perf_counter() - start_s),
            "memory_mb": process.memory_mb(),
        }
    finally:
        tally.is_hanging = False
        process.stop()


async def resume(harness: Harness, count: int) -> Figures:
    """A thousand lanes resume a million events behind while fresh events go on to a lane that is
    not behind. `read_to_stored` is how often the stored bytes were read."""
    data = Path(tempfile.mkdtemp(prefix="eventpost-bench-"))
    behind = count * 10
    key = await asyncio.to_thread(stock, data, harness.hook, groups=0, lagging=1_000, events=behind)
    stored = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    tally = harness.tally
    fresh = int(FRESH_RATE * FRESH_S)
    tally.expect(behind + fresh)  # the server sends from its first moment on
    tally.sent_s = [0.0] * fresh
    tally.timed_from, tally.is_timing = behind, True

    def make(number: int) -> bytes:
        tally.sent_s[number] = time.perf_counter()
        return request(PATH, key, event(behind + number, subject=FRESH_SUBJECT))

    process = await start_server(data)
    try:
        work = await harness.publishers(process.port, 8)
        start_s = time.perf_counter()
        await work.pace(fresh, FRESH_RATE, make)
        still_behind = tally.expected - tally.deliveries
        await asyncio.wait_for(tally.finished.wait(), WAIT_S)
        return {
            "behind_deliveries_per_s": tally.expected / (tally.last_s - start_s),
            "behind_when_fresh_ended": float(still_behind),
            "fresh_ack_p99_ms": percentile(work.answer_s, 0.99) * 1000,
            "fresh_receive_p50_ms": percentile(tally.latencies_s, 0.5) * 1000,
            "fresh_receive_p99_ms": percentile(tally.latencies_s, 0.99) * 1000,
            "read_to_stored": process.read_bytes() / stored,
            "memory_mb": process.memory_mb(),
        }
    finally:
        tally.timed_from, tally.is_timing = 0, False
        process.stop()
