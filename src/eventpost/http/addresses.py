"""Which network addresses may be connected to: the guard against requests into one's own network.

Layer: http. The refused networks are IANA's special-purpose registries
(iana-ipv4-special-registry, iana-ipv6-special-registry), written out because the lists inside
`ipaddress` differ between Python versions.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from eventpost.core.outcomes import Fault

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address
Address = IPv4 | IPv6
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA = {
    "169.254.169.254": "AWS, Azure, Google, OpenStack, Oracle",
    "169.254.170.2": "AWS ECS task credentials",
    "169.254.170.23": "AWS EKS pod identity",
    "169.254.0.23": "Tencent Cloud",
    "168.63.129.16": "Azure wire server",
    "100.100.100.200": "Alibaba Cloud",
    "192.0.0.192": "Oracle Cloud",
    "fd00:ec2::254": "AWS over IPv6",
    "fd00:ec2::23": "AWS EKS pod identity over IPv6",
    "fd20:ce::254": "Google over IPv6",
}
"""Addresses that hand out credentials. Only naming one exactly (/32, /128) allows it."""

_REFUSED: dict[str, str] = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared address space",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "reserved (6to4 relay)",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "::/128": "this host",
    "::1/128": "loopback",
    "64:ff9b:1::/48": "private (NAT64)",
    "100::/64": "discard",
    "2001::/23": "reserved (Teredo and others)",
    "2001:db8::/32": "documentation",
    "2002::/16": "reserved (6to4)",
    "3fff::/20": "documentation",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "private (site-local)",
    "ff00::/8": "multicast",
}

_METADATA_ADDRESSES = {ipaddress.ip_address(text): cloud for text, cloud in _METADATA.items()}
_REFUSED_NETWORKS = [(ipaddress.ip_network(text), kind) for text, kind in _REFUSED.items()]
_LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


class AddressGuard:
    """Decides whether a resolved address may be connected to. Immutable; any thread.

    `allow` are networks in CIDR form that are let in although they are private. `allow_loopback`
    lets the machine itself in. Plain http needs `allow_http` for anything but loopback.
    """

    __slots__ = ("_allow", "_allow_http", "_allow_loopback", "_exact")

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        allow_loopback: bool = False,
        allow_http: bool = False,
    ) -> None:
        """Raises ValueError for text that is not a network."""
        networks = [ipaddress.ip_network(text, strict=False) for text in allow]
        self._allow = tuple(networks)
        self._exact = frozenset(
            network.network_address for network in networks if network.num_addresses == 1
        )
        self._allow_loopback = allow_loopback
        self._allow_http = allow_http

    def refusal(self, address: str) -> str | None:
        """Why `address` may not be connected to, None when it may.

        Addresses that carry an IPv4 address inside (mapped, compatible, NAT64) are judged by it.
        """
        parsed = _plain(ipaddress.ip_address(address.partition("%")[0]))
        if parsed in _METADATA_ADDRESSES:
            if parsed in self._exact:
                return None
            return f"{address} hands out cloud credentials ({_METADATA_ADDRESSES[parsed]})"
        if _is_in(parsed, self._allow) or (self._allow_loopback and _is_in(parsed, _LOOPBACK)):
            return None
        kind = _special_kind(parsed)
        return None if kind is None else f"{address} is {kind}"

    def check(self, address: str, *, is_tls: bool) -> tuple[Fault, str] | None:
        """What forbids connecting to `address`, with the sentence that says so; None if nothing."""
        refusal = self.refusal(address)
        if refusal is not None:
            return Fault.FORBIDDEN_ADDRESS, refusal
        if is_tls or self._allow_http or is_loopback(address):
            return None
        return Fault.FORBIDDEN_SCHEME, f"plain http to {address}, which is not this machine"


def is_loopback(address: str) -> bool:
    """Whether it is an address of this very machine."""
    try:
        return _is_in(_plain(ipaddress.ip_address(address.partition("%")[0])), _LOOPBACK)
    except ValueError:
        return False


def _plain(address: Address) -> Address:
    if isinstance(address, IPv4):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        return IPv4(int(address) & 0xFFFF_FFFF)
    return address


@lru_cache(maxsize=1_024)
def _special_kind(address: Address) -> str | None:
    for network, kind in _REFUSED_NETWORKS:
        if address.version == network.version and address in network:
            return kind
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return "not a public address"
    return None


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
