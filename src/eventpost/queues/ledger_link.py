"""A connection to a ledger's server: made on first use, and anew when it broke.

Layer: queues.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

C = TypeVar("C")
T = TypeVar("T")


class Link(Generic[C]):
    """For one caller at a time. A call that finds a used connection broken is made once more, on a
    fresh one: servers and firewalls drop idle connections without a word. So calls must be such
    that they may be made twice.
    """

    def __init__(
        self,
        connect: Callable[[], C],
        close: Callable[[C], None],
        is_broken: Callable[[Exception], bool],
        is_stale: Callable[[Exception], bool],
    ) -> None:
        """`is_broken`: nothing more can be done on that connection. `is_stale`: and it may have
        been so before the call."""
        self._connect = connect
        self._close = close
        self._is_broken = is_broken
        self._is_stale = is_stale
        self._connection: C | None = None

    def call(self, work: Callable[[C], T]) -> T:
        """Raises what connecting and `work` raise."""
        was_used = self._connection is not None
        try:
            return self._once(work)
        except Exception as error:
            if not (was_used and self._is_stale(error)):
                raise
        return self._once(work)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._close(connection)

    def _once(self, work: Callable[[C], T]) -> T:
        if self._connection is None:
            self._connection = self._connect()
        try:
            return work(self._connection)
        except Exception as error:
            if self._is_broken(error):
                self.close()
            raise
