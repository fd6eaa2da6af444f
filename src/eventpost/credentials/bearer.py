"""Bearer tokens: is it one of a trusted issuer, for us, in time, and what may it do.

Layer: credentials. RFC 7519, RFC 8725 (best current practices), RFC 9068. PyJWT does the work; it
is imported here alone. Verifying makes no call: keys are fetched in the background, and who comes
before they are there is told to come again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eventpost.core.errors import Forbidden, Overloaded, Unauthorized
from eventpost.credentials.bearer_settings import TOKEN_LIMITS, Grant, Issuer, TokenLimits, roles
from eventpost.diagnosis import codes

if TYPE_CHECKING:
    import jwt

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
)
"""Signatures with a private key only: what verifies must not be able to sign (RFC 8725, 3.1)."""

Fetch = Callable[[Issuer, Callable[[str | Exception], None]], None]
"""Fetches a JWKS somewhere else, and says on the caller's thread what came of it."""


class _Keys:
    """What is known of one issuer."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.by_id: Mapping[str, jwt.PyJWK] = {}
        self.fetched_s = float("-inf")
        self.asked_s = float("-inf")
        self.is_fetching = False
        self.failure = "They are being fetched for the first time."


class Tokens:
    """Judges tokens for one server. All calls on one thread. `now_s` is the wall clock."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        audience: Sequence[str],
        grants: Sequence[Grant],
        fetch: Fetch,
        now_s: Callable[[], float] = time.time,
        limits: TokenLimits = TOKEN_LIMITS,
    ) -> None:
        self._limits = limits
        self._issuers = {issuer.url: _Keys(issuer) for issuer in issuers}
        self._audience = tuple(audience)
        self._grants = tuple(grants)
        self._fetch = fetch
        self._now_s = now_s
        self._known: dict[str, tuple[_Keys, dict[str, Any]]] = {}

    def start(self) -> None:
        """Fetch all keys, so that the first token does not wait for them."""
        for keys in self._issuers.values():
            self._ask(keys)

    def check(self, token: str, action: str, topic: str) -> None:
        """Return if the token may do the action on the topic.

        Raises Unauthorized (401) for a token that is not good, Forbidden (403) for one that may
        not, and Overloaded (503, try again) while its issuer's keys are not there.
        """
        keys, claims = self._known.get(token, (None, {}))
        if keys is None or claims["exp"] + self._limits.leeway_s <= self._now_s():
            claims = self._verified(token)
        else:
            self._refresh(keys)
        if any(grant.allows(claims, action, topic) for grant in self._grants):
            return
        held = ", ".join(sorted(roles(claims))[:10]) or "none"
        raise Forbidden(
            "Forbidden",
            f"{codes.BEARER_WITHOUT_ROLE} The token may not {action} on {topic}.",
            why=f"Its roles and scopes are: {held}.",
            fix="Give it a role that tokens.roles allows this, or add a line there.",
        )

    # --- one token --------------------------------------------------------------------------------

    def _verified(self, token: str) -> dict[str, Any]:
        import jwt

        if len(token) > self._limits.token_chars_max:
            raise _invalid(f"It has more than {self._limits.token_chars_max} characters.")
        keys, key_id = self._signer(token)
        key = self._key(keys, key_id)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=keys.issuer.url,
                leeway=self._limits.leeway_s,
                # Time is looked at below, by our own clock.
                options={
                    "require": ["exp", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidAudienceError:
            raise _foreign(f"It is for another audience, not for {self._wanted()}.") from None
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise _invalid(f"{error}.") from None
        self._check_time(claims)
        if len(self._known) >= self._limits.known_max:
            self._known.clear()
        self._known[token] = (keys, claims)
        return claims

    def _signer(self, token: str) -> tuple[_Keys, str | None]:
        """The keys of whom the token says to be from, and which one of them. Nothing is believed
        yet."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            claims = jwt.decode(token, options={"verify_signature": False})
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise _invalid("It is no JSON Web Token.") from None
        if header.get("alg") not in ALGORITHMS:
            raise _invalid("Its algorithm is none that only its issuer could sign with.")
        issuer = claims.get("iss")
        keys = self._issuers.get(issuer) if isinstance(issuer, str) else None
        if keys is None:
            raise _foreign("Its issuer (the claim iss) is none of tokens.issuers.")
        key_id = header.get("kid")
        return keys, key_id if isinstance(key_id, str) else None

    def _check_time(self, claims: dict[str, Any]) -> None:
        now_s = self._now_s()
        try:
            expires_s = float(claims["exp"])
            begins_s = float(claims.get("nbf", 0))
        except (TypeError, ValueError):
            raise _invalid("Its times are no numbers.") from None
        claims["exp"] = expires_s
        if expires_s + self._limits.leeway_s <= now_s:
            raise _untimely(f"It expired {now_s - expires_s:.0f} s ago.")
        if begins_s - self._limits.leeway_s > now_s:
            raise _untimely(f"It is valid in {begins_s - now_s:.0f} s only.")

    def _wanted(self) -> str:
        return " or ".join(self._audience)

    # --- keys -------------------------------------------------------------------------------------

    def _key(self, keys: _Keys, key_id: str | None) -> "jwt.PyJWK":
        self._refresh(keys)
        found = keys.by_id.get(key_id) if key_id is not None else None
        if found is None and key_id is None and len(keys.by_id) == 1:
            (found,) = keys.by_id.values()
        if found is not None:
            return found
        self._ask(keys)
        if keys.is_fetching or not keys.by_id:
            raise Overloaded(
                "ServiceUnavailable",
                f"{codes.ISSUER_KEYS_UNAVAILABLE} The keys of the issuer {keys.issuer.url} are not "
                f"there. {keys.failure}",
                fix="Try again in a moment; if it stays so, see the server's log.",
                retry_after_s=1,
            )
        raise _invalid("The key that it names (kid) is none of its issuer's.")

    def _refresh(self, keys: _Keys) -> None:
        """Whoever comes with a token of theirs sees to it, a known one too: its key may have been
        withdrawn."""
        if self._now_s() - keys.fetched_s > self._limits.keys_renew_s:
            self._ask(keys)

    def _ask(self, keys: _Keys) -> None:
        if keys.is_fetching or self._now_s() - keys.asked_s < self._limits.keys_retry_s:
            return
        keys.is_fetching = True
        keys.asked_s = self._now_s()
        self._fetch(keys.issuer, lambda result: self._fetched(keys, result))

    def _fetched(self, keys: _Keys, result: str | Exception) -> None:
        """Keys that are there stay when new ones cannot be had."""
        keys.is_fetching = False
        if isinstance(result, Exception):
            keys.failure = str(result)
            return
        found = _read(result)
        if not found:
            keys.failure = "What its keys should be holds no key that can verify a signature."
            return
        keys.by_id = found
        keys.fetched_s = self._now_s()
        self._known.clear()  # a key may have been withdrawn


def _read(text: str) -> dict[str, "jwt.PyJWK"]:
    """The keys of a JWKS that are for signatures; others are passed over."""
    import jwt

    try:
        keys = jwt.PyJWKSet.from_json(text).keys
    except (jwt.PyJWTError, ValueError, AttributeError, TypeError):
        return {}
    return {
        key.key_id or "": key
        for key in keys
        if key.public_key_use in (None, "sig") and key.key_type in ("RSA", "EC", "OKP")
    }


def not_accepted() -> Unauthorized:
    """No issuer is configured."""
    return Unauthorized(
        "Unauthorized",
        f"{codes.BEARER_NOT_ACCEPTED} This server accepts no bearer tokens.",
        why="No issuer of tokens is configured.",
        fix="Set tokens.issuers, tokens.audience and tokens.roles, or use the topic's key.",
    )


def _invalid(why: str) -> Unauthorized:
    return Unauthorized(
        "Unauthorized", f"{codes.BEARER_INVALID} The bearer token is not valid.", why=why
    )


def _untimely(why: str) -> Unauthorized:
    return Unauthorized(
        "Unauthorized",
        f"{codes.BEARER_OUT_OF_TIME} The bearer token is out of its time.",
        why=why,
        fix="Get a new one, and compare the clocks of both machines.",
    )


def _foreign(why: str) -> Unauthorized:
    return Unauthorized(
        "Unauthorized", f"{codes.BEARER_FOREIGN} The bearer token is not for this server.", why=why
    )
