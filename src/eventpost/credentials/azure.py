"""One credential per process for Azure Storage: the SDK's own chain, untouched, and who answered.

Layer: credentials. The clients themselves are made by who uses them; here is what they are made of,
and where they are kept. Nothing here detects where it runs, or leaves a link of the chain out.

Threads: a session may be used from any number of threads. After a fork the child begins with none
of its parent's clients and sockets, and asks the chain for itself.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import reports
from eventpost.credentials.azure_evidence import evidence_of
from eventpost.credentials.azure_settings import (
    Access,
    AzureStorageConnection,
    Service,
    access,
)
from eventpost.credentials.azure_token import STORAGE_SCOPE, TokenCredential, default_credential
from eventpost.credentials.reports import Report
from eventpost.credentials.secrets import mask_url
from eventpost.credentials.sessions import Sessions
from eventpost.formats.times import parse_expiry_ms

__all__ = ["AzureStorageConnection", "Session", "close_all", "evidence_of", "session"]

C = TypeVar("C")
Make = Callable[[str, Any], C]
"""Makes a client of a service's URL and what the SDK's clients take as `credential`."""


class Session:
    """Who we are to a storage account by one set of settings. Made by `session`.

    `credential` is what a program gives in the place of settings: whatever the SDK's clients take.
    """

    def __init__(self, settings: AzureStorageConnection, credential: Any = None) -> None:
        self.settings = settings
        self._given = credential
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget clients and tokens without closing them: they are somebody else's (a fork)."""
        self._lock = threading.Lock()
        self._tokens: TokenCredential | None = None
        self._clients: dict[tuple[Service, object], tuple[Access, Any]] = {}
        self._told = ("", "")
        self._used: Access | None = None

    def client(self, service: Service, make: Make[C]) -> C:
        """The client that `make` makes, shared by all callers; made anew when a secret changed.

        Raises InvalidRequest for half a set of credentials, for a token that would go over plain
        http, and for a secret that cannot be read; and what the SDK raises when there is no token:
        `evidence_of` tells which finding that is. A failure to get a token is raised here, before
        the SDK's pipeline begins to repeat it.
        """
        wanted = self._access(service)
        credential = self._credential(wanted)
        if isinstance(credential, TokenCredential):
            credential.get_token_info(STORAGE_SCOPE)
        key = (service, make)
        with self._lock:
            found = self._clients.get(key)
            if found is None or found[0] != wanted:
                # A client with the former secret ends the calls that it has under way.
                found = self._clients[key] = (wanted, make(wanted.url, credential))
        self._used = wanted
        self._tell()
        return cast("C", found[1])

    def report(self) -> Report:
        """Who answered, and until when. Reads what is known: fetches nothing, asks nobody."""
        used, tokens = self._used, self._tokens
        link = self._link()
        expires_ms = None if tokens is None else tokens.expires_ms
        if link == "sas" and used is not None:
            expires_ms = _sas_expires_ms(used.sas)
        identity = tokens.identity if link and tokens is not None else ""
        return Report(
            system="azure",
            link=link,
            identity=identity or ("" if used is None else used.account),
            is_renewed=bool(link) and tokens is not None,
            expires_ms=expires_ms,
            endpoint="" if used is None else mask_url(used.url),
        )

    def close(self) -> None:
        """Close clients and credential. A later call opens anew. Idempotent."""
        with self._lock:
            clients = [client for _, client in self._clients.values()]
            self._tokens, self._clients, self._told = None, {}, ("", "")
        for client in clients:
            client.close()

    def _access(self, service: Service) -> Access:
        if self._given is not None and self.settings.kind != "token":
            raise InvalidRequest(
                "KeysGivenTwice",
                "A credential is given both in the settings and as an object.",
                fix="Give it in one place.",
            )
        return access(self.settings, service, is_token=_is_token(self._given))

    def _credential(self, wanted: Access) -> Any:
        """What the SDK's clients take. Signatures are given as an object: as text they would stand
        in the client's URL, and from there in its errors."""
        if wanted.key or wanted.sas:
            return wanted.credential
        if not _is_token(self._given):
            return self._given
        with self._lock:
            if self._tokens is None:
                if self._given is None:
                    settings = self.settings
                    wanted_by = (
                        settings.managed_identity_client_id,
                        settings.token_renew_s,
                        settings.token_retry_s,
                    )
                    self._tokens = _tokens.get(wanted_by, lambda: default_credential(*wanted_by))
                else:
                    self._tokens = TokenCredential(
                        lambda: self._given,
                        is_ours=False,
                        renew_s=self.settings.token_renew_s,
                        retry_s=self.settings.token_retry_s,
                    )
            return self._tokens

    def _link(self) -> str:
        if self._given is not None and not _is_token(self._given):
            return type(self._given).__name__
        if self.settings.kind != "token":
            return self.settings.kind if self._used is not None else ""
        return "" if self._tokens is None else self._tokens.link

    def _tell(self) -> None:
        report = self.report()
        answered = (report.link, str(report.expires_ms))
        if report.link and answered != self._told:
            is_first = self._told[0] != answered[0]
            self._told = answered
            if is_first:
                reports.log("credentials.found", report)
            else:
                reports.log("credentials.renewed", report)


_sessions: Sessions[Session] = Sessions()
_tokens: Sessions[TokenCredential] = Sessions()
"""The SDK's chain: one for all accounts of this process, by the managed identity that it is for
and by when its token is renewed."""


def session(settings: AzureStorageConnection, credential: Any = None) -> Session:
    """The session of these settings: one for the same settings, while the process lives.

    With a `credential` of the program's own it is a session of its own. Opens nothing yet.
    """
    if credential is not None:
        return _sessions.add(Session(settings, credential))
    found = _sessions.get(settings, lambda: Session(settings))
    reports.remember(settings, found)
    return found


def close_all() -> None:
    """Close every session of this process. Each opens anew when it is used again."""
    _sessions.close_all()
    _tokens.close_all()


def _is_token(credential: object) -> bool:
    return credential is None or any(
        hasattr(credential, name) for name in ("get_token_info", "get_token")
    )


def _sas_expires_ms(sas: str) -> int | None:
    with suppress(ValueError, IndexError):
        return parse_expiry_ms(parse_qs(sas).get("se", [])[0])
    return None
