"""`make bench`: every row, its figures, and its ratio to the raw floor of the same run."""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench import explaining, keeping, moving, pull, queues, rows, worker_ledgers, worker_speed
from bench.servers import Harness
from eventpost.server.serving import loop_factory

RESULTS = Path(__file__).parent / "results"
COUNT = 100_000
MUST = {
    "single": 25_000,
    "batched_in": 40_000,
    "batched": 120_000,
    "fan_out": 35_000,
    "pull": 40_000,
}
"""Deliveries a second that the project wants to reach at least, on two quiet cores."""

Row = Callable[[Harness, int], Awaitable[rows.Figures]]


def table(rate_half: float) -> dict[str, Row]:
    return {
        "harness_alone": rows.harness_alone,
        "floor": rows.floor,
        "single": rows.single,
        "batched_in": rows.batched_in,
        "batched": rows.batched,
        "fan_out": rows.fan_out,
        "pull": pull.pull,
        "latency_200": lambda harness, count: rows.latency(harness, 200, count / 5_000),
        "latency_half": lambda harness, count: rows.latency(harness, rate_half, count / 20_000),
        "many_subscriptions": rows.many_subscriptions,
        "ladder": rows.ladder,
        "many_topics": rows.many_topics,
        "hanging": rows.hanging,
        "resume": rows.resume,
        "trace": keeping.trace,
        "dead_letters": keeping.dead_letters,
        "explain": explaining.explain,
        "queue_sqs": queues.row("sqs", 0.04),
        "queue_storagequeue": queues.row("storagequeue", 0.01),
        "queue_rabbitmq": queues.row("rabbitmq", 0.2),
        "queue_kafka": queues.row("kafka", 0.4),
        "move": moving.move,
        "idle_sqs": queues.idle_row("sqs"),
        "idle_storagequeue": queues.idle_row("storagequeue"),
        "idle_rabbitmq": queues.idle_row("rabbitmq"),
        "idle_kafka": queues.idle_row("kafka"),
        "workers_sqs": worker_speed.row("sqs"),
        "workers_storagequeue": worker_speed.row("storagequeue"),
        "workers_ledgers": worker_ledgers.row,
    }


async def main(only: list[str], count: int) -> dict[str, rows.Figures]:
    harness = Harness()
    await harness.start()
    results: dict[str, rows.Figures] = {}
    for name in table(0):
        if only and name not in only:
            continue
        half = results.get("single", {}).get("deliveries_per_s", 20_000) / 2
        row = table(half)[name]
        await asyncio.to_thread(os.sync)  # what the row before wrote and removed is behind us
        try:
            results[name] = await row(harness, count)
        except (RuntimeError, TimeoutError) as error:
            print(f"{name:20} failed: {type(error).__name__} {error}", flush=True)
            continue
        show(name, results)
    return results


SECONDS_MAX = {"trace": ("max_s", 2.0)}
"""The slowest that a row's figure may be."""


def show(name: str, results: dict[str, rows.Figures]) -> None:
    figures = dict(results[name])
    floor = results.get("floor", {})
    if floor and "deliveries_per_s" in figures and name != "floor":
        figures["rate_to_floor"] = figures["deliveries_per_s"] / floor["deliveries_per_s"]
        figures["cpu_to_floor"] = floor["server_cpu_s_per_1000"] / figures["server_cpu_s_per_1000"]
    line = "  ".join(f"{key}={_text(value)}" for key, value in figures.items())
    note = ""
    if name in MUST:
        note = f"  (wanted: {MUST[name]:,}/s)"
    if name in SECONDS_MAX:
        note = "  (wanted: {} up to {:g})".format(*SECONDS_MAX[name])
    if figures.get("counts") == 0.0:
        note += "  (does not count: the harness's core was busy)"
    print(f"{name:20} {line}{note}", flush=True)


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(results: dict[str, rows.Figures]) -> Path:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime())
    machine = {"machine": platform.machine(), "python": sys.version, "run_by": sys.executable}
    path.write_text(json.dumps({**machine, "rows": results}, indent=2) + "\n")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], choices=sorted(table(0)), metavar="ROW")
    parser.add_argument("--count", type=int, default=COUNT, help="deliveries of a usual row")
    arguments = parser.parse_args()
    print(f"Python {sys.version} at {sys.executable}")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        found = runner.run(main(arguments.only, arguments.count))
    print(f"written to {write(found)}")
