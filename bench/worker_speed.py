"""No-op tasks through the real `dramatiq` command: ours and the stock brokers in the same run.

    python -m bench.worker_speed                 # or: make worker-bench

Enqueued by one thread, worked on by one process of 8 threads. Requests are counted by a proxy in a
run of their own, because it costs time itself. `start` is from enqueue to the first line of an
actor of a worker that was idle, the median of single tasks. `plain client` is what the emulator
gives at most: the service's own client at full speed, without any tasks.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.services.azurite import AzuriteInMemory
from tests.services.elasticmq import ElasticMQ
from tests.services.running import launched

from bench import worker_plain
from bench.worker_faults import Case, opened

SINGLE = 20
TASKS_S_MAX = 300.0
OPTIONS = {"lease_s": 60.0}
"""The brokers' own default, and not that of the fault matrix: a short lease shortens polls."""
SETTLED_S = 5.0
"""Until the last deletes are done, and pauses are as long as they become."""
IDLE_S = 20.0
"""How long requests of a worker are counted that has nothing to do."""


def ended(case: Case, count: int) -> None:
    """Wait until so many tasks have. Raises TimeoutError: a rate of what never came is none."""
    if not case.until(lambda: len(case.numbers("ended")) >= count, TASKS_S_MAX):
        done = len(case.numbers("ended"))
        raise TimeoutError(f"{case.system}, {case.broker}: {done} of {count} tasks have ended")


def speed(case: Case, count: int) -> tuple[float, float]:
    """Enqueued and finished a second."""
    began_s = time.monotonic()
    case.send(count=count)
    sent_s = time.monotonic() - began_s - case.start_up_s()
    case.start(threads=8)
    ended(case, 1)
    began_s = time.monotonic()
    done = len(case.numbers("ended"))
    ended(case, count)
    return count / sent_s, (count - done) / (time.monotonic() - began_s)


def requests(case: Case, count: int) -> tuple[float, float]:
    """Per message, and per hour when idle."""
    case.send(count=count)
    case.start(threads=8)
    ended(case, count)
    time.sleep(SETTLED_S)
    per_message = len(case.proxy.requests) / count
    before = len(case.proxy.requests)
    time.sleep(IDLE_S)
    return per_message, (len(case.proxy.requests) - before) * 3_600 / IDLE_S


def idle_start_ms(case: Case) -> float:
    """Milliseconds from enqueue to start, of single tasks to an idle worker."""
    case.start(threads=8)
    case.send(count=1)
    ended(case, 1)
    times = case.single_starts(SINGLE)
    return statistics.median(times) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000, help="tasks")
    parser.add_argument("--only", choices=["sqs", "storagequeue"])
    arguments = parser.parse_args()
    services: dict[str, Any] = {"sqs": ElasticMQ, "storagequeue": AzuriteInMemory}
    columns = "enqueued/s | worked/s | requests per task | idle requests/h | start p50"
    print(f"| broker | {columns} |\n|---|---|---|---|---|---|")
    for system in [arguments.only] if arguments.only else list(services):
        with (
            tempfile.TemporaryDirectory() as directory,
            launched(services[system], Path(directory) / "service") as running,
        ):
            port = running.service.ports["http" if system == "sqs" else "queue"]
            sent, worked = worker_plain.speed(system, port, arguments.count)
            print(f"| {system}, plain client | {sent:.0f} | {worked:.0f} | | | |", flush=True)
            for broker in ("eventpost", "stock"):
                with opened(system, broker, port, 0.0, is_direct=True) as case:
                    case.options = OPTIONS
                    sent, worked = speed(case, arguments.count)
                with opened(system, broker, port, 0.0) as case:
                    case.options = OPTIONS
                    each, hourly = requests(case, 300)
                with opened(system, broker, port, 0.0, is_direct=True) as case:
                    case.options = OPTIONS
                    start_ms = idle_start_ms(case)
                print(
                    f"| {system}, {broker} | {sent:.0f} | {worked:.0f} | {each:.2f} | "
                    f"{hourly:.0f} | {start_ms:.0f} ms |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
