"""Messages that were taken and that their queue may still have: their ids are remembered.

Layer: sources. All calls on the loop's thread.
"""

from collections.abc import Iterable

from eventpost.core.interfaces import Taken
from eventpost.queues.leases import Lease, Leases
from eventpost.queues.leases.lease import Fate
from eventpost.sources.kinds import Services


class Unsettled:
    """Looks now and then which messages are gone for good, and has their ids forgotten."""

    def __init__(self, leases: Leases, services: Services) -> None:
        self._leases = leases
        self._services = services
        self._waiting: list[tuple[int, Lease]] = []
        """With the key of their queue."""
        self._is_looking = False

    def add(self, key: int, leases: Iterable[Lease]) -> None:
        """They were finished; their queue has not confirmed that yet."""
        self._waiting += [(key, lease) for lease in leases if lease.id]
        if self._waiting and not self._is_looking:
            self._is_looking = True
            self._services.clock.call_later(self._services.limits.forget_s, self._look_again)

    def _look_again(self) -> None:
        self._is_looking = False
        self.look()
        if self._waiting:
            self._is_looking = True
            self._services.clock.call_later(self._services.limits.forget_s, self._look_again)

    def look(self) -> None:
        """Forget the ids of what was settled within its lease. A settle after it may have done
        nothing, whatever the queue said, and the message may come again: its id is kept."""
        now_s = self._services.monotonic_s()
        gone: dict[int, list[str]] = {}
        left = []
        for key, lease in self._waiting:
            if lease.fate is None:
                left.append((key, lease))
            elif lease.fate is Fate.SETTLED and lease.until_s > now_s:
                gone.setdefault(key, []).append(lease.id)
        self._waiting = left
        for key, ids in gone.items():
            self._services.intake.forget(Taken(key, ids))
