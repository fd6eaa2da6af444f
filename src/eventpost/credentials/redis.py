"""What a user may say about a Redis server: settings of a connection of kind `redis`.

Layer: credentials. A user's name needs a password; a password alone is that of Redis's own user
`default`.
"""

import os
from typing import Annotated

import msgspec
from msgspec import Meta

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import secrets
from eventpost.credentials.secrets import Reference

INCOMPLETE = "EP4040"
PORT = 6379
DATABASE_MAX = 65_535

Seconds = Annotated[float, Meta(gt=0, le=60)]


class RedisConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a connection of kind `redis`. Holds references, never a secret."""

    host: str = "localhost"
    port: Annotated[int, Meta(ge=1, le=65_535)] = PORT
    database: Annotated[int, Meta(ge=0, le=DATABASE_MAX)] = 0
    user: str = ""
    password: Reference = ""
    """`env:NAME` or `file:PATH`, read at every connecting."""
    tls: bool = False
    ca_file: str = ""
    """Authorities (PEM) beside the system's own."""
    certificate_file: str = ""
    """The client's certificate (PEM)."""
    key_file: str = ""
    insecure: bool = False
    """Takes any certificate from anybody. For a laptop."""
    connect_timeout_s: Seconds = 5.0
    request_timeout_s: Seconds = 15.0
    """For an answer."""

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError("host must not be empty")
        if self.user and not self.password:
            raise InvalidRequest(
                INCOMPLETE,
                "The login of Redis is incomplete: user is given, and password is missing.",
                fix="Give both, or neither.",
            )
        files = self.ca_file or self.certificate_file or self.key_file
        if not self.tls and (files or self.insecure):
            raise ValueError("certificates are for a connection with tls: true")
        if self.key_file and not self.certificate_file:
            raise ValueError("key_file needs certificate_file")

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def secret(self) -> str:
        """The password, read anew; "" without one. Raises InvalidRequest as `secrets.resolve`."""
        return secrets.resolve(self.password) if self.password else ""

    def check_files(self) -> None:
        """Raises InvalidRequest for a file of certificates that is not there."""
        for name in ("ca_file", "certificate_file", "key_file"):
            path = getattr(self, name)
            if path and not os.access(path, os.R_OK):
                raise InvalidRequest(
                    "FileUnusable",
                    f"{name} is {path}, which cannot be read here.",
                    fix=f"Correct {name}, or let this process read the file.",
                )
