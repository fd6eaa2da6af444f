"""Pulling: one consumer that receives and acknowledges in batches of a hundred."""

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path

from bench.load import EVENT_BYTES, SPREAD_BYTES, percentile, request
from bench.rows import BATCH, BUSY_MAX, WAIT_S, Figures
from bench.servers import Harness, Process, start_server
from bench.stock import stock_pull

TOPIC, NAME = "bench", "puller"
PUBLISHED = f"/topics/{TOPIC}:publish"
OPERATION = f"/topics/{TOPIC}/eventsubscriptions/{NAME}"
LOCKS = 1_000_000
RING_BATCHES = 40
_TOKEN = b'"lockToken":"'
_LENGTH = b"ontent-Length: "


def event(number: int) -> bytes:
    """A CloudEvent of 1 KB give or take a tenth."""
    event_bytes = EVENT_BYTES - SPREAD_BYTES + number * 7 % (2 * SPREAD_BYTES + 1)
    head = (
        f'{{"specversion":"1.0","id":"{number:012d}","source":"/bench","type":"Bench.Event",'
        f'"subject":"bench/subject","time":"2026-11-21T18:53:03.123456Z","data":{{"text":"'
    )
    return (head + "x" * (event_bytes - len(head) - 3) + '"}}').encode()


class Consumer(asyncio.Protocol):
    """Receives, acknowledges what it got, and again, one request after the other."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._receive = request(f"{OPERATION}:receive?maxEvents={BATCH}&maxWaitTime=10", key, b"")
        self._rest = b""
        self._is_receiving = True
        self._taken = 0
        self._wanted = 0
        self._sent_s = 0.0
        self.cycles_s: list[float] = []
        self.refused = b""
        self.finished = asyncio.Event()
        self.sizes: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def start(self, count: int) -> None:
        self._taken, self._wanted = 0, count
        self.cycles_s, self.sizes = [], []
        self.finished.clear()
        self._ask()

    def _ask(self) -> None:
        self._is_receiving = True
        self._sent_s = time.perf_counter()
        self._transport.write(self._receive)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._rest = data
            return
        at = data.find(_LENGTH, 0, end) + len(_LENGTH)
        total = end + 4 + int(data[at : data.find(b"\r", at)])
        if len(data) < total:
            self._rest = data
            return
        self._rest = b""
        if not data.startswith(b"HTTP/1.1 200"):
            self.refused = data[:500]
            self.finished.set()
        elif self._is_receiving:
            self._acknowledge(data[end + 4 :])
        else:
            self._go_on(data)

    def _acknowledge(self, body: bytes) -> None:
        tokens = [part[: part.index(b'"')] for part in body.split(_TOKEN)[1:]]
        self.sizes.append(len(tokens))
        if not tokens:
            self._ask()
            return
        body = b'{"lockTokens":["%b"]}' % b'","'.join(tokens)
        self._is_receiving = False
        self._transport.write(  # type: ignore[attr-defined]
            request(f"{OPERATION}:acknowledge", self._key, body)
        )

    def _go_on(self, data: bytes) -> None:
        if b'"failedLockTokens":[]' not in data:
            self.refused = data[-500:]
        self.cycles_s.append(time.perf_counter() - self._sent_s)
        self._taken += self.sizes[-1]
        if self._taken >= self._wanted or self.refused:
            self.finished.set()
        else:
            self._ask()


async def pull(harness: Harness, count: int) -> Figures:
    """One consumer without and with a million events locked by others."""
    figures: Figures = {}
    rates = {}
    for name, locks in {"none": 0, "million": LOCKS}.items():
        data = Path(tempfile.mkdtemp(prefix="eventpost-bench-"))
        key = await asyncio.to_thread(partial(stock_pull, data, TOPIC, NAME, locks=locks))
        process = await start_server(data)
        try:
            found = await _consume(harness, process, key, count * 4)
        finally:
            process.stop()
        rates[name] = found["deliveries_per_s"]
        if name == "none":
            figures = found
        else:
            figures |= {f"locked_{figure}": value for figure, value in found.items()}
    figures["rate_ratio"] = rates["million"] / rates["none"]
    return figures


async def _consume(harness: Harness, process: Process, key: str, count: int) -> Figures:
    consumer = Consumer(key)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: consumer, "127.0.0.1", process.port)
    await _publish(harness, process, key, count + count // 5)
    await _take(consumer, count // 10)
    process.reset_memory()
    memory_mb = process.memory_mb()
    cpu_s, own_s, start_s = process.cpu_s(), time.process_time(), time.perf_counter()
    await _take(consumer, count)
    wall_s = time.perf_counter() - start_s
    busy = (time.process_time() - own_s) / wall_s
    return {
        "deliveries_per_s": sum(consumer.sizes) / wall_s,
        "server_cpu_s_per_1000": (process.cpu_s() - cpu_s) / count * 1000,
        "cycle_p50_ms": percentile(consumer.cycles_s, 0.5) * 1000,
        "cycle_p99_ms": percentile(consumer.cycles_s, 0.99) * 1000,
        "events_per_receive": sum(consumer.sizes) / len(consumer.sizes),
        "memory_mb": process.memory_mb(),
        "memory_growth_mb": process.memory_mb() - memory_mb,
        "harness_busy": busy,
        "counts": float(busy < BUSY_MAX),
    }


async def _take(consumer: Consumer, count: int) -> None:
    consumer.start(count)
    await asyncio.wait_for(consumer.finished.wait(), WAIT_S)
    if consumer.refused:
        raise RuntimeError(f"refused: {consumer.refused!r}")


async def _publish(harness: Harness, process: Process, key: str, count: int) -> None:
    work = await harness.publishers(process.port, 8)
    ring = []
    for first in range(0, RING_BATCHES * BATCH, BATCH):
        body = b"[" + b",".join(event(first + offset) for offset in range(BATCH)) + b"]"
        ring.append(
            request(PUBLISHED, key, body).replace(
                b"application/json", b"application/cloudevents-batch+json", 1
            )
        )
    work.start(count // BATCH, lambda number: ring[number % len(ring)])
    await asyncio.wait_for(work.finished.wait(), WAIT_S)
    if work.refused:
        raise RuntimeError(f"{work.refused} requests refused: {work.last_refusal!r}")
