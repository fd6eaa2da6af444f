"""The way to a peer, looked at step by step: its name, a connection, TLS, and its clock.

Layer: diagnosis. Plain sockets, so that what is seen is what happened, and not what a client
library made of it. Every wait is bounded; nothing is sent that changes anything.
"""

import contextlib
import ipaddress
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.diagnosis.doctor.bounds import Bounds
from eventpost.http.failures import evidence_of

Answer = TypeVar("Answer")
ADDRESSES_SHOWN_MAX = 6
_SIOCGIFADDR = 0x8915


@dataclass(frozen=True, slots=True)
class Peer:
    """Where somebody is to be reached."""

    host: str
    port: int

    def __str__(self) -> str:
        return shown(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A connection that was made: from which address of ours, to which, and how fast."""

    local: str
    remote: str
    interface: str
    elapsed_ms: int

    def __str__(self) -> str:
        through = f" by {self.interface}" if self.interface else ""
        return f"{self.remote} in {self.elapsed_ms} ms, from {self.local}{through}"


def shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- the name -------------------------------------------------------------------------------------


def look_up(peer: Peer, bounds: Bounds) -> list[str] | Failed:
    """The addresses of a name, as the system's resolver gives them.

    A resolver may keep one waiting for half a minute: it is asked on a thread that is left behind.
    """

    def ask() -> list[str] | Failed:
        try:
            found = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(each[4][0]) for each in found))
        except (OSError, UnicodeError) as error:
            return _failed(evidence_of(error, Stage.NAME, address=str(peer)), began_s)

    began_s = time.monotonic()
    answer = _asked(ask, bounds.name_s)
    if answer is not None:
        return answer
    evidence = Evidence(stage=Stage.NAME, fault=Fault.TIMED_OUT, address=str(peer))
    return _failed(evidence, began_s)


def names_of(host: str, bounds: Bounds) -> tuple[str, ...]:
    """`host`, and every name that the resolver went over to its addresses: aliases, and the last.
    Only `host` where the resolver does not say."""

    def ask() -> tuple[str, ...]:
        try:
            name, aliases, _ = socket.gethostbyname_ex(host)
        except (OSError, UnicodeError):
            return ()
        return (*aliases, name)

    return tuple(dict.fromkeys((host, *(_asked(ask, bounds.name_s) or ()))))


def _asked(ask: Callable[[], Answer], seconds_max: float) -> Answer | None:
    """The answer of a resolver, on a thread that is left behind when it takes longer."""
    answered: list[Answer] = []
    asking = threading.Thread(
        target=lambda: answered.append(ask()), name="eventpost-doctor-name", daemon=True
    )
    asking.start()
    asking.join(seconds_max)
    return answered[0] if answered else None


def kind_of(address: str) -> str:
    """`private`, `loopback` or `public`: which road a packet to it takes."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if found.is_loopback:
        return "loopback"
    return "private" if found.is_private or found.is_link_local else "public"


def described(peer: Peer, addresses: Sequence[str]) -> str:
    """`HOST is 10.1.2.3, 10.1.2.4 (private)`."""
    kinds = " and ".join(sorted({kind_of(each) for each in addresses}))
    if list(addresses) == [peer.host]:
        return f"{peer.host} is an address ({kinds})"
    some = ", ".join(addresses[:ADDRESSES_SHOWN_MAX])
    more = len(addresses) - ADDRESSES_SHOWN_MAX
    return f"{peer.host} is {some}{f' and {more} more' if more > 0 else ''} ({kinds})"


# --- the route ------------------------------------------------------------------------------------


def try_to_connect(peer: Peer, bounds: Bounds) -> Way | Failed:
    """Connect and hang up again."""
    try:
        with connected(peer, bounds) as (_, way):
            return way
    except OSError as error:
        return failed_of(error, Stage.CONNECT, peer)


@contextlib.contextmanager
def connected(peer: Peer, bounds: Bounds) -> Iterator[tuple[socket.socket, Way]]:
    """A connection, closed at the end. Raises OSError; `failed_of` says what that means."""
    began_s = time.monotonic()
    made = socket.create_connection((peer.host, peer.port), timeout=bounds.connect_s)
    with made:
        made.settimeout(bounds.answer_s)
        elapsed_ms = round((time.monotonic() - began_s) * 1_000)
        local, remote = made.getsockname(), made.getpeername()
        yield (
            made,
            Way(
                local=str(local[0]),
                remote=shown(str(remote[0]), int(remote[1])),
                interface=interface_of(str(local[0])),
                elapsed_ms=elapsed_ms,
            ),
        )


def interface_of(address: str) -> str:
    """The name of the interface that has this IPv4 address; "" where the system does not say."""
    try:
        import fcntl

        wanted = socket.inet_aton(address)
    except (ImportError, OSError):
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                request = struct.pack("256s", name.encode()[:15])
                if fcntl.ioctl(asking, _SIOCGIFADDR, request)[20:24] == wanted:
                    return name
    return ""


def failed_of(error: OSError, stage: Stage, peer: Peer, elapsed_s: float = 0.0) -> Failed:
    """What an error of a socket means at this stage."""
    if isinstance(error, TimeoutError):
        evidence = Evidence(stage=stage, fault=Fault.TIMED_OUT, address=str(peer))
    else:
        evidence = evidence_of(error, stage, address=str(peer))
    elapsed_ms = round(elapsed_s * 1_000)
    return Failed(msgspec.structs.replace(evidence, elapsed_ms=elapsed_ms))


# --- TLS ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """A TLS handshake that succeeded."""

    version: str
    issuer: str
    names: tuple[str, ...]
    expires_s: float | None
    """UTC; None when the certificate was not looked at, because any is taken."""


def try_tls(
    peer: Peer, context: ssl.SSLContext, bounds: Bounds, server_name: str = ""
) -> Secured | Failed:
    """Connect, greet, and hang up. A certificate that is refused is described in the detail."""
    began_s = time.monotonic()
    stage = Stage.CONNECT
    try:
        with connected(peer, bounds) as (plain, _):
            stage = Stage.TLS
            name = server_name or peer.host
            with context.wrap_socket(plain, server_hostname=name) as secured:
                return _secured(secured)
    except ssl.SSLCertVerificationError as error:
        found = failed_of(error, Stage.TLS, peer, time.monotonic() - began_s).evidence
        told = served_certificate(peer, bounds, server_name)
        detail = f"{found.detail}; {told}" if told else found.detail
        return Failed(msgspec.structs.replace(found, detail=detail))
    except OSError as error:
        return failed_of(error, stage, peer, time.monotonic() - began_s)


def _secured(secured: ssl.SSLSocket) -> Secured:
    certificate = secured.getpeercert() or {}
    until = certificate.get("notAfter")
    names = _alternative_names(certificate.get("subjectAltName"))
    return Secured(
        version=secured.version() or "",
        issuer=_common_name(certificate.get("issuer", ())),
        names=names,
        expires_s=float(ssl.cert_time_to_seconds(until)) if isinstance(until, str) else None,
    )


def _alternative_names(given: object) -> tuple[str, ...]:
    return tuple(str(each[1]) for each in given) if isinstance(given, tuple) else ()


def _common_name(subject: object) -> str:
    """`commonName` of what `getpeercert` gives, else the organization."""
    found: dict[str, str] = {}
    if isinstance(subject, tuple):
        for part in subject:
            found |= {str(name): str(value) for name, value in part}
    return found.get("commonName") or found.get("organizationName") or ""


def served_certificate(peer: Peer, bounds: Bounds, server_name: str = "") -> str:
    """What a peer serves that is not to be trusted, in words; nothing else is asked of it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            connected(peer, bounds) as (plain, _),
            context.wrap_socket(plain, server_hostname=server_name or peer.host) as secured,
        ):
            leaf = secured.getpeercert(binary_form=True)
    except OSError:
        return ""
    return "" if leaf is None else _leaf_in_words(leaf)


def _leaf_in_words(leaf: bytes) -> str:
    from cryptography import x509

    try:
        found = x509.load_der_x509_certificate(leaf)
        issuer = found.issuer.rfc4514_string()
        alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = ", ".join(str(each.value) for each in alternative.value)
    except (ValueError, x509.ExtensionNotFound):
        return "the certificate served cannot be read"
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return f"served: {names[:200]}, by {issuer[:200]}, valid {begins:%Y-%m-%d} to {ends:%Y-%m-%d}"


# --- the clock ------------------------------------------------------------------------------------


def peer_clock_s(peer: Peer, bounds: Bounds, *, is_tls: bool) -> float | None:
    """The time by the peer's `Date` header, UTC; None when it does not say.

    Its certificate is not verified: with a wrong clock here it could not be.
    """
    from email.utils import parsedate_to_datetime

    with contextlib.suppress(OSError, ValueError):
        for line in _head(peer, bounds, is_tls=is_tls).split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"date":
                return parsedate_to_datetime(value.decode("latin-1").strip()).timestamp()
    return None


def _head(peer: Peer, bounds: Bounds, *, is_tls: bool) -> bytes:
    request = f"HEAD / HTTP/1.1\r\nHost: {peer.host}\r\nConnection: close\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        speaking, _ = stack.enter_context(connected(peer, bounds))
        if is_tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            speaking = stack.enter_context(context.wrap_socket(speaking, server_hostname=peer.host))
        speaking.sendall(request)
        return _read_head(speaking, time.monotonic() + bounds.answer_s)


def _read_head(speaking: socket.socket, until_s: float) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < 16_384 and time.monotonic() < until_s:
        part = speaking.recv(4_096)
        if not part:
            break
        answer += part
    return answer.partition(b"\r\n\r\n")[0]


def _failed(evidence: Evidence, began_s: float) -> Failed:
    elapsed_ms = round((time.monotonic() - began_s) * 1_000)
    return Failed(msgspec.structs.replace(evidence, elapsed_ms=elapsed_ms))
