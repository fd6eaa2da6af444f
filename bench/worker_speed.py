"""No-op tasks through the real `dramatiq` command: ours and the stock brokers in the same run.

    python -m bench.worker_speed                 # or: make worker-bench, or rows of make bench

Enqueued by one thread, by all in turn; worked on by one process of 8 threads. Requests are counted
by a proxy in a run of their own, because it costs time itself. `start` is from enqueue to the first
line of an actor of a worker that was idle, the median of single tasks. `plain` is the service's own
client at full speed, without any tasks: what the emulator gives at most.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.services.azurite import AzuriteInMemory
from tests.services.elasticmq import ElasticMQ
from tests.services.running import launched

from bench import worker_enqueue, worker_plain
from bench.servers import Harness
from bench.worker_faults import Case, opened

SINGLE = 10
ROUNDS = 3
"""Of single tasks, in turns: a service gets quicker with time."""
TASKS_S_MAX = 300.0
OPTIONS = {"lease_s": 60.0}
"""The brokers' own default, and not that of the fault matrix: a short lease shortens polls."""
SETTLED_S = 5.0
"""Until the last deletes are done, and pauses are as long as they become."""
IDLE_S = 20.0
"""How long requests of a worker are counted that has nothing to do."""
COUNTED = 300
"""Tasks of the run whose requests are counted."""
SHARE = 0.02
"""Of the deliveries of a usual row of `make bench`: so many tasks."""
SERVICES: dict[str, tuple[Any, str]] = {
    "sqs": (ElasticMQ, "http"),
    "storagequeue": (AzuriteInMemory, "queue"),
}
BROKERS = ("eventpost", "stock")
Figures = dict[str, float]


def measured(system: str, port: int, broker: str, count: int) -> Figures:
    """One broker's line."""
    with opened(system, broker, port, 0.0, is_direct=True) as case:
        case.options = OPTIONS
        worked = speed(case, count)
    with opened(system, broker, port, 0.0) as case:
        case.options = OPTIONS
        each, hourly = requests(case, COUNTED)
    return {
        "worked_per_s": worked,
        "requests_per_task": each,
        "idle_requests_per_hour": hourly,
    }


def all_measured(system: str, port: int, count: int) -> dict[str, Figures]:
    """By broker, and of the plain client."""
    with opened(system, "eventpost", port, 0.0, is_direct=True) as case:
        found = worker_enqueue.rates(case, port, count)
    for broker in BROKERS:
        found[broker] |= measured(system, port, broker, count)
    for broker, start_ms in idle_starts_ms(system, port).items():
        found[broker]["start_p50_ms"] = start_ms
    found["plain"]["worked_per_s"] = worker_plain.taken_per_s(system, port, count)
    return found


def ran(case: Case, count: int) -> None:
    """Wait until so many tasks have. Raises TimeoutError: a rate of what never came is none."""
    if not case.until(lambda: case.marked() >= count, TASKS_S_MAX):
        done = case.marked()
        raise TimeoutError(f"{case.system}, {case.broker}: {done} of {count} tasks have run")


def speed(case: Case, count: int) -> float:
    """Run a second, of tasks that wait already."""
    begun(case, count)
    ran(case, 1)
    began_s = time.monotonic()
    done = case.marked()
    ran(case, count)
    return (count - done) / (time.monotonic() - began_s)


def begun(case: Case, count: int) -> None:
    """So many tasks are sent, and a worker starts on them."""
    case.count_marks(count)
    case.send("noop", count)
    case.start(threads=8)


def requests(case: Case, count: int) -> tuple[float, float]:
    """Per message, and per hour when idle."""
    begun(case, count)
    ran(case, count)
    time.sleep(SETTLED_S)
    per_message = len(case.proxy.requests) / count
    before = len(case.proxy.requests)
    time.sleep(IDLE_S)
    return per_message, (len(case.proxy.requests) - before) * 3_600 / IDLE_S


def idle_starts_ms(system: str, port: int) -> dict[str, float]:
    """Milliseconds from enqueue to start, the median of single tasks to an idle worker."""
    times: dict[str, list[float]] = {broker: [] for broker in BROKERS}
    for broker in BROKERS * ROUNDS:
        with opened(system, broker, port, 0.0, is_direct=True) as case:
            case.options = OPTIONS
            begun(case, 1)
            ran(case, 1)
            times[broker] += case.single_starts(SINGLE)
    return {broker: statistics.median(each) * 1000 for broker, each in times.items()}


# --- a row of `make bench` ------------------------------------------------------------------------


def row(system: str) -> Callable[[Harness, int], Awaitable[Figures]]:
    """Ours, the stock broker's, and what the emulator gives at most, in one run."""
    return partial(_row, system)


async def _row(system: str, _harness: Harness, count: int) -> Figures:
    return await asyncio.to_thread(_compared, system, int(count * SHARE))


def _compared(system: str, count: int) -> Figures:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # of this thread: workers have every core
    kind, port_name = SERVICES[system]
    figures: Figures = {"tasks": count}
    with (
        tempfile.TemporaryDirectory() as directory,
        launched(kind, Path(directory) / "service") as running,
    ):
        port = running.service.ports[port_name]
        found = all_measured(system, port, count)
    stock, most = found["stock"], found["plain"]
    for name, value in found["eventpost"].items():
        figures |= {name: value, f"stock_{name}": stock[name]}
        if name in most:
            figures |= {f"plain_{name}": most[name], f"{name}_to_stock": value / stock[name]}
    return figures


# --- a table of its own ---------------------------------------------------------------------------


def line(figures: Figures) -> str:
    units = {"requests_per_task": ".2f"}
    names = [
        *("enqueued_per_s", "enqueue_cpu_us", "worked_per_s", "requests_per_task"),
        "idle_requests_per_hour",
    ]
    cells = [format(figures[n], units.get(n, ".0f")) if n in figures else "" for n in names]
    start_ms = figures.get("start_p50_ms")
    return " | ".join([*cells, "" if start_ms is None else f"{start_ms:.1f} ms"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000, help="tasks")
    parser.add_argument("--only", choices=list(SERVICES))
    arguments = parser.parse_args()
    columns = "enqueued/s | processor µs | worked/s | requests per task | idle requests/h | start"
    print(f"| broker | {columns} |\n|---|---|---|---|---|---|---|")
    for system in [arguments.only] if arguments.only else list(SERVICES):
        kind, port_name = SERVICES[system]
        with (
            tempfile.TemporaryDirectory() as directory,
            launched(kind, Path(directory) / "service") as running,
        ):
            port = running.service.ports[port_name]
            for broker, found in all_measured(system, port, arguments.count).items():
                print(f"| {system}, {broker} | {line(found)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
