"""TLS for the listener: from the user's files, or from a development authority of our own.

Layer: http.
"""

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from eventpost.core.errors import InvalidRequest
from eventpost.diagnosis import codes

AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=397)
"""Browsers and Apple's libraries refuse server certificates that live longer than 398 days."""
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)
"""Certificates begin that much in the past, for clients whose clock is slow."""
NAMES_DEFAULT = ("localhost", "127.0.0.1", "::1")


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A context for a server with the PEM files `cert` (leaf first, then its chain) and `key`.

    TLS 1.2 and newer, HTTP/1.1. Raises InvalidRequest when the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InvalidRequest(
            codes.TLS_FILES_UNUSABLE,
            f"The TLS certificate {cert} with the key {key} cannot be used.",
            why=f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}.",
            fix="Give PEM files that belong together, readable by this user, the key unencrypted.",
        ) from error
    return context


def end_of(cert: Path) -> str:
    """Until when the first certificate of a PEM file is valid, ISO 8601 in UTC.

    Raises InvalidRequest when there is none.
    """
    try:
        leaf = x509.load_pem_x509_certificate(cert.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            codes.TLS_FILES_UNUSABLE, f"The file {cert} holds no certificate that can be read."
        ) from error
    return leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")


def development_authority(
    directory: Path, names: Sequence[str] = NAMES_DEFAULT, now: datetime | None = None
) -> tuple[ssl.SSLContext, Path]:
    """A server context for `names` (host names and addresses), and the file clients must trust.

    The authority is kept in `directory` as `ca.pem` and `ca-key.pem`, so that clients keep trusting
    it over restarts; the server's certificate is renewed when it nears its end or the names change.
    Keys are readable by this user alone. `now` is UTC, by default the system's time. For
    development: nothing revokes what the authority signed. Blocks while it writes files.
    """
    now = now or datetime.now(UTC)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, authority_key = _authority(directory, now)
    leaf_path, leaf_key_path = directory / "server.pem", directory / "server-key.pem"
    if not _is_leaf_good(leaf_path, leaf_key_path, authority, names, now):
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        leaf = _leaf(names, leaf_key, authority, authority_key, now)
        _write_key(leaf_key_path, leaf_key)
        _write(leaf_path, leaf.public_bytes(serialization.Encoding.PEM), 0o644)
    return server_context(leaf_path, leaf_key_path), directory / "ca.pem"


# --- the authority --------------------------------------------------------------------------------


def _authority(
    directory: Path, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = directory / "ca.pem", directory / "ca-key.pem"
    if path.exists() and key_path.exists():
        authority, key = _load_authority(path, key_path)
        if authority.not_valid_after_utc - now > LEAF_LIFE:
            return authority, key
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _self_signed(key, now)
    _write_key(key_path, key)
    _write(path, authority.public_bytes(serialization.Encoding.PEM), 0o644)
    return authority, key


def _load_authority(
    path: Path, key_path: Path
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        authority = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(path) from error
    if (
        not isinstance(key, ec.EllipticCurvePrivateKey)
        or key.public_key() != authority.public_key()
    ):
        raise _unusable(path)
    return authority, key


def _unusable(path: Path) -> InvalidRequest:
    return InvalidRequest(
        "TlsAuthorityUnusable",
        f"The development authority {path} and its key cannot be used.",
        fix=f"Remove {path.parent} to have a new one made, and trust its ca.pem anew.",
    )


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _name("eventpost development authority")
    usage = _key_usage(signs_certificates=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


# --- the server's certificate ---------------------------------------------------------------------


def _leaf(
    names: Sequence[str],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    serial, public_key = x509.random_serial_number(), key.public_key()
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    server_auth = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder(authority.subject, _name("eventpost"), public_key, serial)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LEAF_LIFE)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(server_auth, critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _is_leaf_good(
    path: Path, key_path: Path, authority: x509.Certificate, names: Sequence[str], now: datetime
) -> bool:
    if not (path.exists() and key_path.exists()):
        return False
    try:
        leaf = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        leaf.verify_directly_issued_by(authority)
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    is_fresh = leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc - RENEW_BEFORE
    is_pair = key.public_key() == leaf.public_key()
    return is_fresh and is_pair and list(extension.value) == _general_names(names)


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    return [_general_name(name) for name in dict.fromkeys(names)]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


# --- files ----------------------------------------------------------------------------------------


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(path, data, 0o600)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
