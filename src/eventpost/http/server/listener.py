"""A listening socket that accepts no more than it is told to, and survives running out of
descriptors.

Accepting is our own because asyncio and uvloop differ where it matters: asyncio logs once per place
in the backlog when descriptors run out, libuv drops the connection, and neither can be told to let
connections wait.
Layer: http.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

log = logging.getLogger("eventpost.http")

ACCEPT_BATCH = 64
"""Connections accepted in one turn of the loop, so that a burst does not stall what is open."""
_PEER_GONE = frozenset([errno.ECONNABORTED, errno.EPROTO, errno.EINTR])

Accepted = Callable[[socket.socket, Any], None]
"""Called with a connected, non-blocking socket and the peer's address."""


class Listener:
    """One listening socket. All calls on the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        accepted: Accepted,
        pause_s: float,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._accepted = accepted
        self._pause_s = pause_s
        self._is_wanted = False
        self._is_reading = False
        self._rest: asyncio.TimerHandle | None = None
        self.exhausted_count = 0
        """How often the system had no descriptor or memory for a connection."""

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def resume(self) -> None:
        """Accept connections, those that waited first. Does nothing when it does so already."""
        self._is_wanted = True
        self._regulate()

    def pause(self) -> None:
        """Let further connections wait in the backlog."""
        self._is_wanted = False
        self._regulate()

    def close(self) -> None:
        """Stop listening. Connections that wait in the backlog are refused by the system."""
        self.pause()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._socket.close()

    def _regulate(self) -> None:
        is_reading = self._is_wanted and self._rest is None and self._socket.fileno() >= 0
        if is_reading and not self._is_reading:
            self._loop.add_reader(self._socket.fileno(), self._accept)
        elif self._is_reading and not is_reading:
            self._loop.remove_reader(self._socket.fileno())
        self._is_reading = is_reading

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH):
            if not self._is_reading:
                return
            try:
                connection, address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _PEER_GONE:
                    continue
                self._take_a_rest(error)
                return
            connection.setblocking(False)
            self._accepted(connection, address)

    def _take_a_rest(self, error: OSError) -> None:
        """The connection stays in the backlog. Trying again at once would only burn the core."""
        self.exhausted_count += 1
        log.warning("http.accept_exhausted errno=%s pause_s=%s", error.errno, self._pause_s)
        self._rest = self._loop.call_later(self._pause_s, self._end_rest)
        self._regulate()

    def _end_rest(self) -> None:
        self._rest = None
        self._regulate()


_NOT_HERE = frozenset([errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
"""Errors of an address family that this machine does not have: `localhost` often names IPv6."""


def bind(
    addresses: Sequence[tuple[socket.AddressFamily, Any]], backlog: int
) -> list[socket.socket]:
    """Listening sockets for all `addresses`, on one port even when the first picks it (port 0).

    Addresses of families that this machine does not have are left out, unless none remains.
    Raises OSError; no socket is left open then.
    """
    sockets: list[socket.socket] = []
    left_out: OSError | None = None
    for family, address in addresses:
        if sockets:
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        try:
            sockets.append(_listening(family, address, backlog))
        except OSError as error:
            left_out = error
            if error.errno not in _NOT_HERE:
                break
    else:
        if sockets:
            return sockets
    for sock in sockets:
        sock.close()
    raise left_out or OSError(errno.EADDRNOTAVAIL, "there is no address to listen on")


def _listening(family: socket.AddressFamily, address: Any, backlog: int) -> socket.socket:
    sock = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except OSError as error:
        if sock is not None:
            sock.close()
        what = f"cannot listen on {address[0]} port {address[1]}: {error.strerror}"
        raise OSError(error.errno, what) from error
    return sock
