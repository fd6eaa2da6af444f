"""Who we are to a webhook that wants a token of Microsoft Entra, and the SDK's credential for it.

Layer: credentials. An application's id and secret are used when both are given (the client
credentials flow); otherwise the SDK's own chain finds who we are. Blocking; for any thread.
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from eventpost.core.errors import InvalidRequest, extra_missing
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.credentials import azure_evidence, reports, secrets
from eventpost.credentials.azure_settings import INCOMPLETE
from eventpost.credentials.reports import Report
from eventpost.credentials.secrets import Reference
from eventpost.credentials.sessions import Sessions
from eventpost.http.answers import retry_after_s

KIND = "entra"
OPERATION = "token"
REQUEST_S_MAX = 600.0
_BUSY = 429
_FAILED = 500

_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CLAIMS_BYTES_MAX = 65_536


class EntraConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a connection of kind `entra`. Holds references, never a secret.

    Without an application's id and secret the SDK's `DefaultAzureCredential` finds who we are.
    """

    tenant_id: str = ""
    """The tenant that the application is registered in; "": the one whose tokens are wanted."""
    client_id: str = ""
    """The application that we are."""
    client_secret: Reference = ""
    authority: str = ""
    """Where tokens are asked for, for other clouds: `https://HOST`; "" is as the environment says,
    or else the public cloud."""
    managed_identity_client_id: str = ""
    """The application id of a user-assigned managed identity; "" is as the environment says."""
    request_timeout_s: float = 10.0
    """For each answer of the place where tokens come from, with an application's secret."""

    def __post_init__(self) -> None:
        if self.client_secret and not secrets.is_reference(self.client_secret):
            raise InvalidRequest(
                "SecretNotAReference",
                "client_secret is given by reference only.",
                fix="Write client_secret: env:NAME or client_secret: file:PATH.",
            )
        if bool(self.client_id) != bool(self.client_secret):
            given, missing = ("client_id", "client_secret")[:: 1 if self.client_id else -1]
            raise InvalidRequest(
                INCOMPLETE,
                f"The credentials of the application are incomplete: {given} is given, "
                f"{missing} is missing.",
                why="Half a set is never used, and never replaced by other credentials.",
                fix="Give both, or neither, so that the Azure SDK finds the credentials.",
            )
        if self.authority and not _is_authority(self.authority):
            raise ValueError("authority must be https://HOST")
        if not 0 < self.request_timeout_s <= REQUEST_S_MAX:
            raise ValueError(f"request_timeout_s must be more than 0 and at most {REQUEST_S_MAX:g}")


@dataclass(frozen=True, slots=True)
class Token:
    """What goes behind `Authorization: Bearer`; until when (UTC, seconds), and for how long from
    when it was had."""

    text: str = field(repr=False)
    expires_s: float
    life_s: float

    @property
    def line(self) -> bytes:
        """The header line, with its end."""
        return f"Authorization: Bearer {self.text}\r\n".encode()


@dataclass(frozen=True, slots=True)
class Audience:
    """Whose token, and for what."""

    tenant: str
    application: str
    settings: EntraConnection

    @property
    def scope(self) -> str:
        """Whatever roles we have there. A URI that ends with a slash keeps it, as it must."""
        return f"{self.application}/.default"


