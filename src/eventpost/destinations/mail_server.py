"""One conversation with a mail server: connect, TLS, login, then one message after another.

Layer: destinations. Rules: RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 4954 (login). A server's 4xx
is about now and its 5xx about this message, but for those of the login and the greeting, which are
about us: these pass once the settings are mended, so nothing is given up for them.
"""

import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.credentials import secrets
from eventpost.credentials.reports import shown
from eventpost.credentials.smtp import SmtpConnection
from eventpost.http.failures import evidence_of

SYSTEM = "smtp"
_FINAL = frozenset({"SenderRefused", "RecipientRefused", "MessageTooLarge", "ContentRefused"})
"""Codes of ours after which no later attempt with the same message can succeed."""
_CLOSING = 421
"""RFC 5321, 4.2.2: the server closes the connection after it."""
_SMALLER = ("552", "5.3.4", "5.2.3")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mail:
    """`recipients` are those that have not got it yet."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(slots=True)
class Sent:
    """The server has the message for `accepted`. It refused the others: now, or for good."""

    accepted: list[str] = field(default_factory=list)
    deferred: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Address, and what the server said."""


class Refusal(Exception):
    """The server said no. `code` is a word of ours, with a finding."""

    def __init__(self, code: str, reply: int, text: bytes | str) -> None:
        told = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        super().__init__(f"{reply} {told}" if reply > 0 else told)
        self.code = code
        self.reply = reply


