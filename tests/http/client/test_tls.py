"""TLS towards receivers: what is trusted, and how each refusal is told apart."""

import asyncio
import datetime
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trustme

from eventpost.core.outcomes import Evidence, Fault, Stage

from .peers import LOOPS, OK, Caller, Peer, PeerConnection, Script, answer_all, relay_to, run, until

both_loops = pytest.mark.parametrize("loop", LOOPS)
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@asynccontextmanager
async def tls_peer(context: ssl.SSLContext, script: Script = answer_all) -> AsyncIterator[Peer]:
    # What the peer's own handshake failed with is not this test's matter.
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    peer = Peer(script)
    await peer.start(context)
    try:
        yield peer
    finally:
        await peer.stop()


@both_loops
def test_trusted(loop: str, ca: trustme.CA, ca_file: str) -> None:
    """A certificate of a trusted issuer for the URL's name or address is accepted, and its
    connection is kept."""

    async def main() -> None:
        context = server_context(ca.issue_cert("hooks.example", "127.0.0.1"))
        async with tls_peer(context) as peer:
            with Caller(ca_file=ca_file, lookup=lambda _: ["127.0.0.1"]) as caller:
                by_name = f"https://hooks.example:{peer.port}/"
                assert (await caller.answer(by_name)).status == 200
                assert (await caller.answer(by_name, b"x" * 300_000)).status == 200
                assert (await caller.answer(f"https://hooks.example.:{peer.port}/")).status == 200
                assert (await caller.answer(f"https://127.0.0.1:{peer.port}/")).status == 200
                assert len(peer.connections) == 3

    run(loop, main())


@both_loops
@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ("expired", Fault.CERTIFICATE_EXPIRED),
        ("not yet", Fault.CERTIFICATE_NOT_YET_VALID),
        ("wrong name", Fault.CERTIFICATE_WRONG_NAME),
        ("wrong address", Fault.CERTIFICATE_WRONG_NAME),
        ("unknown issuer", Fault.CERTIFICATE_UNKNOWN_ISSUER),
    ],
)
def test_refused_certificates(
    loop: str, ca: trustme.CA, ca_file: str, case: str, fault: Fault
) -> None:
    """Each reason to refuse a certificate is told by its own name, and nothing is sent."""
    name = "hooks.example"
    certificate = {
        "expired": lambda: ca.issue_cert(name, not_before=NOW - 2 * DAY, not_after=NOW - DAY),
        "not yet": lambda: ca.issue_cert(name, not_before=NOW + DAY, not_after=NOW + 2 * DAY),
        "wrong name": lambda: ca.issue_cert("other.example"),
        "wrong address": lambda: ca.issue_cert("127.0.0.9"),
        "unknown issuer": lambda: trustme.CA().issue_cert(name),
    }[case]()
    host = "127.0.0.1" if case == "wrong address" else name

    async def main() -> None:
        async with tls_peer(server_context(certificate)) as peer:
            with Caller(ca_file=ca_file, lookup=lambda _: ["127.0.0.1"]) as caller:
                evidence = await caller.evidence(f"https://{host}:{peer.port}/")

                assert (evidence.stage, evidence.fault) == (Stage.TLS, fault)
                assert evidence.address == f"127.0.0.1:{peer.port}"
                assert not peer.connections

    run(loop, main())


@both_loops
def test_insecure(loop: str) -> None:
    """Any certificate is accepted when the target says so, and only then."""

    async def main() -> None:
        context = server_context(trustme.CA().issue_cert("other.example"))
        async with tls_peer(context) as peer:
            url = f"https://127.0.0.1:{peer.port}/"
            with Caller() as caller:
                assert (await caller.answer(url, is_insecure=True)).status == 200
            with Caller() as caller:
                assert (await caller.evidence(url)).stage is Stage.TLS

    run(loop, main())


