"""A server that cannot start says why: each reason has its finding."""

import socket
from pathlib import Path
from typing import Any

import pytest

from eventpost.core.errors import EventpostError
from eventpost.diagnosis import catalogue
from tests.server.running import served


def refusal(data: Path, **server: Any) -> EventpostError:
    with pytest.raises(EventpostError) as caught, served(data, **server):
        raise AssertionError("it started")
    assert catalogue.get(caught.value.code).fix
    assert caught.value.fix
    return caught.value


def test_an_address_that_another_program_has(tmp_path: Path) -> None:
    """A port where somebody listens is told as such."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = refusal(tmp_path, listen=f"127.0.0.1:{port}")

    assert error.code == "EP1021"
    assert str(port) in error.what
    assert "stop what uses" in error.fix


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    """An address that is none of this machine's is told apart from one that is taken."""
    error = refusal(tmp_path, listen="192.0.2.1:6500")

    assert error.code == "EP1023"
    assert "192.0.2.1:6500" in error.what
    assert "stop what uses" not in error.fix


def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    """Files that are there and no certificate are named, with what is wrong with them."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_text("no certificate")
    key.write_text("no key")

    error = refusal(tmp_path / "data", tls_cert=str(certificate), tls_key=str(key))

    assert error.code == "EP1024"
    assert str(certificate) in error.what
