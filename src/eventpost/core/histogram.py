"""Counts per latency bucket, bumped in place; nothing is allocated per observation."""

from bisect import bisect_left

BOUNDS_MS = (
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0),
    *(250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 30_000.0),
)


class Histogram:
    """Latencies in milliseconds by upper bound; the last count is everything above."""

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0.0

    def observe(self, elapsed_ms: float) -> None:
        self.counts[bisect_left(BOUNDS_MS, elapsed_ms)] += 1
        self.sum_ms += elapsed_ms
