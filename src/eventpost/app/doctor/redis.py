"""The ladder of a Redis server: settings with their secret, name, route, TLS, login.

Layer: app.
"""

import ssl
from collections.abc import Sequence

from eventpost.app.doctor.settled import faulty, settings
from eventpost.core.errors import EventpostError
from eventpost.credentials.redis import RedisConnection
from eventpost.destinations import dramatiq_redis
from eventpost.diagnosis.doctor import steps
from eventpost.diagnosis.doctor.climbing import Look
from eventpost.diagnosis.doctor.ladder import Seen
from eventpost.diagnosis.doctor.network import Peer
from eventpost.http.trust import Trust


def connection_steps(connection: RedisConnection) -> list[tuple[str, Look]]:
    def settled() -> str:
        connection.secret()
        connection.check_files()
        encrypted = "TLS" if connection.tls else "no TLS"
        return f"{connection.address}, database {connection.database}, {encrypted}"

    def peers() -> Sequence[Peer]:
        return [Peer(connection.host, connection.port)]

    def context() -> ssl.SSLContext:
        return Trust(connection.ca_file or None).context(is_insecure=connection.insecure)

    def tls() -> Seen:
        return steps.tls(peers, context)() if connection.tls else None

    return [
        ("settings", settings(settled)),
        ("name", steps.name(peers)),
        ("route", steps.route(peers)),
        ("tls", tls),
        ("authentication", lambda: _answer(connection)),
    ]


def _answer(connection: RedisConnection) -> Seen:
    try:
        (found,) = dramatiq_redis.probe(connection)
    except EventpostError as error:
        return faulty(error)
    return found.failed or found.detail
