"""How long `eventpost explain --error` takes from the shell, start-up included."""

import subprocess
import sys
import time

from bench.rows import Figures
from bench.servers import Harness

ERROR = "kafka.errors.NoBrokersAvailable: NoBrokersAvailable [Errno 111] Connection refused"
TIMES = 10


async def explain(_: Harness, __: int) -> Figures:
    """Wall time in milliseconds, the best and the median of ten."""
    taken = sorted(_once_ms() for _ in range(TIMES))
    return {"explain_best_ms": round(taken[0], 1), "explain_median_ms": round(taken[TIMES // 2], 1)}


def _once_ms() -> float:
    began_s = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "eventpost", "explain", "--error", ERROR],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return (time.perf_counter() - began_s) * 1_000
