"""A server of raw bytes: what stands behind a wrong port, a broken proxy or a firewall."""

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable

Behaviour = Callable[[socket.socket], None]
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing resets."""


class RawServer:
    """Does the same with every connection, each on a thread of its own."""

    def __init__(self, behave: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self._behave = behave
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.accepted_count = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_ending = False
        self._serving: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> "RawServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        with self._lock:
            self._is_ending = True
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for serving in self._serving:
            serving.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted_count += 1
            serving = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._serving.append(serving)
            serving.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with self._lock:
                if self._is_ending:
                    return
                self._open.append(connection)
            self._behave(connection)
        except OSError:
            pass  # the client has gone
        finally:
            connection.close()


def silent(connection: socket.socket) -> None:
    """Take everything, and say nothing."""
    while connection.recv(65_536):
        pass


def request(connection: socket.socket) -> bytes:
    """One request whole, or what came before the other side stopped."""
    taken = b""
    while True:
        head, blank, body = taken.partition(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if blank and len(body) >= int(found[1] if found else 0):
            return taken
        more = connection.recv(65_536)
        if not more:
            return taken
        taken += more


def hanging_up(connection: socket.socket) -> None:
    """Take what comes first, and hang up."""
    connection.recv(65_536)
    connection.close()


def closing(connection: socket.socket) -> None:
    """Take a request, and hang up."""
    request(connection)
    connection.close()


def resetting(connection: socket.socket) -> None:
    """Take a request, and break the connection."""
    request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def saying(answer: bytes) -> Behaviour:
    """Take what comes first, answer with these bytes, and hang up."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        silent(connection)

    return behave
