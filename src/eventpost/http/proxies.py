"""Which requests go through an HTTP proxy, and how the proxy is spoken to.

Layer: http. The variables are curl's and everybody's: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY
in either case, the lower-case ones first. https goes through a tunnel (CONNECT), http in absolute
form (RFC 9110 section 9.3.6, RFC 9112 section 3.2.2).
"""

import base64
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from eventpost.core.errors import InvalidRequest
from eventpost.http.addresses import is_loopback
from eventpost.http.urls import Url, address_literal


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization` is the value of `Proxy-Authorization` or empty."""

    host: str
    port: int
    authorization: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        """For evidence and logs: never the credentials."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def headers(self) -> bytes:
        if not self.authorization:
            return b""
        return b"Proxy-Authorization: %b\r\n" % self.authorization

    def connect_request(self, url: Url) -> bytes:
        """The request for a tunnel to the origin of `url`."""
        host = f"[{url.host}]" if ":" in url.host else url.host
        authority = f"{host}:{url.port}".encode()
        return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (authority, authority, self.headers)


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxy of each scheme, and what goes without one. The default uses none."""

    https: Proxy | None = None
    http: Proxy | None = None
    exceptions: tuple[str, ...] = ()

    def for_url(self, url: Url) -> Proxy | None:
        """The proxy for requests to `url`. This machine itself is never reached through one."""
        proxy = self.https if url.is_tls else self.http
        if proxy is None or url.host == "localhost" or is_loopback(url.host):
            return None
        if any(_is_excepted(url, exception) for exception in self.exceptions):
            return None
        return proxy


NO_PROXIES = Proxies()


def from_environment(environment: Mapping[str, str]) -> Proxies:
    """The proxies that the environment names. Raises InvalidRequest for one that cannot be used."""

    def read(name: str) -> str:
        return (environment.get(name.lower()) or environment.get(name.upper()) or "").strip()

    return Proxies(
        https=parse(read("https_proxy") or read("all_proxy"), "HTTPS_PROXY"),
        http=parse(read("http_proxy") or read("all_proxy"), "HTTP_PROXY"),
        exceptions=_exceptions(read("no_proxy").split(",")),
    )


def parse(text: str, name: str) -> Proxy | None:
    """A proxy from its URL, None for an empty one. `name` is where it came from, for the error."""
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as error:
        raise _invalid(name, "it is not a URL") from error
    if parts.scheme != "http":
        raise _invalid(name, f"{parts.scheme}:// proxies are not supported, only http://")
    if not parts.hostname:
        raise _invalid(name, "it names no host")
    authorization = b""
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = b"Basic " + base64.b64encode(credentials)
    return Proxy(
        host=address_literal(parts.hostname) or parts.hostname,
        port=port or 3128,
        authorization=authorization,
    )


def _exceptions(items: Sequence[str]) -> tuple[str, ...]:
    return tuple(stripped.lower() for item in items if (stripped := item.strip()))


def _is_excepted(url: Url, exception: str) -> bool:
    """One entry of NO_PROXY: `*`, a domain with its subdomains, an address, a CIDR; `:port` may
    follow a name."""
    if exception == "*":
        return True
    host = url.host.rstrip(".")
    if "/" in exception:
        return _is_in_network(host, exception)
    bare = exception.strip("[]")
    if address_literal(host) is not None and bare == host:
        return True
    name, _, port = exception.partition(":")
    if port and port != str(url.port):
        return False
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _invalid(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        "InvalidProxy", f"The proxy in {name} cannot be used: {why}.", fix=f"Correct {name}."
    )
