"""The ladder of a RabbitMQ server, up to its certificate; what it lets us do is its queues' probe.

Layer: app.
"""

import ssl
from collections.abc import Sequence

from eventpost.app.doctor.settled import settings
from eventpost.diagnosis.doctor import steps
from eventpost.diagnosis.doctor.climbing import Look
from eventpost.diagnosis.doctor.ladder import Seen
from eventpost.diagnosis.doctor.network import Peer
from eventpost.queues.rabbitmq.settings import PORT, TLS_PORT, RabbitmqConnection


def connection_steps(connection: RabbitmqConnection) -> list[tuple[str, Look]]:
    """Settings with their secret, name, route, TLS."""
    return [("settings", settings(lambda: _settings(connection))), *way(connection)]


def way(connection: RabbitmqConnection) -> list[tuple[str, Look]]:
    """Name, route and TLS."""

    def peers() -> Sequence[Peer]:
        server = connection.server()
        return [Peer(server.host, server.port)]

    def tls() -> Seen:
        if not connection.server().is_tls or connection.server_name:
            return None
        return steps.tls(peers, lambda: _context(connection))()

    return [
        ("name", steps.name(peers)),
        ("route", steps.route(peers, other_ports=(PORT, TLS_PORT))),
        ("tls", tls),
    ]


def _settings(connection: RabbitmqConnection) -> str:
    connection.secret()
    connection.tls_context()
    server = connection.server()
    encrypted = "TLS" if server.is_tls else "no TLS"
    return f"{server.identity} as {server.user}, {encrypted}"


def _context(connection: RabbitmqConnection) -> ssl.SSLContext:
    context = connection.tls_context()
    assert context is not None
    return context