@contextmanager
def openssl_peer(context: ssl.SSLContext) -> Iterator[int]:
    """A TLS server on a plain socket: unlike asyncio's it sends its alerts before it hangs up."""

    def serve() -> None:
        accepted, _ = listener.accept()
        connection = context.wrap_socket(accepted, True, do_handshake_on_connect=False)
        with suppress(ssl.SSLError):
            connection.do_handshake()
        # What is unread when a socket is closed turns its end into a reset, alert and all.
        with socket.socket(fileno=connection.detach()) as plain, suppress(OSError):
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4_096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@both_loops
def test_nothing_in_common(loop: str, ca: trustme.CA, ca_file: str) -> None:
    """A peer that can agree on no cipher refuses with an alert, which is told by its name."""
    context = server_context(ca.issue_cert("127.0.0.1"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK-AES128-CBC-SHA:@SECLEVEL=0")

    async def main(port: int) -> None:
        with Caller(ca_file=ca_file) as caller:
            evidence = await caller.evidence(f"https://127.0.0.1:{port}/")

            assert (evidence.stage, evidence.fault) == (Stage.TLS, Fault.TLS_ALERT)
            assert evidence.tls_alert == "handshake_failure"

    with openssl_peer(context) as port:
        run(loop, main(port))


@both_loops
@pytest.mark.parametrize(
    ("version", "stages", "alert"),
    [
        (ssl.TLSVersion.TLSv1_2, {Stage.TLS}, "handshake_failure"),
        (ssl.TLSVersion.TLSv1_3, {Stage.WAIT, Stage.TLS}, "certificate_required"),
    ],
)
def test_client_certificate_wanted(
    loop: str,
    ca: trustme.CA,
    ca_file: str,
    version: ssl.TLSVersion,
    stages: set[Stage],
    alert: str,
) -> None:
    """A peer that wants a client certificate refuses with an alert; with TLS 1.3 it comes only
    after the handshake."""
    context = server_context(ca.issue_cert("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    ca.configure_trust(context)

    async def main(port: int) -> None:
        with Caller(ca_file=ca_file) as caller:
            evidence = await caller.evidence(f"https://127.0.0.1:{port}/")

            assert evidence.stage in stages
            assert (evidence.fault, evidence.tls_alert) == (Fault.TLS_ALERT, alert)

    with openssl_peer(context) as port:
        run(loop, main(port))


@both_loops
@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", Fault.NOT_TLS),
        (b"220 mail.example ESMTP\r\n", Fault.NOT_TLS),
        (b"\x15\x03\x01\x00\x02\x02\x28", Fault.TLS_ALERT),
        (b"", Fault.CLOSED),
    ],
    ids=["http", "smtp", "alert", "closed"],
)
def test_peer_without_tls(loop: str, reply: bytes, fault: Fault) -> None:
    """A port that does not speak TLS, refuses by alert, or hangs up is told at the TLS stage."""

    async def script(connection: PeerConnection) -> None:
        await connection.reader.read(4_096)
        await connection.send(reply)
        connection.close()

    async def main() -> None:
        async with Peer(script) as peer:
            with Caller() as caller:
                evidence = await caller.evidence(f"https://127.0.0.1:{peer.port}/")

                assert (evidence.stage, evidence.fault) == (Stage.TLS, fault)

    run(loop, main())


@both_loops
def test_reset_in_the_handshake(loop: str) -> None:
    """A reset in the middle of the handshake is a reset at the TLS stage."""

    async def script(connection: PeerConnection) -> None:
        await connection.reader.read(4_096)
        connection.reset()

    async def main() -> None:
        async with Peer(script) as peer:
            with Caller() as caller:
                evidence = await caller.evidence(f"https://127.0.0.1:{peer.port}/")

                assert (evidence.stage, evidence.fault) == (Stage.TLS, Fault.RESET)

    run(loop, main())


@both_loops
def test_plain_http_to_a_tls_port(loop: str, ca: trustme.CA) -> None:
    """Plain http to a TLS port is told as such when the port answers with an alert."""

    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(b"\x15\x03\x01\x00\x02\x02\x0a")
        connection.close()

    async def main() -> None:
        async with Peer(script) as peer:
            with Caller() as caller:
                evidence = await caller.evidence(peer.url)

                assert (evidence.stage, evidence.fault) == (Stage.READ, Fault.MALFORMED)
                assert evidence.tls_alert == "unexpected_message"
                assert "speaks TLS" in evidence.detail

    run(loop, main())


@both_loops
def test_kept_tls_connection_found_closed(loop: str, ca: trustme.CA, ca_file: str) -> None:
    """Over TLS too a kept connection that ends is replaced once."""

    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(OK)
        await connection.request()
        connection.close()

    async def main() -> None:
        context = server_context(ca.issue_cert("127.0.0.1"))
        async with tls_peer(context, script) as peer:
            peer.scripts = (script, answer_all)
            with Caller(ca_file=ca_file) as caller:
                url = f"https://127.0.0.1:{peer.port}/"
                await caller.answer(url)
                answer = await caller.answer(url)

                assert answer.reconnect_count == 1

    run(loop, main())


@both_loops
def test_stale_opening_fails_nobody(loop: str, ca: trustme.CA, ca_file: str) -> None:
    """A connection that nobody needs any more and that times out does not fail a request that came
    long after it was begun."""

    async def mute(connection: PeerConnection) -> None:
        await connection.closed_by_client()

    async def main() -> None:
        async with tls_peer(server_context(ca.issue_cert("127.0.0.1"))) as peer:
            relay = relay_to(peer.port)
            async with Peer(relay, mute, relay) as front:
                with Caller(ca_file=ca_file) as caller:
                    url = f"https://127.0.0.1:{front.port}/"
                    await asyncio.gather(caller.start(url), caller.start(url))
                    pool = caller.target(url).pool
                    (stale,) = pool.openings
                    caller.clock.advance(9.0)
                    pool.close_idle()
                    third = caller.start(url)
                    caller.pass_time(2.0)
                    assert stale.is_expired

                    assert not isinstance(await third, Evidence)

    run(loop, main())


@both_loops
def test_idle_tls_connection_closes_in_order(loop: str, ca: trustme.CA, ca_file: str) -> None:
    """An idle TLS connection that reaches its bound is closed and its peer sees the end."""

    async def main() -> None:
        ended: list[bool] = []

        async def script(connection: PeerConnection) -> None:
            await connection.request()
            await connection.send(OK)
            await connection.closed_by_client()
            ended.append(True)

        context = server_context(ca.issue_cert("127.0.0.1"))
        async with tls_peer(context, script) as peer:
            with Caller(ca_file=ca_file) as caller:
                await caller.answer(f"https://127.0.0.1:{peer.port}/")
                caller.pass_time(51)
                await until(lambda: ended)

    run(loop, main())
