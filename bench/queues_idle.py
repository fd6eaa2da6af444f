"""What an empty queue costs: requests of a source that waits, counted at the real service.

Over HTTP a proxy counts them. RabbitMQ's and Kafka's clients speak protocols of their own, where
each piece of data that goes out is a request or a heartbeat: the kernel counts these (`ss`).
"""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from bench.servers import Process

HOUR_S = 3_600.0
PAUSE_S_MAX = 30.0
"""The longest pause where the service answers at once (`leases.idle_s_max`)."""
GROWING = 1.5
"""A pause that is so much longer than the one before it will double once more."""
LOOK_S = 0.02
_SENT = re.compile(r"data_segs_out:(\d+)")

Count = Callable[[Process], int]
"""How many requests there were until now."""


@dataclass(frozen=True, slots=True)
class Idle:
    """How to count, and for how long: long enough for the pause to have grown, or for two polls."""

    count: Count
    window_s: float


def per_hour(process: Process, idle: Idle) -> dict[str, float]:
    """Requests of an hour: those of the window, and the rest of the hour at the pace of its end."""
    asked_s = _watched(process, idle)
    pace_s = _pace_s(asked_s, idle.window_s)
    rest = (HOUR_S - idle.window_s) / pace_s if pace_s else 0.0
    return {
        "idle_counted": len(asked_s),
        "idle_counted_s": idle.window_s,
        "idle_requests_per_hour": len(asked_s) + rest,
    }


def _watched(process: Process, idle: Idle) -> list[float]:
    """When the requests went out, from the beginning of the window."""
    start_s, known = time.monotonic(), idle.count(process)
    asked_s: list[float] = []
    while (now_s := time.monotonic() - start_s) < idle.window_s:
        time.sleep(LOOK_S)
        count = idle.count(process)
        asked_s += [now_s] * (count - known)
        known = count
    return asked_s


def _pace_s(asked_s: list[float], window_s: float) -> float:
    """The pause between two requests at the end of the window; 0 when there was none at all.

    Where pauses grow, the next one is known: twice the last, up to their bound.
    """
    pauses = [after - before for before, after in pairwise(asked_s)]
    if len(pauses) < 2:
        return window_s / len(asked_s) if asked_s else 0.0
    if pauses[-1] > GROWING * pauses[-2] > 0.1:
        return min(PAUSE_S_MAX, 2 * pauses[-1])
    half = [each for each in asked_s if each > window_s / 2]
    return window_s / 2 / len(half) if len(half) > 1 else pauses[-1]


def segments_to(port: int) -> Count:
    """Pieces of data that the process sent to a port of this machine, over what is open now."""

    def count(process: Process) -> int:
        ss = shutil.which("ss")
        if ss is None:
            return 0
        wanted = ["state", "established", "dport", "=", f":{port}"]
        told = subprocess.run([ss, "-tinpHO", *wanted], capture_output=True, text=True, check=True)
        own = [line for line in told.stdout.splitlines() if f"pid={process.popen.pid}," in line]
        return sum(int(found[1]) for line in own if (found := _SENT.search(line)) is not None)

    return count
