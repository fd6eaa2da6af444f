"""The way to a peer: what is wrong with name, route, certificate or clock is told apart."""

import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import pytest

from eventpost.app.doctor.store import folder
from eventpost.core.outcomes import Failed, Fault
from eventpost.diagnosis.classify import classify
from eventpost.diagnosis.doctor import network, steps
from eventpost.diagnosis.doctor.bounds import Bounds
from eventpost.diagnosis.doctor.ladder import Faulty, Seen, Unknown, Warned
from eventpost.diagnosis.doctor.network import Peer
from tests.doctor.wards import Script, black_hole, peer, refused_port, saying, silent
from tests.services.certificates import Authority

QUICK = Bounds(name_s=2.0, connect_s=0.3, answer_s=0.3)
"""For what never answers. What does may take its time on a machine that is busy."""
PATIENT = Bounds(name_s=60.0, connect_s=60.0, answer_s=60.0)


def route(port: int, *others: int) -> Seen:
    return steps.route(lambda: [Peer("127.0.0.1", port)], bounds=QUICK, other_ports=others)()


def test_a_route_that_holds() -> None:
    """The address that we leave from and its interface are told with a connection that is made."""
    with peer(silent) as port:
        seen = route(port)

    assert isinstance(seen, str)
    assert f"127.0.0.1:{port}" in seen
    assert "from 127.0.0.1" in seen


def test_a_refusal_is_told_from_a_drop() -> None:
    """A port where nobody listens is known in milliseconds; dropped packets only at the bound."""
    with refused_port() as port:
        refused = route(port)
    with black_hole() as port:
        began_s = time.monotonic()
        dropped = route(port)
        dropped_s = time.monotonic() - began_s

    assert isinstance(refused, Failed)
    assert classify(refused.evidence) == "EP2004"
    assert isinstance(dropped, Failed)
    assert classify(dropped.evidence) == "EP2006"
    assert dropped_s >= QUICK.connect_s


def test_the_ports_beside_are_tried() -> None:
    """When the port is refused and another one answers, that one is named."""
    with refused_port() as closed, peer(silent) as open_port:
        seen = route(closed, closed, open_port)

    assert isinstance(seen, Failed)
    assert f"these answer: {open_port}" in seen.evidence.detail


def test_names() -> None:
    """A name that does not exist is told, and one that does with the kind of its addresses."""
    missing = steps.name(lambda: [Peer("nosuch.invalid", 443)], bounds=QUICK)()
    known = steps.name(lambda: [Peer("localhost", 443)], bounds=QUICK)()

    assert isinstance(missing, Failed)
    assert missing.evidence.fault in (Fault.NOT_FOUND, Fault.UNAVAILABLE)
    assert isinstance(known, str)
    assert "loopback" in known


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.1.2.3", "private"),
        ("169.254.169.254", "private"),
        ("fd00:ec2::254", "private"),
        ("20.60.1.2", "public"),
        ("::1", "loopback"),
    ],
)
def test_the_road_to_an_address(address: str, kind: str) -> None:
    """A private endpoint's address is told from a public one."""
    assert network.kind_of(address) == kind


# --- certificates -----------------------------------------------------------------------------


def served(authority: Authority, *issued_to: str, days: float = 90) -> ssl.SSLContext:
    end = datetime.now(UTC) + timedelta(days=days)
    file = authority.issue(*issued_to, file_name=f"{days}.pem", not_after=end)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def tls(port: int, ca_file: Path | None, host: str = "localhost", bounds: Bounds = PATIENT) -> Seen:
    def context() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    return steps.tls(lambda: [Peer(host, port)], context, bounds=bounds)()


def test_a_good_certificate(authority: Authority) -> None:
    """Version, name, end and issuer of a certificate that is good are told."""
    with peer(silent, served(authority)) as port:
        seen = tls(port, authority.ca_file)

    assert isinstance(seen, str)
    assert "TLSv1.3" in seen
    assert "good for localhost until" in seen
    assert "(89 days)" in seen


