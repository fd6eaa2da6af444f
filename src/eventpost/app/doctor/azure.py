"""The ladder of a storage account: who we are by the SDK's chain, the way, and what it lets us do.

Layer: app.
"""

import os
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from eventpost.app.doctor.settled import faulty, settings
from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.credentials import azure
from eventpost.credentials.azure_settings import AzureStorageConnection, access
from eventpost.credentials.azure_token import STORAGE_SCOPE, default_credential
from eventpost.diagnosis.doctor import network, steps
from eventpost.diagnosis.doctor.bounds import BOUNDS
from eventpost.diagnosis.doctor.climbing import Look
from eventpost.diagnosis.doctor.ladder import Seen, Warned
from eventpost.diagnosis.doctor.network import Peer
from eventpost.diagnosis.ranking import PRIVATE_ENDPOINT_UNUSED, private_link
from eventpost.formats.times import seven_digits
from eventpost.http import proxies, urls
from eventpost.http.trust import Trust


def connection_steps(connection: AzureStorageConnection) -> list[tuple[str, Look]]:
    """Settings, credentials, clock, name, route, TLS. Whether the account lets us in is seen where
    one of its queues is used: an account may be open for one queue only."""
    return [
        ("settings", settings(lambda: _settings(connection))),
        ("credentials", _credentials(connection)),
        *way(connection),
    ]


def way(connection: AzureStorageConnection) -> list[tuple[str, Look]]:
    """Clock, name, route and TLS of the account's queues."""

    def peers() -> Sequence[Peer]:
        return [peer_of(connection)]

    def is_tls() -> bool:
        return access(connection, "queue").url.startswith("https:")

    def tls() -> Seen:
        if not is_tls() or _is_proxied(connection):
            return None
        return steps.tls(peers, _context)()

    def clock() -> Seen:
        return steps.clock(peers, is_tls=is_tls() and not _is_proxied(connection))()

    return [
        ("clock", clock),
        ("name", lambda: _name(peer_of(connection))),
        ("route", steps.route(peers)),
        ("tls", tls),
    ]


def peer_of(connection: AzureStorageConnection) -> Peer:
    """Where requests for queues go first: the account, or a proxy before it."""
    url = urls.parse(access(connection, "queue").url)
    proxy = proxies.from_environment(os.environ).for_url(url)
    return Peer(url.host, url.port) if proxy is None else Peer(proxy.host, proxy.port)


def names_of(connection: AzureStorageConnection) -> tuple[str, ...]:
    """Every name that the resolver goes over to the account's queues."""
    return network.names_of(peer_of(connection).host, BOUNDS)


def _is_proxied(connection: AzureStorageConnection) -> bool:
    url = urls.parse(access(connection, "queue").url)
    return proxies.from_environment(os.environ).for_url(url) is not None


def _context() -> ssl.SSLContext:
    return Trust().context(is_insecure=False)


def _settings(connection: AzureStorageConnection) -> str:
    found = access(connection, "queue")
    host = urlsplit(found.url).netloc
    by = {"token": "a token of Microsoft Entra", "sas": "a shared access signature"}
    return f"{host}, by {by.get(connection.kind, connection.kind.replace('_', ' '))}"


def _credentials(connection: AzureStorageConnection) -> Look:
    def look() -> Seen:
        found = access(connection, "queue")
        if found.key:
            return f"the key of the account {found.account}"
        if found.sas:
            return "a shared access signature"
        tokens = default_credential(connection.managed_identity_client_id)
        try:
            tokens.get_token_info(STORAGE_SCOPE)
        except EventpostError as error:
            return faulty(error)  # an extra that is missing
        except Exception as error:  # noqa: BLE001 - the border: what the SDK raises is evidence
            return Failed(_evidence(error))
        try:
            until_ms = tokens.expires_ms
            until = f", until {seven_digits(until_ms)}" if until_ms is not None else ""
            return f"{tokens.link} ({tokens.identity}){until}, renewed before that"
        finally:
            tokens.close()

    return look


def _evidence(error: Exception) -> Evidence:
    found = azure.evidence_of(error, "probe")
    if found is not None:
        return found
    return Evidence(
        stage=Stage.CREDENTIALS,
        fault=Fault.UNEXPECTED,
        system="azure",
        operation="probe",
        detail=type(error).__name__,
    )


def _name(peer: Peer) -> Seen:
    """The address, and by which road: a private endpoint's, or the public one."""
    found = network.look_up(peer, BOUNDS)
    if isinstance(found, Failed):
        return found
    told = network.described(peer, found)
    kinds = {network.kind_of(each) for each in found}
    if kinds == {"private"}:
        return f"{told}: a private endpoint"
    if kinds != {"public"}:
        return told
    if private_name := private_link(network.names_of(peer.host, BOUNDS)):
        what = f"the account has a private endpoint ({private_name}), which is not used here"
        return Warned(code=PRIVATE_ENDPOINT_UNUSED, detail=f"{told}: {what}")
    return f"{told}: the public endpoint, where the account's firewall rules hold"
