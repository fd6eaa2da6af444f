"""The ladders of endpoints whose kind can look by itself, and of mail servers.

Layer: app. Files of dead letters go to the same places, and are looked at in the same way.
"""

import ssl
import time
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from eventpost.app.doctor.settled import faulty, settings
from eventpost.core.errors import EventpostError
from eventpost.core.subscriptions import Endpoint
from eventpost.credentials import secrets
from eventpost.credentials.smtp import SmtpConnection
from eventpost.destinations import kinds
from eventpost.destinations.mail_server import Conversation
from eventpost.destinations.places import parse
from eventpost.diagnosis.doctor import steps
from eventpost.diagnosis.doctor.climbing import Look, Step
from eventpost.diagnosis.doctor.ladder import Rung, Seen, Unknown, rung
from eventpost.diagnosis.doctor.network import Peer
from eventpost.http.client import HttpClient
from eventpost.http.trust import Trust

Connecting = Callable[[str, str | None], msgspec.Struct]
ACCOUNT_KIND = "azure-storage"
ANSWER_S = 4.0


def steps_of(endpoint: Endpoint, connecting: Connecting) -> list[tuple[str, Step]]:
    """The ladder of an endpoint of any kind that has a probe."""

    def settled() -> str:
        kinds.check(endpoint)
        return f"{endpoint.type} {endpoint.address}".rstrip()

    first: list[tuple[str, Step]] = [("settings", settings(settled))]
    if endpoint.type == "pull":
        return first  # consumers come: there is nobody to reach
    return [
        *first,
        *_way(endpoint, connecting),
        ("endpoint", lambda: _probed(endpoint, connecting)),
    ]


def deadletter_step(address: str, connection: str | None, connecting: Connecting) -> Step:
    """Whether files can be kept there."""

    def look() -> Sequence[Rung] | Seen:
        place = parse(address)
        endpoint = Endpoint(type=place.kind, address=address, connection=connection)
        return _probed(endpoint, connecting)

    return look


def _probed(endpoint: Endpoint, connecting: Connecting) -> Sequence[Rung] | Seen:
    services = kinds.Services(
        http=cast("HttpClient", None),  # no probe sends over it
        now_ms=lambda: round(time.time() * 1_000),
        origin="",
        connection=connecting,
        account_connection=lambda account: account if _is_named(connecting, account) else None,
    )
    try:
        found = kinds.probe(endpoint, services)
    except EventpostError as error:
        return faulty(error)
    if found is None:
        return Unknown(f"endpoints of the type {endpoint.type} have no look of their own")
    told = [rung(each.name, each.failed or each.detail) for each in found]
    return [each for each in told if each is not None]


def _is_named(connecting: Connecting, account: str) -> bool:
    try:
        connecting(ACCOUNT_KIND, account)
    except EventpostError:
        return False
    return True


def _way(endpoint: Endpoint, connecting: Connecting) -> list[tuple[str, Step]]:
    if endpoint.type != "email":
        return []
    return list(_to_server(lambda: cast("SmtpConnection", connecting("smtp", endpoint.connection))))


# --- mail servers ---------------------------------------------------------------------------------


def smtp_steps(connection: SmtpConnection) -> list[tuple[str, Look]]:
    """Settings, name, route, TLS, and what the server says to us; no mail is sent."""

    def settled() -> str:
        if connection.password:
            secrets.resolve(connection.password)
        host, port = connection.address
        return f"{host}:{port}, {connection.security}"

    return [
        ("settings", settings(settled)),
        *_to_server(lambda: connection),
        ("authentication", lambda: _greeted(connection)),
    ]


def _to_server(of: Callable[[], SmtpConnection]) -> list[tuple[str, Look]]:
    def peers() -> Sequence[Peer]:
        return [Peer(*of().address)]

    def context() -> ssl.SSLContext:
        return Trust(of().ca_file or None).context(is_insecure=False)

    def tls() -> Seen:
        return steps.tls(peers, context)() if of().security == "tls" else None

    return [("name", steps.name(peers)), ("route", steps.route(peers)), ("tls", tls)]


def _greeted(connection: SmtpConnection) -> Seen:
    talk = Conversation(connection, is_insecure=False, answer_s=ANSWER_S)
    failed = talk.open()
    told = talk.told()
    talk.close()
    return told if failed is None else failed