class Conversation:
    """A connection that is open from `open` to `close`. For one thread."""

    def __init__(self, settings: SmtpConnection, *, is_insecure: bool, answer_s: float) -> None:
        self._settings = settings
        self._is_insecure = is_insecure
        self._answer_s = min(answer_s, settings.request_timeout_s)
        self._client = _Client(settings, self._answer_s, self._context)
        self._began_s = time.monotonic()

    def open(self) -> Failed | None:
        """Greet, secure, log in. Raises InvalidRequest for a secret that cannot be read."""
        try:
            return self._ask("open", self._open)
        except BaseException:
            self._client.close()
            raise

    def send(self, mail: Mail) -> Sent | Failed:
        """One message to all of its recipients that the server takes."""
        self._began_s = time.monotonic()
        return self._ask("send", lambda: self._send(mail))

    @property
    def is_open(self) -> bool:
        """Whether another message may be sent over it."""
        return self._client.sock is not None

    def told(self) -> str:
        """What was found out about the server, for people."""
        client, settings = self._client, self._settings
        secured = "without TLS"
        if isinstance(client.sock, ssl.SSLSocket):
            secured = f"over {client.sock.version()}, with a certificate good for {settings.host}"
        login = f", and takes the login of {settings.user}" if settings.user else ""
        return f"{client.progress.address} answers {secured}{login}"

    def close(self) -> None:
        """Say goodbye. Raises nothing."""
        try:
            self._client.quit()
        except (smtplib.SMTPException, OSError, ValueError):
            self._client.close()

    # --- the steps ------------------------------------------------------------------------------

    def _open(self) -> None:
        client, settings = self._client, self._settings
        host, port = settings.address
        reply, text = client.connect(host, port)
        client.progress.stage = Stage.WAIT
        if reply != 220:
            raise _greeting_refused(reply, text)
        self._hello()
        if settings.security == "starttls":
            if not client.has_extn("starttls"):
                raise Refusal("StartTlsNotOffered", 0, f"It offers {_offered(client)}.")
            client.secure()
            self._hello()
        if settings.user:
            self._login(settings.user, secrets.resolve(settings.password))

    def _hello(self) -> None:
        client = self._client
        reply, text = client.ehlo()
        if 200 <= reply < 300:
            return
        reply, text = client.helo()
        if not 200 <= reply < 300:
            raise Refusal("Busy" if 400 <= reply < 500 else "ServerRefuses", reply, text)

    def _login(self, user: str, password: str) -> None:
        client = self._client
        if not client.has_extn("auth"):
            raise Refusal("LoginNotOffered", 0, f"It offers {_offered(client)}.")
        try:
            client.login(user, password)
        except smtplib.SMTPAuthenticationError as error:
            code = "Busy" if 400 <= error.smtp_code < 500 else "LoginRefused"
            raise Refusal(code, error.smtp_code, error.smtp_error) from None
        except (smtplib.SMTPResponseException, smtplib.SMTPServerDisconnected):
            raise
        except smtplib.SMTPException:
            known = client.esmtp_features.get("auth", "").strip()
            raise Refusal("LoginNotOffered", 0, f"It offers the ways {known}.") from None

    def _send(self, mail: Mail) -> Sent:
        client = self._client
        self._check_size(len(mail.content))
        size = [f"SIZE={len(mail.content)}"] if client.has_extn("size") else []
        reply, text = client.mail(mail.sender, size)
        if reply != 250:
            raise self._reset(_sender_refused(reply, text))
        sent = Sent()
        for recipient in mail.recipients:
            reply, text = client.rcpt(recipient)
            self._note(sent, recipient, reply, text)
        if not sent.accepted:
            raise self._reset(_nobody(sent))
        reply, text = client.data(mail.content)
        if reply != 250:
            raise self._reset(_content_refused(reply, text))
        return sent

    def _check_size(self, size: int) -> None:
        """RFC 1870: what the server says it takes at most; 0 is no bound."""
        known = self._client.esmtp_features.get("size", "").strip()
        if known.isdecimal() and 0 < int(known) < size:
            what = f"The message has {size} bytes, and the server takes {known}."
            raise Refusal("MessageTooLarge", 0, what)

    def _note(self, sent: Sent, recipient: str, reply: int, text: bytes) -> None:
        told = f"{reply} {text.decode('utf-8', 'replace')}"
        if 200 <= reply < 300:
            sent.accepted.append(recipient)
        elif reply == _CLOSING:
            raise Refusal("Busy", reply, text)
        elif reply == 530:
            raise self._reset(_sender_refused(reply, text))
        elif 400 <= reply < 500:
            sent.deferred.append((recipient, told))
        else:
            sent.refused.append((recipient, told))

    def _reset(self, refusal: Refusal) -> Refusal:
        """End this message, so that the next one may follow."""
        if refusal.reply != _CLOSING:
            self._client.rset()
        return refusal

    # --- evidence -------------------------------------------------------------------------------

    def _ask(self, operation: str, call: Callable[[], T]) -> T | Failed:
        try:
            return call()
        except Refusal as refusal:
            return self._refused(operation, refusal)
        except smtplib.SMTPResponseException as error:
            code = "Busy" if 400 <= error.smtp_code < 500 else "ServerRefuses"
            return self._refused(operation, Refusal(code, error.smtp_code, error.smtp_error))
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            return self._broken(operation, error)

    def _refused(self, operation: str, refusal: Refusal) -> Failed:
        if refusal.reply == _CLOSING or operation == "open":
            self._client.close()
        evidence = Evidence(
            stage=Stage.ANSWER,
            fault=Fault.CODE,
            code=refusal.code,
            detail=shown(str(refusal)),
            elapsed_ms=self._elapsed_ms,
            address=self._client.progress.address,
            system=SYSTEM,
            operation=operation,
        )
        return Failed(evidence, final=refusal.code in _FINAL)

    def _broken(self, operation: str, error: Exception) -> Failed:
        """No complete answer came. smtplib hides the error of the socket behind its own."""
        self._client.close()
        progress = self._client.progress
        cause = _bottom(error)
        stage, address = progress.stage, progress.address
        code = None
        if isinstance(cause, TimeoutError):
            found = Evidence(stage=stage, fault=Fault.TIMED_OUT, address=address)
            code = "NoGreeting" if stage is Stage.READ else None
        elif isinstance(cause, OSError | UnicodeError):
            found = evidence_of(cause, stage, address=address)
        elif isinstance(error, smtplib.SMTPServerDisconnected):
            found = Evidence(stage=stage, fault=Fault.CLOSED, address=address)
        else:
            detail = shown(f"{type(error).__name__}: {error}")
            found = Evidence(stage=stage, fault=Fault.UNEXPECTED, address=address, detail=detail)
        return Failed(
            msgspec.structs.replace(
                found,
                elapsed_ms=self._elapsed_ms,
                system=SYSTEM,
                operation=operation,
                code=code,
            )
        )

    @property
    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._began_s) * 1000)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()  # SSL_CERT_FILE and SSL_CERT_DIR are honoured
        if self._settings.ca_file:
            context.load_verify_locations(cafile=self._settings.ca_file)
        if self._is_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(slots=True)
class _Progress:
    """How far the conversation came."""

    stage: Stage = Stage.NAME
    address: str | None = None


