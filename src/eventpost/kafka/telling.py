"""What a publisher logs: each cause once in an interval, however often a client repeats it.

Layer: kafka. librdkafka repeats a cause several times a second while it tries again.
"""

import logging
import threading
from collections.abc import Callable

from eventpost.core.outcomes import Evidence
from eventpost.diagnosis import classify
from eventpost.queues.kafka.refusals import Causes

LOG = logging.getLogger("eventpost.kafka")
CAUSES_MAX = 256
"""Different causes whose last time is remembered; beyond it the oldest is forgotten."""


class Telling:
    """One line for each cause in `every_s`. Any thread."""

    def __init__(self, every_s: float, monotonic_s: Callable[[], float]) -> None:
        self._every_s = every_s
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._last: dict[tuple[object, ...], float] = {}

    def failed(self, what: str, evidence: Evidence) -> None:
        """`what` is `connect`, `credentials` or `delivery`."""
        kind = (what, evidence.stage, evidence.fault, evidence.code, evidence.address)
        if not self._is_due(kind):
            return
        found = classify.explain(evidence)
        LOG.warning(
            "%s failed: %s %s: %s (address %s, code %s). Fix: %s",
            what,
            found.code,
            found.title,
            evidence.detail,
            evidence.address or "unknown",
            evidence.code or evidence.fault.value,
            found.fix,
        )

    def _is_due(self, kind: tuple[object, ...]) -> bool:
        now_s = self._monotonic_s()
        with self._lock:
            last_s = self._last.pop(kind, None)
            is_due = last_s is None or now_s - last_s >= self._every_s
            self._last[kind] = now_s if last_s is None or is_due else last_s
            if len(self._last) > CAUSES_MAX:
                del self._last[next(iter(self._last))]
        return is_due


class ToldCauses(Causes):
    """Causes that are logged when they come."""

    def __init__(self, telling: Telling, monotonic_s: Callable[[], float]) -> None:
        super().__init__(monotonic_s)
        self._telling = telling

    def remember(self, evidence: Evidence) -> None:
        super().remember(evidence)
        own = self.credentials() if evidence.stage.value == "credentials" else None
        what = "credentials" if own is not None else "connect"
        self._telling.failed(what, own or evidence)
