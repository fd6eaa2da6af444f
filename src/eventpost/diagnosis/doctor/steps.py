"""Looks that many ladders have in common: clock, name, route, TLS. Each is a function to call.

Layer: diagnosis.
"""

import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from eventpost.core.outcomes import Failed, Fault
from eventpost.diagnosis.doctor import network
from eventpost.diagnosis.doctor.bounds import (
    BOUNDS,
    CLOCK_SKEW_S_MAX,
    EXPIRY_WARNING_S,
    Bounds,
)
from eventpost.diagnosis.doctor.climbing import Look
from eventpost.diagnosis.doctor.ladder import Faulty, Seen, Unknown, Warned
from eventpost.diagnosis.doctor.network import Peer, Secured, Way

CLOCK_WRONG = "EP6002"
CERTIFICATE_ENDS = "EP6004"

Peers = Callable[[], Sequence[Peer]]
NowS = Callable[[], float]


def clock(
    peers: Peers, *, is_tls: bool = True, bounds: Bounds = BOUNDS, now_s: NowS = time.time
) -> Look:
    """This machine's clock against that of the first peer that says the time."""

    def look() -> Seen:
        for peer in peers()[:1]:
            theirs_s = network.peer_clock_s(peer, bounds, is_tls=is_tls)
            if theirs_s is not None:
                return judged_clock(now_s() - theirs_s, str(peer))
        return Unknown("nobody here says the time over HTTP")

    return look


def judged_clock(ahead_s: float, by: str) -> Seen:
    """What a difference of clocks comes to. Pure."""
    side = "ahead of" if ahead_s > 0 else "behind"
    told = f"the clock here is {abs(ahead_s):.0f} s {side} that of {by}"
    if abs(ahead_s) > CLOCK_SKEW_S_MAX:
        return Faulty(code=CLOCK_WRONG, detail=told)
    return told


def name(peers: Peers, *, bounds: Bounds = BOUNDS) -> Look:
    """Every peer's name; the first that has no address is what is broken."""

    def look() -> Seen:
        told = []
        for peer in peers():
            found = network.look_up(peer, bounds)
            if isinstance(found, Failed):
                return found
            told.append(network.described(peer, found))
        return "; ".join(told)

    return look


def route(peers: Peers, *, bounds: Bounds = BOUNDS, other_ports: Sequence[int] = ()) -> Look:
    """A connection to every peer. When it is not made, the ports beside it are tried, too: one
    that answers tells a wrong port, or a rule for one port, from a peer that is away."""

    def look() -> Seen:
        ways = []
        for peer in peers():
            found = network.try_to_connect(peer, bounds)
            if isinstance(found, Failed):
                return beside(found, peer, bounds, other_ports)
            ways.append(str(found))
        return "; ".join(ways)

    return look


def beside(failed: Failed, peer: Peer, bounds: Bounds, ports: Sequence[int]) -> Failed:
    """The failure, with what the ports beside it say."""
    if failed.evidence.fault not in (Fault.REFUSED, Fault.TIMED_OUT):
        return failed
    quick = _quick(bounds)
    tried = [each for each in ports if each != peer.port]
    open_ports = [
        each
        for each in tried
        if isinstance(network.try_to_connect(Peer(peer.host, each), quick), Way)
    ]
    if not tried:
        return failed
    if open_ports:
        told = f"of the ports beside it these answer: {', '.join(map(str, open_ports))}"
    else:
        told = f"nor do the ports beside it answer ({', '.join(map(str, tried))})"
    detail = f"{failed.evidence.detail}; {told}".removeprefix("; ")
    return Failed(msgspec.structs.replace(failed.evidence, detail=detail))


def _quick(bounds: Bounds) -> Bounds:
    """For a second look: a peer beside it that answers does so at once."""
    return Bounds(name_s=bounds.name_s, connect_s=min(1.0, bounds.connect_s), answer_s=1.0)


def tls(
    peers: Peers,
    context: Callable[[], ssl.SSLContext],
    *,
    bounds: Bounds = BOUNDS,
    now_s: NowS = time.time,
) -> Look:
    """A handshake with every peer, and how long its certificate is good."""

    def look() -> Seen:
        made, told = context(), []
        soonest: tuple[float, str] | None = None
        for peer in peers():
            found = network.try_tls(peer, made, bounds)
            if isinstance(found, Failed):
                return found
            told.append(said_of(peer, found, now_s()))
            if found.expires_s is not None and (soonest is None or found.expires_s < soonest[0]):
                soonest = found.expires_s, str(peer)
        detail = "; ".join(told)
        if soonest is not None and soonest[0] - now_s() < EXPIRY_WARNING_S:
            return Warned(code=CERTIFICATE_ENDS, detail=detail)
        return detail

    return look


def said_of(peer: Peer, secured: Secured, now_s: float) -> str:
    """`TLSv1.3, the certificate is good for HOST until 2027-01-01 (33 days), by ISSUER`."""
    if secured.expires_s is None:
        return f"{secured.version}, and any certificate is taken"
    until = datetime.fromtimestamp(secured.expires_s, UTC)
    days = int((secured.expires_s - now_s) // 86_400)
    by = f", by {secured.issuer}" if secured.issuer else ""
    return (
        f"{secured.version}, the certificate is good for {peer.host} until {until:%Y-%m-%d} "
        f"({days} days){by}"
    )
