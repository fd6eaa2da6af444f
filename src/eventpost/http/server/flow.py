"""Flow control of one connection: what is read waits here, and who writes too fast waits here.

Layer: http.
"""

import asyncio
from collections import deque
from collections.abc import Callable

PIECE_BYTES = 64 * 1024
"""Of an answer over TLS that are written at once."""


class Held:
    """Bytes that were read before their time."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        self._pieces.append(data)
        self.size += len(data)

    def take(self) -> bytes:
        """All of them, which are then held no more."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return data


class Flow:
    """Reads from a transport or not, and writes as fast as the client reads.

    asyncio has flow control already. This keeps what the transport was told, since telling it twice
    is an error on some loops; turns the protocol's callbacks into something to wait for; and keeps
    large answers back over TLS. There the transport shows only a part of what it buffers, and after
    `close` gives the client no more time for all of it than the TLS shutdown may take.
    """

    __slots__ = (
        "_is_closing",
        "_pending",
        "_pending_bytes",
        "_transport",
        "_writable",
        "is_paused",
        "write",
    )

    def __init__(self, transport: asyncio.Transport, write_bytes_max: int, *, is_tls: bool) -> None:
        self._transport = transport
        self._writable: asyncio.Event | None = None
        self._is_closing = False
        self._pending: deque[memoryview] = deque()
        """What waits for the client to read; only while it is blocked."""
        self._pending_bytes = 0
        self.is_paused = False
        """Whether reading is paused."""
        self.write: Callable[[bytes], None] = self._write_in_pieces if is_tls else transport.write
        """Hands bytes to the transport, or keeps them until it takes more."""
        transport.set_write_buffer_limits(high=write_bytes_max)

    # --- writing ---------------------------------------------------------------------------------

    @property
    def is_blocked(self) -> bool:
        """Whether the client reads too slowly."""
        return self._writable is not None

    @property
    def unwritten_bytes(self) -> int:
        return self._transport.get_write_buffer_size() + self._pending_bytes

    def block(self) -> None:
        """`pause_writing` of the protocol."""
        if self._writable is None:
            self._writable = asyncio.Event()

    def unblock(self) -> None:
        """`resume_writing` of the protocol."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        self._write_pending()
        if self._is_closing and not self._pending:
            self._close_when_taken()

    def lose(self) -> None:
        """The connection is gone: nobody waits any longer."""
        self._pending.clear()
        self._pending_bytes = 0
        self._is_closing = False
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    async def writable(self) -> None:
        """Return when more may be written, or the connection is gone. Always lets others run: an
        application that never waits must not stop everything else."""
        await asyncio.sleep(0)
        while self._writable is not None:
            await self._writable.wait()

    def close(self) -> None:
        """Close once everything is written."""
        self._is_closing = True
        if not self._pending:
            self._close_when_taken()

    def _close_when_taken(self) -> None:
        if self.unwritten_bytes:
            self._transport.set_write_buffer_limits(high=1, low=0)  # so `unblock` is called at 0
        else:
            self._transport.close()

    def _write_in_pieces(self, data: bytes) -> None:
        if len(data) <= PIECE_BYTES and self._writable is None:
            self._transport.write(data)
            return
        self._pending.append(memoryview(data))
        self._pending_bytes += len(data)
        self._write_pending()

    def _write_pending(self) -> None:
        while self._pending and self._writable is None:
            data = self._pending.popleft()
            self._pending_bytes -= min(len(data), PIECE_BYTES)
            if len(data) > PIECE_BYTES:
                self._pending.appendleft(data[PIECE_BYTES:])
            self._transport.write(data[:PIECE_BYTES])

    # --- reading ---------------------------------------------------------------------------------

    def read(self, *, is_wanted: bool) -> None:
        """Read from the transport, or do not."""
        if is_wanted is self.is_paused:
            self.is_paused = not is_wanted
            if is_wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
