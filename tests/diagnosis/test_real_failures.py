"""Real failures over real sockets, from the first byte to the finding that a user reads."""

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from eventpost.core.outcomes import Evidence
from eventpost.diagnosis.classify import classify, explain
from eventpost.http.addresses import AddressGuard
from eventpost.http.proxies import Proxies, Proxy
from tests.http.client.peers import Caller, Peer, PeerConnection, answering, run, until

NAME = "hooks.example"


def to_loopback(_: str) -> list[str]:
    return ["127.0.0.1"]


def failing(code: int) -> Callable[[str], list[str]]:
    """A resolver that fails with this code of getaddrinfo."""

    def lookup(_: str) -> list[str]:
        raise socket.gaierror(code, "as told")

    return lookup


async def silent(connection: PeerConnection) -> None:
    await connection.closed_by_client()


async def silent_after_request(connection: PeerConnection) -> None:
    await connection.request()
    await connection.closed_by_client()


async def resetting(connection: PeerConnection) -> None:
    await connection.reader.read(1)
    connection.reset()


async def half_an_answer(connection: PeerConnection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    connection.close()


async def stalled_answer(connection: PeerConnection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await connection.closed_by_client()


async def plain_http(connection: PeerConnection) -> None:
    await connection.reader.read(1)
    await connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.close()


async def alerting(connection: PeerConnection) -> None:
    """Refuse the handshake with the fatal alert 112, unrecognized_name."""
    await connection.reader.read(1)
    await connection.send(b"\x15\x03\x03\x00\x02\x02\x70")
    connection.close()


# --- before a request is out --------------------------------------------------------------------


def test_a_name_that_does_not_exist() -> None:
    """A misspelt host name is told as one."""

    async def main() -> None:
        with Caller(lookup=failing(socket.EAI_NONAME)) as caller:
            assert classify(await caller.evidence("https://hooks.example/")) == "EP2001"

    run("asyncio", main())


def test_name_servers_that_do_not_answer() -> None:
    """A resolver that is down is not told as a misspelt name."""

    async def main() -> None:
        with Caller(lookup=failing(socket.EAI_AGAIN)) as caller:
            assert classify(await caller.evidence("https://hooks.example/")) == "EP2002"

    run("asyncio", main())


def test_a_port_where_nobody_listens() -> None:
    """A refused connection names the address that refused it."""

    async def main() -> None:
        with socket.socket() as held, Caller() as caller:
            held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
            port = held.getsockname()[1]

            evidence = await caller.evidence(f"http://127.0.0.1:{port}/")

            explanation = explain(evidence)
            assert explanation.code == "EP2004"
            assert explanation.cause.startswith(f"127.0.0.1:{port} refused the connection")

    run("asyncio", main())


def test_an_address_that_is_not_allowed() -> None:
    """A private address is refused by us and told so, not as a failure of the endpoint."""

    async def main() -> None:
        with Caller(guard=AddressGuard(), lookup=to_loopback) as caller:
            assert classify(await caller.evidence("https://hooks.example/")) == "EP2701"

    run("asyncio", main())


def test_plain_http_that_is_not_allowed() -> None:
    """An endpoint without TLS beyond this machine is refused by us and told so."""

    async def main() -> None:
        guard = AddressGuard(["192.0.2.0/24"])
        with Caller(guard=guard, lookup=lambda _: ["192.0.2.1"]) as caller:
            assert classify(await caller.evidence("http://hooks.example/")) == "EP2702"

    run("asyncio", main())


# --- the exchange -------------------------------------------------------------------------------

ENDED = {
    "reset without an answer": (resetting, "EP2204"),
    "closed without an answer": (answering(b""), "EP2205"),
    "an answer that breaks off": (half_an_answer, "EP2207"),
    "another protocol": (answering(b"220 mail.example ESMTP\r\n"), "EP2208"),
    "a head without end": (answering(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000), "EP2209"),
}


@pytest.mark.parametrize(("script", "code"), ENDED.values(), ids=ENDED.keys())
def test_an_exchange_that_ends_badly(
    script: Callable[[PeerConnection], Awaitable[object]], code: str
) -> None:
    """How the connection ended, and how far the answer was, decides the finding."""

    async def main() -> None:
        async with Peer(script) as peer:
            with Caller() as caller:
                assert classify(await caller.evidence(peer.url)) == code

    run("asyncio", main())


@pytest.mark.parametrize(
    ("script", "code"), [(silent_after_request, "EP2203"), (stalled_answer, "EP2206")]
)
def test_an_answer_that_does_not_come(
    script: Callable[[PeerConnection], Awaitable[object]], code: str
) -> None:
    """No answer and half an answer at the end of the time are told apart."""

    async def main() -> None:
        async with Peer(script) as peer:
            with Caller() as caller:
                future = caller.start(peer.url, timeout_s=30.0)
                await until(lambda: peer.connections)
                while not future.done():
                    await asyncio.sleep(0.001)
                    caller.pass_time(5.0)
                evidence = future.result()

                assert isinstance(evidence, Evidence)
                assert classify(evidence) == code

    run("asyncio", main())


# --- TLS ----------------------------------------------------------------------------------------


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def authority_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return str(path)


def context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    return made


def issued(
    ca: trustme.CA, name: str = NAME, *, from_days: int = -2, for_days: int = 4
) -> ssl.SSLContext:
    now = datetime.now(UTC)
    begins = now + timedelta(days=from_days)
    return context(
        ca.issue_cert(name, not_before=begins, not_after=begins + timedelta(days=for_days))
    )


CERTIFICATES: dict[str, tuple[Callable[[], ssl.SSLContext], str]] = {
    "expired": (lambda: issued(authority(), from_days=-9, for_days=8), "EP2103"),
    "not yet valid": (lambda: issued(authority(), from_days=1), "EP2104"),
    "unknown issuer": (lambda: issued(trustme.CA()), "EP2105"),
    "wrong name": (lambda: issued(authority(), "other.example"), "EP2106"),
}


@pytest.mark.parametrize(("make", "code"), CERTIFICATES.values(), ids=CERTIFICATES.keys())
def test_a_certificate_that_is_not_taken(
    make: Callable[[], ssl.SSLContext], code: str, authority_file: str
) -> None:
    """What is wrong with a certificate is told, not only that something is."""

    async def main() -> None:
        peer = Peer(silent)
        await peer.start(make())
        with Caller(ca_file=authority_file, lookup=to_loopback) as caller:
            evidence = await caller.evidence(f"https://{NAME}:{peer.port}/")
        await peer.stop()

        assert classify(evidence) == code
        assert f"127.0.0.1:{peer.port}" in explain(evidence).cause

    run("asyncio", main())


@pytest.mark.parametrize(
    ("script", "code"),
    [(resetting, "EP2102"), (alerting, "EP2108"), (plain_http, "EP2109")],
)
def test_a_handshake_that_fails(
    script: Callable[[PeerConnection], Awaitable[object]], code: str
) -> None:
    """A peer that hangs up, one that says why, and one without TLS are told apart."""

    async def main() -> None:
        async with Peer(script) as peer:
            with Caller(lookup=to_loopback) as caller:
                evidence = await caller.evidence(f"https://{NAME}:{peer.port}/")
                assert classify(evidence) == code

    run("asyncio", main())


def test_a_tls_handshake_that_hangs() -> None:
    """A peer that is silent during the handshake is told by that stage."""

    async def main() -> None:
        async with Peer(silent) as peer:
            with Caller(lookup=to_loopback) as caller:
                future = caller.start(f"https://{NAME}:{peer.port}/")
                await until(lambda: peer.connections)
                while not future.done():
                    await asyncio.sleep(0.001)
                    caller.pass_time(1.0)
                evidence = future.result()

                assert isinstance(evidence, Evidence)
                assert classify(evidence) == "EP2101"

    run("asyncio", main())


def test_plain_http_to_a_tls_port() -> None:
    """A wrong scheme is told as such, though the peer only sent a TLS alert."""

    async def main() -> None:
        async with Peer(answering(b"\x15\x03\x01\x00\x02\x02\x0a")) as peer:
            with Caller() as caller:
                assert classify(await caller.evidence(peer.url)) == "EP2211"

    run("asyncio", main())


# --- proxies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "EP2011"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "EP2012"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "EP2012"),
        (b"", "EP2010"),
    ],
)
def test_a_proxy_in_the_way(answer: bytes, code: str) -> None:
    """What a proxy refuses is told as the proxy's, never as the endpoint's."""

    async def proxying(connection: PeerConnection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(answer)
        connection.close()

    async def main() -> None:
        async with Peer(proxying) as peer:
            proxies = Proxies(https=Proxy("127.0.0.1", peer.port))
            guard = AddressGuard(["192.0.2.0/24"], allow_loopback=True)
            with Caller(guard=guard, proxies=proxies, lookup=lambda _: ["192.0.2.1"]) as caller:
                evidence = await caller.evidence("https://hooks.example/")
                assert classify(evidence) == code

    run("asyncio", main())
