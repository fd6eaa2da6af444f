"""A service as a child of this process: started until it answers, stopped, killed, paused."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from tests.services.ports import free_ports
from tests.services.service import Service, bare_environment

S = TypeVar("S", bound=Service)

START_S_MAX = 150.0
STOP_S_MAX = 120.0
ASK_EVERY_S = 0.02
STARTS_MAX = 3
LOG_LINES_SHOWN = 40
PORT_IS_TAKEN = ("address already in use", "eaddrinuse")


class DidNotStart(Exception):
    """A service ended or did not answer in time; its log's tail is in the text."""


class Running(Generic[S]):
    """A service of one's own. Whoever made it must `kill` or `stop` it in the end."""

    def __init__(self, service: S) -> None:
        self.service = service
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def log(self) -> Path:
        return self.service.directory / "log"

    @property
    def is_alive(self) -> bool:
        """Whether its process is there; a paused one is."""
        return self._child is not None and not _has_ended(self._child)

    def start(self) -> None:
        """Start it, and return when it answers. On what it left in its folder, after a stop."""
        assert self._child is None, f"{self.service.name} is started already"
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*_dies_with_us(), *self.service.command()],
                cwd=self.service.directory,
                env=bare_environment() | self.service.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._child)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end, as an administrator would, and return when it has."""
        child = self._started()
        os.kill(child.pid, self.service.stop_signal)
        self.resume()
        try:
            _wait_for_end(child, STOP_S_MAX)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would; nothing happens when it is not started."""
        child, self._child = self._child, None
        if child is None:
            return
        # Before its number is free for others: until it is waited for, the group is surely ours.
        _signal(child, signal.SIGKILL)
        child.wait()

    def pause(self) -> None:
        """Let it hang: it accepts connections, as its kernel does, and answers nothing."""
        child = self._started()
        _signal(child, signal.SIGSTOP)
        # On a busy machine it still answers until one of its threads has seen the signal.
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        _signal(self._started(), signal.SIGCONT)

    def restart(self) -> None:
        """Stop it and start it on the same ports and data."""
        self.stop()
        self.start()

    def log_tail(self) -> str:
        """The last lines it wrote, for an error's text."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_LINES_SHOWN:])

    def _started(self) -> subprocess.Popen[bytes]:
        assert self._child is not None, f"{self.service.name} is not started"
        return self._child

    def _wait_until_ready(self, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S_MAX
        while not _has_ended(child):
            # Asked while it lives, so that nobody else at its port is taken for it.
            if self.service.is_ready() and not _has_ended(child):
                return
            if time.monotonic() > deadline:
                raise DidNotStart(self._failure(f"did not answer within {START_S_MAX:.0f} s"))
            time.sleep(ASK_EVERY_S)
        raise DidNotStart(self._failure("ended before it answered"))

    def _failure(self, what: str) -> str:
        told = self.log_tail() or "(none)"
        return f"{self.service.name} {what}. The last lines of {self.log}:\n{told}"


@contextmanager
def launched(kind: type[S], directory: Path) -> Iterator[Running[S]]:
    """A service on free ports with its data in a new folder, killed in the end."""
    running = launch(kind, directory)
    try:
        yield running
    finally:
        running.kill()


def launch(kind: type[S], directory: Path) -> Running[S]:
    """Start one; on other ports again when somebody was quicker at one of them."""
    for count in range(1, STARTS_MAX + 1):
        place = directory / f"{kind.name}-{count}"
        place.mkdir(parents=True)
        names = kind.port_names
        service = kind(place, dict(zip(names, free_ports(len(names)), strict=True)))
        service.prepare()
        running = Running(service)
        try:
            running.start()
        except DidNotStart as failure:
            is_taken = any(sign in str(failure).lower() for sign in PORT_IS_TAKEN)
            if count == STARTS_MAX or not is_taken:
                raise
        else:
            return running
    raise AssertionError("unreachable")


def _dies_with_us() -> list[str]:
    """Where the kernel can be asked, nothing is left behind, even when tests are killed.

    "Us" is the thread that starts it, so it should be one that lives as long as the test.
    """
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Without taking notice: until it is waited for, its number stays its own."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait_for_end(child: subprocess.Popen[bytes], seconds_max: float) -> None:
    deadline = time.monotonic() + seconds_max
    while not _has_ended(child):
        if time.monotonic() > deadline:
            raise TimeoutError(f"It did not end within {seconds_max:.0f} s of its signal.")
        time.sleep(ASK_EVERY_S)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To all of its processes: it leads a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)