class _Client(smtplib.SMTP):
    """smtplib's client, which notes its steps and speaks TLS from the first byte where asked."""

    def __init__(
        self, settings: SmtpConnection, answer_s: float, context: Callable[[], ssl.SSLContext]
    ) -> None:
        self.progress = _Progress()
        self._settings = settings
        self._answer_s = answer_s
        self._new_context = context
        # Without a name of ours smtplib would ask the name servers for one.
        super().__init__(local_hostname=settings.hello or "localhost")

    def _get_socket(self, host: str, port: int, *_: Any) -> socket.socket:
        progress = self.progress
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        progress.stage = Stage.CONNECT
        connected = self._connected(found)
        if not self._settings.hello:
            self.local_hostname = _literal(connected)
        if self._settings.security == "tls":
            connected = self._secured(connected)
        connected.settimeout(self._answer_s)
        progress.stage = Stage.READ  # the greeting
        return connected

    def _connected(self, found: Sequence[tuple[Any, ...]]) -> socket.socket:
        failure: OSError | None = None
        for family, kind, protocol, _, place in found:
            made = socket.socket(family, kind, protocol)
            made.settimeout(self._settings.connect_timeout_s)
            host, port = place[:2]
            self.progress.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            try:
                made.connect(place)
            except OSError as error:
                made.close()
                failure = error
            else:
                return made
        assert failure is not None, "getaddrinfo gives at least one address"
        raise failure

    def secure(self) -> None:
        """STARTTLS; what the server said before it is forgotten (RFC 3207, 4.2)."""
        reply, text = self.docmd("STARTTLS")
        if reply != 220:
            raise Refusal("Busy" if 400 <= reply < 500 else "StartTlsNotOffered", reply, text)
        assert self.sock is not None
        self.sock = self._secured(self.sock)
        self.file = None
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False
        self.progress.stage = Stage.WAIT

    def _secured(self, plain: socket.socket) -> socket.socket:
        self.progress.stage = Stage.TLS
        plain.settimeout(self._settings.connect_timeout_s)
        try:
            context = self._new_context()
            secured = context.wrap_socket(plain, server_hostname=self._settings.host)
        except BaseException:
            plain.close()
            raise
        secured.settimeout(self._answer_s)
        return secured


def _literal(connected: socket.socket) -> str:
    """Our address as RFC 5321, 4.1.3, writes it in the place of a name."""
    host = str(connected.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"


def _offered(client: smtplib.SMTP) -> str:
    return ", ".join(sorted(client.esmtp_features)).upper() or "nothing"


def _bottom(error: BaseException) -> BaseException | None:
    """The socket's error below smtplib's."""
    seen: BaseException | None = error
    while seen is not None:
        if not isinstance(seen, smtplib.SMTPException) and isinstance(seen, OSError | UnicodeError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


# --- what a reply means ---------------------------------------------------------------------------


def _greeting_refused(reply: int, text: bytes) -> Refusal:
    if not 200 <= reply < 600:
        return Refusal("NotSmtp", 0, f"It says {text!r}.")
    return Refusal("Busy" if 400 <= reply < 500 else "ServerRefuses", reply, text)


def _sender_refused(reply: int, text: bytes) -> Refusal:
    if reply == 530:
        code = "StartTlsNeeded" if b"STARTTLS" in text.upper() else "LoginNeeded"
    elif _says_smaller(reply, text):
        code = "MessageTooLarge"
    else:
        code = "Busy" if 400 <= reply < 500 else "SenderRefused"
    return Refusal(code, reply, text)


def _nobody(sent: Sent) -> Refusal:
    code = "RecipientDeferred" if sent.deferred else "RecipientRefused"
    told = "; ".join(f"{name}: {text}" for name, text in (sent.deferred or sent.refused))
    return Refusal(code, 0, told)


def _content_refused(reply: int, text: bytes) -> Refusal:
    if _says_smaller(reply, text):
        return Refusal("MessageTooLarge", reply, text)
    return Refusal("Busy" if 400 <= reply < 500 else "ContentRefused", reply, text)


def _says_smaller(reply: int, text: bytes) -> bool:
    """552 is also said of a full mailbox, as 5.2.2."""
    told = text.decode("utf-8", "replace")
    return told.startswith(_SMALLER[1:]) or (reply == 552 and not told.startswith("5.2.2"))
