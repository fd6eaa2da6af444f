"""Listening: addresses, ports, and sockets that fail."""

import socket

import pytest

from eventpost.http.server.listener import bind
from tests.http.server.support import Client, get, running

HERE = (socket.AF_INET, ("127.0.0.1", 0))
NOWHERE = (socket.AF_INET, ("192.0.2.1", 0))
"""A documentation address (RFC 5737), which no machine has."""


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def test_one_port_for_all_addresses() -> None:
    """Several addresses listen on one port, also when it is picked by the system."""
    sockets = bind([HERE, (socket.AF_INET, ("127.0.0.2", 0))], backlog=8)

    ports = {sock.getsockname()[1] for sock in sockets}
    close(sockets)
    assert len(sockets) == 2
    assert len(ports) == 1


def test_addresses_that_are_not_here() -> None:
    """An address that the machine does not have is left out, unless it is the only one."""
    sockets = bind([NOWHERE, HERE], backlog=8)
    close(sockets)
    assert len(sockets) == 1

    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1"):
        bind([NOWHERE], backlog=8)


def test_port_in_use() -> None:
    """A port that is taken is named, and nothing stays open."""
    [taken] = bind([HERE], backlog=8)
    port = taken.getsockname()[1]

    with pytest.raises(OSError, match=f"port {port}: Address already in use"):
        bind([(socket.AF_INET, ("127.0.0.2", port)), (socket.AF_INET, ("127.0.0.1", port))], 8)

    again = bind([(socket.AF_INET, ("127.0.0.2", port))], backlog=8)
    close([taken, *again])


def test_no_address() -> None:
    """Nothing to listen on is an error."""
    with pytest.raises(OSError, match="no address"):
        bind([], backlog=8)


@pytest.mark.parametrize("batch", [63, 64, 65, 200])
def test_many_at_once(loop_kind: str, batch: int) -> None:
    """However many connections arrive in one turn, all are served."""
    with running(loop_kind) as server:
        clients = [Client(server.server.port) for _ in range(batch)]
        for client in clients:
            client.send(get())

        statuses = {client.read().status for client in clients}

        for client in clients:
            client.socket.close()
        assert statuses == {200}
