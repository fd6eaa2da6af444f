"""How programs on the same machine find a running server: two small files in its data directory.

`address` holds the URL of the listener while it runs, `admin-token` the management token. Both are
made by the server, readable by its user only.
"""

import os
from pathlib import Path

ADDRESS_FILE = "address"
TOKEN_FILE = "admin-token"  # noqa: S105 - a file's name
AUTHORITY_FILE = "tls/ca.pem"


def write_private(path: Path, text: str) -> None:
    """Write `text`, readable by this user only, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    temporary.replace(path)


def write_address(data: Path, url: str) -> None:
    """Say where the server listens. To be called once it does."""
    write_private(data / ADDRESS_FILE, url)


def remove_address(data: Path) -> None:
    """Say that it listens no more. May be called twice."""
    (data / ADDRESS_FILE).unlink(missing_ok=True)


def read_address(data: Path) -> str | None:
    """The URL of the server on this data directory; None when none runs there or it is not ours."""
    return _read(data / ADDRESS_FILE)


def read_token(data: Path) -> str | None:
    """The admin token; None when there is none or it is not ours to read."""
    return _read(data / TOKEN_FILE)


def authority(data: Path) -> Path | None:
    """The development authority's certificate, when the server has made one."""
    path = data / AUTHORITY_FILE
    return path if path.is_file() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
