"""An http(s) URL taken apart once, checked, and ready for the wire.

Layer: http. Follows RFC 3986 with the host rules of RFC 9110 section 4.2.
"""

import re
import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from eventpost.core.errors import InvalidRequest

URL_CHARS_MAX = 8_192
DEFAULT_PORTS = {"http": 80, "https": 443}
_PATH_SAFE = "!#$%&'()*+,/:;=?@[]~-._"
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")


@dataclass(frozen=True, slots=True)
class Url:
    """`host` is lower-case, ASCII, without brackets; an address in its plain form.

    `path` is the origin-form of the request target: path and query, never empty, never a fragment.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The `Host` header: the port only when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse(text: str) -> Url:
    """Take a URL apart. Raises InvalidRequest with what is wrong; the text is not repeated, because
    its query may hold a secret."""
    if len(text) > URL_CHARS_MAX:
        raise _invalid(f"is longer than {URL_CHARS_MAX} characters")
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in text):
        raise _invalid("contains a blank or a control character")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _invalid(f"cannot be read: {error}") from error
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise _invalid("does not begin with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise _invalid("holds a user name or password", fix="Send it as a delivery attribute.")
    if port == 0:
        raise _invalid("has the port 0")
    path = quote(parts.path or "/", safe=_PATH_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_PATH_SAFE)
    return Url(scheme, _host(parts.hostname or ""), port or DEFAULT_PORTS[scheme], path)


def address_literal(host: str) -> str | None:
    """The plain form of an IP address in any spelling a resolver would take, None for a name.

    Besides dotted quads, `inet_aton` reads decimal, octal and hexadecimal numbers and fewer than
    four parts: 2130706433, 0x7f.1 and 0177.0.0.1 are all 127.0.0.1.
    """
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        pass
    try:
        plain = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    except OSError:
        return None
    return plain


def _host(host: str) -> str:
    if not host:
        raise _invalid("has no host")
    literal = address_literal(host) if host.isascii() else None
    if literal is not None:
        return literal
    if ":" in host:
        raise _invalid(f"has an invalid address {host!r}")
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise _invalid(f"has an invalid host name {host!r}") from error
    if len(name) > 253 or _NAME.fullmatch(name) is None:
        raise _invalid(f"has an invalid host name {host!r}")
    # Full-width digits become ASCII digits in IDNA, so an address may hide behind it.
    return address_literal(name) or name.lower()


def _invalid(why: str, fix: str = "") -> InvalidRequest:
    return InvalidRequest("InvalidUrl", f"The URL {why}.", fix=fix)
