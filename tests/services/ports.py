"""Ports for services: free ones that no outgoing connection can take meanwhile.

The kernel gives outgoing connections numbers from 32768 on, so a service that gets its number from
below can come back to it after a restart.
"""

import random
import socket

PORT_MIN = 10_000
PORT_MAX = 32_767
TRIES_MAX = 1_000

_draw = random.SystemRandom()
"""Not the seeded one: two workers with the same seed would want the same numbers."""


def free_ports(count: int) -> list[int]:
    """So many different ports of loopback that nobody listened on just now."""
    ports: set[int] = set()
    for _ in range(TRIES_MAX):
        if len(ports) == count:
            return list(ports)
        port = _draw.randint(PORT_MIN, PORT_MAX)
        if _is_free(port):
            ports.add(port)
    raise RuntimeError(
        f"Not {count} free ports from {PORT_MIN} to {PORT_MAX} in {TRIES_MAX} tries."
    )


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        # As a service does that comes back to its port: old connections may still be closing.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
