"""How the in-process queue server keeps messages: under leases, by connection, or as a log.

Layer: testing. Pure: no lock, no clock; `memory_queue` holds its lock around every call.
"""

import heapq
import itertools
from dataclasses import dataclass
from typing import Protocol

from eventpost.queues.interfaces import Message

NEVER_S = float("inf")


@dataclass(frozen=True, slots=True)
class Copy:
    """One delivery of a stored message."""

    id: str
    message: Message
    receipt: object
    receive_count: int
    sent_s: float
    until_s: float = NEVER_S


@dataclass(slots=True)
class _Stored:
    id: str
    message: Message
    sent_s: float
    visible_s: float
    order: int
    receive_count: int = 0
    serial: int = 0
    """Of the receipt that holds; a receipt with another number is void."""
    holder: object = None

    def copy(self, until_s: float = NEVER_S) -> Copy:
        receipt = (self.id, self.serial)
        return Copy(self.id, self.message, receipt, self.receive_count, self.sent_s, until_s)


class Shelf(Protocol):
    """The messages of one queue. A `client` is any object that stands for a connection."""

    def append(self, message: Message, now_s: float) -> None: ...

    def take(self, client: object, count_max: int, now_s: float, until_s: float) -> list[Copy]: ...

    def extend(self, receipt: object, until_s: float) -> object | None:
        """The receipt that replaces this one, or None when it is void."""
        ...

    def remove(self, client: object, receipt: object) -> bool:
        """False when the receipt is void and the message is still there."""
        ...

    def release(self, client: object, receipt: object, visible_s: float) -> bool: ...

    def let_go(self, client: object) -> None:
        """The connection of `client` has ended."""
        ...

    def next_visible_s(self) -> float: ...

    def __len__(self) -> int: ...


