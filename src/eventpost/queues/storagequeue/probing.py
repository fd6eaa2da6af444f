"""The rungs of a probe: who we are, the way to the account, and what it lets us do. Only reads.

Layer: queues.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator

from eventpost.core.outcomes import Failed, Stage
from eventpost.formats.times import seven_digits
from eventpost.http.failures import evidence_of
from eventpost.http.kept import Progress, address_of
from eventpost.http.proxies import Proxy
from eventpost.http.urls import Url
from eventpost.queues.storagequeue.calls import Calls
from eventpost.queues.storagequeue.messages import broken

Step = Callable[[Calls, Progress], str | Failed]
"""What was proven good, "" for nothing to look at, or what failed."""
_NOT_LET = "AuthorizationPermissionMismatch"
_KNOWN_TO_THE_SERVICE = frozenset({_NOT_LET, "QueueNotFound", "QueueBeingDeleted", "QueueDisabled"})
"""Refusals of somebody whom the service knows."""


class Probe:
    """One look, from the first rung to the last."""

    def __init__(self) -> None:
        self._url: Url
        self._proxy: Proxy | None = None
        self._counted: int | Failed = 0

    def steps(self) -> list[tuple[str, Step]]:
        """The rungs, to be taken in this order."""
        return [
            ("credentials", self._credentials),
            ("name", self._name),
            ("connect", self._connect),
            ("tls", self._tls),
            ("authentication", self._authentication),
            ("properties", self._properties),
            ("peek", self._peek),
        ]

    def _credentials(self, calls: Calls, progress: Progress) -> str | Failed:
        account = calls.account
        hop = account.request("probe", progress, account.first_hop)
        if isinstance(hop, Failed):
            return hop
        self._url, self._proxy = hop
        found = account.session.report()
        until_ms = found.expires_ms
        until = f", valid until {seven_digits(until_ms)}" if until_ms is not None else ""
        return f"{found.link} ({found.identity}){until}"

    def _name(self, calls: Calls, progress: Progress) -> str | Failed:
        host, port = self._hop
        progress.stage = Stage.NAME
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            return broken("probe", evidence_of(error, Stage.NAME, address=f"{host}:{port}"))
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        kinds = sorted({_kind(each) for each in addresses})
        return f"{host} is {', '.join(addresses)} ({' and '.join(kinds)})"

    def _connect(self, calls: Calls, progress: Progress) -> str | Failed:
        try:
            with self._connected(calls, progress):
                through = "" if self._proxy is None else " (a proxy)"
                return f"{progress.address}{through} takes connections"
        except OSError as error:
            return broken("probe", evidence_of(error, Stage.CONNECT, address=progress.address))

    def _tls(self, calls: Calls, progress: Progress) -> str | Failed:
        if not self._url.is_tls or self._proxy is not None:
            return ""
        host = self._url.host
        try:
            with self._connected(calls, progress) as plain:
                progress.stage = Stage.TLS
                with calls.account.context.wrap_socket(plain, server_hostname=host) as secured:
                    return f"{secured.version()}, and the certificate is good for {host}"
        except OSError as error:
            return broken("probe", evidence_of(error, progress.stage, address=progress.address))

    def _authentication(self, calls: Calls, progress: Progress) -> str | Failed:
        self._counted = counted = calls.count(progress)
        if isinstance(counted, Failed) and counted.evidence.code not in _KNOWN_TO_THE_SERVICE:
            return counted
        return f"the service accepts {calls.account.link}"

    def _properties(self, calls: Calls, progress: Progress) -> str | Failed:
        counted = self._counted
        if not isinstance(counted, Failed):
            return f"the queue exists and holds about {counted} messages"
        if counted.evidence.code == _NOT_LET:  # as the role Message Processor has it
            return "not allowed, and not needed: the right to read the queue's properties"
        return counted

    def _peek(self, calls: Calls, progress: Progress) -> str | Failed:
        peeked = calls.peek(progress)
        return peeked if isinstance(peeked, Failed) else "messages may be read"

    @property
    def _hop(self) -> tuple[str, int]:
        hop = self._url if self._proxy is None else self._proxy
        return hop.host, hop.port

    @contextlib.contextmanager
    def _connected(self, calls: Calls, progress: Progress) -> Iterator[socket.socket]:
        host, port = self._hop
        progress.stage, progress.address = Stage.CONNECT, f"{host}:{port}"
        timeout_s = calls.account.timeouts.connect_s
        with socket.create_connection((host, port), timeout=timeout_s) as connected:
            progress.address = address_of(connected)
            yield connected


def _kind(address: str) -> str:
    is_private = ipaddress.ip_address(address.partition("%")[0]).is_private
    return "private" if is_private else "public"
