"""What a user may say about a mail server: settings of a connection of kind `smtp`.

Layer: credentials. A user's name and password are used when both are given; one alone is an error
before anything is tried. They never go over a connection that others can read.
"""

import ipaddress
from typing import Literal

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import secrets
from eventpost.credentials.secrets import Reference

INCOMPLETE = "EP4040"
CONNECT_S_MAX = 60.0
REQUEST_S_MAX = 600.0
"""RFC 5321, 4.5.3.2, asks clients to wait for some answers as long as 10 minutes."""
PORTS = {"starttls": 587, "tls": 465, "none": 25}
"""Submission (RFC 6409), submissions (RFC 8314), and between servers."""


class SmtpConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a connection of kind `smtp`. Holds references, never a secret."""

    host: str = "localhost"
    port: int = 0
    """0: 587 with `starttls`, 465 with `tls`, 25 with `none`."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls`: TLS after the greeting, or nothing is sent; `tls`: from the first byte; `none`:
    never."""
    user: str = ""
    password: Reference = ""
    sender: str = ""
    """The address in `From:`, and the one to which the server returns what it cannot deliver."""
    ca_file: str = ""
    """PEM file with authorities that its certificate may come from, besides the system's."""
    hello: str = ""
    """Our name in `EHLO`; "": our address as the server sees it."""
    connect_timeout_s: float = 5.0
    request_timeout_s: float = 30.0
    """For each answer."""

    def __post_init__(self) -> None:
        if self.password and not secrets.is_reference(self.password):
            raise InvalidRequest(
                "SecretNotAReference",
                "password is given by reference only.",
                fix="Write password: env:NAME or password: file:PATH.",
            )
        if bool(self.user) != bool(self.password):
            given, missing = ("user", "password") if self.user else ("password", "user")
            raise InvalidRequest(
                INCOMPLETE,
                f"The login of the mail server is incomplete: {given} is given, and {missing} is"
                " missing.",
                fix="Give both, or neither.",
            )
        if self.user and self.security == "none" and not _is_here(self.host):
            raise InvalidRequest(
                "PasswordInPlain",
                f"A password would go to {self.host} in plain text.",
                fix="Use security: starttls or security: tls, or leave user and password out.",
            )
        if not self.host or not 0 <= self.port <= 65_535:
            raise ValueError("host must not be empty, and port is between 0 and 65535")
        _within("connect_timeout_s", self.connect_timeout_s, CONNECT_S_MAX)
        _within("request_timeout_s", self.request_timeout_s, REQUEST_S_MAX)

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port or PORTS[self.security]


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _within(name: str, value_s: float, most_s: float) -> None:
    if not 0 < value_s <= most_s:
        raise ValueError(f"{name} must be more than 0 and at most {most_s:g}")
