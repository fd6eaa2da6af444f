"""The public keys of an issuer: from a file, from a URL, or by OIDC discovery. Blocking.

Layer: credentials. OpenID Connect Discovery 1.0, section 4; RFC 7517.
"""

import json
import ssl
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from eventpost.core.version import VERSION
from eventpost.credentials.bearer_settings import TOKEN_LIMITS, Issuer, TokenLimits, is_safe

WELL_KNOWN = "/.well-known/openid-configuration"


class KeysUnavailable(Exception):
    """Says why, in a sentence, without anything secret."""


def fetch(issuer: Issuer, ca_file: str = "", limits: TokenLimits = TOKEN_LIMITS) -> str:
    """The JWKS of an issuer. Raises KeysUnavailable."""
    place = issuer.keys or _discovered(issuer, ca_file, limits)
    if not place.startswith("file:"):
        return _got(place, ca_file, limits)
    try:
        return Path(place.removeprefix("file:")).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KeysUnavailable(f"{place} cannot be read ({error}).") from error


def _discovered(issuer: Issuer, ca_file: str, limits: TokenLimits) -> str:
    place = issuer.url.rstrip("/") + WELL_KNOWN
    document = _object(_got(place, ca_file, limits), place)
    # Whoever answers there must be the issuer that the tokens name (section 4.3).
    if document.get("issuer") != issuer.url:
        raise KeysUnavailable(f"{place} is of the issuer {document.get('issuer')!r}.")
    keys = document.get("jwks_uri")
    if not isinstance(keys, str) or not is_safe(keys):
        raise KeysUnavailable(f"{place} names no https URL as jwks_uri.")
    return keys


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise KeysUnavailable(f"{place} answers with something that is no JSON object.")
    return document


def _got(url: str, ca_file: str, limits: TokenLimits) -> str:
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    opener = build_opener(_NoRedirects, HTTPSHandler(context=context))
    request = Request(url, headers={"Accept": "application/json", "User-Agent": _AGENT})  # noqa: S310 - https, or this machine
    try:
        with opener.open(request, timeout=limits.keys_answer_s_max) as answer:
            body: bytes = answer.read(limits.keys_bytes_max + 1)
    except HTTPError as error:
        error.close()  # it holds the connection
        raise KeysUnavailable(f"{url} answers {error.code}.") from error
    except (URLError, HTTPException, OSError) as error:
        raise KeysUnavailable(f"{url} cannot be read ({error}).") from error
    if len(body) > limits.keys_bytes_max:
        raise KeysUnavailable(f"{url} answers with more than {limits.keys_bytes_max} bytes.")
    return body.decode("utf-8", "replace")


_AGENT = f"eventpost/{VERSION}"


class _NoRedirects(HTTPRedirectHandler):
    """A redirect could lead to where anybody answers: it is an answer like any other."""

    def redirect_request(self, *_: object) -> None:
        return None
