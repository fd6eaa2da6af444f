"""A renewed certificate is taken into use while the server runs."""

import os
import signal
import socket
import ssl
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from eventpost.config import local
from tests.cli import running as program
from tests.server.running import Served, served, until

LOOK_S = 0.02
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Files:
    """A listener's PEM files, and who signs them."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.cert, self.key = directory / "cert.pem", directory / "key.pem"
        self.serial = 0

    def renew(self) -> None:
        """Both files, one after the other, each whole."""
        leaf = self.authority.issue_cert("localhost")
        self.replace(self.cert, b"".join(each.bytes() for each in leaf.cert_chain_pems))
        self.replace(self.key, leaf.private_key_pem.bytes())
        self.serial = _serial(self.cert.read_bytes())

    def replace(self, path: Path, content: bytes) -> None:
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.replace(path)

    def connect(self, port: int) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        raw = socket.create_connection(("127.0.0.1", port), 10)
        return context.wrap_socket(raw, server_hostname="localhost")


def _serial(certificate: bytes) -> int:
    return x509.load_pem_x509_certificate(certificate).serial_number


def serial_of(connection: ssl.SSLSocket) -> int:
    certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


def asked(connection: ssl.SSLSocket) -> bytes:
    connection.sendall(REQUEST)
    return connection.recv(65_536)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.renew()
    return made


def following(directory: Path, files: Files) -> AbstractContextManager[Served]:
    """A server that looks at the files often."""
    return served(
        directory / "data",
        tls_cert=str(files.cert),
        tls_key=str(files.key),
        tls_look_s=LOOK_S,
    )


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def served_serial(files: Files, port: int) -> int:
    with files.connect(port) as connection:
        return serial_of(connection)


def serving(files: Files, server: Served) -> int:
    return served_serial(files, port_of(server.url))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.message.startswith("tls.")]


def test_new_files_are_taken_into_use(
    tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """Files that were replaced are served to who connects from then on; a connection that was open
    before goes on with what it has. The log tells once."""
    caplog.set_level("INFO", "eventpost")
    with following(tmp_path, files) as server, files.connect(port_of(server.url)) as early:
        before = files.serial
        assert serial_of(early) == before

        files.renew()

        until(lambda: serving(files, server) == files.serial)
        assert files.serial != before
        assert asked(early).startswith(b"HTTP/1.1 200 ")
        assert serial_of(early) == before
        assert messages(caplog) == ["tls.reloaded"]


def test_files_that_do_not_fit_change_nothing(
    tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """While certificate and key do not belong together, or one is no PEM file, the old certificate
    is served and the log says why, once; when they fit again they are taken."""
    caplog.set_level("INFO", "eventpost")
    with following(tmp_path, files) as server:
        before = files.serial
        for broken in (b"", b"no certificate", files.authority.cert_pem.bytes()):
            caplog.clear()
            files.replace(files.cert, broken)
            until(lambda: "tls.reload_failed" in messages(caplog))
            assert serving(files, server) == before

        assert messages(caplog) == ["tls.reload_failed"]
        files.cert.unlink()
        files.renew()

        until(lambda: serving(files, server) == files.serial)


@pytest.mark.slow
@pytest.mark.parametrize("look_s", ["0", "10"])
def test_sighup_reads_the_files_at_once(tmp_path: Path, files: Files, look_s: str) -> None:
    """SIGHUP takes the new files into use without waiting for the next look, and stops nothing."""
    options = ("--tls-cert", str(files.cert), "--tls-key", str(files.key))
    runs = program.program(
        tmp_path, EVENTPOST_SERVER_TLS_LOOK_S=look_s, EVENTPOST_LOGS_FORMAT="text"
    )
    process = runs.start("serve", "--listen", "127.0.0.1:0", *options)
    try:
        program.until(lambda: local.read_address(tmp_path / "eventpost-data") is not None)
        port = port_of(local.read_address(tmp_path / "eventpost-data") or "")
        with files.connect(port) as early:
            files.renew()
            process.send_signal(signal.SIGHUP)
            program.until(lambda: served_serial(files, port) == files.serial)
            assert asked(early).startswith(b"HTTP/1.1 200 ")
    finally:
        _, err = program.ended(process)

    assert process.returncode == 0, err
    assert b"tls.reloaded" in err


@pytest.mark.slow
def test_sighup_without_certificates_is_no_end(tmp_path: Path) -> None:
    """A server without TLS that was started by no terminal takes SIGHUP and goes on."""
    with program.server(tmp_path) as grid:
        pid = int((tmp_path / "eventpost-data" / "eventpost.lock").read_text().split()[0])
        os.kill(pid, signal.SIGHUP)

        assert grid.ok("topic", "list").code == 0
