"""What the target has and the source is to delete: followed until each is gone.

Layer: sources.
"""

from collections import deque
from collections.abc import Iterable

from eventpost.queues.leases import Lease
from eventpost.queues.leases.lease import Fate
from eventpost.sources.moving.account import Account
from eventpost.sources.moving.journal import Confirmed, Journal


class Deleting:
    """One thread. Raises JournalError where it writes."""

    def __init__(self, journal: Journal, account: Account) -> None:
        self._journal = journal
        self._account = account
        self._waiting: deque[tuple[Lease, str]] = deque()

    def add(self, lease: Lease, key: str) -> None:
        """It is finished; the engine deletes it, now or later."""
        self._waiting.append((lease, key))

    def look(self, came_again: Iterable[Lease]) -> None:
        """Keep the books of what the source has deleted meanwhile. `came_again` are messages that
        the engine knew by their id."""
        self._waiting.extend((lease, f"id:{lease.id}") for lease in came_again)
        for _ in range(len(self._waiting)):
            lease, key = self._waiting[0]
            if lease.fate is None:
                return
            self._waiting.popleft()
            self._book(lease, key)

    def end(self, came_again: Iterable[Lease]) -> None:
        """The engine is closed: what has no fate by now gets none."""
        self._waiting.extend((lease, f"id:{lease.id}") for lease in came_again)
        while self._waiting:
            self._book(*self._waiting.popleft())

    def _book(self, lease: Lease, key: str) -> None:
        if lease.fate is not Fate.SETTLED:
            return  # it comes again, and is known
        match self._journal.settle(key):
            case Confirmed.NOW:
                self._account.moved += 1
            case Confirmed.BEFORE:
                self._account.taken += 1
                self._account.moved_before += 1
            case None:
                pass  # told of twice
