"""One AWS session per process and settings: the SDK's own chain, untouched, and who answered.

Layer: credentials. This is the place where botocore sessions and clients are made. Nothing here
detects where it runs, sets a variable, or puts one link of the chain before another.

Threads: a session may be used from any number of threads. After a fork the child begins with none
of its parent's clients and sockets, and walks the chain for itself.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, cast

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Evidence, Stage
from eventpost.core.version import VERSION
from eventpost.credentials import aws_http, reports
from eventpost.credentials.aws_answers import said
from eventpost.credentials.aws_evidence import evidence_of, is_of_the_chain
from eventpost.credentials.aws_failures import failure, with_detail
from eventpost.credentials.aws_session import (
    Frozen,
    check_region,
    expires_ms,
    key_id,
    new_session,
    region_of,
    unknown_region,
)
from eventpost.credentials.aws_settings import AwsConnection, Keys, given
from eventpost.credentials.reports import Report, shortened
from eventpost.credentials.secrets import mask_url
from eventpost.credentials.sessions import Sessions

__all__ = ["AwsConnection", "Frozen", "Keys", "Session", "close_all", "evidence_of", "given"]
__all__ += ["session"]

RENEW_S_MIN = 30.0
"""Between two sessions opened because the service refused the keys of the one before."""

REFUSED_KEYS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "UnrecognizedClientException",
    }
)
"""The service does not take these keys (any more), and has done nothing. No retry mode of botocore
repeats such a call (`botocore/retries/standard.py`, `data/_retry.json`)."""


class Client(Protocol):
    """A botocore client: its operations are methods made at run time."""

    meta: Any

    def __getattr__(self, name: str) -> Callable[..., Any]: ...


class Session:
    """Who we are to AWS by one set of settings, and the clients that say so. Made by `session`."""

    def __init__(self, settings: AwsConnection, keys: Keys | None = None) -> None:
        self.settings = settings
        self._keys = keys
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget session and clients without closing them: they are somebody else's (a fork)."""
        self._lock = threading.Lock()
        self._session: Any = None
        self._credentials: Any = None
        self._clients: dict[tuple[object, ...], Client] = {}
        self._direct: list[aws_http.DirectHttp] = []
        """What clients send through that do not send by themselves."""
        self._generation = 0
        self._renewed_s = float("-inf")
        self._failed: tuple[float, Exception] | None = None
        self._told = ("", "")

    def client(
        self,
        service: str,
        *,
        wait_s: float = 0.0,
        attempts_max: int = 0,
        connections_min: int = 0,
    ) -> Client:
        """The client of a service, shared by all callers; made on first use.

        `wait_s` is added to the time for an answer (a long poll), and shortens it when negative.
        `attempts_max` instead of the settings' (0). `connections_min` are kept at least. Raises
        what botocore raises, and InvalidRequest for a secret that cannot be read: `evidence_of`
        tells which of these are about credentials. The first call of a session walks the chain, for
        as long as the SDK's own bounds allow.
        """
        key = (service, wait_s, attempts_max, connections_min)
        found = self._clients.get(key)
        if found is not None:
            return found
        with self._one_walk(time.monotonic()):
            found = self._clients.get(key)
            if found is None:
                found = self._clients[key] = self._new_client(*key)
        self._tell()
        return found

    def request(
        self,
        service: str,
        method: str,
        *,
        wait_s: float = 0.0,
        attempts_max: int = 0,
        connections_min: int = 0,
        **parameters: object,
    ) -> Mapping[str, Any]:
        """Call a client's method, and once more with new keys when the service refuses the old.

        The SDK refreshes by the clock alone: of keys revoked or replaced before their time it would
        not take notice. Raises as `client` does.
        """
        generation = self._generation
        find = partial(
            self.client,
            service,
            wait_s=wait_s,
            attempts_max=attempts_max,
            connections_min=connections_min,
        )
        call = getattr(find(), method)
        try:
            answer = call(**parameters)
        except Exception as error:
            if not _refuses_keys(error) or not self._renew(generation):
                raise
            call = getattr(find(), method)
            answer = call(**parameters)
        self._tell()
        return cast("Mapping[str, Any]", answer)

    def failure(self, error: BaseException, operation: str, *, system: str) -> Evidence:
        """The evidence of what ended a request of this session, with who we are to AWS; where
        there is no such host, with what is odd about the region in its name."""
        report = self.report()
        found = failure(error, operation, system=system, credential=report.link)
        if found.stage is not Stage.NAME or self.settings.endpoint_url or not report.region:
            return found
        hint = unknown_region(report.region)
        return with_detail(found, f"The region is {report.region}, {hint}.") if hint else found

    def frozen(self) -> tuple[Frozen, float | None]:
        """Keys to sign with now, and when they expire (seconds UTC, None: not known to).

        Refreshes as the SDK does: ahead of the expiry. Raises as `client` does.
        """
        credentials = self._credentials
        if credentials is None:
            with self._one_walk(time.monotonic()):
                credentials = self._opened_credentials()
        keys = credentials.get_frozen_credentials()
        self._tell()
        until_ms = expires_ms(credentials)
        return Frozen(*keys), None if until_ms is None else until_ms / 1_000

    def renew(self) -> None:
        """Walk the chain anew at the next call. What is under way keeps the keys that it has."""
        with self._lock:
            self._drop()

    def report(self) -> Report:
        """Who answered, and until when. Reads what is known: refreshes nothing, asks nobody."""
        credentials = self._credentials
        region, region_from = self._region()
        return Report(
            system="aws",
            link="" if credentials is None else str(credentials.method),
            identity="" if credentials is None else shortened(key_id(credentials)),
            is_renewed=hasattr(credentials, "refresh_needed") and credentials.method != "env",
            expires_ms=None if credentials is None else expires_ms(credentials),
            region=region,
            region_from=region_from,
            endpoint=self._endpoint(),
        )

    def close(self) -> None:
        """Close all clients. A later call opens anew. Idempotent."""
        with self._lock:
            clients, direct = list(self._clients.values()), self._direct
            self._drop()
            self._told = ("", "")
        for client in clients:
            client.close()
        for connections in direct:
            connections.close()

    # --- within the lock ------------------------------------------------------------------------

    @contextmanager
    def _one_walk(self, began_s: float) -> Iterator[None]:
        """Hold the lock. Whoever waited while another walked the chain in vain fails as it did."""
        with self._lock:
            if self._failed is not None and self._failed[0] >= began_s:
                raise self._failed[1]
            try:
                yield
            except Exception as error:
                self._failed = (time.monotonic(), error)
                raise

    def _new_client(
        self, service: str, wait_s: float, attempts_max: int, connections_min: int
    ) -> Client:
        self._opened_credentials()  # first: it says which extra is missing

        from botocore.config import Config

        settings = self.settings
        attempts = attempts_max or settings.attempts_max
        made = self._session.create_client(
            service,
            endpoint_url=settings.endpoint_url or None,
            config=Config(
                connect_timeout=settings.connect_timeout_s,
                read_timeout=settings.request_timeout_s + wait_s,
                max_pool_connections=max(settings.pool_connections_max, connections_min),
                tcp_keepalive=True,  # a function may work for minutes before it answers
                retries={"total_max_attempts": attempts} if attempts else None,
                user_agent_extra=f"eventpost/{VERSION}",
            ),
        )
        if f".{made.meta.region_name}." in made.meta.endpoint_url:  # nobody named another one
            check_region(made.meta.region_name, self._session)
        if service in aws_http.SERVICES:
            direct = aws_http.attach(made, self._session, settings.pool_connections_max)
            self._direct += [direct] if direct is not None else []
        return cast("Client", made)

    def _opened_credentials(self) -> Any:
        if self._credentials is None:
            # A session walks the chain once: after a walk in vain the next one needs a new session.
            self._session = new_session(self.settings, self._keys)
            began_s = time.monotonic()
            found = self._session.get_credentials()
            if found is None:
                from botocore.exceptions import NoCredentialsError

                elapsed_ms = round((time.monotonic() - began_s) * 1_000)
                raise NoCredentialsError(elapsed_ms=elapsed_ms)
            self._credentials = found
        return self._credentials

    def _drop(self) -> None:
        self._session = self._credentials = None
        self._clients = {}
        self._direct = []
        self._generation += 1

    # --- renewal and telling --------------------------------------------------------------------

    def _renew(self, generation: int) -> bool:
        """Whether another try may do better: with keys read anew, or renewed by somebody else."""
        with self._lock:
            if self._generation != generation:
                return True
            now_s = time.monotonic()
            if self._keys is not None or now_s - self._renewed_s < RENEW_S_MIN:
                return False
            self._renewed_s = now_s
            self._drop()
            return True

    def _tell(self) -> None:
        credentials = self._credentials
        if credentials is None:
            return
        answered = (str(credentials.method), key_id(credentials))
        if answered[1] and answered != self._told:
            is_first = self._told[0] != answered[0]
            self._told = answered
            if is_first:
                reports.log("credentials.found", self.report())
            else:
                reports.log("credentials.renewed", self.report())

    def _region(self) -> tuple[str, str]:
        if self.settings.region:
            return self.settings.region, "settings"
        return ("", "") if self._session is None else region_of(self._session)

    def _endpoint(self) -> str:
        for client in list(self._clients.values()):
            return mask_url(client.meta.endpoint_url)
        return mask_url(self.settings.endpoint_url)


_sessions: Sessions[Session] = Sessions()


def session(settings: AwsConnection, keys: Keys | None = None) -> Session:
    """The session of these settings: one for the same settings, while the process lives.

    `keys` are values that a program gives; settings of files hold references. Opens nothing yet.
    Raises InvalidRequest when both name keys.
    """
    if keys is not None and settings.has_keys:
        raise InvalidRequest(
            "KeysGivenTwice",
            "Keys are given both in the settings and as values.",
            fix="Give them in one place.",
        )
    found = _sessions.get((settings, keys), lambda: Session(settings, keys))
    if keys is None:
        reports.remember(settings, found)
    return found


def close_all() -> None:
    """Close every session of this process. Each opens anew when it is used again."""
    _sessions.close_all()


def _refuses_keys(error: Exception) -> bool:
    """The service's refusal, not one of the service from which the keys were to come."""
    response = getattr(error, "response", None)
    code, _ = said(response if isinstance(response, dict) else {})
    return code in REFUSED_KEYS and not is_of_the_chain(error)
