"""TLS: the listener's contexts, the development authority, and the server behind them."""

import asyncio
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from eventpost.core.errors import InvalidRequest
from eventpost.http.server import response
from eventpost.http.tls import NAMES_DEFAULT, development_authority, server_context
from tests.http.server.support import Client, get, post, running
from tests.patience import PATIENCE_S

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key of a server called localhost."""
    directory = tmp_path_factory.mktemp("tls")
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(directory / "key.pem")
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(directory / "cert.pem", append=True)
    return directory / "cert.pem", directory / "key.pem"


@pytest.fixture(scope="module")
def serving(files: tuple[Path, Path]) -> ssl.SSLContext:
    return server_context(*files)


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# --- the server over TLS --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_requests(
    loop_kind: str, path: str, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Over TLS requests are answered as without, and know that they came over TLS."""
    with (
        running(loop_kind, ssl_context=serving) as server,
        Client(server.server.port, trusting) as client,
    ):
        for body in (b"a", b"b" * 500_000):
            assert client.send(post(path, body)).read().body == body

        assert all(request.is_tls for request in server.handler.handled)


def test_pipelining(loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """Over TLS pipelined answers keep their order."""
    with (
        running(loop_kind, ssl_context=serving) as server,
        Client(server.server.port, trusting) as client,
    ):
        client.send(post(body=b"1") + get("/asgi") + post(body=b"3"))

        assert [client.read().body for _ in range(3)] == [b"1", b"", b"3"]


def test_close(loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """Over TLS `Connection: close` ends in an orderly close_notify."""
    with (
        running(loop_kind, ssl_context=serving) as server,
        Client(server.server.port, trusting) as client,
    ):
        assert client.send(get("/fast", b"Connection: close\r\n")).read().status == 200
        assert client.read_to_end() == b""


@pytest.mark.parametrize("path", ["/fast", "/asgi"])
def test_lingering_close(
    loop_kind: str, path: str, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Over TLS too a client that sends all of a refused body before it reads sees the answer."""
    with (
        running(loop_kind, ssl_context=serving, body_bytes_max=1000) as server,
        Client(server.server.port, trusting) as client,
    ):
        client.send(post(path, b"b" * 8_000_000))

        raw = client.read_to_end()

        assert raw.startswith(b"HTTP/1.1 413 ")


def test_lingering_close_after_malformed(
    loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Over TLS the answer to something malformed is seen as well."""
    with (
        running(loop_kind, ssl_context=serving) as server,
        Client(server.server.port, trusting) as client,
    ):
        client.send(b"nonsense " * 300_000)

        assert client.read().status == 400


def test_plain_text_to_tls(
    loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Someone who speaks no TLS is cut off; others are served."""
    with running(loop_kind, ssl_context=serving) as server:
        with Client(server.server.port) as client:
            client.send(get())
            client.read_to_end()
        with Client(server.server.port, trusting) as client:
            assert client.send(get()).read().status == 200


def test_silent_handshake(
    loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """A handshake that does not begin counts as a connection, and ends after `head_s`."""
    with (
        running(loop_kind, ssl_context=serving, head_s=0.1, connections_max=1) as server,
        Client(server.server.port) as silent,
        socket.create_connection(("127.0.0.1", server.server.port), PATIENCE_S) as waiting,
    ):
        assert silent.read_to_end() == b""
        with trusting.wrap_socket(waiting, server_hostname="localhost") as client:
            client.sendall(get())
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_drain(loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """Draining ends idle TLS connections and handshakes that hang."""
    with (
        running(loop_kind, ssl_context=serving, drain_timeout_s=0.2) as server,
        Client(server.server.port, trusting) as idle,
        Client(server.server.port) as silent,
    ):
        idle.send(get()).read()
        server.eventually(lambda: server.server.connection_count == 2)

        server.drain()

        assert idle.read_to_end() == b""
        assert silent.read_to_end() == b""


def test_drain_does_not_wait_for_idle_clients(
    loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """An idle client that does not confirm the end of TLS does not hold draining up."""
    with (
        running(loop_kind, ssl_context=serving, drain_timeout_s=600, linger_s=600) as server,
        Client(server.server.port, trusting) as idle,
    ):
        idle.send(get()).read()

        server.drain()

        assert idle.read_to_end() == b""


def test_slow_reader_of_the_last_answer(
    loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """A last answer that is read slowly is not cut off by the end of TLS."""
    answer = response(200, b"x" * 6_000_000)
    with (
        running(loop_kind, ssl_context=serving, linger_s=0.2) as server,
        Client(server.server.port, trusting) as client,
    ):
        client.send(post("/fast/later", b"", b"Connection: close\r\n"))
        server.eventually(lambda: len(server.handler.pending) == 1)
        server.answer(0, answer)
        answered_s = server.on_loop(server.loop.time)
        server.eventually(lambda: server.loop.time() > answered_s + 0.3)

        assert len(client.read_to_end()) == len(answer) + len(b"Connection: close\r\n")


def test_two_listeners(loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """One server may listen plainly and with TLS."""
    with running(loop_kind) as server:
        server.start(serving)
        plain, secure = (listener.port for listener in server.server._listeners)
        with Client(plain) as client:
            assert client.send(get()).read().status == 200
        with Client(secure, trusting) as client:
            assert client.send(get()).read().status == 200


# --- contexts -------------------------------------------------------------------------------------


def test_versions(loop_kind: str, serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """Nothing older than TLS 1.2 is spoken."""
    assert serving.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_file(files: tuple[Path, Path], missing: int) -> None:
    """A missing file is named with what to do."""
    paths = list(files)
    paths[missing] = Path("/nowhere.pem")

    with pytest.raises(InvalidRequest, match=r"/nowhere\.pem.*Give PEM files"):
        server_context(*paths)


def test_key_of_another(files: tuple[Path, Path], tmp_path: Path) -> None:
    """A key that does not belong to the certificate is refused."""
    other = tmp_path / "key.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)

    with pytest.raises(InvalidRequest):
        server_context(files[0], other)


# --- the development authority --------------------------------------------------------------------


def leaf_of(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())


def test_authority_is_trusted(loop_kind: str, tmp_path: Path) -> None:
    """Who trusts `ca.pem` can connect by each of the names, and nobody else."""
    context, ca_path = development_authority(tmp_path)
    with running(loop_kind, ssl_context=context) as server:
        trusting = ssl.create_default_context(cafile=ca_path)
        for name in NAMES_DEFAULT[:2]:
            with (
                socket.create_connection(("127.0.0.1", server.server.port)) as plain,
                trusting.wrap_socket(plain, server_hostname=name) as client,
            ):
                client.sendall(get())
                assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        for untrusting, name in (
            (ssl.create_default_context(), "localhost"),
            (trusting, "elsewhere.example"),
        ):
            with (
                socket.create_connection(("127.0.0.1", server.server.port)) as plain,
                pytest.raises(ssl.SSLCertVerificationError),
            ):
                untrusting.wrap_socket(plain, server_hostname=name)


def test_authority_strictly_checked(tmp_path: Path) -> None:
    """The certificates pass the strict checks that newer Pythons make by default."""
    context, ca_path = development_authority(tmp_path)
    strict = ssl.create_default_context(cafile=ca_path)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT

    async def scenario() -> None:
        server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=strict, server_hostname="localhost"
            )
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(scenario())


def test_authority_is_kept(tmp_path: Path) -> None:
    """A restart keeps the authority and the certificate."""
    directory = tmp_path / "tls"
    development_authority(directory, now=NOW)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}

    development_authority(directory, now=NOW + timedelta(days=300))

    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert set(before) == {"ca.pem", "ca-key.pem", "server.pem", "server-key.pem"}


def test_keys_are_private(tmp_path: Path) -> None:
    """Keys and their directory are for this user alone."""
    directory = tmp_path / "tls"
    development_authority(directory)

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for name in ("ca-key.pem", "server-key.pem"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(("days", "is_renewed"), [(366, False), (368, True)])
def test_leaf_is_renewed(tmp_path: Path, days: int, is_renewed: bool) -> None:
    """A certificate is renewed 30 days before its end, by the same authority."""
    development_authority(tmp_path, now=NOW)
    before, ca_before = leaf_of(tmp_path), (tmp_path / "ca.pem").read_bytes()

    development_authority(tmp_path, now=NOW + timedelta(days=days))

    assert (leaf_of(tmp_path) != before) == is_renewed
    assert (tmp_path / "ca.pem").read_bytes() == ca_before


def test_names_change(tmp_path: Path) -> None:
    """Other names get another certificate."""
    development_authority(tmp_path, ["localhost"])
    before = leaf_of(tmp_path)

    development_authority(tmp_path, ["localhost", "grid.example", "10.0.0.1"])

    names = leaf_of(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert leaf_of(tmp_path) != before
    assert names.value.get_values_for_type(x509.DNSName) == ["localhost", "grid.example"]


def test_authority_is_renewed(tmp_path: Path) -> None:
    """The authority makes way for a new one while its certificates are still valid."""
    development_authority(tmp_path, now=NOW)
    before = (tmp_path / "ca.pem").read_bytes()

    development_authority(tmp_path, now=NOW + timedelta(days=3650 - 396))

    assert (tmp_path / "ca.pem").read_bytes() != before


@pytest.mark.parametrize("name", ["server.pem", "server-key.pem"])
@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_damaged_leaf(tmp_path: Path, name: str, content: bytes | None) -> None:
    """A damaged or missing certificate is made again."""
    development_authority(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)

    development_authority(tmp_path)


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
def test_damaged_authority(tmp_path: Path, name: str) -> None:
    """A damaged authority is not replaced in silence: clients trust it."""
    development_authority(tmp_path)
    (tmp_path / name).write_bytes(b"garbage")

    with pytest.raises(InvalidRequest, match="Remove"):
        development_authority(tmp_path)
