"""The sessions of this process, one for each way of being somebody, and what a fork does to them.

Layer: credentials.
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Opened(Protocol):
    """What is kept here. Opens nothing until it is used."""

    def start_afresh(self) -> None:
        """Forget what is open without closing it: it is the parent's."""
        ...

    def close(self) -> None:
        """Close what is open. A later use opens anew. Idempotent."""
        ...


S = TypeVar("S", bound=Opened)


class Sessions(Generic[S]):
    """Sessions of one kind. For any thread; lives as long as the process."""

    def __init__(self) -> None:
        self._kept: dict[object, S] = {}
        self._all: weakref.WeakSet[S] = weakref.WeakSet()
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def get(self, key: object, make: Callable[[], S]) -> S:
        """The session of that key, made when there is none yet."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                found = self._kept[key] = make()
                self._all.add(found)
            return found

    def add(self, session: S) -> S:
        """Let a session that belongs to somebody take part, while it lives."""
        with self._lock:
            self._all.add(session)
        return session

    def close_all(self) -> None:
        """Close every session. Each opens anew when it is used again."""
        with self._lock:
            found = list(self._all)
        for session in found:
            session.close()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        for session in list(self._all):
            session.start_afresh()
