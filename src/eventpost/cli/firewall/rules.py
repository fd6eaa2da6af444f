"""What the IP rules of a storage account should be. Pure.

Layer: cli. The service takes public IPv4 addresses and networks up to /30; smaller ones are given
as single addresses. Azure Storage, "Configure network security", restrictions for IP rules.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eventpost.core.errors import InvalidRequest

RULES_MAX = 400
"""Of one account. "Azure Storage firewall and virtual network rules", scale limits."""
PREFIX_MAX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done to the rules of one account."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    """Of others, or already there."""

    @property
    def is_empty(self) -> bool:
        return not self.add and not self.remove

    @property
    def wanted(self) -> tuple[str, ...]:
        """The whole list as it should be."""
        return (*self.keep, *self.add)


def normal(texts: Iterable[str]) -> list[str]:
    """Addresses and networks as the service takes them, in order, each once.

    Raises InvalidRequest for what no IP rule can hold: IPv6, private and reserved addresses.
    """
    found: dict[str, None] = {}
    for text in texts:
        network = _network(text)
        if network.prefixlen > PREFIX_MAX:
            found |= dict.fromkeys(str(each) for each in network)
        else:
            found[str(network)] = None
    return list(found)


def plan(current: Sequence[str], egress: Sequence[str], ours: Iterable[str]) -> Plan:
    """From the rules that are there and the addresses that are to be let in.

    `ours` are rules that we made at an earlier time: only they are ever removed. Raises
    InvalidRequest when the account would have too many rules.
    """
    wanted = normal(egress)
    made = set(ours)
    covered = [each for each in wanted if _is_covered(each, current, made)]
    add = tuple(each for each in wanted if each not in current and each not in covered)
    remove = tuple(each for each in current if each in made and each not in wanted)
    keep = tuple(each for each in current if each not in remove)
    if len(keep) + len(add) > RULES_MAX:
        raise InvalidRequest(
            "TooManyRules",
            f"The account would have {len(keep) + len(add)} IP rules; it takes {RULES_MAX}.",
            fix="Give a network instead of single addresses, or use a private endpoint.",
        )
    return Plan(add=add, remove=remove, keep=keep)


def _is_covered(address: str, current: Sequence[str], made: set[str]) -> bool:
    """Whether a rule of somebody else lets it in already."""
    network = ipaddress.IPv4Network(address)
    others = (each for each in current if each not in made)
    return any(network.subnet_of(other) for each in others if (other := _rule(each)))


def _rule(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise _refused(text, "it is no address and no network") from error
    if not isinstance(network, ipaddress.IPv4Network):
        raise _refused(text, "IP rules take IPv4 only")
    if not network.is_global or network.is_multicast:
        raise _refused(text, "IP rules take public addresses only")
    return network


def _refused(text: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        "NoIpRule",
        f"{text[:64]!r} cannot be an IP rule of a storage account: {why}.",
        fix="Give the public address from which this machine's requests come, or use a private "
        "endpoint or a service endpoint of the subnet.",
    )
