"""What a user may say about a RabbitMQ server: the settings of a connection of kind `rabbitmq`.

Layer: queues. The URL follows RabbitMQ's URI specification, without its password and its query:
https://www.rabbitmq.com/docs/uri-spec
"""

import ssl
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import quote, unquote, urlsplit

import msgspec
from msgspec import Meta

from eventpost.core.errors import InvalidRequest
from eventpost.credentials.secrets import Reference, resolve
from eventpost.queues.interfaces import Timeouts

PORT, TLS_PORT = 5672, 5671
HOST_DEFAULT, VHOST_DEFAULT = "localhost", "/"
USER_DEFAULT = "guest"
"""RabbitMQ's own user of a fresh installation, which it lets in from the same machine only."""
KEY_BYTES_MAX = 255
"""Of whatever AMQP 0-9-1 sends as a short string: keys, ids, types."""
NAME_CHARS_MAX = 127
"""Of queues, exchanges and virtual hosts: AMQP 0-9-1, section 1.2 (domains). RabbitMQ would take
255 bytes of anything, the client library does not."""
CONNECT_S_MAX = 60.0
REQUEST_S_MAX = 600.0

Port = Annotated[int, Meta(ge=0, le=65_535)]
Heartbeat = Annotated[int, Meta(ge=1, le=600)]
ConnectSeconds = Annotated[float, Meta(gt=0, le=CONNECT_S_MAX)]
RequestSeconds = Annotated[float, Meta(gt=0, le=REQUEST_S_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the server is and as whom we speak to it: the settings, read."""

    host: str
    port: int
    vhost: str
    user: str
    is_tls: bool

    @property
    def identity(self) -> str:
        """`HOST:PORT/VHOST`, the same however it was written. The `/` of a vhost is encoded."""
        host = f"[{self.host}]" if ":" in self.host else self.host.lower()
        return f"{host}:{self.port}/{quote(self.vhost, safe='')}"


class RabbitmqConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a connection of kind `rabbitmq`. Holds references, never a secret."""

    url: str = ""
    """`amqp://USER@HOST:PORT/VHOST`, or `amqps://` for TLS; instead of the five below."""
    host: str = ""
    port: Port = 0
    vhost: str = ""
    user: str = ""
    tls: bool = False
    password: Reference = ""
    """`env:NAME` or `file:PATH`, read at every connecting."""
    auth: Literal["plain", "external"] = "plain"
    """How we say who we are: user and password, or the client's certificate."""
    ca_file: str = ""
    """Authorities (PEM) beside the system's own."""
    certificate_file: str = ""
    """The client's certificate with its chain (PEM)."""
    key_file: str = ""
    """Its key (PEM, not encrypted); "" when it is in `certificate_file`."""
    server_name: str = ""
    """The name in the server's certificate, where it is not the host's."""
    insecure: bool = False
    """Takes any certificate from anybody. For a laptop."""
    heartbeat_s: Heartbeat = 10
    """A connection on which nothing was heard for about twice this long is given up."""
    connect_timeout_s: ConnectSeconds = 5.0
    """For the name, TCP, TLS and the login together."""
    request_timeout_s: RequestSeconds = 15.0
    """For an answer: a confirm, a declaration."""

    def __post_init__(self) -> None:
        server = self.server()
        if len(server.vhost) > NAME_CHARS_MAX:
            raise InvalidRequest(
                "InvalidField",
                f"vhost: a virtual host's name has at most {NAME_CHARS_MAX} characters.",
                fix="Correct vhost, or the path of url.",
            )
        if self.auth == "external":
            _demand(self.certificate_file, "certificate_file", "auth: external")
            _refuse(self.user or self.password, "user and password", "auth: external")
        elif server.user != USER_DEFAULT:
            _demand(self.password, "password", f"user: {server.user}")
        elif self.password:
            _demand(self.user or "@" in self.url, "user", "password")
        _demand(self.certificate_file or not self.key_file, "certificate_file", "key_file")
        if not server.is_tls:
            for name in ("ca_file", "certificate_file", "server_name", "insecure"):
                _refuse(getattr(self, name), name, "a connection without TLS")

    def server(self) -> Server:
        """The server that is meant. Raises InvalidRequest for a URL that cannot be read."""
        if self.url:
            given = (self.host, self.port, self.vhost, self.user, self.tls)
            _refuse(any(given), "host, port, vhost, user and tls", "url")
            return _read_url(self.url)
        return Server(
            host=self.host or HOST_DEFAULT,
            port=self.port or (TLS_PORT if self.tls else PORT),
            vhost=self.vhost or VHOST_DEFAULT,
            user=self.user or USER_DEFAULT,
            is_tls=self.tls,
        )

    @property
    def timeouts(self) -> Timeouts:
        return Timeouts(connect_s=self.connect_timeout_s, request_s=self.request_timeout_s)

    def secret(self) -> str:
        """The password, read anew. Raises InvalidRequest as `secrets.resolve`."""
        if self.auth == "external":
            return ""
        return resolve(self.password) if self.password else USER_DEFAULT

    def tls_context(self) -> ssl.SSLContext | None:
        """Whom we trust, and who we are; None without TLS. Reads files.

        Raises InvalidRequest that names the file that cannot be used.
        """
        if not self.server().is_tls:
            return None
        context = ssl.create_default_context()
        try:
            named = self.ca_file
            if self.ca_file:
                context.load_verify_locations(cafile=self.ca_file)
            named = self.key_file or self.certificate_file
            if self.certificate_file:
                context.load_cert_chain(
                    self.certificate_file, self.key_file or None, password=_no_password
                )
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise InvalidRequest(
                "TlsFilesUnusable",
                f"The TLS file {named} cannot be used.",
                why=f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}.",
                fix="Name a PEM file that this user may read; a key must not be encrypted.",
            ) from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _no_password() -> str:
    """Instead of OpenSSL's question on the terminal."""
    return ""


def _read_url(url: str) -> Server:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad_url(str(error)) from error
    if parts.scheme not in ("amqp", "amqps") or not host:
        raise _bad_url("it does not begin with amqp://HOST or amqps://HOST")
    if parts.password is not None:
        raise _bad_url("it holds a password", fix="Write password: env:NAME beside it.")
    if parts.query or parts.fragment:
        raise _bad_url("it has a query", fix="Its settings have names here: heartbeat_s, ca_file.")
    is_tls = parts.scheme == "amqps"
    return Server(
        host=host,
        port=port or (TLS_PORT if is_tls else PORT),
        vhost=unquote(parts.path.removeprefix("/")) or VHOST_DEFAULT,
        user=unquote(parts.username or "") or USER_DEFAULT,
        is_tls=is_tls,
    )


def _bad_url(why: str, fix: str = "") -> InvalidRequest:
    # The URL is not repeated: it may hold a password.
    return InvalidRequest(
        "InvalidUrl",
        f"The url of the connection cannot be used: {why}.",
        fix=fix or "Write amqp://USER@HOST:PORT/VHOST.",
    )


def _demand(value: object, name: str, by: str) -> None:
    if not value:
        raise InvalidRequest(
            "SettingMissing", f"{name} is missing: {by} needs it.", fix=f"Give {name} as well."
        )


def _refuse(value: object, name: str, by: str) -> None:
    if value:
        raise InvalidRequest(
            "SettingsConflict",
            f"{name} cannot be given together with {by}.",
            fix="Give one of them.",
        )