def test_a_certificate_that_ends_soon(authority: Authority) -> None:
    """A certificate in its last two weeks is a warning, and no fault."""
    with peer(silent, served(authority, days=13)) as port:
        seen = tls(port, authority.ca_file)

    assert isinstance(seen, Warned)
    assert seen.code == "EP6004"


CERTIFICATES: dict[str, tuple[tuple[str, ...], float, bool, str]] = {
    "expired": ((), -1, True, "EP2103"),
    "another name": (("other.example",), 90, True, "EP2106"),
    "unknown authority": ((), 90, False, "EP2105"),
}


@pytest.mark.parametrize("case", CERTIFICATES)
def test_a_certificate_that_is_refused(case: str, authority: Authority) -> None:
    """What is wrong is told apart, together with what was served: names, issuer, validity."""
    issued_to, days, is_trusted, code = CERTIFICATES[case]
    with peer(silent, served(authority, *issued_to, days=days)) as port:
        seen = tls(port, authority.ca_file if is_trusted else None)

    assert isinstance(seen, Failed)
    assert classify(seen.evidence) == code
    assert f"served: {issued_to[0] if issued_to else 'localhost'}" in seen.evidence.detail


PEERS: dict[str, tuple[Script, str]] = {
    "silent": (silent, "EP2101"),
    "plain": (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "EP2109"),
}


@pytest.mark.parametrize("case", PEERS)
def test_a_handshake_that_fails(case: str) -> None:
    """A peer that stays silent and one that speaks without TLS are told apart."""
    script, code = PEERS[case]
    with peer(script) as port:
        seen = tls(port, None, bounds=QUICK if script is silent else PATIENT)

    assert isinstance(seen, Failed)
    assert classify(seen.evidence) == code


# --- the clock ----------------------------------------------------------------------------------


def said(seconds_ahead: float) -> bytes:
    date = formatdate(time.time() - seconds_ahead, usegmt=True)
    return f"HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("seconds_ahead", [-3_600, 3_600])
def test_a_wrong_clock(seconds_ahead: float) -> None:
    """A clock that is an hour ahead or behind is found by the date of any answer."""
    with peer(saying(said(seconds_ahead))) as port:
        seen = steps.clock(lambda: [Peer("127.0.0.1", port)], is_tls=False, bounds=PATIENT)()

    assert isinstance(seen, Faulty)
    assert seen.code == "EP6002"
    assert ("ahead of" if seconds_ahead > 0 else "behind") in seen.detail


def test_a_right_clock(authority: Authority) -> None:
    """A clock that agrees is proven good, over TLS too, whatever the certificate is."""
    with peer(saying(said(0)), served(authority, "other.example")) as port:
        seen = steps.clock(lambda: [Peer("127.0.0.1", port)], bounds=PATIENT)()

    assert isinstance(seen, str)


@pytest.mark.parametrize(
    "script", [silent, saying(b"220 smtp\r\n"), saying(b"HTTP/1.1 200\r\n\r\n")]
)
def test_nobody_says_the_time(script: Script) -> None:
    """Without an answer, or without a date in it, the clock is unknown, and not wrong."""
    with peer(script) as port:
        seen = steps.clock(lambda: [Peer("127.0.0.1", port)], is_tls=False, bounds=QUICK)()

    assert isinstance(seen, Unknown)


@pytest.mark.parametrize(("ahead_s", "is_wrong"), [(120.0, False), (120.1, True), (-120.1, True)])
def test_how_far_clocks_may_be_apart(ahead_s: float, is_wrong: bool) -> None:
    """Two minutes are borne, in both directions."""
    assert isinstance(steps.judged_clock(ahead_s, "peer"), Faulty) is is_wrong


def test_dead_letters_cannot_go_where_a_file_is(tmp_path: Path) -> None:
    """A folder for dead letters whose name a file has is told before the first one falls."""
    (tmp_path / "letters").write_text("")

    seen = folder(tmp_path / "letters")()

    assert isinstance(seen, Faulty)
    assert seen.code == "EP3009"
    assert isinstance(folder(tmp_path / "other")(), str)
