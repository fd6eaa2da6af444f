"""Proxies: which requests take one, the tunnel, the absolute form, and what a proxy refuses."""

import ssl
from pathlib import Path

import pytest
import trustme

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Fault, Stage
from eventpost.http.addresses import AddressGuard
from eventpost.http.proxies import Proxies, Proxy, from_environment, parse
from eventpost.http.urls import parse as parse_url

from .peers import (
    LOOPS,
    OK,
    Caller,
    Peer,
    PeerConnection,
    Script,
    answer_all,
    answering,
    relay_to,
    run,
)

both_loops = pytest.mark.parametrize("loop", LOOPS)
GUARD = AddressGuard(["10.0.0.0/8"], allow_http=True)


def proxies_at(peer: Peer, *, authorization: bytes = b"") -> Proxies:
    proxy = Proxy("127.0.0.1", peer.port, authorization)
    return Proxies(https=proxy, http=proxy)


def tunnel_to(port: int, heads: list[bytes]) -> Script:
    """A proxy that tunnels every CONNECT to a port of this machine."""

    async def script(connection: PeerConnection) -> None:
        heads.append(await connection.reader.readuntil(b"\r\n\r\n"))
        await connection.send(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        await relay_to(port)(connection)

    return script


@both_loops
def test_tunnel(loop: str, tmp_path: Path) -> None:
    """https goes through a tunnel by the target's name, with the proxy's credentials for the proxy
    alone, and the certificate is checked against the target."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("hooks.example").configure_cert(context)
    heads: list[bytes] = []
    received: list[bytes] = []

    async def receive(connection: PeerConnection) -> None:
        while True:
            received.append((await connection.request())[0])
            await connection.send(OK)

    async def main() -> None:
        target = Peer(receive)
        await target.start(context)
        async with Peer(tunnel_to(target.port, heads)) as proxy:
            with Caller(
                proxies=proxies_at(proxy, authorization=b"Basic c2VjcmV0"),
                guard=GUARD,
                ca_file=str(tmp_path / "ca.pem"),
                lookup=lambda _: ["10.0.0.1"],
            ) as caller:
                for _ in range(2):
                    answer = await caller.answer("https://hooks.example/a")
                    assert answer.status == 200
                assert answer.proxy == f"127.0.0.1:{proxy.port}"
        await target.stop()

    run(loop, main())
    assert len(heads) == 1
    assert heads[0].split(b"\r\n") == [
        b"CONNECT hooks.example:443 HTTP/1.1",
        b"Host: hooks.example:443",
        b"Proxy-Authorization: Basic c2VjcmV0",
        *(b"", b""),
    ]
    assert all(b"Proxy-Auth" not in head for head in received)
    assert received[0].startswith(b"POST /a HTTP/1.1\r\nHost: hooks.example\r\n")


@both_loops
def test_absolute_form(loop: str) -> None:
    """http goes to the proxy in absolute form, with the proxy's credentials."""
    heads: list[bytes] = []

    async def script(connection: PeerConnection) -> None:
        heads.append((await connection.request())[0])
        await connection.send(OK)

    async def main() -> None:
        async with Peer(script) as proxy:
            with Caller(
                proxies=proxies_at(proxy, authorization=b"Basic c2VjcmV0"),
                guard=GUARD,
                lookup=lambda _: ["10.0.0.1"],
            ) as caller:
                await caller.answer("http://hooks.example:8080/a?b=c")

    run(loop, main())
    assert heads[0].startswith(
        b"POST http://hooks.example:8080/a?b=c HTTP/1.1\r\nHost: hooks.example:8080\r\n"
        b"Proxy-Authorization: Basic c2VjcmV0\r\n"
    )


@both_loops
@pytest.mark.parametrize(
    ("raw", "fault", "status"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Fault.STATUS, 407),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", Fault.STATUS, 502),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Fault.STATUS, 403),
        (b"SSH-2.0-x\r\n\r\n", Fault.MALFORMED, None),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", Fault.MALFORMED, None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9_000, Fault.TOO_LARGE, None),
        (b"HTTP/1.1 200 O", Fault.CLOSED, None),
        (b"", Fault.CLOSED, None),
    ],
    ids=["407", "502", "403", "ssh", "early", "large", "half", "closed"],
)
def test_tunnel_refused(loop: str, raw: bytes, fault: Fault, status: int | None) -> None:
    """What a proxy answers in place of a tunnel is told as the proxy's."""

    async def main() -> None:
        async with Peer(answering(raw)) as proxy:
            with Caller(
                proxies=proxies_at(proxy, authorization=b"Basic c2VjcmV0"),
                guard=GUARD,
                lookup=lambda _: ["10.0.0.1"],
            ) as caller:
                evidence = await caller.evidence("https://hooks.example/")

                assert (evidence.stage, evidence.fault) == (Stage.PROXY, fault)
                assert evidence.status == status
                assert evidence.proxy == f"127.0.0.1:{proxy.port}"
                assert "c2VjcmV0" not in repr(evidence)

    run(loop, main())


