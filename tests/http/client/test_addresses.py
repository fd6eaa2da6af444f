"""The guard table: which addresses may be connected to."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.outcomes import Fault
from eventpost.http.addresses import AddressGuard, is_loopback

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "20.50.2.3", "100.63.255.255", "100.128.0.0", "172.15.255.255"),
    *("172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0"),
    *("223.255.255.255", "126.255.255.255", "128.0.0.0", "11.0.0.0", "9.255.255.255"),
    *("2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808"),
]
REFUSED = [
    # IPv4: every special-purpose network at both of its edges.
    *("0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255"),
    *("127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.255.255", "172.16.0.0"),
    *("172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.0"),
    *("192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    # Cloud metadata.
    *("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200"),
    *("fd00:ec2::254", "fd20:ce::254"),
    # IPv6.
    *("::", "::1", "fc00::1", "fdff::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
    *("100::1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1", "2001::1", "2001:10::1"),
    # IPv4 inside IPv6: mapped, compatible, NAT64, 6to4, Teredo.
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
    *("::10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::10.0.0.1"),
    *("2002:0a00:0001::1", "2002:0808:0808::1", "2001:0:0a00:1::1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    """A public address may be connected to without being named."""
    assert AddressGuard().refusal(address) is None


@pytest.mark.parametrize("address", REFUSED)
def test_refused(address: str) -> None:
    """Private, local, reserved and metadata addresses are refused, and the sentence names them."""
    refusal = AddressGuard().refusal(address)

    assert refusal is not None
    assert refusal.startswith(address)


@pytest.mark.parametrize(
    ("allow", "address", "is_allowed"),
    [
        ("10.1.0.0/16", "10.1.2.3", True),
        ("10.1.0.0/16", "10.2.0.0", False),
        ("10.1.0.0/16", "::ffff:10.1.2.3", True),
        ("10.1.0.0/16", "64:ff9b::10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3/8", "10.9.9.9", True),  # host bits are ignored
        ("fd00::/8", "fd12::1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("127.0.0.0/8", "127.0.0.1", True),
        ("0.0.0.0/0", "192.168.1.1", True),
        ("0.0.0.0/0", "fd12::1", False),
        # Metadata is never part of a network.
        ("0.0.0.0/0", "169.254.169.254", False),
        ("169.254.0.0/16", "169.254.169.254", False),
        ("169.254.169.254/31", "169.254.169.254", False),
        ("169.254.169.254/32", "169.254.169.254", True),
        ("169.254.169.254/32", "169.254.170.2", False),
        ("168.63.129.16/32", "168.63.129.16", True),
        ("::/0", "fd00:ec2::254", False),
        ("fd00:ec2::254/128", "fd00:ec2::254", True),
        ("169.254.169.254/32", "::ffff:169.254.169.254", True),
        ("169.254.0.0/16", "169.254.0.1", True),
    ],
)
def test_allowed_networks(allow: str, address: str, is_allowed: bool) -> None:
    """A network that is named lets its addresses in; metadata needs to be named exactly."""
    assert (AddressGuard([allow]).refusal(address) is None) is is_allowed


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
    ],
)
def test_allowed_loopback(address: str, is_allowed: bool) -> None:
    """Allowing loopback allows this machine and nothing else."""
    assert (AddressGuard(allow_loopback=True).refusal(address) is None) is is_allowed
    assert is_loopback(address) is (
        address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1")
    )


@pytest.mark.parametrize(
    ("address", "is_tls", "allow_http", "fault"),
    [
        ("8.8.8.8", True, False, None),
        ("8.8.8.8", False, False, Fault.FORBIDDEN_SCHEME),
        ("8.8.8.8", False, True, None),
        ("127.0.0.1", False, False, None),
        ("10.0.0.1", False, True, Fault.FORBIDDEN_ADDRESS),
        ("10.0.0.1", True, True, Fault.FORBIDDEN_ADDRESS),
    ],
)
def test_plain_http(address: str, is_tls: bool, allow_http: bool, fault: Fault | None) -> None:
    """Plain http goes to this machine, or anywhere allowed when http is allowed."""
    guard = AddressGuard(allow_loopback=True, allow_http=allow_http)
    refusal = guard.check(address, is_tls=is_tls)

    assert (refusal and refusal[0]) is fault


def test_not_a_network() -> None:
    """Text that is no network is refused where it is given."""
    with pytest.raises(ValueError, match="does not appear to be"):
        AddressGuard(["10.0.0.0/8", "intranet"])


@given(st.integers(0, 2**32 - 1))
def test_no_disguise(number: int) -> None:
    """An IPv4 address is judged the same however it is wrapped into IPv6."""
    address = ipaddress.IPv4Address(number)
    guard = AddressGuard()
    wrapped = [f"::ffff:{address}", f"64:ff9b::{address}"]

    for text in wrapped:
        assert (guard.refusal(text) is None) is (guard.refusal(str(address)) is None)
