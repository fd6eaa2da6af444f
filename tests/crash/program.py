"""`eventpost serve` as a process of its own, started as often as it is ended."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from eventpost import Client
from tests.crash.launcher import CLOCK_OFFSET, POINT
from tests.services.ports import free_ports

WAIT_S = 120.0
ROOT = Path(__file__).parents[2]
KEPT_VARIABLES = ("PATH", "HOME", "LANG")


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {WAIT_S:.0f} s in vain until {what}"
        time.sleep(0.01)


class Program:
    """One data directory and one address. `prefix` is a command that starts the program."""

    def __init__(
        self, data: Path, log: Path, *, prefix: Sequence[str] = (), **settings: str
    ) -> None:
        self.data = data
        [self.port] = free_ports(1)
        self.kills = 0
        self._prefix = prefix
        self._settings = settings
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        """What it printed, over all of its lives."""
        return self._log.read_text(errors="replace")

    def begin(self, point: str = "", *, clock_offset_s: float = 0.0) -> None:
        """Start it, without waiting."""
        variables = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        # Also the launcher is found when the program runs elsewhere.
        variables |= {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", POINT: point, **self._settings}
        variables[CLOCK_OFFSET] = str(clock_offset_s)
        serve = ["serve", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "tests.crash.launcher", *serve],
                stdout=log,
                stderr=log,
                env=variables,
                cwd=ROOT,
                start_new_session=True,
            )

    def start(self, *, clock_offset_s: float = 0.0) -> None:
        """Start it, and wait until it is ready."""
        self.begin(clock_offset_s=clock_offset_s)
        until(lambda: self.is_dead or self.is_ready, "the server is ready")
        assert not self.is_dead, self.log[-3_000:]

    @property
    def is_dead(self) -> bool:
        return self.process.poll() is not None

    @property
    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        self.process.kill()
        self.wait_for_kill()

    def wait_for_kill(self) -> None:
        """It ends itself at the point that it was started with."""
        assert self.process.wait(WAIT_S) == -signal.SIGKILL, self.log[-3_000:]
        self.kills += 1

    def stop(self) -> int:
        """Tell it to stop; its exit code."""
        self.process.terminate()
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        """Whatever it does: end it, and what it may have started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def client(self) -> Client:
        token = self._settings.get("EVENTPOST_TOKEN")
        return Client(url=self.url, token=token or (self.data / "admin-token").read_text().strip())
