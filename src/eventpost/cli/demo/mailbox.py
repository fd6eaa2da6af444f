"""The station's mailbox: as much of a mail server (RFC 5321) as it takes to get one's mail."""

import email
import socketserver
import threading
from collections.abc import Callable
from email import policy
from typing import cast

LINE_BYTES_MAX = 4_096
MESSAGE_BYTES_MAX = 1_000_000
PATIENCE_S = 30.0


class Letter:
    """A mail as a person reads it."""

    def __init__(self, recipient: str, content: bytes) -> None:
        made = email.message_from_bytes(content, policy=policy.default)
        self.recipient = recipient
        self.subject = str(made["Subject"])
        self.text = str(made.get_content()).replace("\r\n", "\n")


class Mailbox:
    """Listens on loopback from `start` to `stop`, and tells of each letter on its own thread."""

    def __init__(self, seen: Callable[[Letter], None]) -> None:
        self.letters: list[Letter] = []
        self._seen = seen
        self._server: _Listener | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._server = _Listener(("127.0.0.1", 0), _Conversation)
        self._server.mailbox = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def take(self, letter: Letter) -> None:
        self.letters.append(letter)
        self._seen(letter)


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    mailbox: Mailbox


class _Conversation(socketserver.StreamRequestHandler):
    timeout = PATIENCE_S

    def handle(self) -> None:
        self._recipient = ""
        self._say("220 mailbox at the station")
        while line := self.rfile.readline(LINE_BYTES_MAX):
            verb, _, rest = line.decode("latin-1").strip().partition(" ")
            if verb.upper() == "QUIT":
                self._say("221 goodbye")
                return
            self._answer(verb.upper(), rest)

    def _answer(self, verb: str, rest: str) -> None:
        if verb in ("HELO", "EHLO", "MAIL", "RSET", "NOOP"):
            self._say("250 OK")
        elif verb == "RCPT":
            self._recipient = rest.partition("<")[2].partition(">")[0]
            self._say("250 OK")
        elif verb == "DATA" and self._recipient:
            self._say("354 go on, and end with a dot")
            content = self._content()
            cast("_Listener", self.server).mailbox.take(Letter(self._recipient, content))
            self._say("250 it is here")
        else:
            self._say("502 not here")

    def _content(self) -> bytes:
        content = bytearray()
        while (line := self.rfile.readline(LINE_BYTES_MAX)) not in (b".\r\n", b""):
            if len(content) < MESSAGE_BYTES_MAX:
                content += line.removeprefix(b".")
        return bytes(content)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