@both_loops
def test_unreachable_proxy(loop: str) -> None:
    """A proxy that refuses connections is told as the proxy's failure, not the target's."""

    async def main() -> None:
        async with Peer(answer_all) as closed:
            await closed.stop()
            with Caller(
                proxies=proxies_at(closed), guard=GUARD, lookup=lambda _: ["10.0.0.1"]
            ) as caller:
                evidence = await caller.evidence("https://hooks.example/")

                assert (evidence.stage, evidence.fault) == (Stage.PROXY, Fault.REFUSED)

    run(loop, main())


@both_loops
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_target_is_checked_behind_a_proxy(loop: str, scheme: str) -> None:
    """A forbidden target is not asked of the proxy either."""

    async def main() -> None:
        async with Peer(answer_all) as proxy:
            with Caller(proxies=proxies_at(proxy), lookup=lambda _: ["169.254.169.254"]) as caller:
                evidence = await caller.evidence(f"{scheme}://hooks.example/")

                assert evidence.fault is Fault.FORBIDDEN_ADDRESS
                assert not proxy.connections

    run(loop, main())


ENVIRONMENT = {"https_proxy": "http://user:p%40ss@proxy.example:3128", "HTTP_PROXY": "10.1.1.1:80"}


def test_environment() -> None:
    """The usual variables name the proxies, the lower-case ones first; no secret is shown."""
    proxies = from_environment({**ENVIRONMENT, "HTTPS_PROXY": "http://other.example"})

    assert proxies.https == Proxy("proxy.example", 3128, b"Basic dXNlcjpwQHNz")
    assert proxies.http == Proxy("10.1.1.1", 80)
    assert str(proxies.https) == "proxy.example:3128"
    assert "dXNl" not in repr(proxies)
    assert from_environment({"ALL_PROXY": "http://a.example"}).https == Proxy("a.example", 3128)
    assert from_environment({}) == Proxies()


@pytest.mark.parametrize(
    ("exceptions", "url", "is_proxied"),
    [
        ("", "https://hooks.example/", True),
        ("*", "https://hooks.example/", False),
        ("hooks.example", "https://hooks.example/", False),
        ("example", "https://hooks.example/", False),
        (".example", "https://hooks.example/", False),
        ("*.example", "https://hooks.example/", False),
        ("ooks.example", "https://hooks.example/", True),
        ("HOOKS.example , other", "https://hooks.example/", False),
        ("hooks.example:443", "https://hooks.example/", False),
        ("hooks.example:8443", "https://hooks.example/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", False),
        ("10.0.0.0/8", "https://11.1.2.3/", True),
        ("10.1.2.3", "https://10.1.2.3/", False),
        ("[2606::1]", "https://[2606::1]/", False),
        ("2606::/16", "https://[2606::1]/", False),
        ("10.0.0.0/8", "https://hooks.example/", True),
        ("", "https://localhost/", False),
        ("", "https://127.0.0.1:9/", False),
    ],
)
def test_no_proxy(exceptions: str, url: str, is_proxied: bool) -> None:
    """NO_PROXY names what goes directly: names with their subdomains, addresses, networks. This
    machine always does."""
    proxies = from_environment({**ENVIRONMENT, "NO_PROXY": exceptions})

    assert (proxies.for_url(parse_url(url)) is not None) is is_proxied


@pytest.mark.parametrize(
    "text", ["socks5://a.example", "https://a.example", "http://", "http://a:x"]
)
def test_unusable_proxy(text: str) -> None:
    """A proxy that cannot be used is refused with the variable's name."""
    with pytest.raises(InvalidRequest, match="HTTPS_PROXY"):
        parse(text, "HTTPS_PROXY")
