"""Who may do what: the management API with the admin token, topics with keys and tokens.

Layer: server.
"""

import hmac
import ipaddress
import time
from functools import partial
from urllib.parse import urlsplit

from starlette.requests import Request

from eventpost.core.errors import Unauthorized
from eventpost.core.subscriptions import Topic
from eventpost.credentials import bearer
from eventpost.diagnosis import codes
from eventpost.formats import publish
from eventpost.http.server import request as wire
from eventpost.server.ports import TopicsPort

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


def authorize(app: TopicsPort, request: wire.Request, topic: Topic, action: str) -> None:
    """Return if the request may do `action` on `topic`, by any of its credentials.

    A key or a SAS token of the topic may do everything; a bearer token what its roles may. Raises
    Unauthorized (401), Forbidden (403), InvalidEvent (400, an empty key), and Overloaded (503)
    while the keys of a bearer token's issuer are not there.
    """
    token = _bearer(request)
    if token is not None:
        if app.tokens is None:
            raise bearer.not_accepted()
        app.tokens.check(token, action, topic.name)
        return
    # A SAS token is made for a URL. Behind a proxy that renames the host, it is the public one.
    now_ms = time.time_ns() // 1_000_000
    path = request.path.decode("latin-1")
    host = request.index.get(b"host", b"").decode("latin-1")
    check = partial(publish.authorize, topic, request.index, request.query)
    try:
        check(f"http://{host}{path}", now_ms)
    except Unauthorized:
        public_url = app.public_url.rstrip("/")
        if urlsplit(public_url).netloc == host:
            raise
        check(f"{public_url}{path}", now_ms)


def _bearer(request: wire.Request) -> str | None:
    """The bearer token, unless a key or a SAS token comes first."""
    if publish.KEY in request.index or publish.TOKEN in request.index:
        return None
    value = request.index.get(b"authorization", b"")
    if value[:7].lower() != b"bearer " or publish.KEY in request.query:
        return None
    return value[7:].strip().decode("latin-1")


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
