"""A mail server for tests: aiosmtpd on loopback, in the process, which answers as it is told.

server.script("DATA", "451 4.3.0 try later")     the next answer to the content
server.always["RCPT"] = "550 5.1.1 nobody"
"""

import asyncio
import email
import ssl
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from eventpost.testing.background import BackgroundLoop
from tests.patience import PATIENCE_S

HANG = "hang"
"""In the place of an answer: none, ever."""
VANISH = "vanish"
"""In the place of an answer: the connection ends."""
USER, PASSWORD = "station", "dust my broom"


@dataclass(frozen=True, slots=True)
class Taken:
    """A message whose content came, whatever was answered."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    is_secured: bool
    is_logged_in: bool
    hello: str
    answer: str

    @property
    def message(self) -> EmailMessage:
        """As any mail program reads it."""
        return email.message_from_bytes(self.content, policy=policy.default)

    @property
    def text(self) -> str:
        return self.message.get_content().replace("\r\n", "\n")  # type: ignore[no-any-return]  # typed as anything


class MailServer:
    """Listens from when it is made until `close`. For the test's thread."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        is_implicit: bool = False,
        needs_login: bool = False,
        size_max: int = 1_000_000,
        **options: Any,
    ) -> None:
        """`tls` offers STARTTLS, or with `is_implicit` speaks TLS from the first byte."""
        self.taken: list[Taken] = []
        self.always: dict[str, str] = {}
        self.connection_count = 0
        self._scripts: dict[str, deque[str]] = defaultdict(deque)
        self._changed = threading.Condition()
        self._loop = BackgroundLoop("mail-server", asyncio.new_event_loop)
        settings: dict[str, Any] = {
            "data_size_limit": size_max,
            "enable_SMTPUTF8": False,
            **options,
        }
        if tls is not None and not is_implicit:
            settings |= {"tls_context": tls, "require_starttls": True}
        settings |= {
            "authenticator": self._authenticate,
            "auth_required": needs_login,
            "auth_require_tls": tls is not None and not is_implicit,
        }
        self._settings = settings
        self._tls = tls if is_implicit else None
        self._server = self._loop.run(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    def script(self, verb: str, *answers: str) -> None:
        """The next answers to MAIL, RCPT or DATA; after them `always`, else yes."""
        self._scripts[verb].extend(answers)

    def wait_for(self, count: int) -> list[Taken]:
        with self._changed:
            is_so = self._changed.wait_for(lambda: len(self.taken) >= count, PATIENCE_S)
        assert is_so, f"{len(self.taken)} of {count} messages came"
        return list(self.taken)

    def close(self) -> None:
        if not self._loop.loop.is_closed():
            self._loop.call(self._server.close)
            self._loop.close()

    async def _listen(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(self._new, "127.0.0.1", 0, ssl=self._tls)

    def _new(self) -> SMTP:
        self.connection_count += 1
        return SMTP(_Handler(self), hostname="mail.example.com", **self._settings)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        login, password = getattr(data, "login", b""), getattr(data, "password", b"")
        is_right = (login, password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=is_right, handled=False)

    def answer(self, verb: str) -> str:
        scripted = self._scripts[verb]
        return scripted.popleft() if scripted else self.always.get(verb, "")

    def take(self, taken: Taken) -> None:
        with self._changed:
            self.taken.append(taken)
            self._changed.notify_all()


class _Handler:
    """aiosmtpd's hooks."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answered(server, "MAIL")
        if not answer:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer or "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answered(server, "RCPT")
        if not answer:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self._server.answer("DATA")
        assert server.transport is not None
        self._server.take(
            Taken(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                content=envelope.content or b"",  # type: ignore[arg-type]  # bytes, as it is not decoded
                is_secured=server.transport.get_extra_info("sslcontext") is not None,
                is_logged_in=bool(session.authenticated),
                hello=session.host_name or "",
                answer=answer or "250 OK",
            )
        )
        await self._unusual(server, answer)
        return answer or "250 OK"

    async def _answered(self, server: SMTP, verb: str) -> str:
        answer = self._server.answer(verb)
        await self._unusual(server, answer)
        return answer

    async def _unusual(self, server: SMTP, answer: str) -> None:
        if answer == VANISH:
            assert server.transport is not None
            server.transport.abort()  # type: ignore[attr-defined]  # typed as less than it is
        if answer in (HANG, VANISH):
            await asyncio.Event().wait()
