"""Access keys and shared access signatures of the publish endpoint.

A token is `r=<resource>&e=<expiry>&s=<signature>`. The signature is taken over the text before
`&s=` exactly as it was received, because clients encode it in different ways.
"""

import binascii
import hmac
from collections.abc import Sequence
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from eventpost.core.errors import Unauthorized
from eventpost.formats import times

TOKEN_CHARS_MAX = 4_096
INVALID = "SasTokenInvalid"
EXPIRED = "SasTokenExpired"
_SAFE = "~()*!.'"
_DEFAULT_PORTS = (":443", ":80")


def is_key(candidate: bytes, keys: Sequence[bytes]) -> bool:
    """Whether `candidate` is one of `keys`, in a time that tells nothing about them."""
    is_known = False
    for known in keys:
        is_known |= hmac.compare_digest(candidate, known)
    return is_known


def verify(token: str, keys: Sequence[str], url: str, now_ms: int) -> None:
    """Return if `token` was made with one of `keys` (base64) for `url` and has not expired.

    The token's resource must be `url` or a prefix of it by whole path segments; scheme, query and
    upper or lower case do not count. Raises Unauthorized, saying which of these failed.
    """
    unsigned, resource, expiry, signature = _parts(token)
    if not _is_signed(unsigned, signature, keys):
        raise _unauthorized(
            "The signature of the SAS token is not valid.",
            why="It was not made with an access key of this topic, or the token was changed.",
            fix="Generate the token with the topic's key1 or key2.",
        )
    # From here on the token is known to be genuine, so the answer may quote it.
    if not _is_prefix(_place(resource), _place(url)):
        raise _unauthorized(
            f"The SAS token is for '{resource}'.",
            why=f"The request goes to '{url}'.",
            fix="Generate the token for the endpoint to which events are sent.",
        )
    if _expiry_ms(expiry) <= now_ms:
        raise Unauthorized(
            EXPIRED,
            f"The SAS token expired at '{expiry}' (UTC unless it names a zone).",
            why=f"It is {times.seven_digits(now_ms)} here.",
            fix="Generate a new token, and compare the clocks of both machines.",
        )


def generate(url: str, key: str, expires_ms: int) -> str:
    """A token for `url` as Event Grid's own clients make it. `key` is base64."""
    unsigned = f"r={quote(url, safe=_SAFE)}&e={quote(times.seven_digits(expires_ms), safe=_SAFE)}"
    signature = binascii.b2a_base64(_signature(unsigned, key), newline=False).decode()
    return f"{unsigned}&s={quote(signature, safe=_SAFE)}"


def _parts(token: str) -> tuple[str, str, str, bytes]:
    """The signed text, the resource, the expiry and the signature."""
    unsigned, mark, encoded = token.rpartition("&s=")
    head, separator, expiry = unsigned.rpartition("&e=")
    is_complete = bool(mark and separator) and head.startswith("r=")
    if not is_complete or len(token) > TOKEN_CHARS_MAX or not token.isascii():
        raise _malformed("It must have the form r=<resource>&e=<expiry>&s=<signature>.")
    try:
        # A blank is a `+` that something on the way has decoded once too often.
        signature = binascii.a2b_base64(unquote(encoded).replace(" ", "+"), strict_mode=True)
    except ValueError:
        raise _malformed("The signature is not base64.") from None
    return unsigned, unquote_plus(head[2:]), unquote_plus(expiry), signature


def _is_signed(unsigned: str, signature: bytes, keys: Sequence[str]) -> bool:
    is_signed = False
    for key in keys:
        is_signed |= hmac.compare_digest(_signature(unsigned, key), signature)
    return is_signed


def _signature(unsigned: str, key: str) -> bytes:
    return hmac.digest(binascii.a2b_base64(key), unsigned.encode("ascii"), "sha256")


def _place(url: str) -> str:
    """Host, port if it is not the scheme's own, and path, in lower case."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2].lower()
    for port in _DEFAULT_PORTS:
        host = host.removesuffix(port)
    return f"{host}{unquote(parts.path).rstrip('/').lower()}"


def _is_prefix(resource: str, place: str) -> bool:
    """`:` parts a topic from an operation (`/topics/NAME:publish`), but also a host from a port."""
    if "/" in resource and place.startswith(f"{resource}:"):
        return True
    return resource != "" and (place == resource or place.startswith(f"{resource}/"))


def _expiry_ms(expiry: str) -> int:
    try:
        return times.parse_expiry_ms(expiry)
    except ValueError:
        raise _malformed(f"The expiry '{expiry[:64]}' is not a time.") from None


def _malformed(why: str) -> Unauthorized:
    return _unauthorized("The SAS token cannot be read.", why=why)


def _unauthorized(what: str, *, why: str = "", fix: str = "") -> Unauthorized:
    return Unauthorized(INVALID, what, why=why, fix=fix)