class _Waiting:
    """Stored messages by the time when they can be taken. Entries go stale instead of away."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Stored]] = []

    def push(self, one: _Stored, visible_s: float) -> None:
        one.visible_s = visible_s
        heapq.heappush(self._heap, (visible_s, one.order, one))

    def pop(self, now_s: float) -> _Stored | None:
        if self.next_s() > now_s:
            return None
        return heapq.heappop(self._heap)[2]

    def next_s(self) -> float:
        while self._heap and self._heap[0][0] != self._heap[0][2].visible_s:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER_S

    def drop(self, one: _Stored) -> None:
        one.visible_s = NEVER_S


class LeasedShelf:
    """A message that is taken is hidden until its lease has run out."""

    def __init__(self, *, ignores_old_receipts: bool = False) -> None:
        self._ignores_old_receipts = ignores_old_receipts
        self._stored: dict[str, _Stored] = {}
        self._waiting = _Waiting()
        self._numbers = itertools.count(1)

    def append(self, message: Message, now_s: float) -> None:
        number = next(self._numbers)
        one = _Stored(f"m-{number}", message, now_s, NEVER_S, number)
        self._stored[one.id] = one
        self._waiting.push(one, now_s + message.delay_s)

    def take(self, client: object, count_max: int, now_s: float, until_s: float) -> list[Copy]:
        taken: list[Copy] = []
        while len(taken) < count_max and (one := self._waiting.pop(now_s)) is not None:
            one.receive_count += 1
            one.serial += 1
            self._waiting.push(one, until_s)
            taken.append(one.copy(until_s))
        return taken

    def extend(self, receipt: object, until_s: float) -> object | None:
        one = self._holding(receipt)
        if one is None:
            return None
        one.serial += 1
        self._waiting.push(one, until_s)
        return (one.id, one.serial)

    def remove(self, client: object, receipt: object) -> bool:
        if not self._is_stored(receipt):
            return True
        one = self._holding(receipt)
        if one is None:
            return self._ignores_old_receipts
        del self._stored[one.id]
        self._waiting.drop(one)
        return True

    def release(self, client: object, receipt: object, visible_s: float) -> bool:
        one = self._holding(receipt)
        if one is None:
            return not self._is_stored(receipt)
        one.serial += 1
        self._waiting.push(one, visible_s)
        return True

    def let_go(self, client: object) -> None:
        """Leases do not depend on connections."""

    def next_visible_s(self) -> float:
        return self._waiting.next_s()

    def __len__(self) -> int:
        return len(self._stored)

    def _is_stored(self, receipt: object) -> bool:
        assert isinstance(receipt, tuple)
        return receipt[0] in self._stored

    def _holding(self, receipt: object) -> _Stored | None:
        assert isinstance(receipt, tuple)
        one = self._stored.get(receipt[0])
        return one if one is not None and one.serial == receipt[1] else None


class HeldShelf:
    """A message that is taken belongs to its connection until that ends."""

    def __init__(self, *, has_ids: bool = False) -> None:
        self._has_ids = has_ids
        self._held: dict[int, _Stored] = {}
        self._waiting = _Waiting()
        self._waiting_count = 0
        self._numbers = itertools.count(1)
        self._tags = itertools.count(1)

    def append(self, message: Message, now_s: float) -> None:
        number = next(self._numbers)
        one_id = message.message_id if self._has_ids else ""
        self._push(_Stored(one_id, message, now_s, NEVER_S, number), now_s + message.delay_s)

    def take(self, client: object, count_max: int, now_s: float, until_s: float) -> list[Copy]:
        taken: list[Copy] = []
        while len(taken) < count_max and (one := self._waiting.pop(now_s)) is not None:
            self._waiting_count -= 1
            one.receive_count += 1
            one.serial, one.holder = next(self._tags), client
            self._held[one.serial] = one
            taken.append(one.copy())
        return taken

    def extend(self, receipt: object, until_s: float) -> object | None:
        raise AssertionError("there is nothing to extend")

    def remove(self, client: object, receipt: object) -> bool:
        return self._taken_back(client, receipt) is not None

    def release(self, client: object, receipt: object, visible_s: float) -> bool:
        one = self._taken_back(client, receipt)
        if one is not None:
            self._push(one, visible_s)
        return one is not None

    def let_go(self, client: object) -> None:
        for serial in [serial for serial, one in self._held.items() if one.holder is client]:
            self._push(self._held.pop(serial), 0.0)

    def next_visible_s(self) -> float:
        return self._waiting.next_s()

    def __len__(self) -> int:
        return len(self._held) + self._waiting_count

    def _push(self, one: _Stored, visible_s: float) -> None:
        self._waiting_count += 1
        self._waiting.push(one, visible_s)

    def _taken_back(self, client: object, receipt: object) -> _Stored | None:
        assert isinstance(receipt, tuple)
        one = self._held.get(receipt[1])
        if one is None or one.holder is not client:
            return None
        return self._held.pop(receipt[1])


class LogShelf:
    """One partition and one group: the committed offset follows the finished prefix, and one
    connection at a time reads."""

    def __init__(self) -> None:
        self._entries: list[_Stored] = []
        self._delayed = _Waiting()
        self._delayed_count = 0
        self._committed = 0
        self._position = 0
        self._finished: set[int] = set()
        self._reader: object = None
        self._numbers = itertools.count(1)

    def append(self, message: Message, now_s: float) -> None:
        offset = len(self._entries)
        self._entries.append(_Stored(f"0/{offset}", message, now_s, now_s, offset))

    def take(self, client: object, count_max: int, now_s: float, until_s: float) -> list[Copy]:
        self._append_due(now_s)
        if self._reader is None:
            self._reader = client
            self._position = self._committed
            self._finished.clear()
        if self._reader is not client:
            return []
        page = self._entries[self._position : self._position + count_max]
        self._position += len(page)
        return [one.copy() for one in page]

    def extend(self, receipt: object, until_s: float) -> object | None:
        raise AssertionError("there is nothing to extend")

    def remove(self, client: object, receipt: object) -> bool:
        if client is not self._reader:
            return False
        offset = self._offset(receipt)
        if offset >= self._committed:
            self._finished.add(offset)
        while self._committed in self._finished:
            self._finished.remove(self._committed)
            self._committed += 1
        return True

    def release(self, client: object, receipt: object, visible_s: float) -> bool:
        if not self.remove(client, receipt):
            return False
        one = self._entries[self._offset(receipt)]
        again = _Stored("", one.message, one.sent_s, NEVER_S, next(self._numbers))
        self._delayed.push(again, visible_s)
        self._delayed_count += 1
        return True

    def let_go(self, client: object) -> None:
        if client is self._reader:
            self._reader = None

    def next_visible_s(self) -> float:
        is_read = self._reader is not None and self._position >= len(self._entries)
        return self._delayed.next_s() if is_read or not self._entries else 0.0

    def __len__(self) -> int:
        return len(self._entries) - self._committed - len(self._finished) + self._delayed_count

    def _append_due(self, now_s: float) -> None:
        while (one := self._delayed.pop(now_s)) is not None:
            self._delayed_count -= 1
            self.append(one.message, now_s)

    @staticmethod
    def _offset(receipt: object) -> int:
        assert isinstance(receipt, tuple)
        return int(receipt[0].partition("/")[2])
