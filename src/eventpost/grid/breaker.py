"""A lane's breaker: after many failures in a row only probes go out; waiting costs no attempt."""

from eventpost.core.interfaces import Timer
from eventpost.grid.limits import GridLimits


class Breaker:
    """Counts consecutive failures of one lane. Times are the clock's milliseconds."""

    __slots__ = (
        "_limits",
        "failures",
        "is_open",
        "opened_ms",
        "probe_at_ms",
        "probe_wait_s",
        "timer",
    )

    def __init__(self, limits: GridLimits) -> None:
        self._limits = limits
        self.failures = 0
        self.is_open = False
        self.opened_ms = 0
        self.probe_at_ms = 0
        self.probe_wait_s = limits.breaker_probe_s
        self.timer: Timer | None = None
        """Of the next probe, set by the engine."""

    def succeeded(self) -> bool:
        """An attempt succeeded. True when that closed the breaker."""
        self.failures = 0
        if not self.is_open:
            return False
        self.is_open = False
        self.probe_wait_s = self._limits.breaker_probe_s
        return True

    def failed(self, now_ms: int) -> bool:
        """An attempt failed. True when that opened the breaker, or failed its probe."""
        self.failures += 1
        if self.is_open:
            if now_ms < self.probe_at_ms:
                return False  # an attempt that was under way when it opened
            self.probe_wait_s = min(self.probe_wait_s * 2, self._limits.breaker_probe_s_max)
        elif self.failures < self._limits.breaker_failures:
            return False
        else:
            self.is_open = True
            self.opened_ms = now_ms
        self.probe_at_ms = now_ms + int(self.probe_wait_s * 1000)
        return True
