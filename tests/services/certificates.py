"""A certificate authority in a folder, with certificates in the form that every server takes."""

import datetime
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

LOOPBACK_NAMES = ("localhost", "127.0.0.1")


class Authority:
    """Made anew for each folder; clients trust `ca_file`."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self._directory = directory
        self.ca_file = directory / "ca.pem"
        directory.mkdir(parents=True, exist_ok=True)
        self._authority.cert_pem.write_to_path(self.ca_file)

    def issue(
        self,
        *names: str,
        file_name: str = "server.pem",
        not_after: datetime.datetime | None = None,
    ) -> Path:
        """One file with the key and the certificate for these names, loopback's by default."""
        issued = self._authority.issue_cert(*(names or LOOPBACK_NAMES), not_after=not_after)
        path = self._directory / file_name
        path.touch(mode=0o600)
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        path.write_bytes(_as_pkcs8(issued.private_key_pem.bytes()) + chain)
        return path


def _as_pkcs8(key_pem: bytes) -> bytes:
    """Java reads no other form of a key."""
    key = serialization.load_pem_private_key(key_pem, password=None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