class Session:
    """The SDK's credential for one audience. Keeps no token of its own: the SDK does."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget the credential without closing it: it is somebody else's (a fork)."""
        self._lock = threading.Lock()
        self._made: Any = None
        self._wish: int | None = None
        self._secret = ""
        self._last: Token | None = None
        self._told = ""

    def fetch(self) -> Token | Evidence:
        """A token from the SDK, or why there is none. Blocks; raises nothing expected."""
        with self._lock:
            try:
                token = self._fetched()
            except Exception as error:  # noqa: BLE001 - a border: it is told as evidence
                found = self._evidence(error)
                self._drop()
                return found
        problem = _problem(token, self._audience.tenant)
        if problem is not None:
            return problem
        self._last = token
        self._tell()
        return token

    def report(self) -> Report:
        """Who answered, and until when. Asks nobody."""
        last = self._last
        claims = {} if last is None else claims_of(last.text)
        identity = claims.get("appid") or claims.get("azp") or claims.get("oid") or ""
        return Report(
            system=azure_evidence.SYSTEM,
            link="" if last is None else self._link(),
            identity=str(identity),
            is_renewed=last is not None,
            expires_ms=None if last is None else int(last.expires_s * 1_000),
        )

    def close(self) -> None:
        """Close what the SDK's credential holds. A later call opens anew. Idempotent."""
        with self._lock:
            made, self._made, self._last, self._told = self._made, None, None, ""
        if made is not None:
            made.close()

    # --- within the lock ------------------------------------------------------------------------

    def _fetched(self) -> Token:
        settings, tenant = self._audience.settings, self._audience.tenant
        secret = secrets.resolve(settings.client_secret) if settings.client_secret else ""
        self._wish = None
        if self._made is None or secret != self._secret:
            self._made = _credential(settings, tenant, secret, self._heard)
            self._secret = secret
        options = {"tenant_id": tenant}
        found = self._made.get_token_info(self._audience.scope, options=options)
        expires_s = float(found.expires_on)
        return Token(found.token, expires_s, expires_s - time.time())

    def _heard(self, response: Any) -> None:
        """Of each answer on the way to a token: for how long the last one that is a failure wants
        to be left alone (`Retry-After`)."""
        answer = response.http_response
        if answer.status_code == _BUSY or answer.status_code >= _FAILED:
            value = str(answer.headers.get("Retry-After") or "").encode("ascii", "replace")
            self._wish = retry_after_s(value or None, round(time.time() * 1_000))

    def _drop(self) -> None:
        """The library answers for a minute by itself what was refused or failed once; who asks us
        waits between two questions, and is to hear how it is now. The chain is left as it is."""
        if self._audience.settings.client_secret and self._made is not None:
            self._made.close()
            self._made = None

    def _evidence(self, error: Exception) -> Evidence:
        link = self._link() if self._audience.settings.client_secret else ""
        found = azure_evidence.evidence_of(error, OPERATION, credential=link)
        if found is None:
            detail = reports.shown(f"{type(error).__name__}: {error}")
            found = Evidence(
                stage=Stage.CREDENTIALS,
                fault=Fault.UNEXPECTED,
                system=azure_evidence.SYSTEM,
                operation=OPERATION,
                credential=link or None,
                detail=detail,
            )
        return msgspec.structs.replace(found, retry_after_s=self._wish)

    def _link(self) -> str:
        answered = getattr(self._made, "_successful_credential", None) or self._made
        return "" if answered is None else type(answered).__name__

    def _tell(self) -> None:
        report = self.report()
        if report.link != self._told:
            self._told = report.link
            reports.log("credentials.found", report)


_sessions: Sessions[Session] = Sessions()


def session(audience: Audience) -> Session:
    """The session of an audience: one for the same, while the process lives. Asks nobody yet."""
    found = _sessions.get(audience, lambda: Session(audience))
    reports.remember(audience.settings, found)
    return found


def close_all() -> None:
    """Close every session of this process. Each opens anew when it is used again."""
    _sessions.close_all()


def claims_of(token: str) -> dict[str, object]:
    """What a JWT says of itself. Not verified: it is for its receiver to do so."""
    parts = token.split(".")
    if len(parts) != 3 or len(parts[1]) > _CLAIMS_BYTES_MAX:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _credential(
    settings: EntraConnection, tenant: str, secret: str, heard: Callable[[Any], None]
) -> Any:
    try:
        from azure.identity import ClientSecretCredential, DefaultAzureCredential
    except ModuleNotFoundError as error:
        raise extra_missing("A token of Microsoft Entra", "azure-identity", "azure") from error
    said: dict[str, Any] = {"additionally_allowed_tenants": [tenant]}
    said["raw_response_hook"] = heard
    if settings.authority:
        # The place that vouches for authorities knows those of Microsoft's clouds alone.
        said |= {"authority": settings.authority, "disable_instance_discovery": True}
    if not secret:
        if settings.managed_identity_client_id:
            said["managed_identity_client_id"] = settings.managed_identity_client_id
        return DefaultAzureCredential(**said)
    # It is asked again by us, with what was seen told in between.
    timeouts = {"connection_timeout": settings.request_timeout_s}
    timeouts |= {"read_timeout": settings.request_timeout_s, "retry_total": 0}
    own = settings.tenant_id or tenant
    return ClientSecretCredential(own, settings.client_id, secret, **said, **timeouts)


def _other_tenant(token: Token, wanted: str) -> str:
    """The tenant that a token comes from, where that is not the one wanted: a managed identity has
    tokens of its own tenant only. "" where it is, or cannot be told."""
    found = str(claims_of(token.text).get("tid") or "")
    is_known = _ID.fullmatch(wanted) is not None and _ID.fullmatch(found) is not None
    return found if is_known and found.lower() != wanted.lower() else ""


def _problem(token: Token, wanted: str) -> Evidence | None:
    """What a receiver would refuse, and a header could not hold."""
    other = _other_tenant(token, wanted)
    if other:
        told = f"the token is of the tenant {other}, and one of {wanted} is wanted"
        return _refused("OtherTenant", told)
    if token.life_s <= 0:
        return _refused("TokenExpired", f"the token's time was over {-token.life_s:.0f} s ago")
    if not token.text or not (token.text.isascii() and token.text.isprintable()):
        return _refused("", "what came in the place of a token cannot stand in a header")
    return None


def _refused(code: str, detail: str) -> Evidence:
    return Evidence(
        stage=Stage.CREDENTIALS,
        fault=Fault.REFUSED,
        system=azure_evidence.SYSTEM,
        operation=OPERATION,
        code=code,
        detail=detail,
    )


def _is_authority(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and not parts.username
    except ValueError:
        return False
