"""Tokens of Microsoft Entra from the SDK's own chain: one credential per process, and who answered.

Layer: credentials. `DefaultAzureCredential` is made as it is and asked as it is. What stands before
it keeps the last token, so that a failure is told before an SDK's pipeline begins to retry it, and
so that a token that is still good outlives an outage of the place where tokens come from.
"""

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from eventpost.core.errors import extra_missing

STORAGE_SCOPE = "https://storage.azure.com/.default"
RENEW_S = 300.0
"""So long before its end a token is replaced, as the SDK's own policy does
(`azure.core.pipeline.policies.BearerTokenCredentialPolicy`)."""

RETRY_S = 30.0
"""After a refresh in vain, while the token in hand is good: the next try waits so long."""


class TokenCredential:
    """`DefaultAzureCredential`, or what a program gives in its place, with its last token at hand.

    Speaks the SDK's protocol (`azure.core.credentials.SupportsTokenInfo`). For any thread.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        is_ours: bool = True,
        renew_s: float = RENEW_S,
        retry_s: float = RETRY_S,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`make` makes the SDK's credential, which is closed here if it `is_ours`."""
        self._make = make
        self._is_ours = is_ours
        self._renew_s = renew_s
        self._retry_s = retry_s
        self._now_s = now_s
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget tokens and credential without closing them: they are somebody else's (a fork)."""
        self.failure: Exception | None = None
        """Why the last token could not be had; None when it could."""
        self._failed_s = float("-inf")
        self._tokens: dict[tuple[str, ...], Any] = {}
        self._asked: Any = None
        self._lock = threading.Lock()
        self._making = threading.Lock()

    @property
    def asked(self) -> Any:
        """The SDK's credential. Made on first use, and anew after `close`."""
        with self._making:
            if self._asked is None:
                self._asked = self._make()
            return self._asked

    def get_token_info(self, *scopes: str, options: Any = None) -> Any:
        """A token that is valid now: the last one while it is good, else what the SDK answers.

        Raises what the SDK raises when there is none.
        """
        if options and any(options.get(name) for name in ("claims", "tenant_id")):
            return self._answer(scopes, options)
        held = self._tokens.get(scopes)
        is_good = held is not None and self._now_s() < held.expires_on
        if is_good and not self._is_due(held):
            return held
        began_s = self._now_s()
        # While one thread fetches a new token, the others go on with a good one.
        if not self._lock.acquire(blocking=not is_good):
            return held
        try:
            return self._renewed(scopes, options or {}, began_s)
        finally:
            self._lock.release()

    def get_token(self, *scopes: str, claims: str | None = None, **options: Any) -> Any:
        """The same in the SDK's older form."""
        from azure.core.credentials import AccessToken

        asked = {**options, "claims": claims} if claims else options
        token = self.get_token_info(*scopes, options=asked)
        return AccessToken(token.token, token.expires_on)

    def close(self) -> None:
        """Close what the SDK's credential holds. A later call opens anew. Idempotent."""
        with self._lock, self._making:
            made, self._asked, self._tokens = self._asked, None, {}
        if self._is_ours and hasattr(made, "close"):
            made.close()

    # --- what is known, without asking anybody --------------------------------------------------

    @property
    def link(self) -> str:
        """The class of the link of the chain that answered; "" while none has.

        The chain keeps it in an attribute of its own; where a version has none, the credential's
        own class is all that can be said.
        """
        if not self._tokens:
            return ""
        answered = getattr(self.asked, "_successful_credential", None) or self.asked
        return type(answered).__name__

    @property
    def expires_ms(self) -> int | None:
        """UTC, of the token in hand; None while there is none."""
        held = self._held()
        return None if held is None else int(held.expires_on) * 1_000

    @property
    def identity(self) -> str:
        """The application or the object that the token speaks for; "" when it does not say."""
        held = self._held()
        claims = {} if held is None else _claims(held.token)
        found = claims.get("appid") or claims.get("azp") or claims.get("oid") or ""
        return found if isinstance(found, str) else ""

    def _held(self) -> Any:
        return next(iter(self._tokens.values()), None)

    # --- within the lock ------------------------------------------------------------------------

    def _renewed(self, scopes: tuple[str, ...], options: Any, began_s: float) -> Any:
        held = self._tokens.get(scopes)
        if held is not None and not self._is_due(held):
            return held  # somebody fetched it while we waited
        if self.failure is not None and held is None and self._failed_s >= began_s:
            raise self.failure  # somebody asked in vain while we waited
        try:
            token = self._answer(scopes, options)
        except Exception as error:
            self.failure, self._failed_s = error, self._now_s()
            if held is not None and self._failed_s < held.expires_on:
                return held
            raise
        self.failure = None
        self._tokens[scopes] = token
        return token

    def _answer(self, scopes: tuple[str, ...], options: Any) -> Any:
        asked = self.asked
        if hasattr(asked, "get_token_info"):
            return asked.get_token_info(*scopes, options=options)
        return asked.get_token(*scopes, **options)

    def _is_due(self, token: Any) -> bool:
        now_s = self._now_s()
        if now_s < self._failed_s + self._retry_s and now_s < token.expires_on:
            return False
        due_s = getattr(token, "refresh_on", None) or token.expires_on - self._renew_s
        return bool(now_s >= min(due_s, token.expires_on))


def default_credential(
    managed_identity_client_id: str = "", renew_s: float = RENEW_S, retry_s: float = RETRY_S
) -> TokenCredential:
    """The SDK's chain, with nothing but what the user said. Asks nobody yet."""
    chain = partial(_chain, managed_identity_client_id)
    return TokenCredential(chain, renew_s=renew_s, retry_s=retry_s)


def _chain(managed_identity_client_id: str) -> Any:
    try:
        from azure.identity import DefaultAzureCredential
    except ModuleNotFoundError as error:
        what = "A connection of kind azure-storage"
        raise extra_missing(what, "azure-identity", "azure") from error
    said = {"managed_identity_client_id": managed_identity_client_id}
    return DefaultAzureCredential(**said if managed_identity_client_id else {})


def _claims(token: str) -> dict[str, object]:
    """What a JWT says of itself. Not verified, and only for people to read."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        found = json.loads(text)
    except (binascii.Error, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
