"""Who may issue bearer tokens, and what their roles may do: the settings, read.

Layer: credentials.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

PUBLISH = "publish"
RECEIVE = "receive"
ACTIONS = (PUBLISH, RECEIVE)
ANYTHING = "*"
ROLE_CLAIMS = ("roles", "scp", "scope", "scopes")
"""Where tokens hold roles and scopes: a list, or words with blanks between them."""
SUBJECT_CLAIMS = ("sub", "oid", "appid", "azp", "client_id", "tid")
"""What a grant may name with its value, as `oid=VALUE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLimits:
    """Bounds of what bearer tokens are judged by. Times in seconds; each is a setting."""

    token_chars_max: int = 16_384
    known_max: int = 1_024
    leeway_s: float = 60.0
    keys_renew_s: float = 3_600.0
    keys_retry_s: float = 10.0
    keys_answer_s_max: float = 10.0
    keys_bytes_max: int = 1_048_576


TOKEN_LIMITS = TokenLimits()


@dataclass(frozen=True, slots=True)
class Issuer:
    """`url` is the token's `iss`, to the letter. `keys` is a URL or `file:PATH` with its JWKS;
    "" finds it by OIDC discovery below `url`."""

    url: str
    keys: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role, a scope, `CLAIM=VALUE` or `*` (every token) may do an action on some topics."""

    who: str
    action: str
    topics: tuple[str, ...]

    def allows(self, claims: dict[str, Any], action: str, topic: str) -> bool:
        if self.action not in (action, ANYTHING) or not self._holds(claims):
            return False
        folded = topic.lower()
        return any(fnmatchcase(folded, pattern.lower()) for pattern in self.topics)

    def _holds(self, claims: dict[str, Any]) -> bool:
        if self.who == ANYTHING:
            return True
        name, separator, value = self.who.partition("=")
        if separator:
            return name in SUBJECT_CLAIMS and claims.get(name) == value
        return self.who in roles(claims)


def roles(claims: dict[str, Any]) -> set[str]:
    """Every role and scope of a token."""
    found: set[str] = set()
    for name in ROLE_CLAIMS:
        value = claims.get(name)
        if isinstance(value, str):
            found.update(value.split())
        elif isinstance(value, list):
            found.update(each for each in value if isinstance(each, str))
    return found


def read_issuers(texts: Sequence[str]) -> tuple[Issuer, ...]:
    """From `URL`, or `URL KEYS`. Raises ValueError that says what is wrong."""
    issuers = []
    for text in texts:
        url, *rest = text.split()
        keys = rest[0] if rest else ""
        if len(rest) > 1:
            raise ValueError(f"`{text}` is more than an issuer and the place of its keys")
        for place in (url, keys):
            if place and not place.startswith("file:") and not is_safe(place):
                raise ValueError(f"`{place}` is no https URL")
        if url.startswith("file:"):
            raise ValueError(f"`{url}` is the place of keys, and no issuer stands before it")
        issuers.append(Issuer(url, keys))
    return tuple(issuers)


def read_grants(texts: Sequence[str]) -> tuple[Grant, ...]:
    """From `WHO ACTION TOPIC...`. Raises ValueError that says what is wrong."""
    grants = []
    for text in texts:
        who, action, *topics = [*text.split(), "", ""][: max(2, len(text.split()))]
        if action not in (*ACTIONS, ANYTHING):
            raise ValueError(f"`{text}` names no action ({', '.join(ACTIONS)} or *) after the role")
        if not topics:
            raise ValueError(f"`{text}` names no topic")
        name, separator, _ = who.partition("=")
        if separator and name not in SUBJECT_CLAIMS:
            raise ValueError(f"`{name}` is none of the claims {', '.join(SUBJECT_CLAIMS)}")
        grants.append(Grant(who, action, tuple(topics)))
    return tuple(grants)


def is_safe(url: str) -> bool:
    """Whether nobody on the way can put other keys in the place of an issuer's: https, or http on
    this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host)))


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
