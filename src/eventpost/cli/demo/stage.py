"""What the story is played on: the real server in a process of its own, and HTTP handlers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from eventpost.config import local

STARTED_S_MAX = 30.0
STOPPED_S_MAX = 15.0
POLL_S = 0.02
LOG_CHARS_SHOWN = 2_000


class StageError(Exception):
    """The server did not come up or did not end."""


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as a handler saw it and what the handler answered."""

    subject: str
    data: dict[str, Any]
    delivery_count: int
    status: int
    at_s: float


Decide = Callable[[dict[str, Any], int], int]
"""From the event and `aeg-delivery-count` to the status to answer."""


@dataclass(slots=True)
class Handler:
    """A webhook: consents to the handshake, decides on each event, remembers all."""

    name: str
    decide: Decide
    seen: Callable[["Handler", Received], None]
    received: list[Received] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_address[1]}/{self.name}"

    def accepted(self, subject: str | None = None) -> int:
        """How many deliveries were answered with success."""
        return sum(each.status == 200 and subject in (None, each.subject) for each in self.received)

    def start(self) -> None:
        self.server = _Listener(("127.0.0.1", 0), _answerer(self))
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def take(self, event: dict[str, Any], delivery_count: int) -> int:
        status = self.decide(event, delivery_count)
        data = event.get("data")
        received = Received(
            subject=str(event.get("subject")),
            data=data if isinstance(data, dict) else {},
            delivery_count=delivery_count,
            status=status,
            at_s=time.monotonic(),
        )
        self.received.append(received)
        self.seen(self, received)
        return status


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


def _answerer(handler: Handler) -> type[BaseHTTPRequestHandler]:
    class Answerer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 64 * 1024  # one segment per answer

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            (event,) = json.loads(body)
            if self.headers["aeg-event-type"] == "SubscriptionValidation":
                consent = {"validationResponse": event["data"]["validationCode"]}
                self._answer(200, json.dumps(consent).encode())
            else:
                count = int(self.headers["aeg-delivery-count"])
                self._answer(handler.take(event, count), b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if body:
                self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
            pass

    return Answerer


class Server:
    """`eventpost serve` on a free port, with its data in a temporary directory."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="eventpost-demo-"))
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self.url = ""
        self.token = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        """Start it. Raises StageError, with what it said, when it does not listen in time."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        command = [sys.executable, "-m", "eventpost", "serve"]
        command += ["--data", str(self.data), "--listen", "127.0.0.1:0"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                # Ctrl-C is for the story, which then ends the server itself.
                start_new_session=True,
            )
        wait_until(self._is_listening, STARTED_S_MAX)
        if not self.url:
            raise StageError(f"The server did not start. It said:\n{self.said()}")

    def _is_listening(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            return True
        self.token = local.read_token(self.data) or ""
        self.url = (local.read_address(self.data) or "") if self.token else ""
        return bool(self.url)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """The end of what the server wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARS_SHOWN:]

    def stop(self) -> None:
        """Drain it, wait for its end, remove its data. Idempotent."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOPPED_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether `condition` became true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def _environment() -> dict[str, str]:
    """Without settings of another server that the user may have, and without proxies."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EVENTPOST_")}
