"""Locks that consumers hold on events in a lane's memory, as data. Pure: times are arguments.

A lock belongs to one receive and covers what that handed out. It is over at `expires_ms`, whether
or not anybody has looked since.
"""

from collections.abc import Iterable

from eventpost.core.events import Delivery
from eventpost.grid.checkpoint import LockRecord, ranges

NEVER_MS = 1 << 62


class Lock:
    """What one receive handed out and nobody has settled yet, by position."""

    __slots__ = ("expires_ms", "held", "id")

    def __init__(self, lock_id: int, expires_ms: int) -> None:
        self.id = lock_id
        self.expires_ms = expires_ms
        self.held: dict[int, Delivery] = {}

    def record(self) -> LockRecord:
        return LockRecord(self.id, self.expires_ms, ranges(list(self.held), 0))


class Locks:
    """All locks of one lane that are held in memory, oldest first."""

    def __init__(self) -> None:
        self._locks: dict[int, Lock] = {}
        self.count = 0
        """Events under them."""
        self.size = 0
        """Bytes of these events."""

    def add(self, lock_id: int, expires_ms: int, deliveries: Iterable[Delivery]) -> Lock:
        lock = self._locks.get(lock_id)
        if lock is None:
            lock = self._locks[lock_id] = Lock(lock_id, expires_ms)
        for delivery in deliveries:
            lock.held[delivery.position] = delivery
            self.count += 1
            self.size += len(delivery.event.wire)
        return lock

    def get(self, lock_id: int) -> Lock | None:
        return self._locks.get(lock_id)

    def take(self, lock_id: int, position: int, now_ms: int) -> Delivery | None:
        """Take an event out of its lock; None when that does not hold it, or is over."""
        lock = self._locks.get(lock_id)
        if lock is None or lock.expires_ms <= now_ms:
            return None
        delivery = lock.held.pop(position, None)
        if delivery is None:
            return None
        self.count -= 1
        self.size -= len(delivery.event.wire)
        if not lock.held:
            del self._locks[lock_id]
        return delivery

    def take_oldest(self) -> Lock:
        """Take out the lock that was taken first, whole."""
        return self._take_whole(next(iter(self._locks)))

    def take_expired(self, now_ms: int) -> list[Delivery]:
        """Take out what every lock held that is over."""
        over = [lock.id for lock in self._locks.values() if lock.expires_ms <= now_ms]
        return [each for lock_id in over for each in self._take_whole(lock_id).held.values()]

    def take_below(self, position: int) -> list[tuple[Lock, Delivery]]:
        """Take out the events before `position`, each with its lock."""
        found = [
            (lock, delivery)
            for lock in self._locks.values()
            for delivery in lock.held.values()
            if delivery.position < position
        ]
        for lock, delivery in found:
            self.take(lock.id, delivery.position, 0)
        return found

    def _take_whole(self, lock_id: int) -> Lock:
        lock = self._locks.pop(lock_id)
        self.count -= len(lock.held)
        self.size -= sum(len(each.event.wire) for each in lock.held.values())
        return lock

    @property
    def expires_ms(self) -> int:
        """When the first of them is over; `NEVER_MS` when there is none."""
        return min((lock.expires_ms for lock in self._locks.values()), default=NEVER_MS)

    def until_ms(self, position: int) -> int:
        """When the lock of an event is over; 0 when it has none."""
        found = (lock.expires_ms for lock in self._locks.values() if position in lock.held)
        return next(found, 0)

    def records(self) -> list[LockRecord]:
        return [lock.record() for lock in self._locks.values()]

    def clear(self) -> None:
        self._locks.clear()
        self.count = self.size = 0
