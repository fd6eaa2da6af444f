"""Who may use the management API: whoever has the admin token."""

import hmac
import ipaddress

from starlette.requests import Request

from eventpost.core.errors import Unauthorized
from eventpost.diagnosis import codes

TOKEN_CHARS_MAX = 4_096
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def check_token(request: Request, admin_token: str) -> None:
    """Raises Unauthorized unless the request carries the admin token as a bearer token.

    The comparison takes a time that tells nothing about the token.
    """
    value = request.headers.get("authorization", "")
    scheme, _, candidate = value.partition(" ")
    if scheme.lower() == "bearer" and _is_same(candidate.strip(), admin_token):
        return
    raise Unauthorized(
        codes.ADMIN_UNAUTHORIZED,
        "The admin token is wrong." if value else "The management API needs the admin token.",
        fix="Send `Authorization: Bearer TOKEN`; the token is in the file admin-token of the "
        "server's data directory, or in EVENTPOST_TOKEN if that was set for `eventpost serve`.",
    )


def is_local(request: Request) -> bool:
    """Whether the request comes from this machine itself, not through a proxy on it.

    Nor out of a browser whose page's own name was made to resolve to this machine: that name is in
    `Host`.
    """
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    named = request.url.hostname or ""
    return _is_loopback(request.client.host) and (named == "localhost" or _is_loopback(named))


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_same(candidate: str, token: str) -> bool:
    if len(candidate) > TOKEN_CHARS_MAX or not token:
        return False
    return hmac.compare_digest(candidate.encode("utf-8"), token.encode("utf-8"))
