"""What a ledger that hosts share costs: the same tasks with a file, with PostgreSQL, with Redis.

`worked_per_s` is no-op tasks through the real `dramatiq` command on ElasticMQ. `finished_per_s` is
the ledger alone: 8 threads that each wait until what they finished is durable, as workers do.
"""

import asyncio
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.services.elasticmq import ElasticMQ
from tests.services.postgresql import PostgreSQL
from tests.services.redis import Redis
from tests.services.running import launched

from bench import worker_speed
from bench.servers import Harness
from bench.worker_faults import opened
from eventpost.workers.ledgers import open_ledger

THREADS = 8
FINISHED = 2_000
Figures = dict[str, float]


async def row(_harness: Harness, count: int) -> Figures:
    return await asyncio.to_thread(measured, int(count * worker_speed.SHARE))


def measured(count: int) -> Figures:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # of this thread: workers have every core
    figures: Figures = {"tasks": count}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        queues = stack.enter_context(launched(ElasticMQ, directory / "queues"))
        ledgers = {
            "file": str(directory / "ledger"),
            "postgresql": stack.enter_context(
                launched(PostgreSQL, directory / "postgresql")
            ).service.url,
            "redis": stack.enter_context(launched(Redis, directory / "redis")).service.url,
        }
        for name, ledger in ledgers.items():
            figures[f"finished_per_s_{name}"] = finished_per_s(ledger)
            with opened(
                "sqs", "eventpost", queues.service.ports["http"], 0.0, is_direct=True
            ) as case:
                case.options = {**worker_speed.OPTIONS, "ledger": ledger}
                figures[f"worked_per_s_{name}"] = worker_speed.speed(case, count)
    for name in ("postgresql", "redis"):
        ratio = figures[f"worked_per_s_{name}"] / figures["worked_per_s_file"]
        figures[f"worked_{name}_to_file"] = ratio
    return figures


def finished_per_s(where: str) -> float:
    """By threads that wait for each."""
    ledger = open_ledger(where, "")
    ledger.finish("bench", "opened")
    each = FINISHED // THREADS

    def work(thread: int) -> None:
        for number in range(each):
            ledger.finish("bench", f"{thread}-{number}")

    began_s = time.monotonic()
    with ThreadPoolExecutor(THREADS) as threads:
        for one in [threads.submit(work, thread) for thread in range(THREADS)]:
            one.result()
    took_s = time.monotonic() - began_s
    ledger.close()
    return THREADS * each / took_s
