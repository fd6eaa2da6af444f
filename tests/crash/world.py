"""The real program under load, a receiver that remembers, and a publisher that counts only 200s."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from eventpost import Client
from eventpost.registry.declarations import (
    FilterDeclaration,
    RetryDeclaration,
    SubscriptionDeclaration,
)

READY_S, WAIT_S = 30.0, 90.0
BATCH = 5
POLL_S = 0.01


def free_port() -> int:
    """Below the ephemeral range, so that no outgoing connection takes it between two starts."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Receiver:
    """Answers deliveries, sometimes with 503, and remembers each id that it took."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._changed = threading.Condition()
        self.taken: dict[str, dict[str, int]] = {}
        """How often each event was answered 200, by path and event id."""
        self.failure_rate = 0.1
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = receiver.answer(self.path, json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                return  # the server was killed in the middle of a request

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str, events: list[dict[str, object]]) -> tuple[int, bytes]:
        data = events[0]["data"]
        if isinstance(data, dict) and "validationCode" in data:
            return 200, json.dumps({"validationResponse": data["validationCode"]}).encode()
        with self._changed:
            if self._random.random() < self.failure_rate:
                return 503, b""
            taken = self.taken.setdefault(path, {})
            for event in events:
                event_id = str(event["id"])
                taken[event_id] = taken.get(event_id, 0) + 1
            self._changed.notify_all()
        return 200, b""

    def wait_for(self, path: str, ids: set[str], is_excused: "set[str]") -> set[str]:
        """Wait until all of `ids` were taken; returns those that never were."""
        deadline_s = time.monotonic() + WAIT_S
        with self._changed:
            while missing := ids - self.taken.get(path, {}).keys() - is_excused:
                if not self._changed.wait(deadline_s - time.monotonic()):
                    return missing
        return set()

    def duplicates(self, path: str) -> int:
        return sum(count - 1 for count in self.taken.get(path, {}).values())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Program:
    """`eventpost serve` on one data directory and port, started as often as it is killed."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()
        self.popen: subprocess.Popen[bytes] | None = None
        self.kills = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, point: str = "", count: int = 0) -> None:
        """Start and wait until it is ready. `point` and `count` arm the launcher."""
        serve = ["serve", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}"]
        launch = ["-m", "tests.crash.launcher", point, str(count)] if point else ["-m", "eventpost"]
        self.popen = subprocess.Popen(
            [sys.executable, *launch, *serve],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        deadline_s = time.monotonic() + READY_S
        while time.monotonic() < deadline_s:
            if self.popen.poll() is not None and point:
                return  # it came to its point at once
            if self._is_ready():
                return
            time.sleep(POLL_S)
        raise AssertionError(f"the server was not ready within {READY_S:.0f} s")

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        assert self.popen is not None
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        self.kills += 1

    def wait_until_dead(self) -> None:
        """It kills itself at the point that it was armed with."""
        assert self.popen is not None
        self.popen.wait(WAIT_S)
        assert self.popen.returncode == -signal.SIGKILL
        self.kills += 1

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.popen is not None
        self.popen.terminate()
        return self.popen.wait(60)

    def close(self) -> None:
        if self.popen is not None and self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()

    def client(self) -> Client:
        return Client(url=self.url, token=(self.data / "admin-token").read_text().strip())


class Publisher:
    """Publishes batches in a thread; `acknowledged` holds the ids that were answered 200."""

    def __init__(self, program: Program, key: str) -> None:
        self._program = program
        self._key = key
        self._changed = threading.Condition()
        self._is_over = False
        self._number = 0
        self.acknowledged: set[str] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, more: int) -> None:
        """Until so many more events are acknowledged."""
        with self._changed:
            goal = len(self.acknowledged) + more
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= goal, WAIT_S)

    def stop(self) -> None:
        self._is_over = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._is_over:
            ids = [str(self._number + offset) for offset in range(BATCH)]
            self._number += BATCH
            connection = connection or self._connected()
            try:
                is_kept = self._publish(connection, ids)
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = None
                time.sleep(POLL_S)
                continue
            if is_kept:
                with self._changed:
                    self.acknowledged.update(ids)
                    self._changed.notify_all()
        if connection is not None:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._program.port, timeout=10)

    def _publish(self, connection: http.client.HTTPConnection, ids: list[str]) -> bool:
        events = [
            {
                "id": event_id,
                "subject": f"crash/{int(event_id) % 2}",
                "eventType": "Crash.Test",
                "eventTime": "2026-01-01T00:00:00Z",
                "data": {"text": "x" * 200},
            }
            for event_id in ids
        ]
        headers = {"aeg-sas-key": self._key, "Content-Type": "application/json"}
        connection.request("POST", "/topics/crash/api/events", json.dumps(events), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200


def prepare(program: Program, receiver: Receiver) -> str:
    """A topic with a subscription to everything, one batched, one that wants half; the key."""
    retry = RetryDeclaration(schedule="50ms,100ms,200ms")
    with program.client() as client:
        client.create_topic("crash")
        for name, batch, subject in (("all", 1, ""), ("batched", 20, ""), ("half", 1, "crash/1")):
            client.create_subscription(
                SubscriptionDeclaration(
                    topic="crash",
                    name=name,
                    endpoint=f"{receiver.url}/{name}",
                    max_events_per_batch=batch,
                    filter=FilterDeclaration(subject_begins_with=subject),
                    retry=retry,
                )
            )
        return client.list_keys("crash").key1
