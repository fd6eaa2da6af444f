"""How fast one thread enqueues: ours, the stock broker and the plain client, in turn.

Each enqueues a block of messages, then the next one does, again and again in one process of its
own, so that whatever else the machine does concerns all of them alike. The figures are medians over
the blocks: messages a second, and microseconds of this process's processor time for each.

    python -m bench.worker_enqueue GIVEN PORT COUNT     # prints them as JSON
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from dramatiq import Broker

from bench import worker_plain
from bench.worker_faults import ROOT, Case
from bench.worker_program import build

BLOCK = 25
BLOCKS_MIN = 5
WARM = 20
Figures = dict[str, float]


def rates(case: Case, port: int, count: int) -> dict[str, Figures]:
    """By who enqueues: `eventpost`, `stock`, `plain`."""
    given = json.dumps({**case.given, "work_s": 0.0})
    command = [sys.executable, "-m", "bench.worker_enqueue", given, str(port), str(count)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Figures] = json.loads(done.stdout)
    return found


def lanes(given: dict[str, Any], port: int) -> dict[str, Callable[[], object]]:
    made: dict[str, Callable[[], object]] = {}
    for name in ("eventpost", "stock"):
        made[name] = partial(_enqueue, build({**given, "broker": name}))
    made["plain"] = worker_plain.SYSTEMS[given["system"]](port).send
    return made


def _enqueue(broker: Broker) -> None:
    message: Any = broker.get_actor("work").message(1)
    broker.enqueue(message)


def measured(sends: dict[str, Callable[[], object]], count: int) -> dict[str, Figures]:
    for send in sends.values():
        for _ in range(WARM):
            send()
    blocks: dict[str, list[tuple[float, float]]] = {name: [] for name in sends}
    for _ in range(max(BLOCKS_MIN, count // BLOCK)):
        for name, send in sends.items():
            began_s, cpu_s = time.perf_counter(), time.process_time()
            for _ in range(BLOCK):
                send()
            blocks[name].append((time.perf_counter() - began_s, time.process_time() - cpu_s))
    return {
        name: {
            "enqueued_per_s": BLOCK / statistics.median(took_s for took_s, _ in found),
            "enqueue_cpu_us": statistics.median(cpu_s for _, cpu_s in found) / BLOCK * 1e6,
        }
        for name, found in blocks.items()
    }


if __name__ == "__main__":
    sends = lanes(json.loads(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps(measured(sends, int(sys.argv[3]))))
