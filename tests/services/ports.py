"""Ports for services: free ones that no outgoing connection can take meanwhile.

The kernel gives outgoing connections numbers from 32768 on, so a service that gets its number from
below can come back to it after a restart.
"""

import random
import socket
from contextlib import ExitStack

PORT_MIN = 10_000
PORT_MAX = 32_767
TRIES_MAX = 1_000

_draw = random.SystemRandom()
"""Not the seeded one: two workers with the same seed would want the same numbers."""


def free_ports(count: int) -> list[int]:
    """So many different ports of loopback that nobody listened on just now."""
    with ExitStack() as held:
        return [_hold_one(held) for _ in range(count)]


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _hold_one(held: ExitStack) -> int:
    for _ in range(TRIES_MAX):
        port = _draw.randint(PORT_MIN, PORT_MAX)
        candidate = held.enter_context(socket.socket())
        # As a service does that comes back to its port: old connections may still be closing.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port
    raise RuntimeError(f"No free port between {PORT_MIN} and {PORT_MAX} in {TRIES_MAX} tries.")
